"""What every request passes before it reaches a route, and every answer on its way out.

Rules. A request must be meant for us: the Host it names is ours, and a browser's Origin is our own or one of the list,
so that no page elsewhere can use a signed-in browser. Bodies have a size and a time in which they must arrive. Every
answer carries the same headers; the page may load nothing from anywhere else. An address has a budget of requests; who
is signed in has a reserve behind it for what lessens risk, which nobody else and no read can use up. What somebody did,
or tried to, goes into the audit trail before the answer leaves, whichever route it was; where the trail cannot be
written, into the log: what was done is not told as failed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surefoot.api.guard import PREFIX
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem, problem_response
from surefoot.api.sessions import COOKIE
from surefoot.api.webstore import WebStoreError
from surefoot.config import MASK, WebSettings, is_secret_name

BODY_WAIT_S = 10.0
ASKED_BYTES_MAX = 4_096
HOSTS_REMEMBERED = 64
BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
# What there is a reserve for: exits and what they depend on, by the way in which each says who asks.
_BY_COOKIE = PREFIX + "/auth/refresh"
_EXITS = ("/bot/pause", "/bot/flatten", "/bot/close", "/bot/cancel-all", "/bot/kill", "/bot/live-off", "/breaker/reset")
_RESERVED = frozenset({_BY_COOKIE, *(PREFIX + path for path in ("/auth/confirm", *_EXITS))})
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NO_STORE = {"cache-control": "no-store"}
_UNFORESEEN = Problem(500, "unexpected", "this should not have happened; the log of the web process says more")
_UNWRITABLE = Problem(
    503, "store_failed", "web.sqlite cannot be read or written: is the disk full? Exits are passed on"
)
_log = logging.getLogger("surefoot.web")
HSTS = {"strict-transport-security": "max-age=31536000; includeSubDomains"}


def address_of(scope: Scope, web: WebSettings) -> str:
    """Who asks. Behind a proxy: whom the nearest one names, which is the last of the list; others can be made up."""
    # A proxy may add to the line that it was sent, or write one of its own behind it.
    named = ",".join(Headers(scope=scope).getlist("x-forwarded-for")) if web.behind_proxy else ""
    client = scope.get("client")
    return named.rpartition(",")[2].strip() or (client[0] if client else "unknown")


def is_https(scope: Scope, web: WebSettings) -> bool:
    """Whether the browser speaks HTTPS, to us or to the proxy."""
    return scope["scheme"] in ("https", "wss") or web.behind_proxy


def masked_json(body: bytes) -> object:
    """A body for the trail: what may be secret is masked, what is no JSON or long is left out."""
    if not body:
        return None
    if len(body) > ASKED_BYTES_MAX:
        return f"{len(body)} bytes"
    try:
        return masked(json.loads(body))
    except (ValueError, RecursionError):
        return "no JSON"


def masked(value: object) -> object:
    """A value of JSON with a mask in the place of what may be secret."""
    if isinstance(value, dict):
        return {key: MASK if is_secret_name(key) else masked(inner) for key, inner in value.items()}
    return [masked(inner) for inner in value] if isinstance(value, list) else value


class Shield:
    """Wraps the app, see the rules above."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._web = web = parts.settings.web
        self._hosts = {*LOOPBACK_NAMES, web.host, *(urlsplit(origin).hostname for origin in web.origins)}
        self._body_max = web.body_max_kib * 1_024
        self._headers = {
            (of_api, https): _raw(HEADERS | (NO_STORE if of_api else {}) | (HSTS if https else {}))
            for of_api in (False, True)
            for https in (False, True)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, self._with_headers(scope, send))
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def send_on(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                self._remember(scope, body, message["status"])
                is_begun = True
            await send(message)

        body = b""
        try:
            self._check(scope)
            body = await self._body(scope, receive)
            await self._app(scope, _replayed(body, receive), send_on)
        except Problem as problem:
            await problem_response(problem, scope["path"])(scope, receive, send)
        except Exception as trouble:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if is_begun:
                raise
            refusal = _UNWRITABLE if isinstance(trouble, WebStoreError) else _UNFORESEEN
            await problem_response(refusal, scope["path"])(scope, receive, send)

    def _remember(self, scope: Scope, body: bytes, status: int) -> None:
        """Sign-ins write rows of their own. What was refused is not repeated: a password may be in a wrong place."""
        person, path = scope.get("state", {}).get("person"), scope["path"]
        if person is None or scope["method"] in ("GET", "HEAD", "OPTIONS") or path.startswith("/api/v1/auth/"):
            return
        address = address_of(scope, self._web)
        asked = masked_json(body) if status < 400 else None
        act = f"{scope['method']} {path}"
        self._parts.trail.try_add(person.name, act, status=status, address=address, asked=asked)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
        except Problem:
            await receive()
            await send({"type": "websocket.close", "code": 4403})
            return
        self._parts.visits.streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._parts.visits.streams -= 1

    def _check(self, scope: Scope) -> None:
        hosts, origin = list[bytes](), None
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origin = value.decode("latin-1")
        name, place = _host_of(hosts[0] if len(hosts) == 1 else b"")
        # Probes of an orchestrator name an address of their own, and health tells nobody anything.
        if len(hosts) > 1 or (name not in self._hosts and not scope["path"].startswith("/api/v1/health/")):
            raise Problem(400, "host_unknown", "this host name is not one of ours; see web.host and web.origins")
        if origin is not None and origin not in self._web.origins and _origin_place(origin) != place:
            raise Problem(403, "origin_unknown", "pages of that site may not use this API; see web.origins")
        try:
            self._parts.throttle.request(address_of(scope, self._web))
        except Problem:
            session_id = self._session_with_reserve(scope)
            if session_id is None:
                raise
            self._parts.throttle.reserved(session_id)

    def _session_with_reserve(self, scope: Scope) -> str | None:
        if scope["path"] not in _RESERVED or scope.get("method") != "POST":
            return None
        asks = HTTPConnection(scope)
        if scope["path"] == _BY_COOKIE:
            return self._parts.sessions.of_refresh(asks.cookies.get(COOKIE, ""))
        scheme, _, token = asks.headers.get("authorization", "").partition(" ")
        return self._parts.tokens.session_of(token.strip()) if scheme.lower() == "bearer" else None

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body."""
        if not any(name in BODY_HEADERS for name, _ in scope["headers"]):
            return b""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._body_max:
            raise self._too_large()
        body = b""
        try:
            async with asyncio.timeout(BODY_WAIT_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Problem(400, "body_cut_off", "the body ended before its end")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._body_max:
                        raise self._too_large()
        except TimeoutError:
            raise Problem(408, "body_too_slow", f"the body did not arrive within {BODY_WAIT_S:g} s") from None
        return body

    def _too_large(self) -> Problem:
        return Problem(413, "body_too_large", f"the body may have {self._web.body_max_kib} KiB")

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        added = self._headers[scope["path"].startswith("/api/"), is_https(scope, self._web)]
        began_s = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_ms = (time.perf_counter() - began_s) * 1_000
                self._parts.visits.answered(scope["method"], message["status"], took_ms)
                own = dict(message.get("headers", ()))
                message["headers"] = [*message.get("headers", ()), *(pair for pair in added if pair[0] not in own)]
            await send(message)

        return send_with_headers


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@lru_cache(maxsize=HOSTS_REMEMBERED)
def _host_of(value: bytes) -> tuple[str | None, str]:
    """The name in a Host header, and all of it; no name when it is none."""
    place = value.decode("latin-1")
    try:
        return urlsplit(f"//{place}").hostname, place
    except ValueError:
        return None, place


def _origin_place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_told = False

    async def tell() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return tell
