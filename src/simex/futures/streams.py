"""The streams of the futures market: which there are, on which path, how often each is sent, what its events look like.

A candle's event is the same for a contract and for its pair. Amounts have the decimals of their contract.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Final

from simex import tickers
from simex.book import Best
from simex.channels import Channel, Compose, Frame, differences, forming, same
from simex.depth import Level, levels
from simex.frames import flag
from simex.futures.book import ContractBook
from simex.futures.orders import Order
from simex.futures.reports import price_text, quantity_text
from simex.klines import DAY_MS, INTERVALS, Bar
from simex.orders import ZERO
from simex.trades import Trade
from simex.venue import Undocumented

KLINE_MS: Final = 250
ARRAY_MS: Final = 1_000
ALL_BEST_MS: Final = 5_000
LIQUIDATION_MS: Final = 1_000
MARK_MS: Final = {"": 3_000, "@1s": 1_000}
DEPTH_MS: Final = {"": 250, "@500ms": 500, "@100ms": 100}
PUBLIC: Final = "public"
MARKET: Final = "market"
_PERPETUAL: Final = "_perpetual"
_KLINE: Final = re.compile(r"(kline|continuousKline)_(?P<interval>[0-9]+[a-zA-Z])")
_DEPTH: Final = re.compile("depth(?P<levels>5|10|20)?(?P<speed>@500ms|@100ms)?")
_MARK: Final = re.compile("markPrice(?P<speed>@1s)?")

Event = Callable[[ContractBook, int], str]


class UmStreams:
    """What the links need to know of the futures market's streams."""

    has_microseconds: Final = False
    arrays: Final = (
        "!bookTicker", "!forceOrder@arr", "!markPrice@arr", "!markPrice@arr@1s", "!miniTicker@arr", "!ticker@arr",
    )  # fmt: skip

    def __init__(self, books: Mapping[str, ContractBook], rules: Undocumented) -> None:
        self.books = books
        self._trade_path = rules.futures_trade_path
        self._ticker_ms = rules.futures_ticker_ms

    def split(self, name: str) -> tuple[str, str] | None:
        """Symbol and kind of a stream's name; None when it is not written in lower case or has no such symbol."""
        written, _, kind = name.partition("@")
        is_pair = kind.startswith("continuousKline_")
        if written != written.lower() or written.endswith(_PERPETUAL) != is_pair:
            return None
        symbol = written.removesuffix(_PERPETUAL).upper()
        return (symbol, kind) if symbol in self.books else None

    def group(self, name: str) -> str:
        """Which path delivers a stream."""
        kind = name.partition("@")[2]
        if kind == "trade":
            return self._trade_path
        return PUBLIC if kind == "bookTicker" or name == "!bookTicker" or _DEPTH.fullmatch(kind) else MARKET

    def trade(self, kind: str, symbol: str, trade: Trade) -> Frame | None:
        """The event of a trade for `trade` and `aggTrade`; None for other kinds."""
        if kind not in ("trade", "aggTrade"):
            return None
        write = _trade if kind == "trade" else _aggregate
        return same(write(self.books[symbol], trade))

    def best(self, book: ContractBook, best: Best | None, now_ms: int) -> Frame:
        return same(_book_ticker(book, best, now_ms))

    def kline(self, kind: str, book: ContractBook) -> tuple[str, Channel] | None:
        """The name under which its candles are kept, and its channel."""
        found = _KLINE.fullmatch(kind)
        if found is None or found["interval"] not in INTERVALS:
            return None
        interval = found["interval"]
        return interval, forming(
            book, interval, KLINE_MS, lambda bar, now_ms: self.candle(kind, book, bar, False, now_ms)
        )

    def candle(self, kind: str, book: ContractBook, bar: Bar, is_closed: bool, now_ms: int) -> Frame:
        name, _, interval = kind.partition("_")
        return same(_kline(book, interval, bar, is_closed, now_ms, is_pair=name == "continuousKline"))

    def channel(self, kind: str, book: ContractBook) -> Channel | None:
        """The channel of a stream with a period; None when there is no such stream."""
        depth, mark = _DEPTH.fullmatch(kind), _MARK.fullmatch(kind)
        if depth is not None:
            period_ms = DEPTH_MS[depth["speed"] or ""]
            if depth["levels"]:
                return Channel(period_ms, _part(book, int(depth["levels"])), is_of_book=True)
            return differences(book, period_ms, partial(_difference, book))
        if mark is not None:
            return Channel(MARK_MS[mark["speed"] or ""], _told(_mark, book), is_steady=True)
        if kind == "forceOrder":
            return Channel(LIQUIDATION_MS, _largest([book], has_pair=False))
        event = {"miniTicker": _mini, "ticker": _ticker}.get(kind)
        return None if event is None else Channel(self._ticker_ms, _told(event, book))

    def array(self, name: str, changed: dict[str, None]) -> Channel:
        """The channel of an all-market stream; `changed` are the symbols to tell of, and is emptied."""
        if name == "!forceOrder@arr":
            return Channel(LIQUIDATION_MS, _largest(list(self.books.values()), has_pair=True))

        def take() -> list[ContractBook]:
            books = [self.books[symbol] for symbol in changed]
            changed.clear()
            return books

        if name == "!bookTicker":
            return Channel(ALL_BEST_MS, lambda now_ms: [self.best(book, book.best(), now_ms) for book in take()])
        if name.startswith("!markPrice"):
            period_ms = MARK_MS[name.removeprefix("!markPrice@arr")]
            return Channel(period_ms, _array(_mark, lambda: list(self.books.values())), is_steady=True)
        return Channel(ARRAY_MS, _array(_mini if name == "!miniTicker@arr" else _ticker, take))


