"""The WebSocket API: requests over a link, and its user data subscriptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from simex import account_calls, market_calls, refusal, ticker_calls, timeunit, trading_calls
from simex.accounts import Account, Subscription
from simex.calls import Call
from simex.frames import Outbox, encode
from simex.gate import Credentials, Gate, check_key
from simex.limits import OrderCount
from simex.params import Params
from simex.refusal import Refusal
from simex.sessions import Session, Sessions, shows_limits, want_key

PATH: Final = "/ws-api/v3"
CONNECT_WEIGHT: Final = 2
SUBSCRIPTIONS_PER_LIFE: Final = 65_535
CALLS: Final[dict[str, Call]] = market_calls.SOCKET | ticker_calls.SOCKET | account_calls.SOCKET | trading_calls.SOCKET
_SUBSCRIPTION_WEIGHT: Final = 2
# These act on the link itself, so they are no calls.
_LINK_METHODS: Final = frozenset(
    {
        "session.logon",
        "session.logout",
        "session.status",
        "session.subscriptions",
        "userDataStream.subscribe",
        "userDataStream.subscribe.signature",
        "userDataStream.unsubscribe",
    }
)


@dataclass(slots=True)
class ApiLink(Session[Account]):
    """One connection and what it subscribed to; `of_session` are the subscriptions that end with the session."""

    subscriptions: dict[int, Account] = field(default_factory=dict)
    of_session: set[int] = field(default_factory=set)
    subscribed: int = 0


class SocketApi(Sessions[ApiLink]):
    """All WebSocket API connections."""

    def __init__(self, gate: Gate, outbox: Outbox) -> None:
        super().__init__(gate.weights, outbox)
        self._gate = gate

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to the API; False for any other path. Refusal while the address is over its weight."""
        path, _, query = target.partition("?")
        if path != PATH:
            return False
        units = timeunit.of_query(query)
        self._weights.charge(CONNECT_WEIGHT, now_ms)
        self._links[link] = ApiLink(now_ms, shows_limits(query), units)
        return True

    def announce_shutdown(self, now_ms: int) -> None:
        """Tell every connection that the server will go."""
        for link, entry in self._links.items():
            event = {"e": "serverShutdown", "E": now_ms * entry.units_per_ms}
            self._outbox.account.append((link, encode({"event": event})))

    def hears_account(self, link: int) -> bool:
        """Whether some account's events are heard on this link."""
        entry = self._links.get(link)
        return entry is not None and bool(entry.subscriptions)

    def close(self, link: int) -> bool:
        """Forget a connection and end its subscriptions; False when it was none of these."""
        entry = self._links.pop(link, None)
        if entry is None:
            return False
        for number, account in entry.subscriptions.items():
            account.subscriptions.remove(Subscription(link, number, entry.units_per_ms))
        return True

    def _serve(
        self, link: int, method: object, params: Params, credentials: Credentials, now_ms: int
    ) -> tuple[object, OrderCount | None]:
        name = method.removeprefix("v3/") if isinstance(method, str) else ""
        call = CALLS.get(name)
        session = self._links[link].session
        if call is not None:
            if call.is_signed and session is None:
                want_key(params)
            answer, account = self._gate.serve(call, params, credentials, now_ms, session)
            return answer, account.order_count if call.is_trading and account is not None else None
        if name not in _LINK_METHODS:
            self._weights.charge(1, now_ms)
            raise Refusal(-1020, f"Unknown method '{name}'.")
        self._weights.charge(_SUBSCRIPTION_WEIGHT, now_ms)
        return self._serve_link(link, name, params, credentials, now_ms), None

    def _serve_link(self, link: int, name: str, params: Params, credentials: Credentials, now_ms: int) -> object:
        entry = self._links[link]
        match name:
            case "userDataStream.subscribe.signature":
                want_key(params)
                return self._subscribe(link, entry, self._gate.authenticate(params, credentials, now_ms))
            case "userDataStream.subscribe":
                return self._subscribe_session(link, entry)
            case "userDataStream.unsubscribe":
                return self._unsubscribe(link, entry, params.maybe_integer("subscriptionId"), now_ms)
            case "session.subscriptions":
                return [{"subscriptionId": number} for number in entry.subscriptions]
            case "session.logon":
                want_key(params)
                account = self._gate.authenticate(params, credentials, now_ms)
                entry.log_on(account, now_ms)
                self._end_subscriptions(link, entry, now_ms)
            case "session.logout":
                self._end_session(link, now_ms)
        return entry.status(now_ms) | {"userDataStream": bool(entry.subscriptions)}

    def _end_session(self, link: int, now_ms: int) -> None:
        super()._end_session(link, now_ms)
        self._end_subscriptions(link, self._links[link], now_ms)

    def _end_subscriptions(self, link: int, entry: ApiLink, now_ms: int) -> None:
        """Those that the session had made."""
        for number in sorted(entry.of_session):
            self._end_subscription(link, entry, number, now_ms)

    def _subscribe_session(self, link: int, entry: ApiLink) -> object:
        if entry.session is None:
            raise refusal.bad_key_format()
        check_key(entry.session)
        answer = self._subscribe(link, entry, entry.session)
        entry.of_session.add(entry.subscribed - 1)
        return answer

    def _subscribe(self, link: int, entry: ApiLink, account: Account) -> object:
        if any(subscribed is account for subscribed in entry.subscriptions.values()):
            raise Refusal(-2035, "User Data Stream subscription already active.")
        if entry.subscribed >= SUBSCRIPTIONS_PER_LIFE:
            raise Refusal(-2042, "Maximum subscription ID reached for this connection.")
        number = entry.subscribed
        entry.subscribed += 1
        entry.subscriptions[number] = account
        account.subscriptions.append(Subscription(link, number, entry.units_per_ms))
        return {"subscriptionId": number}

    def _unsubscribe(self, link: int, entry: ApiLink, number: int | None, now_ms: int) -> object:
        if (number is not None and number not in entry.subscriptions) or not entry.subscriptions:
            raise Refusal(-2036, "User Data Stream subscription not active.")
        for ended in [number] if number is not None else list(entry.subscriptions):
            self._end_subscription(link, entry, ended, now_ms)
        return {}

    def _end_subscription(self, link: int, entry: ApiLink, number: int, now_ms: int) -> None:
        entry.of_session.discard(number)
        units = entry.units_per_ms
        entry.subscriptions.pop(number).subscriptions.remove(Subscription(link, number, units))
        event = {"e": "eventStreamTerminated", "E": now_ms * units}
        self._outbox.account.append((link, encode({"subscriptionId": number, "event": event})))
