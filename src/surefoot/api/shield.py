"""What every request passes before it reaches a route, and every answer on its way out.

Rules. A request must be meant for us: the Host it names is ours, and a browser's Origin is our own or one of the list,
so that no page elsewhere can use a signed-in browser. Bodies have a size and a time in which they must arrive. Every
answer carries the same headers; the page may load nothing from anywhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surefoot.api.parts import Parts
from surefoot.api.problems import Problem, problem_response
from surefoot.config import WebSettings

BODY_WAIT_S = 10.0
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
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NO_STORE = {"cache-control": "no-store"}
HSTS = {"strict-transport-security": "max-age=31536000; includeSubDomains"}


def address_of(scope: Scope, web: WebSettings) -> str:
    """Who asks. Behind a proxy: whom the nearest one names, which is the last of the list; others can be made up."""
    named = Headers(scope=scope).get("x-forwarded-for", "") if web.behind_proxy else ""
    client = scope.get("client")
    return named.rpartition(",")[2].strip() or (client[0] if client else "unknown")


def is_https(scope: Scope, web: WebSettings) -> bool:
    """Whether the browser speaks HTTPS, to us or to the proxy."""
    return scope["scheme"] in ("https", "wss") or web.behind_proxy


class Shield:
    """Wraps the app, see the rules above."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._web = web = parts.settings.web
        self._hosts = {*LOOPBACK_NAMES, web.host, *(urlsplit(origin).hostname for origin in web.origins)}
        self._body_max = web.body_max_kib * 1_024

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, self._with_headers(scope, send))
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._check(scope)
            receive = await self._with_body(scope, receive)
        except Problem as problem:
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._check(scope)
        except Problem:
            await receive()
            await send({"type": "websocket.close", "code": 4403})
            return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}")
        # Probes of an orchestrator name an address of their own, and health tells nobody anything.
        if host.hostname not in self._hosts and not scope["path"].startswith("/api/v1/health/"):
            raise Problem(400, "host_unknown", "this host name is not one of ours; see web.host and web.origins")
        origin = headers.get("origin")
        if origin is not None and origin not in self._web.origins and urlsplit(origin).netloc != host.netloc:
            raise Problem(403, "origin_unknown", "pages of that site may not use this API; see web.origins")
        await self._parts.throttle.request(address_of(scope, self._web))

    async def _with_body(self, scope: Scope, receive: Receive) -> Receive:
        """The same, with the whole body read."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if not length and "transfer-encoding" not in headers:
            return receive
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
        return _replayed(body, receive)

    def _too_large(self) -> Problem:
        return Problem(413, "body_too_large", f"the body may have {self._web.body_max_kib} KiB")

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        added = dict(HEADERS)
        if scope["path"].startswith("/api/"):
            added |= NO_STORE
        if is_https(scope, self._web):
            added |= HSTS
        raw = [(name.encode(), value.encode()) for name, value in added.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", [])}
                message["headers"] = [*message.get("headers", []), *(pair for pair in raw if pair[0] not in own)]
            await send(message)

        return send_with_headers


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_told = False

    async def tell() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return tell
