"""What the market says besides candles, on both markets: books, best prices, trades, the day's ticker.

Rules as in the codec: no clock, no network, no state; amounts are exact; what cannot be read raises `BadFrame`, a price
that cannot be `BadPrice`. Where the two markets differ, a field that only one of them tells is None for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from surefoot.binance.numbers import amount_of, check_amounts, decode, price_of
from surefoot.binance.wire import BadFrame, BadPrice

Level = tuple[Decimal, Decimal]  # price and quantity


class Depth(Struct, frozen=True, gc=False):
    """The book down to some depth, best prices first, as it was after the update `last_id`."""

    last_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class DepthChange(Struct, frozen=True, gc=False):
    """The updates `first_id` to `last_id` of a book: levels as they are now, 0 for one that is gone.

    `previous_id` is the last id of the change before it, which only futures tell.
    """

    symbol: str
    event_ms: int
    first_id: int
    last_id: int
    previous_id: int | None
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Best(Struct, frozen=True, gc=False):
    """Best bid and ask after the update `update_id`, which a REST answer on spot does not tell."""

    symbol: str
    update_id: int | None
    bid: Level
    ask: Level


class Trade(Struct, frozen=True, gc=False):
    """A trade, or several of one taker at one price; `sold` when the taker sold."""

    symbol: str
    id: int
    at_ms: int
    price: Decimal
    quantity: Decimal
    sold: bool


class Ticker(Struct, frozen=True, gc=False):
    """The last 24 hours; `quote_volume` is in quote currency."""

    symbol: str
    event_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    quote_volume: Decimal


Quote = Depth | DepthChange | Best | Trade | Ticker

# ---------------------------------------------------------------------------------------------------------------
# Shapes

_TextLevels = tuple[tuple[str, str], ...]


class _Envelope(Struct, frozen=True, gc=False):
    stream: str = ""
    data: Raw = Raw()
    id: int | str | UnsetType | None = UNSET


class _Depth(Struct, frozen=True, gc=False, rename="camel"):
    last_update_id: int
    bids: _TextLevels
    asks: _TextLevels


class _Change(Struct, frozen=True, gc=False):
    s: str
    E: int
    U: int
    u: int
    b: _TextLevels
    a: _TextLevels
    pu: int | None = None


class _Best(Struct, frozen=True, gc=False):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class _BestRow(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str
    last_update_id: int | None = None


class _Print(Struct, frozen=True, gc=False):
    s: str
    p: str
    q: str
    T: int
    m: bool


class _Trade(_Print, frozen=True, gc=False):
    t: int


class _AggTrade(_Print, frozen=True, gc=False):
    a: int


class _Ticker(Struct, frozen=True, gc=False):
    s: str
    E: int
    o: str
    h: str
    l: str  # noqa: E741 - the venue's letter
    c: str
    v: str
    quote_volume: str = field(name="q")


_ENVELOPE = Decoder(_Envelope)
_DEPTH = Decoder(_Depth)
_CHANGE = Decoder(_Change)
_BEST = Decoder(_Best)
_BEST_ROW = Decoder(_BestRow)
_TRADE = Decoder(_Trade)
_AGG_TRADE = Decoder(_AggTrade)
_TICKER = Decoder(_Ticker)

# ---------------------------------------------------------------------------------------------------------------
# Readers


def read_quote(frame: bytes | str) -> Quote | None:
    """One frame of a combined stream; None for the answer to a command and for streams that nobody here reads."""
    envelope = decode(_ENVELOPE, frame, "stream frame")
    if not envelope.stream:
        if envelope.id is UNSET:
            raise BadFrame("stream frame: neither stream data nor an answer")
        return None
    kind = envelope.stream.partition("@")[2]
    if kind.startswith("depth"):
        return read_depth_frame(envelope.data)
    match kind:
        case "bookTicker":
            best = decode(_BEST, envelope.data, kind)
            return _best(best.s, best.u, (best.b, best.B), (best.a, best.A))
        case "aggTrade":
            several = decode(_AGG_TRADE, envelope.data, kind)
            return _trade(several, several.a)
        case "trade":
            trade = decode(_TRADE, envelope.data, kind)
            return _trade(trade, trade.t)
        case "ticker":
            return _ticker(decode(_TICKER, envelope.data, kind))
        case _:
            return None


def read_depth_frame(data: Raw | bytes) -> Depth | DepthChange:
    """A change of the book, or on spot's partial streams the book itself."""
    try:
        change = _CHANGE.decode(data)
    except ValueError:
        return read_depth(bytes(data))
    if not 0 <= change.U <= change.u:
        raise BadFrame(f"{change.s}: updates {change.U} to {change.u} of a book")
    return DepthChange(
        change.s, change.E, change.U, change.u, change.pu, _levels(change.b, change.s), _levels(change.a, change.s)
    )


def read_depth(body: bytes) -> Depth:
    """The answer of GET depth."""
    depth = decode(_DEPTH, body, "depth")
    return Depth(depth.last_update_id, _levels(depth.bids, "depth"), _levels(depth.asks, "depth"))


def read_best(body: bytes) -> Best:
    """The answer of GET ticker/bookTicker about one symbol."""
    row = decode(_BEST_ROW, body, "bookTicker")
    return _best(row.symbol, row.last_update_id, (row.bid_price, row.bid_qty), (row.ask_price, row.ask_qty))


def _levels(levels: _TextLevels, what: str) -> tuple[Level, ...]:
    return tuple((price_of(price, what, "level"), amount_of(quantity, what, "quantity")) for price, quantity in levels)


def _best(symbol: str, update_id: int | None, bid: Sequence[str], ask: Sequence[str]) -> Best:
    bid_level, ask_level = _levels(((bid[0], bid[1]), (ask[0], ask[1])), symbol)
    if bid_level[0] > ask_level[0]:
        raise BadPrice(f"{symbol}: bid {bid_level[0]} is above ask {ask_level[0]}")
    return Best(symbol, update_id, bid_level, ask_level)


def _trade(row: _Print, id: int) -> Trade:
    return Trade(row.s, id, row.T, price_of(row.p, row.s, "price"), price_of(row.q, row.s, "quantity"), row.m)


def _ticker(row: _Ticker) -> Ticker:
    open, high, low, last = (price_of(text, row.s, "price") for text in (row.o, row.h, row.l, row.c))
    volume, quote_volume = amount_of(row.v, row.s, "volume"), amount_of(row.quote_volume, row.s, "volume")
    check_amounts(volume, quote_volume)
    return Ticker(row.s, row.E, open, high, low, last, volume, quote_volume)