def _told(event: Event, book: ContractBook) -> Compose:
    """The event of one symbol; none before its first price."""

    def told(now_ms: int) -> list[Frame]:
        return [] if book.last is None else [same(event(book, now_ms))]

    return told


def _array(event: Event, books: Callable[[], list[ContractBook]]) -> Compose:
    def told(now_ms: int) -> list[Frame]:
        events = [event(book, now_ms) for book in books() if book.last is not None]
        return [same(f"[{','.join(events)}]")] if events else []

    return told


def _largest(books: Sequence[ContractBook], has_pair: bool) -> Compose:
    """The largest liquidation of each symbol since the last one that was told."""
    seen = {book.spec.symbol: len(book.liquidations) for book in books}

    def told(now_ms: int) -> list[Frame]:
        frames = []
        for book in books:
            fresh = book.liquidations[seen[book.spec.symbol] :]
            seen[book.spec.symbol] += len(fresh)
            if fresh:
                largest = max(fresh, key=lambda order: order.quantity * order.ticket.price)
                frames.append(same(_force_order(book, largest, now_ms, has_pair)))
        return frames

    return told


def _part(book: ContractBook, count: int) -> Compose:
    """The top of the book, in the form of a difference; `pu` is the update id of the event before."""
    before = book.update_id

    def told(now_ms: int) -> list[Frame]:
        nonlocal before
        if before == book.update_id:
            return []
        bids, asks = levels(book, "BUY", count), levels(book, "SELL", count)
        frame = _difference(book, before, bids, asks, book.update_id, now_ms)
        before = book.update_id
        return [frame]

    return told


def _difference(
    book: ContractBook, before: int, bids: Sequence[Level], asks: Sequence[Level], update_id: int, now_ms: int
) -> Frame:
    return same(
        f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{book.spec.symbol}","U":{before + 1},"u":{update_id},'
        f'"pu":{before},"b":{_levels(book, bids)},"a":{_levels(book, asks)},{_which(book)}}}'
    )


def _levels(book: ContractBook, entries: Sequence[Level]) -> str:
    spec = book.spec
    pairs = ",".join(f'["{price_text(spec, price)}","{quantity_text(spec, quantity)}"]' for price, quantity in entries)
    return f"[{pairs}]"


def _which(book: ContractBook) -> str:
    """Which market an event is of, and which pair."""
    return f'"st":1,"ps":"{book.spec.symbol}"'


def _trade(book: ContractBook, trade: Trade) -> str:
    """Not documented; as recorded."""
    spec = book.spec
    return (
        f'{{"e":"trade","E":{trade.at_ms},"T":{trade.at_ms},"s":"{spec.symbol}","t":{trade.trade_id},'
        f'"p":"{price_text(spec, trade.price)}","q":"{quantity_text(spec, trade.quantity)}","X":"MARKET",'
        f'"m":{flag(trade.is_buyer_maker)}}}'
    )


def _aggregate(book: ContractBook, trade: Trade) -> str:
    quantity = quantity_text(book.spec, trade.quantity)
    return (
        f'{{"e":"aggTrade","E":{trade.at_ms},"a":{trade.trade_id},"s":"{book.spec.symbol}",'
        f'"p":"{price_text(book.spec, trade.price)}","q":"{quantity}","nq":"{quantity}","f":{trade.trade_id},'
        f'"l":{trade.trade_id},"T":{trade.at_ms},"m":{flag(trade.is_buyer_maker)},"st":1}}'
    )


