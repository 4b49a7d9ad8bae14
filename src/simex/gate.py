"""Admission: address limits, key, timing and signature of a request, in the order Binance checks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from simex import refusal, signing
from simex.accounts import Account
from simex.calls import Ask, Call
from simex.engine import Engine
from simex.limits import WeightBudget
from simex.params import Params
from simex.refusal import Refusal
from simex.venue import AccountSpec, KeyRights

RECV_WINDOW_DEFAULT_MS: Final = Decimal(5000)
RECV_WINDOW_MAX_MS: Final = Decimal(60_000)
AHEAD_MAX_MS: Final = 1000
ADDRESS: Final = "127.0.0.1"  # the exchange listens on the loopback address only
_MICROSECONDS_FROM: Final = 10**15
_KEY: Final = re.compile(r"[A-Za-z0-9_\-]+")
_RECV_WINDOW: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its sender; `payload` is what its signature covers."""

    api_key: str | None
    payload: bytes


class Owner(Protocol):
    """Whoever has a key."""

    @property
    def spec(self) -> AccountSpec: ...

    @property
    def rights(self) -> KeyRights | None: ...


AnyOwner = TypeVar("AnyOwner", bound=Owner)


class Gate:
    """Lets requests in, or refuses them before anything else looks at them."""

    def __init__(self, engine: Engine, weights: WeightBudget) -> None:
        self._engine = engine
        self._accounts: Mapping[str, Account] = engine.ledger.accounts
        self.weights = weights
        self.skew_ms = 0  # what the clock is off that time stamps are judged by

    def serve(
        self, call: Call, params: Params, credentials: Credentials, now_ms: int, session: Account | None = None
    ) -> tuple[object, Account | None]:
        """Charge, check, answer. A trading call that succeeds gets its weight back.

        `session` is who logged on to the link: then the request needs neither key nor signature.
        """
        weight = weight_of(call.weight, params)
        self.weights.charge(weight, now_ms)
        account: Account | None = None
        if call.is_signed:
            account = self.admit(params, credentials, now_ms, session)
            if call.is_trading or call.wants_trading:
                check_right_to_trade(account, now_ms)
        answer = call.answer(Ask(self._engine, params, account, now_ms))
        if call.is_trading or (call.free_if is not None and call.free_if(answer)):
            self.weights.refund(weight, now_ms)
        return answer, account

    def admit(self, params: Params, credentials: Credentials, now_ms: int, session: Account | None) -> Account:
        """The account behind a signed request: of its own key, else of the session."""
        return admit(self._accounts, params, credentials, now_ms + self.skew_ms, session)

    def authenticate(self, params: Params, credentials: Credentials, now_ms: int) -> Account:
        """The account that signed the request; Refusal -2014, -2015, -1102, -1021 or -1022."""
        return authenticate(self._accounts, params, credentials, now_ms + self.skew_ms)


def identify(accounts: Mapping[str, AnyOwner], credentials: Credentials) -> AnyOwner:
    """The account whose key this is; Refusal -2014 or -2015."""
    key = credentials.api_key
    if key is None or not _KEY.fullmatch(key):
        raise refusal.bad_key_format()
    account = accounts.get(key)
    if account is None:
        raise refusal.bad_key()
    check_key(account)
    return account


def authenticate(accounts: Mapping[str, AnyOwner], params: Params, credentials: Credentials, now_ms: int) -> AnyOwner:
    """The account that signed the request; Refusal -2014, -2015, -1102, -1021 or -1022."""
    account = identify(accounts, credentials)
    signature = params.text("signature")
    check_timing(params, now_ms)
    spec = account.spec
    if not signing.verify(spec.key_type, spec.secret, credentials.payload, signature):
        raise Refusal(-1022, "Signature for this request is not valid.")
    return account


def admit(
    accounts: Mapping[str, AnyOwner], params: Params, credentials: Credentials, now_ms: int, session: AnyOwner | None
) -> AnyOwner:
    """The account behind a signed request: of its own key, else of the session."""
    if session is None or credentials.api_key is not None:
        return authenticate(accounts, params, credentials, now_ms)
    check_key(session)
    check_timing(params, now_ms)
    return session


def check_key(account: Owner) -> None:
    """Refusal -2015 when the key is gone, may not read, or is not for the address all clients here have."""
    rights = account.rights
    if rights is None or not rights.may_read or (rights.addresses and ADDRESS not in rights.addresses):
        raise refusal.bad_key()


def check_right_to_trade(account: Account, now_ms: int) -> None:
    rights = account.rights
    if rights is None or not rights.may_trade_spot or (rights.expires_ms is not None and now_ms >= rights.expires_ms):
        raise refusal.bad_key()


def weight_of(weight: int | Callable[[Params], int], params: Params) -> int:
    """What a call weighs; a call whose parameters cannot be read weighs one."""
    try:
        return weight if isinstance(weight, int) else weight(params)
    except Refusal:
        return 1


def check_timing(params: Params, now_ms: int) -> None:
    """Refusal -1102 or -1021 when the time stamp is missing, too early or too old."""
    stamp = params.maybe_integer("timestamp")
    if stamp is None:
        raise refusal.missing("timestamp")
    at_ms = Decimal(stamp) / 1000 if stamp >= _MICROSECONDS_FROM else Decimal(stamp)
    window_ms = _recv_window(params)
    if at_ms >= now_ms + AHEAD_MAX_MS:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - at_ms > window_ms:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def _recv_window(params: Params) -> Decimal:
    text = params.maybe("recvWindow")
    if text is None:
        return RECV_WINDOW_DEFAULT_MS
    if not _RECV_WINDOW.fullmatch(text):
        raise refusal.missing("recvWindow")
    window_ms = Decimal(text)
    if window_ms > RECV_WINDOW_MAX_MS:
        raise Refusal(-1102, "'recvWindow' contains unexpected value. Cannot be greater than 60000.")
    return window_ms
