"""The WebSocket API: requests over a link, and its user data subscriptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from simex import account_calls, market_calls, refusal, signing, ticker_calls, timeunit, trading_calls
from simex.accounts import Account, Subscription
from simex.calls import Call
from simex.frames import Outbox, as_params, decode, echoed, encode
from simex.gate import Credentials, Gate, check_key
from simex.params import Params
from simex.refusal import Refusal
from simex.trading_calls import ReplaceRefusal

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
class ApiLink:
    """One connection: who logged on, what it subscribed to, and whether its answers carry the rate limits.

    `of_session` are the subscriptions that end with the session.
    """

    opened_ms: int
    shows_limits: bool
    units_per_ms: int = 1
    session: Account | None = None
    authorized_ms: int | None = None
    subscriptions: dict[int, Account] = field(default_factory=dict)
    of_session: set[int] = field(default_factory=set)
    subscribed: int = 0


class SocketApi:
    """All WebSocket API connections."""

    def __init__(self, gate: Gate, outbox: Outbox) -> None:
        self._gate = gate
        self._outbox = outbox
        self._links: dict[int, ApiLink] = {}

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to the API; False for any other path. Refusal while the address is over its weight."""
        path, _, query = target.partition("?")
        if path != PATH:
            return False
        units = timeunit.of_query(query)
        self._gate.weights.charge(CONNECT_WEIGHT, now_ms)
        shows_limits = parse_qs(query).get("returnRateLimits", ["true"])[-1] != "false"
        self._links[link] = ApiLink(now_ms, shows_limits, units)
        return True

    def has(self, link: int) -> bool:
        return link in self._links

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

    def receive(self, link: int, text: str, now_ms: int) -> None:
        """One request, one answer."""
        message = decode(text)
        if message is None:
            self._answer(link, None, _failure(Refusal(-1135, "Invalid JSON Request"), now_ms), None, True, now_ms)
            return
        request_id = echoed(message.get("id"))
        values = as_params(message.get("params"))
        shows_limits = values.pop("returnRateLimits", "true") != "false" and self._links[link].shows_limits
        # The parameter is signed like any other, so the payload is made of what was sent.
        payload = signing.api_payload(as_params(message.get("params")))
        credentials = Credentials(values.get("apiKey"), payload)
        account: Account | None = None
        try:
            result, account = self._serve(link, message.get("method"), Params(values), credentials, now_ms)
            outcome: dict[str, object] = {"status": 200, "result": result}
        except Refusal as refused:
            outcome = _failure(refused, now_ms)
            if self._lost_its_session(link, refused, credentials, now_ms):
                request_id = None
        self._answer(link, request_id, outcome, account, shows_limits, now_ms)

    def _serve(
        self, link: int, method: object, params: Params, credentials: Credentials, now_ms: int
    ) -> tuple[object, Account | None]:
        name = method.removeprefix("v3/") if isinstance(method, str) else ""
        call = CALLS.get(name)
        session = self._links[link].session
        if call is not None:
            _want_key(call.is_signed and session is None, params)
            answer, account = self._gate.serve(call, params, credentials, now_ms, session)
            return answer, account if call.is_trading else None
        if name not in _LINK_METHODS:
            self._gate.weights.charge(1, now_ms)
            raise Refusal(-1020, f"Unknown method '{name}'.")
        self._gate.weights.charge(_SUBSCRIPTION_WEIGHT, now_ms)
        return self._serve_link(link, name, params, credentials, now_ms), None

    def _serve_link(self, link: int, name: str, params: Params, credentials: Credentials, now_ms: int) -> object:
        entry = self._links[link]
        match name:
            case "userDataStream.subscribe.signature":
                _want_key(True, params)
                return self._subscribe(link, entry, self._gate.authenticate(params, credentials, now_ms))
            case "userDataStream.subscribe":
                return self._subscribe_session(link, entry)
            case "userDataStream.unsubscribe":
                return self._unsubscribe(link, entry, params.maybe_integer("subscriptionId"), now_ms)
            case "session.subscriptions":
                return [{"subscriptionId": number} for number in entry.subscriptions]
            case "session.logon":
                _want_key(True, params)
                account = self._gate.authenticate(params, credentials, now_ms)
                if account.spec.key_type != "ED25519":
                    kind = {"HMAC": "HMAC_SHA256"}.get(account.spec.key_type, account.spec.key_type)
                    raise Refusal(-4056, f"{kind} API key is not supported.")
                self._end_session(link, entry, now_ms)
                entry.session, entry.authorized_ms = account, now_ms
            case "session.logout":
                self._end_session(link, entry, now_ms)
        return {
            "apiKey": entry.session.spec.api_key if entry.session is not None else None,
            "authorizedSince": entry.authorized_ms,
            "connectedSince": entry.opened_ms,
            "returnRateLimits": entry.shows_limits,
            "serverTime": now_ms,
            "userDataStream": bool(entry.subscriptions),
        }

    def _lost_its_session(self, link: int, refused: Refusal, credentials: Credentials, now_ms: int) -> bool:
        """A key that became invalid ends the session at the next request that relies on it."""
        entry = self._links[link]
        if refused.code != -2015 or entry.session is None or credentials.api_key is not None:
            return False
        self._end_session(link, entry, now_ms)
        return True

    def _end_session(self, link: int, entry: ApiLink, now_ms: int) -> None:
        for number in sorted(entry.of_session):
            self._end_subscription(link, entry, number, now_ms)
        entry.session, entry.authorized_ms = None, None

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

    def _answer(
        self,
        link: int,
        request_id: object,
        outcome: dict[str, object],
        account: Account | None,
        shows_limits: bool,
        now_ms: int,
    ) -> None:
        units = self._links[link].units_per_ms
        answer: dict[str, object] = {"id": request_id, **outcome}
        if units != 1:
            answer = {name: timeunit.answer_in(units, value) for name, value in answer.items()}
        if shows_limits:
            orders = account.order_count.as_limits(now_ms) if account is not None else []
            answer["rateLimits"] = [*orders, self._gate.weights.as_limit(now_ms)]
        self._outbox.account.append((link, encode(answer)))


def _want_key(is_wanted: bool, params: Params) -> None:
    if is_wanted and not params.has("apiKey"):
        raise refusal.missing("apiKey")


def _failure(refused: Refusal, now_ms: int) -> dict[str, object]:
    error: dict[str, object] = {"code": refused.code, "msg": refused.text}
    if isinstance(refused, ReplaceRefusal):
        error["data"] = refused.data
    elif refused.retry_at_ms is not None:
        error["data"] = {"serverTime": now_ms, "retryAfter": refused.retry_at_ms}
    return {"status": refused.status, "error": error}