def _kline(book: ContractBook, interval: str, bar: Bar, is_closed: bool, now_ms: int, is_pair: bool) -> str:
    spec = book.spec
    opened, closed, high, low = (price_text(spec, price) for price in (bar.open, bar.close, bar.high, bar.low))
    head = (
        f'"e":"continuous_kline","E":{now_ms},"ps":"{spec.symbol}","ct":"PERPETUAL"'
        if is_pair
        else f'"e":"kline","E":{now_ms},"s":"{spec.symbol}"'
    )
    symbol = "" if is_pair else f'"s":"{spec.symbol}",'
    return (
        f'{{{head},"k":{{"t":{bar.open_ms},"T":{bar.end_ms - 1},{symbol}"i":"{interval}","f":{bar.first_id},'
        f'"L":{bar.last_id},"o":"{opened}","c":"{closed}","h":"{high}","l":"{low}",'
        f'"v":"{quantity_text(spec, bar.volume)}","n":{bar.trades},"x":{flag(is_closed)},"q":"{_money(bar.quote)}",'
        f'"V":"{quantity_text(spec, bar.volume / 2)}","Q":"{_money(bar.quote / 2)}","B":"0"}}}}'
    )


def _book_ticker(book: ContractBook, best: Best | None, now_ms: int) -> str:
    spec = book.spec
    (bid, bid_qty), (ask, ask_qty) = best or ((ZERO, ZERO), (ZERO, ZERO))
    return (
        f'{{"e":"bookTicker","u":{book.update_id},"s":"{spec.symbol}","b":"{price_text(spec, bid)}",'
        f'"B":"{quantity_text(spec, bid_qty)}","a":"{price_text(spec, ask)}","A":"{quantity_text(spec, ask_qty)}",'
        f'"T":{now_ms},"E":{now_ms},{_which(book)}}}'
    )


def _mini(book: ContractBook, now_ms: int) -> str:
    spec, day = book.spec, tickers.rolling(book, DAY_MS, now_ms)
    return (
        f'{{"e":"24hrMiniTicker","E":{now_ms},"s":"{spec.symbol}","c":"{price_text(spec, day.last)}",'
        f'"o":"{price_text(spec, day.open)}","h":"{price_text(spec, day.high)}","l":"{price_text(spec, day.low)}",'
        f'"v":"{quantity_text(spec, day.volume)}","q":"{_money(day.quote)}",{_which(book)}}}'
    )


def _ticker(book: ContractBook, now_ms: int) -> str:
    spec, day = book.spec, tickers.rolling(book, DAY_MS, now_ms)
    return (
        f'{{"e":"24hrTicker","E":{now_ms},"s":"{spec.symbol}","p":"{price_text(spec, day.change)}",'
        f'"P":"{day.change_pct:.3f}","w":"{price_text(spec, day.average)}","c":"{price_text(spec, day.last)}",'
        f'"Q":"{quantity_text(spec, tickers.last_quantity(book))}","o":"{price_text(spec, day.open)}",'
        f'"h":"{price_text(spec, day.high)}","l":"{price_text(spec, day.low)}",'
        f'"v":"{quantity_text(spec, day.volume)}","q":"{_money(day.quote)}","O":{now_ms - DAY_MS},"C":{now_ms},'
        f'"F":{day.first_id},"L":{day.last_id},"n":{day.trades},{_which(book)}}}'
    )


def _mark(book: ContractBook, now_ms: int) -> str:
    """The moving average is that of a minute, weighted by volume: it is not told how the venue reckons it."""
    spec, next_ms = book.spec, book.spec.next_funding_ms(now_ms)
    mark, index = book.mark or ZERO, book.index or ZERO
    mean = (book.series.average_price(now_ms, 1) or index) + book.basis
    return (
        f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{spec.symbol}","p":"{mark:.8f}","ap":"{mean:.8f}",'
        f'"P":"{index:.8f}","i":"{index:.8f}","r":"{spec.rate_at(next_ms):.8f}","T":{next_ms},"st":1}}'
    )


def _force_order(book: ContractBook, order: Order, now_ms: int, has_pair: bool) -> str:
    spec, ticket = book.spec, order.ticket
    quantity, price = quantity_text(spec, order.quantity), price_text(spec, ticket.price)
    average = price_text(spec, order.cost / order.executed) if order.executed else "0"
    filled = quantity_text(spec, order.executed)
    return (
        f'{{"e":"forceOrder","E":{now_ms},"o":{{"s":"{spec.symbol}","S":"{ticket.side}","o":"LIMIT","f":"IOC",'
        f'"q":"{quantity}","p":"{price}","ap":"{average}","X":"{order.status}","l":"{filled}","z":"{filled}",'
        f'"T":{order.updated_ms}}}{f",{_which(book)}" if has_pair else ""}}}'
    )


def _money(value: Decimal) -> str:
    return f"{value:.8f}"
