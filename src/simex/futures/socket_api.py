"""The WebSocket API of the futures market: requests over a link. User data is never pushed here."""

from __future__ import annotations

from typing import Final

from simex.frames import Outbox
from simex.futures import account_calls, market_calls, query_calls, trading_calls
from simex.futures.accounts import Account
from simex.futures.calls import Call, Gate
from simex.futures.limits import OrderCount
from simex.gate import Credentials
from simex.params import Params
from simex.refusal import Refusal
from simex.sessions import Session, Sessions, shows_limits, want_key

PATH: Final = "/ws-fapi/v1"
CONNECT_WEIGHT: Final = 5
SESSION_WEIGHT: Final = 2
CALLS: Final[dict[str, Call]] = market_calls.SOCKET | account_calls.SOCKET | query_calls.SOCKET | trading_calls.SOCKET
_SESSION_METHODS: Final = frozenset({"session.logon", "session.logout", "session.status"})


class SocketApi(Sessions[Session[Account]]):
    """All WebSocket API connections of the futures market."""

    def __init__(self, gate: Gate, outbox: Outbox) -> None:
        super().__init__(gate.weights, outbox)
        self._gate = gate

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to the API; False for any other path, or while the address is over its weight."""
        path, _, query = target.partition("?")
        if path != PATH:
            return False
        try:
            self._weights.charge(CONNECT_WEIGHT, now_ms)
        except Refusal:
            return False
        self._links[link] = Session(now_ms, shows_limits(query))
        return True

    def close(self, link: int) -> bool:
        """Forget a connection; False when it was none of these."""
        return self._links.pop(link, None) is not None

    def _serve(
        self, link: int, method: object, params: Params, credentials: Credentials, now_ms: int
    ) -> tuple[object, OrderCount | None]:
        name = method if isinstance(method, str) else ""
        call, session = CALLS.get(name), self._links[link].session
        if call is not None:
            if call.needs != "nothing" and session is None:
                want_key(params)
            if call.needs == "key" and session is not None and credentials.api_key is None:
                credentials = Credentials(session.spec.api_key, credentials.payload)
            answer, account = self._gate.serve(call, params, credentials, now_ms, session)
            return answer, account.order_count if call.shows_counts and account is not None else None
        if name not in _SESSION_METHODS:
            self._weights.charge(1, now_ms)
            raise Refusal(-1020, f"Unknown method '{name}'.")
        self._weights.charge(SESSION_WEIGHT, now_ms)
        if name == "session.logon":
            want_key(params)
            self._links[link].log_on(self._gate.admit(params, credentials, now_ms, None), now_ms)
        elif name == "session.logout":
            self._end_session(link, now_ms)
        return self._links[link].status(now_ms), None
