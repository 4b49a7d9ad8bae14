"""One symbol's book, watched for a while: kept from its changes, held against the venue's own best prices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from surefoot.binance.dialogue import MARKET, Arrival, Frame, LinkDown, OpenLink
from surefoot.binance.gateway import Addresses, ClockTold, Gateway, Pinged
from surefoot.binance.orderbook import OrderBook
from surefoot.binance.quotes import Best, Depth, DepthChange, Level, Ticker, Trade, read_depth, read_quote
from surefoot.config import Venue

DEPTH_LEVELS = 1000
REMEMBERED = 10_000  # updates of which the best prices may still be told by the other stream


@dataclass(slots=True)
class Watched:
    """What was seen. `agreed` of `compared` updates had the best prices that the venue told for them."""

    book: OrderBook
    trade: Trade | None = None
    ticker: Ticker | None = None
    changes: int = 0
    compared: int = 0
    agreed: int = 0


class WatchFailed(Exception):
    """The venue does not answer, or ended the connection; the text says which."""


async def watch_book(symbol: str, venue: Venue, depth_path: str, for_s: float) -> Watched:
    """Watch for some seconds. Raises WatchFailed, and BadFrame for what cannot be read."""
    inbox: asyncio.Queue[Arrival | Pinged | ClockTold] = asyncio.Queue()
    gateway = Gateway(Addresses(venue.rest, venue.ws_api, venue.streams), inbox.put_nowait)
    await gateway.start()
    seen, ours, theirs = Watched(OrderBook(symbol)), dict[int, tuple[Level, Level]](), dict[int, tuple[Level, Level]]()
    streams = "/".join(f"{symbol.lower()}@{kind}" for kind in ("depth@100ms", "bookTicker", "aggTrade", "ticker"))
    try:
        gateway.send(OpenLink(MARKET, f"/stream?streams={streams}"))
        async with asyncio.timeout(for_s):
            while True:
                arrival = await inbox.get()
                if isinstance(arrival, LinkDown):
                    raise WatchFailed(f"the stream ended: {arrival.text}")
                if isinstance(arrival, Frame):
                    _take(seen, read_quote(arrival.data), ours, theirs)
                if seen.book.wants_depth and seen.changes:
                    seen.book.take_depth(await _depth(gateway, symbol, depth_path))
    except TimeoutError:
        return seen
    finally:
        await gateway.close()


async def _depth(gateway: Gateway, symbol: str, path: str) -> Depth:
    answer = await gateway.read_once(f"{path}?symbol={symbol}&limit={DEPTH_LEVELS}", {})
    if answer is None or answer[0] != 200:
        raise WatchFailed("the venue does not tell the book" if answer is None else answer[1].decode(errors="replace"))
    return read_depth(answer[1])


def _take(
    seen: Watched,
    quote: Depth | DepthChange | Best | Trade | Ticker | None,
    ours: dict[int, tuple[Level, Level]],
    theirs: dict[int, tuple[Level, Level]],
) -> None:
    match quote:
        case DepthChange():
            seen.changes += 1
            seen.book.take_change(quote)
            bid, ask, last_id = seen.book.bid, seen.book.ask, seen.book.last_id
            if bid is not None and ask is not None and last_id is not None:
                ours[last_id] = bid, ask
                _compare(seen, last_id, ours, theirs)
        case Best(update_id=int() as update_id):
            theirs[update_id] = quote.bid, quote.ask
            _compare(seen, update_id, ours, theirs)
        case Trade():
            seen.trade = quote
        case Ticker():
            seen.ticker = quote
        case _:
            pass
    for known in (ours, theirs):
        while len(known) > REMEMBERED:
            del known[next(iter(known))]


def _compare(
    seen: Watched, update_id: int, ours: dict[int, tuple[Level, Level]], theirs: dict[int, tuple[Level, Level]]
) -> None:
    if update_id in ours and update_id in theirs:
        seen.compared += 1
        seen.agreed += ours.pop(update_id) == theirs.pop(update_id)


def book_lines(seen: Watched, notional: Decimal) -> list[str]:
    """The book for a person, `notional` in quote currency being what is wanted."""
    book = seen.book
    bid, ask = book.bid, book.ask
    if bid is None or ask is None:
        return [f"{book.symbol}: no book within this time ({seen.changes} changes heard)"]
    spread_pct = (ask[0] - bid[0]) / bid[0] * 100
    lines = [f"{book.symbol}  bid {bid[1]} at {bid[0]}  ask {ask[1]} at {ask[0]}  spread {spread_pct:.4f} %"]
    for share in (Decimal("0.001"), Decimal("0.005")):
        sold, bought = book.within(share)
        lines.append(f"within {share:.1%}: {sold:,.0f} could be sold, {bought:,.0f} bought")
    price = book.buy_price(notional)
    paid = "more than the known book holds"
    if price is not None:
        paid = f"{(price / ask[0] - 1) * 100:.4f} % above the best ask"
    lines.append(f"buying for {notional:,}: {paid}")
    if seen.trade is not None:
        lines.append(f"last trade {seen.trade.quantity} at {seen.trade.price}")
    if seen.ticker is not None:
        change_pct = (seen.ticker.last / seen.ticker.open - 1) * 100
        lines.append(f"24 h: {change_pct:+.2f} %, {seen.ticker.quote_volume:,.0f} traded")
    return [
        *lines,
        f"{seen.changes} changes, {book.resyncs} gaps; {seen.agreed} of {seen.compared} best prices agree",
    ]
