"""The streams of the spot market: which there are, how often each is sent, and what its events look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from simex import tickers
from simex.book import Best, Book
from simex.channels import Channel, Compose, Frame, differences, forming, same
from simex.depth import Level, levels
from simex.frames import flag
from simex.klines import DAY_MS, SECOND, SPOT_INTERVALS, Bar, in_zone
from simex.orders import ZERO
from simex.trades import Trade

KLINE_MS: Final = 2_000
SECOND_KLINE_MS: Final = 1_000
TICKER_MS: Final = 1_000
DEPTH_MS: Final = {"": 1_000, "@100ms": 100}
CHINA: Final = "@+08:00"
_CHINA_MINUTES: Final = 8 * 60
_KLINE: Final = re.compile(r"kline_(?P<interval>[0-9]+[a-zA-Z])(?P<zone>@\+08:00)?")
_DEPTH: Final = re.compile("depth(?P<levels>5|10|20)?(?P<speed>@100ms)?")


class SpotStreams:
    """What the links need to know of the spot market's streams."""

    has_microseconds: Final = True
    arrays: Final = ("!miniTicker@arr", *(f"!ticker_{name}@arr" for name in tickers.WINDOWS_MS))

    def __init__(self, books: Mapping[str, Book]) -> None:
        self.books = books

    def split(self, name: str) -> tuple[str, str] | None:
        """Symbol and kind of a stream's name; None when it is not written in lower case or has no such symbol."""
        symbol, _, kind = name.partition("@")
        return (symbol.upper(), kind) if symbol == symbol.lower() and symbol.upper() in self.books else None

    def group(self, name: str) -> str:
        """All streams are on the same path."""
        return ""

    def trade(self, kind: str, symbol: str, trade: Trade) -> Frame | None:
        """The event of a trade for `trade` and `aggTrade`; None for other kinds."""
        if kind == "trade":
            return lambda units: _trade(symbol, trade, units)
        return (lambda units: _aggregate(symbol, trade, units)) if kind == "aggTrade" else None

    def best(self, book: Book, best: Best | None, now_ms: int) -> Frame:
        return same(_book_ticker(book, best))

    def kline(self, kind: str, book: Book) -> tuple[str, Channel] | None:
        """The name under which its candles are kept, and its channel."""
        found = _KLINE.fullmatch(kind)
        if found is None or found["interval"] not in SPOT_INTERVALS:
            return None
        plain = found["interval"]
        interval = in_zone(plain, _CHINA_MINUTES if found["zone"] else 0)
        period_ms = SECOND_KLINE_MS if plain == SECOND else KLINE_MS
        return interval, forming(
            book, interval, period_ms, lambda bar, now_ms: self.candle(kind, book, bar, False, now_ms)
        )

    def candle(self, kind: str, book: Book, bar: Bar, is_closed: bool, now_ms: int) -> Frame:
        interval = kind.removeprefix("kline_").removesuffix(CHINA)
        return lambda units: _kline(book.spec.symbol, interval, bar, is_closed, now_ms, units)

    def channel(self, kind: str, book: Book) -> Channel | None:
        """The channel of a stream with a period; None when there is no such stream."""
        depth = _DEPTH.fullmatch(kind)
        if depth is not None:
            period_ms = DEPTH_MS[depth["speed"] or ""]
            if depth["levels"]:
                return Channel(period_ms, _part(book, int(depth["levels"])), is_of_book=True)
            return differences(book, period_ms, partial(_difference, book))
        event = _event(kind)
        if event is None:
            return None
        make = event

        def told(now_ms: int) -> list[Frame]:
            return [lambda units: make(book, now_ms, units)]

        return Channel(TICKER_MS, told)

    def array(self, name: str, changed: dict[str, None]) -> Channel:
        """The channel of an all-market stream; `changed` are the symbols to tell of, and is emptied."""
        event = _event(name[1:].removesuffix("@arr"))
        assert event is not None, "an array is made of a symbol's events"

        def told(now_ms: int) -> list[Frame]:
            books = [self.books[symbol] for symbol in changed]
            changed.clear()
            return [lambda units: f"[{','.join(event(book, now_ms, units) for book in books)}]"] if books else []

        return Channel(TICKER_MS, told)


Event = Callable[[Book, int, int], str]


def _event(kind: str) -> Event | None:
    """The events of tickers and averages."""
    if kind == "miniTicker":
        return _mini
    if kind == "ticker":
        return _ticker
    if kind == "avgPrice":
        return _average
    name = kind.removeprefix("ticker_")
    length_ms = tickers.WINDOWS_MS.get(name) if kind != name else None
    return None if length_ms is None else lambda book, now_ms, units: _window(book, name, length_ms, now_ms, units)


def _difference(
    book: Book, before: int, bids: Sequence[Level], asks: Sequence[Level], update_id: int, now_ms: int
) -> Frame:
    tail = f'"s":"{book.spec.symbol}","U":{before + 1},"u":{update_id},"b":{_levels(bids)},"a":{_levels(asks)}}}'
    return lambda units: f'{{"e":"depthUpdate","E":{now_ms * units},{tail}'


def _part(book: Book, count: int) -> Compose:
    def told(now_ms: int) -> list[Frame]:
        bids, asks = _levels(levels(book, "BUY", count)), _levels(levels(book, "SELL", count))
        return [same(f'{{"lastUpdateId":{book.update_id},"bids":{bids},"asks":{asks}}}')]

    return told


