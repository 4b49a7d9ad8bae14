"""What happens at its time though nobody asks: funding, orders that are good till a date, countdowns."""

from __future__ import annotations

import heapq
from decimal import ROUND_FLOOR
from typing import TYPE_CHECKING, Final

from simex.futures.accounts import STEP, Account
from simex.futures.book import ContractBook
from simex.orders import ZERO

if TYPE_CHECKING:
    from simex.futures.engine import Engine

NEVER_MS: Final = 1 << 62


class Clock:
    """Times that are due, and what is done about them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._alarms: list[int] = []
        self._funded_ms: int | None = None  # settlements up to here are done

    def due_ms(self) -> int:
        """When something is to happen next; funding is only of interest while somebody holds something."""
        due_ms = self._alarms[0] if self._alarms else NEVER_MS
        if self._funded_ms is None:
            return due_ms
        holding = [book.spec for book in self._engine.books.values() if book.holders]
        return min(due_ms, *(spec.next_funding_ms(self._funded_ms) for spec in holding)) if holding else due_ms

    def soonest_ms(self) -> int:
        """Before this nothing can be due, whoever comes to hold something."""
        if self._funded_ms is None:
            return 0
        settlements = (book.spec.next_funding_ms(self._funded_ms) for book in self._engine.books.values())
        return min(self._alarms[0] if self._alarms else NEVER_MS, *settlements)

    def wake_at(self, at_ms: int) -> None:
        """Note a time, zero for none."""
        if at_ms:
            heapq.heappush(self._alarms, at_ms)

    def count_down(self, account: Account, symbol: str, span_ms: int, now_ms: int) -> None:
        """Cancel all orders of the symbol after this time unless told again; zero stops the countdown."""
        if span_ms:
            account.countdowns[symbol] = now_ms + span_ms
            self.wake_at(now_ms + span_ms)
        else:
            account.countdowns.pop(symbol, None)

    def advance(self, now_ms: int) -> None:
        """Do everything that is due by now, in order of time."""
        if self._funded_ms is None:
            self._funded_ms = now_ms
            self._engine.ledger.open(now_ms)
        while (due_ms := self.due_ms()) <= now_ms:
            while self._alarms and self._alarms[0] <= due_ms:
                heapq.heappop(self._alarms)
            self._expire(due_ms)
            for book in self._engine.books.values():
                if due_ms > self._funded_ms and not due_ms % book.spec.funding_interval_ms:
                    self._fund(book, due_ms)
            self._funded_ms = max(self._funded_ms, due_ms)
        self._funded_ms = max(self._funded_ms, now_ms)

    def _fund(self, book: ContractBook, at_ms: int) -> None:
        """Longs pay shorts (or are paid, at a negative rate) on the notional at mark; at a rate of zero nobody pays."""
        engine, spec = self._engine, book.spec
        mark, rate = book.mark or ZERO, spec.rate_at(at_ms)
        if not rate:
            return
        for account in list(book.holders):
            for position in list(account.held(spec.symbol)):
                payment = (-position.amount * mark * rate).quantize(STEP, ROUND_FLOOR)
                engine.ledger.book(account, spec.margin_asset, payment, "FUNDING_FEE", at_ms, spec.symbol, "")
                touched = []
                if account.is_isolated(position):
                    position.isolated += payment
                    touched = [position]
                changes = {spec.margin_asset: payment}
                engine.outlet.account(account, "FUNDING_FEE", changes, touched, at_ms, spec.symbol)
            engine.lifecycle.stir(account)
        if book.holders:
            engine.look(book, at_ms)

    def _expire(self, at_ms: int) -> None:
        for account in self._engine.ledger.accounts.values():
            over = [symbol for symbol, ends_ms in account.countdowns.items() if ends_ms <= at_ms]
            for symbol in over:
                del account.countdowns[symbol]
                for order in account.open_on(symbol):
                    self._engine.cancel(order, at_ms)
            for order in list(account.open.values()):
                if 0 < order.ticket.good_till_ms <= at_ms:
                    self._engine.lifecycle.finish(order, "CANCELED", at_ms)
        self._engine.algos.expire(at_ms)
