"""The WebSocket API of the futures market: requests over a link. User data is never pushed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from simex import refusal, signing
from simex.frames import Outbox, as_params, decode, echoed, encode
from simex.futures import account_calls, market_calls, query_calls, trading_calls
from simex.futures.accounts import Account
from simex.futures.calls import Call, Gate
from simex.gate import Credentials
from simex.params import Params
from simex.refusal import Refusal

PATH: Final = "/ws-fapi/v1"
CONNECT_WEIGHT: Final = 5
SESSION_WEIGHT: Final = 2
CALLS: Final[dict[str, Call]] = market_calls.SOCKET | account_calls.SOCKET | query_calls.SOCKET | trading_calls.SOCKET
_SESSION_METHODS: Final = frozenset({"session.logon", "session.logout", "session.status"})


@dataclass(slots=True)
class ApiLink:
    """One connection: who logged on, and whether its answers carry the rate limits."""

    opened_ms: int
    shows_limits: bool
    session: Account | None = None
    authorized_ms: int | None = None


class SocketApi:
    """All WebSocket API connections of the futures market."""

    def __init__(self, gate: Gate, outbox: Outbox) -> None:
        self._gate = gate
        self._outbox = outbox
        self._links: dict[int, ApiLink] = {}

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to the API; False for any other path, or while the address is over its weight."""
        path, _, query = target.partition("?")
        if path != PATH:
            return False
        try:
            self._gate.weights.charge(CONNECT_WEIGHT, now_ms)
        except Refusal:
            return False
        self._links[link] = ApiLink(now_ms, parse_qs(query).get("returnRateLimits", ["true"])[-1] != "false")
        return True

    def has(self, link: int) -> bool:
        return link in self._links

    def close(self, link: int) -> bool:
        """Forget a connection; False when it was none of these."""
        return self._links.pop(link, None) is not None

    def receive(self, link: int, text: str, now_ms: int) -> None:
        """One request, one answer."""
        message = decode(text)
        if message is None:
            self._answer(link, None, _failure(Refusal(-1135, "Invalid JSON Request"), now_ms), None, True, now_ms)
            return
        request_id = echoed(message.get("id"))
        values = as_params(message.get("params"))
        payload = signing.api_payload(values)
        shows_limits = values.pop("returnRateLimits", "true") != "false" and self._links[link].shows_limits
        credentials = Credentials(values.get("apiKey"), payload)
        account: Account | None = None
        try:
            result, account = self._serve(link, message.get("method"), Params(values), credentials, now_ms)
            outcome: dict[str, object] = {"status": 200, "result": result}
        except Refusal as refused:
            outcome = _failure(refused, now_ms)
            if self._lost_its_session(link, refused, credentials):
                request_id = None
        self._answer(link, request_id, outcome, account, shows_limits, now_ms)

    def _serve(
        self, link: int, method: object, params: Params, credentials: Credentials, now_ms: int
    ) -> tuple[object, Account | None]:
        name = method if isinstance(method, str) else ""
        call, session = CALLS.get(name), self._links[link].session
        if call is not None:
            if call.needs != "nothing" and session is None and not params.has("apiKey"):
                raise refusal.missing("apiKey")
            if call.needs == "key" and session is not None and credentials.api_key is None:
                credentials = Credentials(session.spec.api_key, credentials.payload)
            answer, account = self._gate.serve(call, params, credentials, now_ms, session)
            return answer, account if call.shows_counts else None
        if name not in _SESSION_METHODS:
            self._gate.weights.charge(1, now_ms)
            raise Refusal(-1020, f"Unknown method '{name}'.")
        self._gate.weights.charge(SESSION_WEIGHT, now_ms)
        return self._serve_session(self._links[link], name, params, credentials, now_ms), None

    def _serve_session(
        self, entry: ApiLink, name: str, params: Params, credentials: Credentials, now_ms: int
    ) -> object:
        if name == "session.logon":
            if not params.has("apiKey"):
                raise refusal.missing("apiKey")
            account = self._gate.admit(params, credentials, now_ms, None)
            if account.spec.key_type != "ED25519":
                kind = {"HMAC": "HMAC_SHA256"}.get(account.spec.key_type, account.spec.key_type)
                raise Refusal(-4056, f"{kind} API key is not supported.")
            entry.session, entry.authorized_ms = account, now_ms
        elif name == "session.logout":
            entry.session, entry.authorized_ms = None, None
        return {
            "apiKey": entry.session.spec.api_key if entry.session is not None else None,
            "authorizedSince": entry.authorized_ms,
            "connectedSince": entry.opened_ms,
            "returnRateLimits": entry.shows_limits,
            "serverTime": now_ms,
        }

    def _lost_its_session(self, link: int, refused: Refusal, credentials: Credentials) -> bool:
        """A key that became invalid ends the session at the next request that relies on it."""
        entry = self._links[link]
        if refused.code != -2015 or entry.session is None or credentials.api_key is not None:
            return False
        entry.session, entry.authorized_ms = None, None
        return True

    def _answer(
        self, link: int, request_id: object, outcome: dict[str, object], account: Account | None, shows_limits: bool,
        now_ms: int,
    ) -> None:  # fmt: skip
        answer: dict[str, object] = {"id": request_id, **outcome}
        if shows_limits:
            orders = account.order_count.as_limits(now_ms) if account is not None else []
            answer["rateLimits"] = [*orders, self._gate.weights.as_limit(now_ms)]
        self._outbox.account.append((link, encode(answer)))


def _failure(refused: Refusal, now_ms: int) -> dict[str, object]:
    error: dict[str, object] = {"code": refused.code, "msg": refused.text}
    if refused.retry_at_ms is not None:
        error["data"] = {"serverTime": now_ms, "retryAfter": refused.retry_at_ms}
    return {"status": refused.status, "error": error}
