"""What the guardian does at the venue, alone: cancels the bot's entries, and sells what the bot holds by its journal.

Rules. Nothing is sold that the journal does not say to be the bot's, and nothing that the account does not have. What
became of each order that the journal leaves open is asked of the venue first, and folded, so that what is counted as
held is what the trader itself would count after a restart. A sale bears a name made from its position: before it is
sent the venue is asked for it, and after an answer that was lost it is sent again only when it cannot arrive any more.
On spot a stop gives way to the sale in one request; on futures the sale only reduces, and stops are cancelled after it.
Before every write it is asked whether there is still an emergency; when there is none, nothing more is done.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial

from surefoot.alerts import Level
from surefoot.binance.codec import BadFrame
from surefoot.binance.dialect import Ask
from surefoot.core.engine import Engine
from surefoot.core.exits import leaving_order
from surefoot.core.facts import LOST_MARGIN_MS, SERVER_LIMIT_MS
from surefoot.core.messages import (
    AccountSnapshot,
    CancelOrder,
    CancelRefused,
    Event,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    QueryOrder,
    ReadAccount,
    ReadFills,
    ReplaceOrder,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import CONDITIONAL, ZERO, OrderRequest, Purpose
from surefoot.core.orders import Order, State
from surefoot.deeds import WHY, Pledges
from surefoot.venuedesk import Desk, Fate

PREFIX = "sfg-"  # of the guardian's orders; the trader's begin with sf-
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
NO_SUCH_ORDER = -2013
CANCEL_TOO_LATE = -2011

ReadBooks = Callable[[], Awaitable[Engine]]
Tell = Callable[[Level, str, str], None]  # level, title, text
Deed = Callable[[VenueTraded], None]


class Unanswered(Exception):
    """The venue did not tell what has to be known before anything else; the text says what."""


class Over(Exception):
    """There is no emergency any more: the trader works again."""


class Rescue:
    """One emergency's. Its books are folded from the journal, and are nobody else's."""

    def __init__(
        self, desk: Desk, read_books: ReadBooks, is_still: Callable[[], bool], tell: Tell, did: Deed, pledges: Pledges
    ) -> None:
        """`read_books` folds the journal as it is now; `is_still` says whether there is still an emergency; `did` keeps
        what was sold, and is told before `tell`; `pledges` outlive a guardian that dies in the middle."""
        self._desk = desk
        self._read_books = read_books
        self._books: Engine
        self._is_still = is_still
        self._tell = tell
        self._did = did
        self._pledges = pledges
        self._next_number: dict[str, int] = {}  # of sales, by symbol: those before are over, and booked
        self._opened_ms: dict[str, int] = {}  # since when a position was held that is being sold
        self._apart: set[str] = set()  # symbols whose stop is cancelled before the sale, not by it
        self._unknown: set[str] = set()  # orders that the venue does not know
        self._begun: set[str] = set()
        self._told: set[tuple[str, int]] = set()  # symbol and trade id

    # -- what is asked for ------------------------------------------------------------------------------------

    async def cancel_entries(self) -> None:
        """Cancel all entries that have bought nothing; see `_cancel_entry` for the others. Raises Over, StoreError."""
        await self._fold_anew()
        for name in [order.id for order in self._entries()]:
            await self._repeatedly(name, partial(self._cancel_entry, name))

    async def flatten(self) -> None:
        """Symbol by symbol, cancel entries and sell until nothing is left. Raises Over, StoreError."""
        await self._fold_anew()
        for symbol in dict.fromkeys((*self._books.portfolio.positions, *(order.symbol for order in self._entries()))):
            await self._repeatedly(symbol, partial(self._leave, symbol))

    async def _fold_anew(self) -> None:
        """A trader that lives, and works badly, goes on writing: what it has ordered since is to be known."""
        self._books = await self._read_books()
        self._books.orders.doubt_unanswered(self._desk.now_ms())
        self._next_number.clear()

    async def _repeatedly(self, subject: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Until an attempt says that it is done; later each time."""
        for number in itertools.count():
            problem = "the venue has not done it"
            try:
                if await attempt():
                    return
            except (Unanswered, BadFrame) as trouble:
                problem = str(trouble)
            pause_s = PAUSES_S[min(number, len(PAUSES_S) - 1)]
            self._tell(Level.WARNING, "The guardian tries again", f"{subject}: {problem}; again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            self._check()
            await self._fold_anew()

    def _check(self) -> None:
        if not self._is_still():
            raise Over

    # -- cancelling -------------------------------------------------------------------------------------------

    def _entries(self) -> Iterator[Order]:
        for order in self._books.orders.open_orders():
            if order.request.purpose is Purpose.ENTRY and not order.finished:
                yield order

    async def _cancel_entry(self, name: str) -> bool:
        """One of a list that has filled in part is left: with it would go the stop that waits for the rest."""
        order = self._books.orders.get(name)
        if order is None:
            return True
        await self._learn(order)
        had_part = bool(order.filled or order.owed)
        if had_part and order.list_id is not None and not order.finished:
            text = f"{order.id} of {order.symbol} has filled in part, and its stop waits for the rest: it is left"
            self._tell(Level.CRITICAL, "An entry was left", text)
            return True
        done = await self._cancel(order)
        if done and not had_part and order.filled and order.list_id is not None:
            self._tell(
                Level.CRITICAL, "A POSITION HAS NO STOP", f"{order.symbol}: its entry filled as it was cancelled"
            )
        return done

    async def _cancel(self, order: Order) -> bool:
        """Whether it is over, or never was at the venue."""
        if order.finished:
            return True
        self._check()
        command = CancelOrder(self._desk.now_ms(), order.symbol, order.name, order.request.type in CONDITIONAL)
        ask = self._desk.dialect.write(command)
        reply = await self._desk.ask(ask)
        if reply.fate is Fate.DONE:
            self._fold(self._desk.dialect.understand(ask, command, reply.body, reply.at_ms)[0])
        if not order.finished:  # refused, unknown, or over meanwhile: the venue knows
            await self._learn(order)
        if order.finished:
            text = f"{order.id}: {order.request.purpose} of {order.symbol}, it is {order.state}"
            self._tell(Level.CRITICAL, "The guardian has cancelled an order", text)
        return order.finished or (order.id in self._unknown and order.state is not State.IN_DOUBT)

    async def _cancel_all_of(self, symbol: str, purpose: Purpose | None = None) -> bool:
        """All orders of a symbol, or those for one purpose; whether none is left."""
        for order in list(self._books.orders.open_orders(symbol)):
            if purpose in (None, order.request.purpose) and not await self._cancel(order):
                return False
        return True

    # -- selling ----------------------------------------------------------------------------------------------

    async def _leave(self, symbol: str) -> bool:
        """Whether nothing is held of it any more; False when something has to be waited for."""
        for order in list(self._books.orders.open_orders(symbol)):
            await self._learn(order)
        if not await self._cancel_all_of(symbol, Purpose.ENTRY):
            return False
        before: Decimal | None = None
        while True:
            number = await self._hear_sales(symbol)
            quantity, why_none = await self._quantity(symbol)
            if not quantity:
                self._tell(Level.CRITICAL, "The guardian is done with a symbol", f"{symbol}: {why_none}")
                return await self._tidy(symbol)
            left = self._books.portfolio.positions[symbol].quantity
            if left == before:
                raise Unanswered(f"nobody buys what is sold, {left:f} are left")
            before = left
            if not await self._sell(symbol, quantity, self._sale_name(symbol, number)):
                return False

    async def _quantity(self, symbol: str) -> tuple[Decimal, str]:
        """How much is to be sold; where that is nothing, why. What the account has is read now."""
        position = self._books.portfolio.positions.get(symbol)
        instrument = self._books.instruments.get(symbol)
        if position is None or instrument is None:
            return ZERO, "the bot holds nothing of it"
        account = await self._account()
        if position.contract:
            held = next((each.quantity for each in account.positions if each.symbol == symbol), ZERO)
            owned, ours = max(held * position.direction, ZERO), position.quantity
        else:
            owned = next((each.total for each in account.balances if each.asset == instrument.base), ZERO)
            ours = self._books.portfolio.sellable(symbol)
        if owned < ours:
            text = f"{symbol}: {ours:f} by the journal, the account has {owned:f}: no more than that is sold"
            self._tell(Level.CRITICAL, "The account has less than the journal says", text)
        quantity = instrument.lots_down(min(owned, ours))
        if not instrument.can_close(quantity, self._price(symbol)):
            return ZERO, f"{quantity:f} is too little to be sold" if quantity else "nothing is left"
        for most in (instrument.market_quantity_max, instrument.quantity_max):
            quantity = min(quantity, most) if most else quantity
        return instrument.lots_down(quantity), ""

    def _price(self, symbol: str) -> Decimal:
        return self._books.marks.get(symbol) or self._books.portfolio.positions[symbol].entry_price or ZERO

    async def _sell(self, symbol: str, quantity: Decimal, name: str) -> bool:
        """Whether it can be looked at once what came of it."""
        position, instrument = self._books.portfolio.positions[symbol], self._books.instruments[symbol]
        sale = leaving_order(name, instrument, quantity, Purpose.EXIT, WHY, position.direction)
        if symbol not in self._begun:
            self._begun.add(symbol)
            text = f"{sale.side} {quantity:f} {symbol} at the market, {name}"
            self._tell(Level.CRITICAL, "The guardian sells", text)
        if instrument.reduces_only:
            return await self._write(SubmitOrder(self._desk.now_ms(), sale), sale)
        stop = self._stop_to_replace(symbol)
        if stop is not None:
            return await self._replace(stop, sale)
        if not await self._cancel_all_of(symbol):  # what is left of its protection holds the coins
            return False
        taken = await self._write(SubmitOrder(self._desk.now_ms(), sale), sale)
        if not taken and not self._pledges.left_ms(name):
            self._tell(Level.CRITICAL, "A POSITION HAS NO STOP", f"{symbol}: and its sale was not taken yet")
        return taken

    def _stop_to_replace(self, symbol: str) -> Order | None:
        if symbol in self._apart:
            return None
        for order in self._books.orders.open_orders(symbol):
            if order.request.purpose is Purpose.STOP and order.resting and not order.finished and not order.filled:
                return order
        return None

    async def _replace(self, stop: Order, sale: OrderRequest) -> bool:
        """The stop gives way to the sale in one request. Where only its cancel went through, the sale alone follows at
        once; where neither did, the next try cancels it by itself."""
        if await self._write(ReplaceOrder(self._desk.now_ms(), stop.name, sale), sale):
            return True
        await self._learn(stop)
        if self._pledges.left_ms(sale.client_order_id):  # the answer is lost: it may be sold
            return False
        if stop.finished:
            self._tell(Level.CRITICAL, "A POSITION HAS NO STOP", f"{sale.symbol}: its sale was not taken with it")
        else:
            self._apart.add(sale.symbol)
        return stop.finished

    async def _write(self, command: SubmitOrder | ReplaceOrder, sale: OrderRequest) -> bool:
        """Whether the sale was taken."""
        self._check()
        dialect, name = self._desk.dialect, sale.client_order_id
        ask = dialect.write(command)
        self._pledges.make(name, self._desk.recv_window_ms + SERVER_LIMIT_MS + LOST_MARGIN_MS)
        reply = await self._desk.ask(ask)
        if reply.fate is Fate.DONE:  # the pledge stays: asked at once, the venue may not know it yet
            self._fold(dialect.understand(ask, command, reply.body, reply.at_ms)[0])
            return True
        halves = None
        if reply.error is not None:
            halves = dialect.half_done(command, reply.error, reply.body, reply.at_ms)
            self._fold(halves or ())
        if reply.fate is not Fate.UNKNOWN or halves is not None:  # nothing of it is on its way
            self._pledges.release(name)
        refused = [each.text for each in halves or () if isinstance(each, OrderRejected | CancelRefused)]
        text = f"{sale.symbol}: {'; '.join(refused) or reply.text}"
        self._tell(Level.CRITICAL, "A sale of the guardian was not taken", text)
        return False

    async def _tidy(self, symbol: str) -> bool:
        """Cancel what was to protect it, unless there may be something to protect."""
        position = self._books.portfolio.positions.get(symbol)
        if position is None or not self._books.instruments[symbol].can_close(position.quantity, self._price(symbol)):
            return await self._cancel_all_of(symbol)
        return True

    # -- what the venue knows ---------------------------------------------------------------------------------

    def _sale_name(self, symbol: str, number: int) -> str:
        """Of the nth sale of a position: the same for whoever makes it, whenever."""
        opened_ms = self._opened_ms[symbol]
        return f"{PREFIX}{symbol}-{opened_ms:x}-{number}"

    async def _hear_sales(self, symbol: str) -> int:
        """Book what sales of this position have done, also those of an earlier life of ours; the number of the next
        one. Raises Unanswered while one is neither over nor known not to be."""
        position = self._books.portfolio.positions.get(symbol)
        if position is not None:
            self._opened_ms[symbol] = position.opened_ms
        if symbol not in self._opened_ms:
            return 1
        for number in itertools.count(self._next_number.get(symbol, 1)):
            name = self._sale_name(symbol, number)
            events = await self._answer(QueryOrder(self._desk.now_ms(), symbol, name))
            accepted = next((each for each in events if isinstance(each, OrderAccepted)), None)
            if accepted is None:
                left_ms = self._pledges.left_ms(name)
                if left_ms:  # or it is there, and the venue does not know it yet
                    raise Unanswered(f"{name} may still arrive, for {left_ms / 1_000:.0f} s")
                return number
            await self._book(symbol, name, accepted)
            ended = any(isinstance(each, OrderCanceled | OrderExpired) for each in events)
            if not ended and (accepted.executed or ZERO) < (accepted.quantity or ZERO):
                raise Unanswered(f"{name} is on its way")
            self._next_number[symbol] = number + 1
        raise AssertionError("numbers do not end")

    async def _book(self, symbol: str, name: str, accepted: OrderAccepted) -> None:
        """Fills of a sale of ours, once each."""
        if not accepted.executed:
            return
        executed, deeds = ZERO, []
        for event in await self._answer(ReadFills(self._desk.now_ms(), symbol, name, accepted.order_id)):
            if isinstance(event, OrderFilled):
                executed += event.fill.quantity
                if not self._books.knows_venue_trade(event.fill):
                    deeds.append(VenueTraded(event.at_ms, event.fill, WHY, accepted.order_id, executed))
        # The greatest comes last: a position counts as over when what is left of it is too little to be sold.
        for deed in sorted(deeds, key=lambda deed: deed.fill.quantity):
            self._books.fold(deed)
            if (symbol, deed.fill.trade_id) in self._told:
                continue
            self._told.add((symbol, deed.fill.trade_id))
            self._did(deed)
            text = f"{deed.fill.side} {deed.fill.quantity:f} {symbol} at {deed.fill.price:f}, {name}"
            self._tell(Level.CRITICAL, "The guardian has sold", text)

    async def _learn(self, order: Order) -> None:
        """What has become of an order of the trader's, its fills too."""
        conditional = order.request.type in CONDITIONAL
        events = await self._answer(QueryOrder(self._desk.now_ms(), order.symbol, order.name, conditional))
        if any(isinstance(event, OrderNotFound) for event in events):
            self._unknown.add(order.id)
        self._fold(events)
        if order.owed and order.order_id is not None:
            fills = ReadFills(self._desk.now_ms(), order.symbol, order.name, order.order_id, conditional)
            self._fold(await self._answer(fills))

    async def _answer(self, command: QueryOrder | ReadFills) -> list[Event]:
        """Raises Unanswered."""
        dialect = self._desk.dialect
        ask: Ask | None = dialect.question(command)
        events: list[Event] = []
        while ask is not None:
            reply = await self._desk.ask(ask)
            if reply.fate is Fate.REFUSED and reply.code in (NO_SUCH_ORDER, CANCEL_TOO_LATE):
                return [*events, OrderNotFound(reply.at_ms, command.client_order_id)]
            if reply.fate is not Fate.DONE:
                raise Unanswered(f"{ask.path}: {reply.text}")
            more, ask = dialect.understand(ask, command, reply.body, reply.at_ms)
            events += more
        return events

    async def _account(self) -> AccountSnapshot:
        """Raises Unanswered."""
        reading = self._desk.dialect.reading(ReadAccount(self._desk.now_ms()), None, self._desk.now_ms())
        for ask in reading.asks:
            reply = await self._desk.ask(ask)
            if reply.fate is not Fate.DONE:
                raise Unanswered(f"{ask.path}: {reply.text}")
            reading.take(ask, reply.body, reply.at_ms)
        return next(event for event in reading.events(self._desk.now_ms()) if isinstance(event, AccountSnapshot))

    def _fold(self, events: Sequence[Event]) -> None:
        for event in events:
            self._books.fold(event)
