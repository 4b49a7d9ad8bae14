"""The futures market of the simulated exchange: its contracts, accounts and wire; it is a machine too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from simex.frames import Outbox
from simex.futures.book import ContractStatus
from simex.futures.calls import Desk, Gate
from simex.futures.contracts import ContractSpec, MarkTold
from simex.futures.engine import Engine
from simex.futures.events import UserEvents
from simex.futures.limits import WEIGHT_PER_MINUTE
from simex.futures.private import ListenKeys, PrivateLinks
from simex.futures.rest import Rest
from simex.futures.socket_api import SocketApi
from simex.futures.streams import MARKET, PUBLIC, UmStreams
from simex.limits import WeightBudget
from simex.streams import Streams
from simex.strip import Strip
from simex.trades import KEPT_TRADES, Trade, TradeLog
from simex.venue import AccountSpec, Candle, FillModel, HttpRequest, HttpResponse, KeyRights, SymbolStatus, Undocumented

PREFIXES: Final = ("/fapi/", "/futures/data/")


class Futures:
    """Contracts, accounts, and the wire of /fapi, /ws-fapi and the stream paths."""

    def __init__(
        self,
        contracts: Sequence[ContractSpec],
        accounts: Sequence[AccountSpec],
        model: FillModel,
        outbox: Outbox,
        kept_ms: int,
        rules: Undocumented,
        *,
        forming_klines: bool = True,
        kept_trades: int = KEPT_TRADES,
        is_alone: bool = False,
    ) -> None:
        """`is_alone`: no other market has the stream paths without a prefix; they deliver public streams only."""
        is_combined: dict[int, bool] = {}
        self._model = model
        self._events = UserEvents(outbox, is_combined)
        self.engine = Engine(contracts, accounts, model, self._events, kept_ms, rules)
        self._events.marks = self.engine.margins
        self.books = self.engine.books
        if kept_trades:
            for book in self.books.values():
                book.log = TradeLog(kept_trades)
        paths: dict[str, str | None] = {f"/{group}": group for group in (PUBLIC, MARKET)}
        if is_alone:
            paths[""] = PUBLIC
        self._streams = Streams(UmStreams(self.books, rules), outbox, forming_klines, paths)
        self._feeds = self._streams.feeds
        self._keys = ListenKeys()
        self._private = PrivateLinks(self._keys, self._events, outbox, is_combined)
        self.gate = gate = Gate(Desk(self.engine, self._keys, self._private), WeightBudget(WEIGHT_PER_MINUTE))
        self._rest = Rest(gate)
        self._socket_api = SocketApi(gate, outbox)
        self._nothing_before_ms = 0  # nothing is due, so that a print need not ask

    # -- the wire -----------------------------------------------------------------------------------------------

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse:
        self.advance(now_ms)
        answer = self._rest.serve(request, now_ms)
        self._look_ahead()
        return answer

    def ws_open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to the WebSocket API or to streams; False for any other path."""
        self.advance(now_ms)
        return (
            self._socket_api.open(link, target, now_ms)
            or self._private.open(link, target)
            or self._streams.open(link, target, now_ms)
        )

    def ws_text(self, link: int, text: str, now_ms: int) -> bool:
        """False when the link is none of this market's."""
        self.advance(now_ms)
        if self._socket_api.has(link):
            self._socket_api.receive(link, text, now_ms)
            self._look_ahead()
        elif self._private.has(link):
            self._private.receive(link, text)
        elif self._streams.has(link):
            self._streams.receive(link, text, now_ms)
        else:
            return False
        return True

    def ws_close(self, link: int) -> bool:
        return self._socket_api.close(link) or self._private.close(link) or self._streams.close(link)

    def hears_account(self, link: int) -> bool:
        """Whether some account's events are heard on this link."""
        return self._private.hears(link)

    # -- the market ---------------------------------------------------------------------------------------------

    def load_history(self, symbol: str, candles: Sequence[Candle]) -> None:
        self.books[symbol].load_history(candles)

    def advance(self, now_ms: int) -> None:
        """Do what is due by now: funding, dated orders, countdowns, listenKeys."""
        if now_ms < self._nothing_before_ms:
            return
        while (key := self._keys.take_expired(now_ms)) is not None:
            self.engine.clock.advance(key.expires_ms)
            self._private.expire(key, key.expires_ms)
        self.engine.clock.advance(now_ms)
        self._look_ahead()

    def print(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        """A public trade; prices between two ticks count as the nearest tick."""
        book = self.books[symbol]
        tick = book.spec.tick_size
        if price % tick:
            price = (price / tick).to_integral_value(ROUND_HALF_EVEN) * tick
        self.advance(now_ms)
        if book.status != "TRADING":
            return
        if now_ms >= book.series.next_close_ms:
            self._close_klines(symbol, now_ms)
        if book.told is not None:
            book.basis = book.told[0] - price
        book.series.print(price, volume, now_ms)
        trade_id = book.series.trade_id
        self.engine.print(book, price, liquidity, now_ms)
        if book.log is not None:
            book.log.add(Trade(trade_id, price, volume, now_ms, book.is_buyer_maker))
        if told and self._feeds[symbol].is_watched:
            self._streams.printed(symbol, price, volume, trade_id, now_ms)

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int, told: bool = True) -> None:
        """As `Exchange.pass_candles`."""
        book = self.books[symbol]
        if book.status != "TRADING":
            return
        if strip.open_ms[start] >= book.series.next_close_ms:
            self._close_klines(symbol, strip.open_ms[start])
        if not book.is_quiet:
            calm = self.engine.calm(book)
            if calm is None or not strip.lies_within(start, end, *calm):
                raise ValueError(f"{symbol}: an order or a margin would notice these candles: print them one by one")
            if strip.end_ms(end - 1) > self.due_ms():
                raise ValueError(f"{symbol}: something is due inside these candles")
        book.pass_candles(strip, start, end, self._model.volume_share, told)

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """Prints between these two prices, exclusive, change nobody's order, conditional order or margin."""
        return self.engine.calm(self.books[symbol])

    def is_idle(self, symbol: str) -> bool:
        """Nobody has an order, a conditional order or a position, or would see the prints inside a candle."""
        return self.books[symbol].is_quiet and not self._feeds[symbol].is_watched

    def due_ms(self) -> int:
        """When something is to happen to orders or wallets that no print causes."""
        return self.engine.clock.due_ms()

    def wake(self, now_ms: int) -> None:
        """Do and tell what is due now though nothing was printed."""
        self.advance(now_ms)
        self._streams.wake(now_ms)

    def deadline_ms(self) -> int:
        """When `wake` is next due, if nothing happens before."""
        due_ms = min(self.due_ms(), self._keys.next_expiry_ms())
        told_ms = self._streams.deadline_ms()
        return due_ms if told_ms is None else min(told_ms, due_ms)

    def roll(self, now_ms: int) -> None:
        """Do what is due, and close the klines whose interval has ended."""
        self.advance(now_ms)
        for symbol in self.books:
            self._close_klines(symbol, now_ms)

    def stop_side(self, symbol: str) -> int:
        """-1: protective sell stops wait below, +1: buy stops above, 0: none."""
        for algo in self.books[symbol].algos:
            if algo.ticket.orig_type in ("STOP", "STOP_MARKET", "TRAILING_STOP_MARKET"):
                return 1 if algo.ticket.side == "BUY" else -1
        return 0

    def mark_price(self, symbol: str) -> Decimal | None:
        """None before the first price."""
        return self.books[symbol].mark

    def set_basis(self, symbol: str, basis: Decimal, now_ms: int) -> None:
        """What the mark price is above the index price from now on; margins and triggers follow at once."""
        book = self.books[symbol]
        book.basis = basis
        for account in book.holders:
            self.engine.lifecycle.stir(account)
        book.guard = None
        if book.last is not None:
            self.engine.look(book, now_ms)

    def tell_mark(self, symbol: str, told: MarkTold, now_ms: int) -> None:
        """Mark price, index price and next funding rate of a market that tells them, until it tells others."""
        book = self.books[symbol]
        book.told = told.mark, told.index
        settled = tuple(entry for entry in book.spec.funding_rates if entry[0] < told.settles_ms)
        book.spec = replace(book.spec, funding_rates=(*settled, (told.settles_ms, told.rate)))
        if book.last is not None:
            self.set_basis(symbol, told.mark - book.last, now_ms)

    # -- the operator -------------------------------------------------------------------------------------------

    def transfer(self, account: str, asset: str, amount: Decimal, now_ms: int) -> None:
        """Money into (negative: out of) a futures wallet; KeyError, or ValueError when more is taken than may leave."""
        owner = self.engine.ledger.accounts[account]
        if amount < 0 and -amount > self.engine.margins.withdrawable(owner, asset):
            raise ValueError(f"less than {-amount} {asset} may leave the account")
        self.engine.ledger.book(owner, asset, amount, "TRANSFER", now_ms)
        self.engine.lifecycle.stir(owner)
        self._events.account(owner, "DEPOSIT" if amount > 0 else "WITHDRAW", {asset: amount}, [], now_ms)

    def charge(self, account: str, asset: str, amount: Decimal, now_ms: int) -> None:
        """Take money out of a futures wallet as funding takes it: a loss without a trade. KeyError."""
        owner = self.engine.ledger.accounts[account]
        self.engine.ledger.book(owner, asset, -amount, "FUNDING_FEE", now_ms)
        self.engine.lifecycle.stir(owner)
        self._events.account(owner, "FUNDING_FEE", {asset: -amount}, [], now_ms)

    def deleverage(self, account: str, symbol: str, quantity: Decimal, price: Decimal, now_ms: int) -> None:
        """Close some of a position against its owner's will, as auto-deleveraging does.

        KeyError for an unknown key; ValueError when that much is not held in one-way mode, or for no lot or tick.
        """
        self.advance(now_ms)
        owner, book = self.engine.ledger.accounts[account], self.books[symbol]
        position, spec = owner.position(symbol, "BOTH"), book.spec
        if not 0 < quantity <= abs(position.amount):
            raise ValueError(f"{position.amount:f} of {symbol} are held")
        if quantity % spec.lot_size or price <= 0 or price % spec.tick_size:
            raise ValueError(f"{symbol} is traded in steps of {spec.lot_size} at multiples of {spec.tick_size}")
        self.engine.liquidator.deleverage(owner, position, quantity, price, now_ms)
        self._look_ahead()

    def set_status(self, symbol: str, status: SymbolStatus) -> None:
        """Unless it is TRADING a contract takes no orders and nothing is printed on it; orders can be cancelled."""
        states: dict[SymbolStatus, ContractStatus] = {"TRADING": "TRADING", "CANCEL_ONLY": "PRE_SETTLE"}
        self.books[symbol].status = states.get(status, "PENDING_TRADING")

    def announce_delisting(self, symbol: str, at_ms: int) -> None:
        """Tell by its date of delivery when a contract ends."""
        self.books[symbol].delivery_ms = at_ms

    def delist(self, symbol: str, now_ms: int) -> None:
        """End a contract: its orders expire, its positions are closed at the mark price."""
        self.advance(now_ms)
        self.engine.delist(self.books[symbol], now_ms)
        self.books[symbol].delivery_ms = now_ms
        self._look_ahead()

    def change_key(self, account: str, rights: KeyRights | None) -> None:
        self.engine.ledger.accounts[account].rights = rights

    def _look_ahead(self) -> None:
        self._nothing_before_ms = min(self.engine.clock.soonest_ms(), self._keys.next_expiry_ms())

    def check_books(self) -> None:
        """AssertionError when money was made or lost, or a wallet or position does not add up."""
        self.engine.ledger.check()

    def _close_klines(self, symbol: str, now_ms: int) -> None:
        for interval, bar in self.books[symbol].series.close_until(now_ms):
            self._streams.closed(symbol, interval, bar, now_ms)
