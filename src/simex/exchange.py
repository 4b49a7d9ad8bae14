"""The simulated exchange: a machine without I/O, clock or chance.

Requests and prints go in with the time at which they happen; answers come back, frames wait until they are taken. The
same object stands behind real sockets and inside the virtual-time backtest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from simex.book import Book
from simex.engine import Engine
from simex.frames import Outbox
from simex.futures.book import EVERYTHING, ContractBook
from simex.futures.clock import NEVER_MS
from simex.futures.contracts import ContractSpec
from simex.futures.exchange import PREFIXES, Futures
from simex.gate import Gate
from simex.klines import KEPT_MS
from simex.limits import RAW_REQUESTS_PER_5M, WeightBudget
from simex.refusal import Refusal
from simex.rest import Rest
from simex.socket_api import SocketApi
from simex.spot_streams import SpotStreams
from simex.streams import Streams
from simex.strip import Strip
from simex.trades import KEPT_TRADES, Trade, TradeLog
from simex.user_events import UserEvents
from simex.venue import (
    AccountSpec,
    Candle,
    ExchangeFilters,
    FillModel,
    HttpRequest,
    HttpResponse,
    InstrumentSpec,
    KeyRights,
    SymbolStatus,
    Undocumented,
)

CCXT_PREFIX: Final = "/stream-sim"  # ccxt knows spot streams by a "/stream" in their address
NOWHERE: Final = (Decimal(1), Decimal(0))  # a range without prices


class Exchange:
    """Instruments, accounts, the wire and the market."""

    def __init__(
        self,
        instruments: Sequence[InstrumentSpec],
        accounts: Sequence[AccountSpec],
        *,
        model: FillModel | None = None,
        forming_klines: bool = True,
        kept_ms: int = KEPT_MS,
        kept_trades: int = KEPT_TRADES,
        exchange_filters: ExchangeFilters | None = None,
        contracts: Sequence[ContractSpec] = (),
        rules: Undocumented | None = None,
    ) -> None:
        """How far back can be read, at least, of what is printed here: candles in ms, trades in their number.

        With contracts there is a futures market too; a print of a symbol goes to all markets that have it.
        """
        self.model = FillModel() if model is None else model
        rules = Undocumented() if rules is None else rules
        self._outbox = Outbox()
        self._events = UserEvents(self._outbox)
        self._engine = Engine(
            instruments, accounts, self.model, self._events, kept_ms, exchange_filters or ExchangeFilters(), rules
        )
        self._books = self._engine.books
        if kept_trades:
            for book in self._books.values():
                book.log = TradeLog(kept_trades)
        self._gate = gate = Gate(self._engine, WeightBudget(raw_limit=RAW_REQUESTS_PER_5M))
        self._rest = Rest(gate)
        # Without a spot market the paths without a prefix are the futures market's.
        paths: dict[str, str | None] = {"": None, CCXT_PREFIX: None} if instruments else {}
        self._streams = Streams(SpotStreams(self._books), self._outbox, forming_klines, paths)
        self._feeds = self._streams.feeds
        self._socket_api = SocketApi(gate, self._outbox)
        self.futures: Futures | None = None
        if contracts:
            self.futures = Futures(
                contracts, accounts, self.model, self._outbox, kept_ms, rules,
                forming_klines=forming_klines, kept_trades=kept_trades, is_alone=not instruments,
            )  # fmt: skip
        others = () if self.futures is None else (self.futures.books,)
        self._markets: tuple[Mapping[str, Book] | Mapping[str, ContractBook], ...] = (self._books, *others)

    # -- the wire -----------------------------------------------------------------------------------------------

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse:
        """Answer one HTTP request that arrives now."""
        if self.futures is not None and request.target.startswith(PREFIXES):
            return self.futures.rest(request, now_ms)
        return self._rest.serve(request, now_ms)

    def ws_open(self, link: int, target: str, now_ms: int) -> bool:
        """A WebSocket connection by its raw target; False when it is refused: `rest` says why, asked for the same."""
        try:
            if self.futures is not None and self.futures.ws_open(link, target, now_ms):
                return True
            return self._socket_api.open(link, target, now_ms) or self._streams.open(link, target, now_ms)
        except Refusal:
            return False

    def ws_text(self, link: int, text: str, now_ms: int) -> None:
        """A text frame from a client; KeyError for a link that is not open."""
        if self._socket_api.has(link):
            self._socket_api.receive(link, text, now_ms)
        elif self.futures is None or not self.futures.ws_text(link, text, now_ms):
            self._streams.receive(link, text, now_ms)

    def ws_close(self, link: int) -> None:
        """A connection is gone; what was queued for it is dropped."""
        if not self._socket_api.close(link) and not (self.futures is not None and self.futures.ws_close(link)):
            self._streams.close(link)
        self._outbox.forget(link)

    def wake(self, now_ms: int) -> None:
        """Do and tell what is due now though nothing was printed."""
        if self.futures is not None:
            self.futures.wake(now_ms)
        self._streams.wake(now_ms)

    def deadline_ms(self) -> int | None:
        """When `wake` is next due, if nothing happens before; None when nothing waits."""
        if self.futures is None:
            return self._streams.deadline_ms()
        due_ms = min(self._streams.deadline_ms() or NEVER_MS, self.futures.deadline_ms())
        return due_ms if due_ms < NEVER_MS else None

    def hears_account(self, link: int) -> bool:
        """Whether some account's events are heard on this link."""
        return self._socket_api.hears_account(link) or (self.futures is not None and self.futures.hears_account(link))

    def take_frames(self) -> list[tuple[int, str]]:
        """Queued frames as (link, text): those about accounts first, each kind in order of emission."""
        return self._outbox.take()

    # -- the market ---------------------------------------------------------------------------------------------

    def load_history(self, symbol: str, candles: Sequence[Candle]) -> None:
        """Closed base candles before the start, oldest first; ValueError when they overlap or come after a print."""
        if self.futures is not None and symbol in self.futures.books:
            self.futures.load_history(symbol, candles)
        if symbol in self._books:
            self._books[symbol].load_history(candles)

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        """One public print; `liquidity` is the most base quantity that clients may trade until the next one.

        It is kept from the watchers of prices and trades when it is not to be told.
        """
        if self.futures is not None and symbol in self.futures.books:
            self.futures.print(symbol, price, volume, liquidity, now_ms, told)
        book = self._books.get(symbol)
        if book is None or book.status != "TRADING":
            return
        feed, series = self._feeds[symbol], book.series
        if now_ms >= series.next_close_ms:
            self._close_klines(symbol, now_ms)
        series.print(price, volume, now_ms)
        trade_id = series.trade_id
        self._engine.print(book, price, liquidity, now_ms)
        if book.log is not None:
            book.log.add(Trade(trade_id, price, volume, now_ms, book.is_buyer_maker))
        if told and feed.is_watched:
            self._streams.printed(symbol, price, volume, trade_id, now_ms)

    def quote(self, symbol: str, bid: Decimal, ask: Decimal) -> None:
        """The best prices of a market that tells them; without, they lie around its last print."""
        for market in self._markets:
            if symbol in market:
                market[symbol].quoted(bid, ask)

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int, told: bool = True) -> None:
        """Base candles of a strip in one go, from `start` to `end`, exclusive; the first one's open may be printed.

        ValueError when an order or somebody's kline would not pass over them, or more of the first one was printed.
        Klines that are not to be `told` may end there and with them; nobody hears of them.
        """
        if self.futures is not None and symbol in self.futures.books:
            self.futures.pass_candles(symbol, strip, start, end, told)
        book = self._books.get(symbol)
        if book is None or book.status != "TRADING":
            return
        if strip.open_ms[start] >= book.series.next_close_ms:
            self._close_klines(symbol, strip.open_ms[start])
        if book.open_count and not strip.lies_within(start, end, *(book.calm or NOWHERE)):
            raise ValueError(f"{symbol}: an order would notice these candles: their prints must be made one by one")
        book.pass_candles(strip, start, end, self.model.volume_share, told)

    def quote_at(self, symbol: str, price: Decimal) -> tuple[Decimal, Decimal]:
        """The bid and ask that a print at this price would make, as long as no order is nearer."""
        return next(market[symbol] for market in self._markets if symbol in market).quote_at(price)

    def due_ms(self) -> int:
        """When something is to happen to orders or wallets that no print causes."""
        return NEVER_MS if self.futures is None else self.futures.due_ms()

    def next_close_ms(self, symbol: str) -> int:
        """When the next kline ends that somebody listens to, or something else is due."""
        if self.futures is None:
            return self._books[symbol].series.next_close_ms
        close_ms = min(market[symbol].series.next_close_ms for market in self._markets if symbol in market)
        return min(close_ms, self.futures.due_ms())

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """Prints between these two prices, exclusive, change nobody's order, nor the middle of the best prices.

        None when any print would.
        """
        if self.futures is None or symbol not in self.futures.books:
            return self._books[symbol].calm
        ranges = [self.futures.calm(symbol), self._books[symbol].calm if symbol in self._books else EVERYTHING]
        known = [entry for entry in ranges if entry is not None]
        return (max(low for low, _ in known), min(high for _, high in known)) if len(known) == len(ranges) else None

    def is_idle(self, symbol: str) -> bool:
        """No open orders, and nobody who would see the prints inside a candle."""
        if self.futures is not None and symbol in self.futures.books and not self.futures.is_idle(symbol):
            return False
        book = self._books.get(symbol)
        return book is None or (not book.open_count and not self._feeds[symbol].is_watched)

    def roll(self, now_ms: int) -> None:
        """Close the klines whose interval has ended by now."""
        if self.futures is not None:
            self.futures.roll(now_ms)
        for symbol in self._books:
            self._close_klines(symbol, now_ms)

    def stop_side(self, symbol: str) -> int:
        """-1: sell stops rest below, +1: buy stops rest above, 0: none."""
        book = self._books.get(symbol)
        side = book.stop_side() if book is not None else 0
        return side or (self.futures.stop_side(symbol) if self.futures is not None else 0)

    def last_price(self, symbol: str) -> Decimal | None:
        """The last print, before the first one the last close of the history; None without either."""
        return next(market[symbol].last for market in self._markets if symbol in market)

    # -- the operator -------------------------------------------------------------------------------------------

    def deposit(self, account: str, asset: str, amount: Decimal, now_ms: int) -> None:
        """Money from outside (negative: to outside) for the account with this key.

        KeyError for an unknown key, ValueError when more is withdrawn than is free.
        """
        owner = self._engine.ledger.accounts[account]
        self._engine.deposit(owner, asset, amount, now_ms)
        self._events.deposited(owner, asset, amount, now_ms)

    def change_key(self, account: str, rights: KeyRights | None) -> None:
        """What the key may do from now on; None deletes it. KeyError for an unknown key."""
        self._engine.ledger.accounts[account].rights = rights
        if self.futures is not None:
            self.futures.change_key(account, rights)

    def set_clock_skew(self, skew_ms: int) -> None:
        """What the clock is off from now on that the time stamps of requests are judged by."""
        self._gate.skew_ms = skew_ms
        if self.futures is not None:
            self.futures.gate.skew_ms = skew_ms

    @property
    def spot_symbols(self) -> tuple[str, ...]:
        return tuple(self._books)

    @property
    def tick_sizes(self) -> dict[str, Decimal]:
        """The price steps of all symbols; of one that is traded on both markets, the spot market's."""
        return {symbol: book.spec.tick_size for market in reversed(self._markets) for symbol, book in market.items()}

    def symbol_states(self) -> dict[str, dict[str, object]]:
        """Last price and status, for people; a price that is not known is None."""
        states: dict[str, dict[str, object]] = {}
        for symbol in self.tick_sizes:
            last = self.last_price(symbol)
            status = next(market[symbol].status for market in self._markets if symbol in market)
            states[symbol] = {"last_price": None if last is None else f"{last:f}", "status": status}
        return states

    def set_symbol_status(self, symbol: str, status: SymbolStatus) -> None:
        """Open, halt or close a symbol on all markets that have it: unless it is TRADING nothing is printed on it.

        KeyError when unknown.
        """
        self._known(symbol)
        if symbol in self._books:
            self._books[symbol].status = status
        if self.futures is not None and symbol in self.futures.books:
            self.futures.set_status(symbol, status)

    def change_rules(self, symbol: str, **rules: object) -> None:
        """Other rules of a spot symbol, by the names of `InstrumentSpec`; orders that rest stay as they are.

        KeyError when unknown.
        """
        book = self._books[symbol]
        book.spec = replace(book.spec, **rules)  # type: ignore[arg-type]

    def announce_delisting(self, symbol: str, at_ms: int) -> None:
        """Let clients read when a symbol ends: in the schedule of delistings, of a contract in its date of delivery.

        KeyError when unknown.
        """
        self._known(symbol)
        if symbol in self._books:
            self._engine.delistings[symbol] = at_ms
        if self.futures is not None and symbol in self.futures.books:
            self.futures.announce_delisting(symbol, at_ms)

    def delist(self, symbol: str, now_ms: int) -> None:
        """Expire all orders of a symbol, close futures positions, and close it for good. KeyError when unknown."""
        self._known(symbol)
        if self.futures is not None and symbol in self.futures.books:
            self.futures.delist(symbol, now_ms)
        if symbol in self._books:
            self._engine.expire_all(self._books[symbol], now_ms)
            self._engine.delistings.pop(symbol, None)
            self._books[symbol].status = "BREAK"

    def _known(self, symbol: str) -> None:
        if symbol not in self.tick_sizes:
            raise KeyError(symbol)

    def set_reference_price(self, symbol: str, price: Decimal | None, now_ms: int) -> None:
        """What filters and the price range of takers measure against; None takes it away. KeyError when unknown."""
        book = self._books[symbol]
        book.reference_price, book.reference_ms = price, now_ms

    def allow_trading(self, account: str, is_allowed: bool) -> None:
        """Whether the account with this key may place and cancel spot orders. KeyError for an unknown key."""
        self._engine.ledger.accounts[account].may_trade = is_allowed

    def lock_externally(self, account: str, asset: str, amount: Decimal, now_ms: int) -> None:
        """Lock a free balance for another system of the venue, or let go of it (negative).

        KeyError for an unknown key or asset, ValueError when that much is not free, or not locked in this way.
        """
        owner = self._engine.ledger.accounts[account]
        self._engine.lock_externally(owner, asset, amount, now_ms)
        self._events.locked_externally(owner, asset, amount, now_ms)

    def announce_shutdown(self, now_ms: int) -> None:
        """Tell every connection that the server will go."""
        self._streams.announce_shutdown(now_ms)
        self._socket_api.announce_shutdown(now_ms)

    def check_books(self) -> None:
        """AssertionError when an asset was made or lost, a balance is negative or a lock belongs to no order."""
        self._engine.ledger.check()
        if self.futures is not None:
            self.futures.check_books()

    def totals(self) -> dict[str, Decimal]:
        """Each asset over all accounts, the market's and the fee account's: changed by deposits only."""
        return self._engine.ledger.totals()

    def _close_klines(self, symbol: str, now_ms: int) -> None:
        for interval, bar in self._books[symbol].series.close_until(now_ms):
            self._streams.closed(symbol, interval, bar, now_ms)
