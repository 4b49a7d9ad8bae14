"""Market streams: who hears what, the commands on a live connection, and when frames are sent.

A frame is written once and then sent to all its listeners, wrapped for those who asked for the combined form. Which
streams there are and what they look like is the market's own matter (`simex.spot_streams`, `simex.futures.streams`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qs, unquote

from simex import timeunit
from simex.book import Best, OrderBook
from simex.channels import Channel, Frame
from simex.frames import Outbox, RawNumber, decode, echoed, encode
from simex.klines import Bar
from simex.trades import Trade

STREAMS_PER_LINK: Final = 1024
ID_CHARACTERS_MAX: Final = 36
_ID_MAX: Final = (1 << 63) - 1

AnyBook = TypeVar("AnyBook", bound=OrderBook[Any, Any])


class Catalogue(Protocol[AnyBook]):
    """The streams of one market."""

    @property
    def books(self) -> Mapping[str, AnyBook]: ...

    @property
    def has_microseconds(self) -> bool: ...

    @property
    def arrays(self) -> Sequence[str]: ...

    def split(self, name: str) -> tuple[str, str] | None: ...

    def group(self, name: str) -> str: ...

    def trade(self, kind: str, symbol: str, trade: Trade) -> Frame | None: ...

    def best(self, book: AnyBook, best: Best | None, now_ms: int) -> Frame: ...

    def kline(self, kind: str, book: AnyBook) -> tuple[str, Channel] | None: ...

    def candle(self, kind: str, book: AnyBook, bar: Bar, is_closed: bool, now_ms: int) -> Frame: ...

    def channel(self, kind: str, book: AnyBook) -> Channel | None: ...

    def array(self, name: str, changed: dict[str, None]) -> Channel: ...


@dataclass(slots=True)
class StreamLink:
    """One market connection: its streams in the order of subscription, and what a millisecond of its times counts.

    `group` names the streams that this connection delivers, None all of them.
    """

    is_combined: bool
    units_per_ms: int = 1
    group: str | None = None
    names: dict[str, None] = field(default_factory=dict)


class Feed:
    """The listeners of one symbol."""

    __slots__ = ("best", "book", "channels", "is_watched", "klines", "seen_id", "shown", "trades")

    def __init__(self, book: OrderBook[Any, Any]) -> None:
        self.book = book
        self.trades: dict[str, list[int]] = {}  # by kind
        self.best: list[int] = []
        self.klines: dict[str, dict[str, Channel]] = {}  # by interval, then by kind
        self.channels: dict[str, Channel] = {}  # by kind
        self.is_watched = False  # whether somebody would notice a print inside a candle
        self.seen_id = 0
        self.shown: Best | None = None  # best prices as they were last told


class Streams:
    """All market connections of one market."""

    def __init__(
        self, catalogue: Catalogue[Any], outbox: Outbox, forming_klines: bool, prefixes: Mapping[str, str | None]
    ) -> None:
        """`forming_klines`: candles are told while they run, and not only when they are closed.

        `prefixes` of paths, each with the group of streams that it delivers; None for all.
        """
        self.feeds = {symbol: Feed(book) for symbol, book in catalogue.books.items()}
        self._catalogue = catalogue
        self._outbox = outbox
        self._forming_klines = forming_klines
        self._prefixes = prefixes
        self._links: dict[int, StreamLink] = {}
        self._arrays: dict[str, tuple[Channel, dict[str, None]]] = {}
        self._waiting: dict[Channel, None] = {}  # something happened, and its period is not over
        self._of_book: dict[str, Feed] = {}

    # -- connections --------------------------------------------------------------------------------------------

    def open(self, link: int, target: str, now_ms: int) -> bool:
        """A connection to /ws or /stream behind a prefix, with the streams it names.

        False for any other path, or for too many streams. Refusal -1194 for a time unit that does not exist.
        """
        path, _, query = target.partition("?")
        for prefix, group in self._prefixes.items():
            names = _names(path.removeprefix(prefix), query) if path.startswith(f"{prefix}/") else None
            if names is not None:
                if len(names) > STREAMS_PER_LINK:
                    return False
                units_per_ms = timeunit.of_query(query) if self._catalogue.has_microseconds else 1
                is_combined = path.removeprefix(prefix) == "/stream"
                self._links[link] = StreamLink(is_combined, units_per_ms, group)
                self._subscribe(link, names, now_ms)
                return True
        return False

    def has(self, link: int) -> bool:
        return link in self._links

    def close(self, link: int) -> bool:
        """Forget a connection; False when it was none of these."""
        entry = self._links.get(link)
        if entry is None:
            return False
        self._unsubscribe(link, list(entry.names))
        del self._links[link]
        return True

    def announce_shutdown(self, now_ms: int) -> None:
        """Tell every connection that the server will go; nobody has to have asked for it."""
        for link, entry in self._links.items():
            event = {"e": "serverShutdown", "E": now_ms * entry.units_per_ms}
            self._say(link, {"stream": "!serverShutdown", "data": event} if entry.is_combined else event)

    def receive(self, link: int, text: str, now_ms: int) -> None:
        """One command; the answer is never wrapped."""
        message = decode(text)
        if message is None:
            self._say(link, {"code": 3, "msg": "Invalid JSON: expected an object"})
            return
        written = message.get("id")
        if not _is_id(written):
            text = f"request ID must be a 64-bit integer, a string of at most {ID_CHARACTERS_MAX} characters or null"
            self._say(link, _invalid(text))
            return
        self._say(link, self._obey(link, message, now_ms) | {"id": echoed(written)})

    # -- events -------------------------------------------------------------------------------------------------

    def closed(self, symbol: str, interval: str, bar: Bar, now_ms: int) -> None:
        """A finished candle."""
        feed = self.feeds[symbol]
        for kind, channel in feed.klines.get(interval, {}).items():
            self._waiting.pop(channel, None)
            frame = self._catalogue.candle(kind, feed.book, bar, True, now_ms)
            self._send(channel.name, channel.links, frame)

    def printed(self, symbol: str, price: Decimal, volume: Decimal, trade_id: int, now_ms: int) -> None:
        """What a public trade makes known."""
        feed = self.feeds[symbol]
        feed.seen_id = feed.book.update_id
        if feed.best:
            self._tell_best(symbol, feed, now_ms)
        if feed.trades:
            trade = Trade(trade_id, price, volume, now_ms, feed.book.is_buyer_maker)
            for kind, links in feed.trades.items():
                frame = self._catalogue.trade(kind, symbol, trade)
                if frame is not None:
                    self._send(f"{symbol.lower()}@{kind}", links, frame)
        if self._forming_klines:
            for channels in feed.klines.values():
                for channel in channels.values():
                    self._touch(channel, now_ms)
        for channel in feed.channels.values():
            if not channel.is_steady:
                self._touch(channel, now_ms)
        for channel, changed in self._arrays.values():
            changed[symbol] = None
            if not channel.is_steady:
                self._touch(channel, now_ms)

    def wake(self, now_ms: int) -> None:
        """Tell what is due: changes of the books between two prints, and what had to wait for its period."""
        for symbol, feed in self._of_book.items():
            if feed.book.update_id != feed.seen_id:
                self._look(symbol, feed, now_ms)
        for channel in [channel for channel in self._waiting if channel.due_ms <= now_ms]:
            self._send_channel(channel, now_ms)

    def deadline_ms(self) -> int | None:
        """When `wake` is next due; None when nothing waits."""
        return min((channel.due_ms for channel in self._waiting), default=None)

    def _look(self, symbol: str, feed: Feed, now_ms: int) -> None:
        feed.seen_id = feed.book.update_id
        if feed.best and feed.book.best() != feed.shown:
            self._tell_best(symbol, feed, now_ms)
        for channel in feed.channels.values():
            if channel.is_of_book:
                self._touch(channel, now_ms)

    def _tell_best(self, symbol: str, feed: Feed, now_ms: int) -> None:
        feed.shown = best = feed.book.best()
        self._send(f"{symbol.lower()}@bookTicker", feed.best, self._catalogue.best(feed.book, best, now_ms))

    def _touch(self, channel: Channel, now_ms: int) -> None:
        if now_ms >= channel.due_ms:
            self._send_channel(channel, now_ms)
        else:
            self._waiting[channel] = None

    def _send_channel(self, channel: Channel, now_ms: int) -> None:
        if not channel.is_steady:
            self._waiting.pop(channel, None)
        frames = channel.compose(now_ms)
        for frame in frames:
            self._send(channel.name, channel.links, frame)
        if frames or channel.is_steady:
            channel.sent(now_ms)

    def _send(self, name: str, links: Sequence[int], frame: Frame) -> None:
        texts: dict[int, str] = {}
        for link in links:
            entry = self._links[link]
            data = texts.get(entry.units_per_ms)
            if data is None:
                data = texts[entry.units_per_ms] = frame(entry.units_per_ms)
            self._outbox.market.append((link, f'{{"stream":"{name}","data":{data}}}' if entry.is_combined else data))

    def _say(self, link: int, message: object) -> None:
        self._outbox.market.append((link, encode(message)))

    # -- commands -----------------------------------------------------------------------------------------------

    def _obey(self, link: int, message: Mapping[str, object], now_ms: int) -> dict[str, object]:
        entry = self._links[link]
        params = message.get("params")
        match message.get("method"):
            case "SUBSCRIBE" | "UNSUBSCRIBE" as method:
                if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
                    return _invalid("params must be a list of stream names")
                if method == "UNSUBSCRIBE":
                    self._unsubscribe(link, params)
                elif len(entry.names.keys() | set(params)) > STREAMS_PER_LINK:
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
        """Add listeners; a stream that does not exist, or not on this path, is accepted and stays silent."""
        entry = self._links[link]
        for name in names:
            if name not in entry.names:
                entry.names[name] = None
                if entry.group in (None, self._catalogue.group(name)):
                    self._listen(link, name, now_ms)
        self._see_who_watches()

    def _unsubscribe(self, link: int, names: Sequence[str]) -> None:
        entry = self._links[link]
        for name in names:
            if name in entry.names:
                del entry.names[name]
                if entry.group in (None, self._catalogue.group(name)):
                    self._leave(link, name)
        self._see_who_watches()

    def _listen(self, link: int, name: str, now_ms: int) -> None:
        if name in self._catalogue.arrays:
            if name not in self._arrays:
                changed: dict[str, None] = {}
                channel = self._catalogue.array(name, changed)
                self._arrays[name] = self._named(channel, name, now_ms), changed
            self._arrays[name][0].links.append(link)
        elif (found := self._catalogue.split(name)) is not None:
            self._hear(link, name, *found, now_ms)

    def _hear(self, link: int, name: str, symbol: str, kind: str, now_ms: int) -> None:
        feed = self.feeds[symbol]
        if kind == "bookTicker":
            feed.best.append(link)
        elif self._catalogue.trade(kind, symbol, _NO_TRADE) is not None:
            feed.trades.setdefault(kind, []).append(link)
        elif (kline := self._catalogue.kline(kind, feed.book)) is not None:
            channels = feed.klines.setdefault(kline[0], {})
            if kind not in channels:
                channels[kind] = self._named(kline[1], name, now_ms)
            channels[kind].links.append(link)
            feed.book.series.watch(kline[0], now_ms)
        else:
            if kind not in feed.channels:
                other = self._catalogue.channel(kind, feed.book)
                if other is None:
                    return
                feed.channels[kind] = self._named(other, name, now_ms)
            feed.channels[kind].links.append(link)

    def _named(self, channel: Channel, name: str, now_ms: int) -> Channel:
        channel.name = name
        if channel.is_steady:
            channel.sent(now_ms)
            self._waiting[channel] = None
        return channel

    def _leave(self, link: int, name: str) -> None:
        if name in self._arrays:
            if self._left(self._arrays[name][0], link):
                del self._arrays[name]
        elif (found := self._catalogue.split(name)) is not None:
            self._leave_feed(link, self.feeds[found[0]], found[1])

    def _leave_feed(self, link: int, feed: Feed, kind: str) -> None:
        if kind == "bookTicker":
            feed.best.remove(link)
        elif kind in feed.trades:
            feed.trades[kind].remove(link)
            if not feed.trades[kind]:
                del feed.trades[kind]
        elif kind in feed.channels:
            if self._left(feed.channels[kind], link):
                del feed.channels[kind]
        else:
            self._leave_kline(feed, kind, link)

    def _leave_kline(self, feed: Feed, kind: str, link: int) -> None:
        interval = next((interval for interval, channels in feed.klines.items() if kind in channels), None)
        if interval is None or not self._left(feed.klines[interval][kind], link):
            return
        del feed.klines[interval][kind]
        if not feed.klines[interval]:
            del feed.klines[interval]
            feed.book.series.unwatch(interval)

    def _left(self, channel: Channel, link: int) -> bool:
        """Take a listener away; whether it was the last one."""
        channel.links.remove(link)
        if channel.links:
            return False
        self._waiting.pop(channel, None)
        if channel.end is not None:
            channel.end()
        return True

    def _see_who_watches(self) -> None:
        for symbol, feed in self.feeds.items():
            forms = self._forming_klines and feed.klines
            feed.is_watched = bool(feed.best or feed.trades or feed.channels or forms or self._arrays)
            if feed.best or any(channel.is_of_book for channel in feed.channels.values()):
                if symbol not in self._of_book:
                    self._of_book[symbol] = feed
                    feed.seen_id = feed.book.update_id
            else:
                self._of_book.pop(symbol, None)


def _names(path: str, query: str) -> list[str] | None:
    """The streams that a path or its query names; None for a path to no streams."""
    if path == "/stream":
        # A plus sign is part of a name there, and no space.
        names = "/".join(parse_qs(query.replace("+", "%2B")).get("streams", [])).split("/")
    elif path == "/ws" or path.startswith("/ws/"):
        names = unquote(path).split("/")[2:]
    else:
        return None
    # Clients number their connections there.
    return [name for name in names if name and not name.isdigit()]


_NO_TRADE: Final = Trade(0, Decimal(0), Decimal(0), 0, False)
_UNKNOWN_PROPERTY: Final[dict[str, object]] = {"code": 0, "msg": "Unknown property"}


def _invalid(text: str) -> dict[str, object]:
    return {"code": 2, "msg": f"Invalid request: {text}"}


def _is_id(value: object) -> bool:
    if isinstance(value, RawNumber):
        return value.lstrip("-").isdigit() and abs(int(value)) <= _ID_MAX
    return value is None or (isinstance(value, str) and len(value) <= ID_CHARACTERS_MAX)


def _set_property(entry: StreamLink, params: object) -> dict[str, object]:
    if not isinstance(params, list) or len(params) != 2 or params[0] != "combined":
        return _UNKNOWN_PROPERTY
    if not isinstance(params[1], bool):
        return {"code": 1, "msg": "Invalid value type: expected Boolean"}
    entry.is_combined = params[1]
    return {"result": None}
