"""Market streams: who hears what, the commands on a live connection, and the frames.

A frame is written once and then sent to all its listeners, wrapped for those who asked for the combined form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qs, unquote

from simex.book import Book
from simex.frames import Outbox, decode, echoed, encode
from simex.klines import INTERVALS, Bar

STREAMS_PER_LINK: Final = 1024


@dataclass(slots=True)
class StreamLink:
    """One market connection: its streams in the order of subscription."""

    is_combined: bool
    names: dict[str, None] = field(default_factory=dict)


class Feed:
    """The listeners of one symbol."""

    __slots__ = ("books", "klines", "trades")

    def __init__(self) -> None:
        self.klines: dict[str, list[int]] = {}
        self.trades: list[int] = []
        self.books: list[int] = []

    def listeners(self, kind: str) -> list[int] | None:
        """The list behind `trade`, `bookTicker` or `kline_<interval>`; None for a stream that does not exist."""
        if kind == "trade":
            return self.trades
        if kind == "bookTicker":
            return self.books
        if kind.startswith("kline_") and kind[6:] in INTERVALS:
            return self.klines.setdefault(kind[6:], [])
        return None


class Streams:
    """All market connections."""

    def __init__(self, books: Mapping[str, Book], outbox: Outbox) -> None:
        self.feeds = {symbol: Feed() for symbol in books}
        self._books = books
        self._outbox = outbox
        self._links: dict[int, StreamLink] = {}

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to /ws or /stream with the streams it names; False for any other path."""
        path, _, query = target.partition("?")
        if path == "/stream":
            names = unquote("/".join(parse_qs(query).get("streams", []))).split("/")
        elif path == "/ws" or path.startswith("/ws/"):
            names = unquote(path).split("/")[2:]
        else:
            return False
        self._links[link] = StreamLink(is_combined=path == "/stream")
        self._subscribe(link, [name for name in names if name], now_ms)
        return True

    def close(self, link: int) -> bool:
        """Forget a connection; False when it was none of these."""
        entry = self._links.get(link)
        if entry is None:
            return False
        self._unsubscribe(link, list(entry.names))
        del self._links[link]
        return True

    def receive(self, link: int, text: str, now_ms: int) -> None:
        """One command; the answer is never wrapped."""
        message = decode(text)
        if message is None:
            self._answer(link, {"code": 3, "msg": "Invalid JSON: expected an object"})
            return
        request_id = echoed(message.get("id"))
        if request_id is not None and not isinstance(request_id, int | str):
            self._answer(link, _invalid("request ID must be an unsigned integer, a string or null"))
            return
        self._answer(link, self._obey(link, message, now_ms) | {"id": request_id})

    def closed(self, symbol: str, interval: str, bar: Bar, now_ms: int) -> None:
        """A finished candle."""
        self._kline(symbol, interval, self.feeds[symbol].klines.get(interval, ()), bar, True, now_ms)

    def printed(self, symbol: str, price: Decimal, volume: Decimal, trade_id: int, forming: bool, now_ms: int) -> None:
        """What a public trade makes known: best prices, the trade itself, the running candles."""
        feed, book = self.feeds[symbol], self._books[symbol]
        if feed.books:
            self._send(symbol, "bookTicker", feed.books, _book_ticker(book))
        if feed.trades:
            is_buyer_maker = book.previous is not None and price < book.previous
            self._send(symbol, "trade", feed.trades, _trade(symbol, price, volume, trade_id, is_buyer_maker, now_ms))
        if forming:
            for interval, links in feed.klines.items():
                bar = book.series.running(interval)
                if bar is not None and links:
                    self._kline(symbol, interval, links, bar, False, now_ms)

    def _obey(self, link: int, message: Mapping[str, object], now_ms: int) -> dict[str, object]:
        entry = self._links[link]
        params = message.get("params")
        match message.get("method"):
            case "SUBSCRIBE" | "UNSUBSCRIBE" as method:
                if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
                    return _invalid("params must be a list of stream names")
                if method == "UNSUBSCRIBE":
                    self._unsubscribe(link, params)
                elif len(entry.names) + len(params) > STREAMS_PER_LINK:
                    return _invalid(f"too many parameters; expected at most {STREAMS_PER_LINK} streams")
                else:
                    self._subscribe(link, params, now_ms)
                return {"result": None}
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(entry.names)}
            case "SET_PROPERTY":
                return _set_property(entry, params)
            case "GET_PROPERTY":
                return {"result": entry.is_combined} if params == ["combined"] else _UNKNOWN_PROPERTY
            case None:
                return _invalid("missing field `method`")
            case method:
                return _invalid(f"unknown variant `{method}`")

    def _subscribe(self, link: int, names: Sequence[str], now_ms: int) -> None:
        """Add listeners; a stream that does not exist is accepted and stays silent."""
        for name in names:
            if name in self._links[link].names:
                continue
            self._links[link].names[name] = None
            symbol, listeners = self._listeners(name)
            if listeners is not None:
                listeners.append(link)
                if "@kline_" in name:
                    self._books[symbol].series.watch(name.partition("@kline_")[2], now_ms)

    def _unsubscribe(self, link: int, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._links[link].names:
                continue
            del self._links[link].names[name]
            symbol, listeners = self._listeners(name)
            if listeners is not None:
                listeners.remove(link)
                if not listeners and "@kline_" in name:
                    interval = name.partition("@kline_")[2]
                    self._books[symbol].series.unwatch(interval)
                    del self.feeds[symbol].klines[interval]

    def _listeners(self, name: str) -> tuple[str, list[int] | None]:
        symbol, _, kind = name.partition("@")
        feed = self.feeds.get(symbol.upper()) if symbol == symbol.lower() else None
        return symbol.upper(), feed.listeners(kind) if feed is not None else None

    def _kline(self, symbol: str, interval: str, links: Sequence[int], bar: Bar, is_closed: bool, now_ms: int) -> None:
        if links:
            self._send(symbol, f"kline_{interval}", links, _kline(symbol, interval, bar, is_closed, now_ms))

    def _send(self, symbol: str, kind: str, links: Sequence[int], data: str) -> None:
        for link in links:
            if self._links[link].is_combined:
                self._outbox.market.append((link, f'{{"stream":"{symbol.lower()}@{kind}","data":{data}}}'))
            else:
                self._outbox.market.append((link, data))

    def _answer(self, link: int, message: object) -> None:
        self._outbox.market.append((link, encode(message)))


_UNKNOWN_PROPERTY: Final[dict[str, object]] = {"code": 0, "msg": "Unknown property"}


def _invalid(text: str) -> dict[str, object]:
    return {"code": 2, "msg": f"Invalid request: {text}"}


def _set_property(entry: StreamLink, params: object) -> dict[str, object]:
    if not isinstance(params, list) or len(params) != 2 or params[0] != "combined":
        return _UNKNOWN_PROPERTY
    if not isinstance(params[1], bool):
        return {"code": 1, "msg": "Invalid value type: expected Boolean"}
    entry.is_combined = params[1]
    return {"result": None}


def _kline(symbol: str, interval: str, bar: Bar, is_closed: bool, now_ms: int) -> str:
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{symbol}","k":{{"t":{bar.open_ms},"T":{bar.end_ms - 1},"s":"{symbol}",'
        f'"i":"{interval}","f":{bar.first_id},"L":{bar.last_id},"o":"{bar.open:.8f}","c":"{bar.close:.8f}",'
        f'"h":"{bar.high:.8f}","l":"{bar.low:.8f}","v":"{bar.volume:.8f}","n":{bar.trades},'
        f'"x":{"true" if is_closed else "false"},"q":"{bar.quote:.8f}","V":"{bar.volume / 2:.8f}",'
        f'"Q":"{bar.quote / 2:.8f}","B":"0"}}}}'
    )


def _trade(symbol: str, price: Decimal, volume: Decimal, trade_id: int, is_buyer_maker: bool, now_ms: int) -> str:
    return (
        f'{{"e":"trade","E":{now_ms},"s":"{symbol}","t":{trade_id},"p":"{price:.8f}","q":"{volume:.8f}",'
        f'"T":{now_ms},"m":{"true" if is_buyer_maker else "false"},"M":true}}'
    )


def _book_ticker(book: Book) -> str:
    (bid, bid_qty), (ask, ask_qty) = book.best() or ((Decimal(0), Decimal(0)), (Decimal(0), Decimal(0)))
    return (
        f'{{"u":{book.update_id},"s":"{book.spec.symbol}","b":"{bid:.8f}","B":"{bid_qty:.8f}",'
        f'"a":"{ask:.8f}","A":"{ask_qty:.8f}"}}'
    )
