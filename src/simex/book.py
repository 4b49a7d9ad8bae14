"""The book of one symbol: the market's quote around the last print, and the clients' own orders by price and time.

The market trades at one level a side: the last price less and plus the half spread, a whole number of ticks, so that
the middle is the last price exactly. Clients' orders stand beside it; what is shown behind it is in `simex.depth`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from simex.klines import Series
from simex.orders import ZERO, Order, Side
from simex.strip import Strip
from simex.trades import PRINTS_PER_CANDLE, Span, TradeLog
from simex.venue import Candle, FillModel, InstrumentSpec, SymbolStatus

_BPS: Final = Decimal(10_000)
Best: TypeAlias = tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]  # bid and ask, each price and quantity
PRICE_MAX: Final = Decimal(10) ** 15


class Listed(Protocol):
    """What a book must know of its symbol."""

    @property
    def symbol(self) -> str: ...

    @property
    def tick_size(self) -> Decimal: ...

    @property
    def lot_size(self) -> Decimal: ...

    @property
    def min_notional(self) -> Decimal: ...


class Wish(Protocol):
    """What a book must know of what an order asks for."""

    @property
    def side(self) -> Side: ...

    @property
    def type(self) -> str: ...

    @property
    def price(self) -> Decimal: ...

    @property
    def stop_price(self) -> Decimal: ...

    @property
    def triggers_above(self) -> bool: ...


class Resting(Protocol):
    """What a book must know of an order."""

    @property
    def ticket(self) -> Wish: ...

    @property
    def remaining(self) -> Decimal: ...

    @property
    def is_taking(self) -> bool: ...


AnyOrder = TypeVar("AnyOrder", bound=Resting)
AnySpec = TypeVar("AnySpec", bound=Listed)


class OrderBook(Generic[AnyOrder, AnySpec]):
    """One symbol's market, on whichever of the venue's markets."""

    def __init__(self, spec: AnySpec, model: FillModel, kept_ms: int) -> None:
        self.spec = spec
        self.series = Series(kept_ms)
        self.looked: list[Callable[[], None]] = []  # called before somebody looks at the depth
        self.log: TradeLog | None = None  # kept when somebody may ask for trades
        self.last: Decimal | None = None
        self.previous: Decimal | None = None
        self.liquidity = ZERO
        self.update_id = 0  # goes up whenever a shown level may have changed
        self.bids: list[AnyOrder] = []
        self.asks: list[AnyOrder] = []
        self.stops: list[AnyOrder] = []
        self.waiting: list[AnyOrder] = []
        self.open_count = 0
        self._half_spread = model.half_spread_bps / _BPS
        self._slippage = model.slippage_bps / _BPS
        self._quote: tuple[Decimal, Decimal] | None = None
        self._is_quoted = False  # the market tells its best prices itself
        self._calm: tuple[Decimal, Decimal] | None = None  # known until a queue changes

    def print(self, price: Decimal, liquidity: Decimal) -> None:
        """A public trade moves the market; its liquidity replaces what was left of the former."""
        self.previous = self.last
        self.last = price
        self.liquidity = liquidity
        self.update_id += 1
        if not self._is_quoted:
            self._quote = None

    def load_history(self, candles: Sequence[Candle]) -> None:
        """Closed base candles before the first print, oldest first; ValueError when they overlap or come after one."""
        first_id = self.series.trade_id + 1
        self.series.load_history(candles)
        if candles:
            self.last = candles[-1].close
            if self.log is not None:
                self.log.add(Span(candles, 0, len(candles), first_id))

    def pass_candles(self, strip: Strip, start: int, end: int, volume_share: Decimal, told: bool) -> None:
        """As after all prints of the candles from `start` to `end`, exclusive; the first one's open may be printed.

        ValueError when somebody's kline ends inside them and is to be told, or more of the first one was printed.
        """
        series = self.series
        before = series.trade_id
        series.finish(strip.candle(start))
        if self.log is not None:
            skipped = PRINTS_PER_CANDLE - (series.trade_id - before)
            self.log.add(Span(strip, start, end, before + 1, skipped))
        if end > start + 1:
            if told and strip.open_ms[end - 1] >= series.next_close_ms:
                raise ValueError(f"{self.spec.symbol}: a kline ends inside these candles, and somebody listens to it")
            series.skip(strip, start + 1, end)
        if not told:
            series.close_until(strip.end_ms(end - 1))
        last = strip.candle(end - 1)
        self.print(last.close, volume_share * last.volume)

    def quoted(self, bid: Decimal, ask: Decimal) -> None:
        """The market's best prices, until it tells others: they are no longer made of the last print."""
        self._is_quoted = True
        if self._quote != (bid, ask):
            self._quote = bid, ask
            self._calm = None
            self.update_id += 1

    @property
    def is_buyer_maker(self) -> bool:
        """Whether the last print sold into a bid: prints do not say, so a falling price is taken for it."""
        return self.previous is not None and self.last is not None and self.last < self.previous

    @property
    def quote(self) -> tuple[Decimal, Decimal] | None:
        """The market's bid and ask; None before the first price."""
        if self._quote is None and self.last is not None:
            self._quote = self.quote_at(self.last)
        return self._quote

    def quote_at(self, price: Decimal) -> tuple[Decimal, Decimal]:
        """The bid and ask that a print at this price makes."""
        tick = self.spec.tick_size
        ticks = (price * self._half_spread / tick).to_integral_value(ROUND_HALF_UP)
        half = max(ticks, Decimal(1)) * tick
        return price - half, price + half

    def taker_price(self, side: Side, limit: Decimal | None) -> Decimal | None:
        """What a taker pays or gets: the quote and slippage, rounded against it, never beyond its limit.

        None when the limit does not reach the quote.
        """
        quote = self.quote
        if quote is None:
            return None
        tick = self.spec.tick_size
        if side == "BUY":
            if limit is not None and limit < quote[1]:
                return None
            slipped = (quote[1] * (1 + self._slippage) / tick).to_integral_value(ROUND_CEILING) * tick
            return slipped if limit is None else min(slipped, limit)
        if limit is not None and limit > quote[0]:
            return None
        slipped = (quote[0] * (1 - self._slippage) / tick).to_integral_value(ROUND_FLOOR) * tick
        return slipped if limit is None else max(slipped, limit)

    def rival(self, side: Side, worst: Decimal | None) -> AnyOrder | None:
        """The first resting client order that a taker may meet at this price or a better one."""
        resting = self.asks if side == "BUY" else self.bids
        if not resting or worst is None:
            return None
        first = resting[0]
        reaches = first.ticket.price <= worst if side == "BUY" else first.ticket.price >= worst
        return first if reaches else None

    def available(self, order: AnyOrder) -> Decimal:
        """How much of an order the market can take now, in whole lots."""
        quantity = min(order.remaining, self.liquidity)
        return quantity - quantity % self.spec.lot_size

    @property
    def calm(self) -> tuple[Decimal, Decimal] | None:
        """Prints between these prices, exclusive, reach no order of a client, and the market's quote none either.

        None while an order goes on taking: each print is for it.
        """
        if (
            self._calm is None
            and not self.waiting
            and not self._has_trailing
            and not any(o.is_taking for o in (*self.bids, *self.asks))
        ):
            tick, wider = self.spec.tick_size, self._half_spread
            below = [order.ticket.stop_price for order in self.stops if not order.ticket.triggers_above]
            above = [order.ticket.stop_price for order in self.stops if order.ticket.triggers_above]
            # Half a spread is at most the rate of the price and a tick more; it shrinks with the price.
            below += [order.ticket.price * (1 + 2 * wider) + 2 * tick for order in self.bids[:1]]
            above += [order.ticket.price * (1 - wider) - 2 * tick for order in self.asks[:1]]
            self._calm = max(below, default=ZERO), min(above, default=PRICE_MAX)
        return self._calm

    def visible(self, order: AnyOrder) -> Decimal:
        """What the book shows of a resting order."""
        return order.remaining

    @property
    def _has_trailing(self) -> bool:
        """Whether a stop waits that every price may move."""
        return False

    def rest(self, order: AnyOrder) -> None:
        """Put a limit order into its queue: by price, then behind those that are there."""
        self._calm = None
        self.update_id += 1
        if order.ticket.side == "BUY":
            insort(self.bids, order, key=_bid_rank)
        else:
            insort(self.asks, order, key=_ask_rank)

    def wait_for_trigger(self, order: AnyOrder) -> None:
        self._calm = None
        self.stops.append(order)

    def wait_for_liquidity(self, order: AnyOrder) -> None:
        self._calm = None
        self.waiting.append(order)

    def remove(self, order: AnyOrder) -> None:
        """Take an order out of whichever queue it is in."""
        self._calm = None
        self.update_id += 1
        for queue in (self.bids, self.asks, self.stops, self.waiting):
            if order in queue:
                queue.remove(order)
                return

    def stop_side(self) -> int:
        """-1: sell stops rest below, +1: buy stops rest above, 0: no protective stop."""
        for order in self.stops:
            if order.ticket.type in ("STOP_LOSS", "STOP_LOSS_LIMIT"):
                return 1 if order.ticket.side == "BUY" else -1
        return 0

    def best(self) -> Best | None:
        """Best bid and ask with their quantities, clients' orders included; None before the first price."""
        quote = self.quote
        if quote is not None and self._market_leads(quote):  # most prints: no client is nearer than the market
            shown = self._shown_liquidity()
            return (quote[0], shown), (quote[1], shown)
        bids, asks = self.levels("BUY"), self.levels("SELL")
        return (bids[0], asks[0]) if bids and asks else None

    def _market_leads(self, quote: tuple[Decimal, Decimal]) -> bool:
        behind_bid = not self.bids or self.bids[0].ticket.price < quote[0]
        return behind_bid and (not self.asks or self.asks[0].ticket.price > quote[1])

    def levels(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        """The levels that can be traded with and their quantities, best first."""
        resting = self.bids if side == "BUY" else self.asks
        levels = {
            price: sum((self.visible(order) for order in group), ZERO)
            for price, group in groupby(resting, key=lambda order: order.ticket.price)
        }
        price = self.shown_price(side)
        if price is not None:
            levels[price] = levels.get(price, ZERO) + self._shown_liquidity()
        return sorted(levels.items(), reverse=side == "BUY")

    def shown_price(self, side: Side) -> Decimal | None:
        """Where the market's own level is shown; None before the first price.

        A book never shows itself crossed: where a client wants more than there was, the market's level retreats.
        """
        quote, tick = self.quote, self.spec.tick_size
        if quote is None:
            return None
        if side == "BUY":
            return min(quote[0], self.asks[0].ticket.price - tick) if self.asks else quote[0]
        return max(quote[1], self.bids[0].ticket.price + tick) if self.bids else quote[1]

    def _shown_liquidity(self) -> Decimal:
        """A market level is never empty: where a tick's liquidity is used up, one lot stays in sight."""
        return max(self.liquidity - self.liquidity % self.spec.lot_size, self.spec.lot_size)


class Book(OrderBook[Order, InstrumentSpec]):
    """A symbol of the spot market: it knows icebergs and trailing stops."""

    def __init__(self, spec: InstrumentSpec, model: FillModel, kept_ms: int) -> None:
        super().__init__(spec, model, kept_ms)
        self.status: SymbolStatus = "TRADING"
        self.reference_price: Decimal | None = None
        self.reference_ms: int | None = None  # when it was last set or taken away; None: never
        self.prevented_matches = 0

    @property
    def takes_cancels(self) -> bool:
        """Where nothing else goes on, cancels are refused too: a status of their own is there to allow them."""
        return self.status in ("TRADING", "CANCEL_ONLY")

    def taker_bounds(self, side: Side) -> tuple[Decimal, Decimal] | None:
        """The lowest and highest price at which a taker may trade; None without a rule or a reference price."""
        if self.spec.price_range is None or self.reference_price is None:
            return None
        up, down = self.spec.price_range[side == "SELL"]
        return self.reference_price * down, self.reference_price * up

    def visible(self, order: Order) -> Decimal:
        return order.visible

    def rest(self, order: Order) -> None:
        order.slice_left = order.ticket.iceberg_quantity
        super().rest(order)

    def refill(self, order: Order, keeps_place: bool) -> None:
        """The next slice of an iceberg appears, in its old place or behind its equals."""
        if keeps_place:
            order.slice_left = order.ticket.iceberg_quantity
        else:
            self.remove(order)
            self.rest(order)

    @property
    def _has_trailing(self) -> bool:
        return any(order.ticket.trailing_bips for order in self.stops)


def _bid_rank(order: Resting) -> Decimal:
    return -order.ticket.price


def _ask_rank(order: Resting) -> Decimal:
    return order.ticket.price