def _levels(entries: Sequence[Level]) -> str:
    pairs = ",".join(f'["{price:.8f}","{quantity:.8f}"]' for price, quantity in entries)
    return f"[{pairs}]"


def _kline(symbol: str, interval: str, bar: Bar, is_closed: bool, now_ms: int, units: int) -> str:
    return (
        f'{{"e":"kline","E":{now_ms * units},"s":"{symbol}","k":{{"t":{bar.open_ms * units},'
        f'"T":{bar.end_ms * units - 1},"s":"{symbol}",'
        f'"i":"{interval}","f":{bar.first_id},"L":{bar.last_id},"o":"{bar.open:.8f}","c":"{bar.close:.8f}",'
        f'"h":"{bar.high:.8f}","l":"{bar.low:.8f}","v":"{bar.volume:.8f}","n":{bar.trades},'
        f'"x":{flag(is_closed)},"q":"{bar.quote:.8f}","V":"{bar.volume / 2:.8f}",'
        f'"Q":"{bar.quote / 2:.8f}","B":"0"}}}}'
    )


def _trade(symbol: str, trade: Trade, units: int) -> str:
    at = trade.at_ms * units
    return (
        f'{{"e":"trade","E":{at},"s":"{symbol}","t":{trade.trade_id},"p":"{trade.price:.8f}",'
        f'"q":"{trade.quantity:.8f}","T":{at},"m":{flag(trade.is_buyer_maker)},"M":true}}'
    )


def _aggregate(symbol: str, trade: Trade, units: int) -> str:
    at = trade.at_ms * units
    return (
        f'{{"e":"aggTrade","E":{at},"s":"{symbol}","a":{trade.trade_id},"p":"{trade.price:.8f}",'
        f'"q":"{trade.quantity:.8f}","f":{trade.trade_id},"l":{trade.trade_id},"T":{at},'
        f'"m":{flag(trade.is_buyer_maker)},"M":true}}'
    )


def _book_ticker(book: Book, best: Best | None) -> str:
    (bid, bid_qty), (ask, ask_qty) = best or ((ZERO, ZERO), (ZERO, ZERO))
    return (
        f'{{"u":{book.update_id},"s":"{book.spec.symbol}","b":"{bid:.8f}","B":"{bid_qty:.8f}",'
        f'"a":"{ask:.8f}","A":"{ask_qty:.8f}"}}'
    )


def _mini(book: Book, now_ms: int, units: int) -> str:
    day = tickers.rolling(book, DAY_MS, now_ms)
    return (
        f'{{"e":"24hrMiniTicker","E":{now_ms * units},"s":"{book.spec.symbol}","c":"{day.last:.8f}",'
        f'"o":"{day.open:.8f}","h":"{day.high:.8f}","l":"{day.low:.8f}","v":"{day.volume:.8f}","q":"{day.quote:.8f}"}}'
    )


def _ticker(book: Book, now_ms: int, units: int) -> str:
    day = tickers.rolling(book, DAY_MS, now_ms)
    (bid, bid_qty), (ask, ask_qty) = book.best() or ((ZERO, ZERO), (ZERO, ZERO))
    return (
        f'{{"e":"24hrTicker","E":{now_ms * units},"s":"{book.spec.symbol}","p":"{day.change:.8f}",'
        f'"P":"{day.change_pct:.3f}","w":"{day.average:.8f}","x":"{tickers.price_before(book, day.open_ms):.8f}",'
        f'"c":"{day.last:.8f}","Q":"{tickers.last_quantity(book):.8f}","b":"{bid:.8f}","B":"{bid_qty:.8f}","a":"{ask:.8f}",'
        f'"A":"{ask_qty:.8f}","o":"{day.open:.8f}","h":"{day.high:.8f}","l":"{day.low:.8f}","v":"{day.volume:.8f}",'
        f'"q":"{day.quote:.8f}","O":{(now_ms - DAY_MS) * units},"C":{now_ms * units},"F":{day.first_id},'
        f'"L":{day.last_id},"n":{day.trades}}}'
    )


def _window(book: Book, name: str, length_ms: int, now_ms: int, units: int) -> str:
    window = tickers.rolling(book, length_ms, now_ms)
    return (
        f'{{"e":"{name}Ticker","E":{now_ms * units},"s":"{book.spec.symbol}","p":"{window.change:.8f}",'
        f'"P":"{window.change_pct:.3f}","o":"{window.open:.8f}","h":"{window.high:.8f}","l":"{window.low:.8f}",'
        f'"c":"{window.last:.8f}","w":"{window.average:.8f}","v":"{window.volume:.8f}","q":"{window.quote:.8f}",'
        f'"O":{window.open_ms * units},"C":{now_ms * units},"F":{window.first_id},"L":{window.last_id},'
        f'"n":{window.trades}}}'
    )


def _average(book: Book, now_ms: int, units: int) -> str:
    return (
        f'{{"e":"avgPrice","E":{now_ms * units},"s":"{book.spec.symbol}","i":"{tickers.AVERAGE_MINS}m",'
        f'"w":"{tickers.average(book, now_ms):.8f}","T":{(book.series.last_trade_ms or 0) * units}}}'
    )
