"""What a request to the futures market may ask for, and how it is admitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simex import gate, refusal
from simex.futures.accounts import Account
from simex.futures.book import ContractBook
from simex.futures.engine import Engine
from simex.futures.limits import FundingCalls
from simex.futures.private import ListenKeys, PrivateLinks
from simex.gate import Credentials
from simex.limits import WeightBudget
from simex.params import Params

API: Final = "/fapi/v1"
API2: Final = "/fapi/v2"
API3: Final = "/fapi/v3"


@dataclass(frozen=True, slots=True)
class Desk:
    """What calls act on."""

    engine: Engine
    keys: ListenKeys
    links: PrivateLinks


@dataclass(frozen=True, slots=True)
class Ask:
    """One admitted request; `caller` is None on public calls."""

    desk: Desk
    params: Params
    caller: Account | None
    now_ms: int

    @property
    def engine(self) -> Engine:
        return self.desk.engine

    @property
    def account(self) -> Account:
        assert self.caller is not None, "a public call has no account"
        return self.caller

    @property
    def book(self) -> ContractBook:
        """The book of the mandatory parameter `symbol`."""
        return self.book_of(self.params.text("symbol"))

    def book_of(self, symbol: str) -> ContractBook:
        book = self.engine.books.get(symbol)
        if book is None:
            raise refusal.bad_symbol()
        return book

    @property
    def books(self) -> list[ContractBook]:
        """The book of `symbol`, or all of them without it."""
        return [self.book] if self.params.has("symbol") else list(self.engine.books.values())


@dataclass(frozen=True, slots=True)
class Call:
    """How a call is reached, what it weighs, who may make it, and what answers it.

    `needs` is a key alone, or a signed request too; `shows_counts` for what places orders.
    """

    answer: Callable[[Ask], object]
    weight: int | Callable[[Params], int]
    needs: str = "nothing"
    is_trading: bool = False
    shows_counts: bool = False
    is_about_funding: bool = False  # counts towards a limit of its own


def trading(answer: Callable[[Ask], object], weight: int, shows_counts: bool = False) -> Call:
    """A signed call that changes something."""
    return Call(answer, weight, "signature", is_trading=True, shows_counts=shows_counts)


def reading(answer: Callable[[Ask], object], weight: int | Callable[[Params], int]) -> Call:
    """A signed call that changes nothing."""
    return Call(answer, weight, "signature")


def one_or_all(one: int, everything: int) -> Callable[[Params], int]:
    """A weight with the symbol, another without it."""
    return lambda params: one if params.has("symbol") else everything


class Gate:
    """Lets requests in, or refuses them before anything else looks at them."""

    def __init__(self, desk: Desk, weights: WeightBudget) -> None:
        self._desk = desk
        self._accounts: Mapping[str, Account] = desk.engine.ledger.accounts
        self.weights = weights
        self.skew_ms = 0  # what the clock is off that time stamps are judged by
        self._funding = FundingCalls()

    def serve(
        self, call: Call, params: Params, credentials: Credentials, now_ms: int, session: Account | None = None
    ) -> tuple[object, Account | None]:
        """Charge, check, answer; `session` is who logged on to the link."""
        self.weights.charge(gate.weight_of(call.weight, params), now_ms)
        if call.is_about_funding:
            self._funding.admit(now_ms)
        account: Account | None = None
        if call.needs == "key":
            account = gate.identify(self._accounts, credentials)
        elif call.needs == "signature":
            account = self.admit(params, credentials, now_ms, session)
        if call.is_trading and account is not None:
            _check_right_to_trade(account, now_ms)
        return call.answer(Ask(self._desk, params, account, now_ms)), account

    def admit(self, params: Params, credentials: Credentials, now_ms: int, session: Account | None) -> Account:
        """The account behind a signed request: of its own key, else of the session."""
        return gate.admit(self._accounts, params, credentials, now_ms + self.skew_ms, session)


def _check_right_to_trade(account: Account, now_ms: int) -> None:
    rights = account.rights
    if (
        rights is None
        or not rights.may_trade_futures
        or (rights.expires_ms is not None and now_ms >= rights.expires_ms)
    ):
        raise refusal.bad_key()
