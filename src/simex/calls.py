"""What a request may ask for: the shape of a call, and how its caller and its subject are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simex import refusal
from simex.accounts import Account
from simex.book import Book
from simex.engine import Engine
from simex.params import Params
from simex.refusal import Refusal

API: Final = "/api/v3"
SYMBOL_STATUSES: Final = ("TRADING", "HALT", "BREAK")


@dataclass(frozen=True, slots=True)
class Ask:
    """One admitted request; `caller` is None on public calls."""

    engine: Engine
    params: Params
    caller: Account | None
    now_ms: int

    @property
    def account(self) -> Account:
        assert self.caller is not None, "a public call has no account"
        return self.caller

    @property
    def book(self) -> Book:
        """The book of the mandatory parameter `symbol`."""
        return self.book_of(self.params.text("symbol"))

    @property
    def books(self) -> list[Book]:
        """The books of `symbol` or `symbols`; of neither, all. Refusal -1128 for both.

        `symbolStatus` leaves out those in another state; a single one is refused with -1220.
        """
        status = self.symbol_status
        if self.params.has("symbol"):
            if self.params.has("symbols"):
                raise refusal.bad_combination()
            if status not in (None, self.book.status):
                raise Refusal(-1220, "The symbol's status does not match the requested symbolStatus.")
            return [self.book]
        if self.params.has("symbols"):
            found = [self.book_of(symbol) for symbol in self.params.symbols()]
        else:
            found = list(self.engine.books.values())
        return found if status is None else [book for book in found if book.status == status]

    @property
    def symbol_status(self) -> str | None:
        """The parameter `symbolStatus`; Refusal -1122 for what is none."""
        status = self.params.maybe("symbolStatus")
        if status is not None and status not in SYMBOL_STATUSES:
            raise Refusal(-1122, "Invalid symbolStatus.")
        return status

    def book_of(self, symbol: str) -> Book:
        book = self.engine.books.get(symbol)
        if book is None:
            raise refusal.bad_symbol()
        return book


@dataclass(frozen=True, slots=True)
class Call:
    """How a call is reached, what it weighs, who may make it, and what answers it."""

    answer: Callable[[Ask], object]
    weight: int | Callable[[Params], int]
    is_signed: bool = False
    is_trading: bool = False  # Costs nothing when it succeeds, and shows the order counts.
    wants_trading: bool = False  # Needs the right to trade like the trading calls, and costs its weight.
    free_if: Callable[[object], bool] | None = None  # Of those that cost their weight: which answers do not.
