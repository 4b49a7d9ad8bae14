"""What is different for futures: orders that only reduce, and the margin behind a position.

Since such an order can do no more than close the position, several may rest beside each other. So a new stop is placed
first, and the old one is cancelled when the new one rests; a part is sold without a smaller stop before it; and who
leaves need not cancel anything before. What is of no use any more is cancelled afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from surefoot.core.exits import (
    Action,
    Leave,
    MoveStop,
    Plan,
    TakePart,
    ahead,
    leaving_order,
    plan_for,
    stop_order,
    target_order,
)
from surefoot.core.facts import SHRINK, EngineSettings, Facts, SettingsAfter
from surefoot.core.margin import Backing, MarginSettings, bracket_of, liquidation_price, maintenance
from surefoot.core.messages import AccountSnapshot, Command, RecordAlarm, SubmitOrder
from surefoot.core.model import CONDITIONAL, ZERO, Instrument, MarginTerms, Purpose, VenuePosition
from surefoot.core.orders import Order
from surefoot.core.reconcile import OUR_PREFIX

PRICE_MAX = Decimal(10) ** 15
AMPLE = 4
TOLERANCE = Decimal("0.002")  # by so much the venue's liquidation price may be nearer than ours without being news
STRANGE_EVERY_MS = 15_000  # how often the account is read while something of it is not ours, or not as we reckon
HOPELESS = 2  # refusals in a row: both legs of a list, or a request that was tried again


class Contracts(Facts):
    """The engine's hands for futures. See the module's rules."""

    def __init__(self, settings: EngineSettings, settings_after: SettingsAfter | None = None) -> None:
        super().__init__(settings, settings_after)
        self._out: list[Command] = []
        self._by_last_price: set[str] = set()  # symbols of which it was said that their mark price is missing
        self._venue_liquidations: dict[str, tuple[Decimal, Decimal]] = {}  # nearer than ours: of what quantity, where
        self._wallet_danger = ""  # what may be liquidated soon with which all others would be
        self._unlike: dict[str, MarginTerms] = {}
        self._unjudged: AccountSnapshot | None = None  # read before the first mark price

    # -- commands ---------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        self._note(command)
        self._out.append(command)

    def _alarm(self, at_ms: int, code: str, text: str) -> None:
        self._do(RecordAlarm(at_ms, code, text))

    def _next_id(self, offset: int, role: str) -> str:
        return f"{OUR_PREFIX}{self.run}-{self._counter + offset}{role}"

    def _direction(self, symbol: str) -> int:
        position = self.portfolio.positions.get(symbol)
        return 1 if position is None else position.direction

    def _plan(self, symbol: str, instrument: Instrument) -> Plan:
        plan = self.plans.get(symbol)
        if plan is not None:
            return plan
        # A fill that came after its round trip had ended: its plan went with that.
        position = self.portfolio.positions[symbol]
        assert position.entry_price is not None, f"{symbol} is held and was never bought"
        return plan_for(position.entry_price, self.settings.exits, instrument, direction=position.direction)

    # -- margin -------------------------------------------------------------------------------------------------

    def _free_margin(self, margin: MarginSettings, prices: dict[str, Decimal]) -> Decimal:
        """What the wallet has left for the margin of new positions; an open loss counts, an open profit does not."""
        free = self.portfolio.wallet(self.settings.quote)
        for symbol, position in self.portfolio.positions.items():
            price = prices.get(symbol, position.entry_price or ZERO)
            free += min(position.profit(price), ZERO) - position.quantity * price / margin.leverage
        return free

    def backing(self, symbol: str, prices: dict[str, Decimal]) -> Backing | None:
        """What stands behind a position in `symbol`, if all share one wallet; None when a price is missing."""
        others_maintenance = others_profit = ZERO
        for other, position in self.portfolio.positions.items():
            if other == symbol or not position.quantity:
                continue
            price, brackets = prices.get(other), self.instruments[other].brackets
            if price is None or not brackets:
                return None
            others_maintenance += maintenance(brackets, position.quantity * price)
            others_profit += position.profit(price)
        return Backing(self.portfolio.wallet(self.settings.quote), others_maintenance, others_profit)

    def mark_price(self, symbol: str, now_ms: int) -> Decimal | None:
        """What the venue liquidates by; None where it was not told, or too long ago."""
        told_ms, price = self.mark_prices.get(symbol, (None, None))
        fresh = told_ms is not None and now_ms - told_ms <= self.settings.risk.price_age_max_ms
        return price if fresh else None

    def _margin_prices(self, now_ms: int) -> dict[str, Decimal]:
        """What margins are reckoned with: mark prices, where there is none the last price."""
        if not self.mark_prices:
            return self.marks
        told = ((symbol, self.mark_price(symbol, now_ms)) for symbol in self.mark_prices)
        return self.marks | {symbol: price for symbol, price in told if price is not None}

    def liquidation_price(self, symbol: str, now_ms: int) -> Decimal | None:
        """Where the venue would take a position away, by its word or as prices are, whichever is nearer; None where
        nowhere or not known."""
        reckoned, position = self._reckoned_liquidation(symbol, now_ms), self.portfolio.positions.get(symbol)
        quantity, told = self._venue_liquidations.get(symbol, (ZERO, ZERO))
        if position is None or not told or quantity != position.signed_quantity:
            return reckoned
        nearer = max if position.direction > 0 else min
        return told if reckoned is None else nearer(told, reckoned)

    def _reckoned_liquidation(self, symbol: str, now_ms: int) -> Decimal | None:
        margin, position = self.settings.margin, self.portfolio.positions.get(symbol)
        brackets = self.instruments[symbol].brackets
        if margin is None or position is None or not position.quantity or not brackets:
            return None
        entry_price = position.cost / position.quantity
        isolated = Backing(position.cost / margin.leverage + position.funding)
        backing = isolated if margin.isolated else self.backing(symbol, self._margin_prices(now_ms))
        if backing is None:
            return None
        return liquidation_price(position.signed_quantity, entry_price, backing, brackets)

    def _hear_margins(self, event: AccountSnapshot) -> None:
        """What the venue says of margins, where that is not what we reckon with: the owner may have changed how
        positions are held, or have others on the same wallet."""
        margin = self.settings.margin
        if margin is None:
            return
        known, self._unlike = self._unlike, {each.symbol: each for each in event.unlike}
        for symbol in sorted(self._unlike):
            if self._unlike[symbol] != known.get(symbol):
                self._alarm(event.at_ms, "margin-differs", f"{self._margin_off(symbol)}: nothing of it is bought")
        self._unjudged = None if self.mark_prices else event
        if not self.mark_prices:  # it may be a backtest's, whose venue knows nothing that we do not
            return
        said, self._venue_liquidations = set(self._venue_liquidations), {}
        self._venue_liquidations = dict(self._nearer_liquidations(event))
        for symbol in sorted(self._venue_liquidations.keys() - said):
            at, reckoned = self._venue_liquidations[symbol][1], self._reckoned_liquidation(symbol, event.at_ms)
            text = (
                f"{symbol}: at {at:f} by the venue's word, {_or_nowhere(reckoned)} as we reckon: the nearer one counts"
            )
            self._alarm(event.at_ms, "liquidation-differs", text)
        others = [each for each in event.positions if self._shares_our_wallet(each, margin)]
        self._wallet_danger = ", ".join(each.symbol for each in others if self._is_near(each, margin))
        if self.portfolio.positions and (others or self._venue_liquidations):
            self._compare_by(event.at_ms + STRANGE_EVERY_MS)

    def _nearer_liquidations(self, event: AccountSnapshot) -> Iterable[tuple[str, tuple[Decimal, Decimal]]]:
        for each in event.positions:
            position, told = self.portfolio.positions.get(each.symbol), each.liquidation_price
            if position is None or told is None or position.signed_quantity != each.quantity:
                continue
            reckoned = self._reckoned_liquidation(each.symbol, event.at_ms)
            if reckoned is None or (told - reckoned) * position.direction > reckoned * TOLERANCE:
                yield each.symbol, (each.quantity, told)

    def _shares_our_wallet(self, each: VenuePosition, margin: MarginSettings) -> bool:
        return not margin.isolated and each.isolated is None and each.symbol not in self.portfolio.positions

    def _is_near(self, each: VenuePosition, margin: MarginSettings) -> bool:
        """Whether somebody else's position is as near to its liquidation as none of ours may come."""
        price, direction = each.mark_price or self.marks.get(each.symbol), 1 if each.quantity > 0 else -1
        if price is None or each.liquidation_price is None:
            return False
        return (price - ahead(each.liquidation_price, margin.distance_min_pct, direction)) * direction <= 0

    def _wallet_off(self) -> str | None:
        danger = self._wallet_danger
        return f"{danger} on the same wallet is near its liquidation" if danger else None

    def _margin_off(self, symbol: str) -> str | None:
        """Why nothing of a symbol is to be bought: the venue would hold it otherwise than it was told to."""
        terms = self._unlike.get(symbol)
        if terms is None:
            return None
        how = "ISOLATED" if terms.isolated else "CROSSED"
        return f"{symbol} is held {how} with leverage {terms.leverage} at the venue, which is not what was set"

    def _flee_price(self, symbol: str, now_ms: int) -> Decimal | None:
        """The price that is as near to the liquidation as a position may come."""
        price, margin = self.liquidation_price(symbol, now_ms), self.settings.margin
        if price is None or margin is None:
            return None
        return ahead(price, margin.distance_min_pct, self._direction(symbol))

    def _flees(self, symbol: str, now_ms: int) -> bool:
        """Leave a position before the venue takes it away, by the price that the venue does it by."""
        if self.settings.margin is None:
            return False
        if self._unjudged is not None and self.mark_prices:
            self._hear_margins(self._unjudged)
        mark_price = self.mark_price(symbol, now_ms)
        self._say_what_prices_are_missing(symbol, mark_price, now_ms)
        price = mark_price or self.marks.get(symbol)
        if price is None or symbol in self._to_leave or not self._may_leave(symbol, now_ms):
            return False
        if self._wallet_danger:
            text = f"{symbol}: {self._wallet_danger} on the same wallet is near its liquidation: leaving"
            self._alarm(now_ms, "liquidation-near", text)
            self._leave(symbol, "liquidation", now_ms)
            return True
        flee_price = self._flee_price(symbol, now_ms)
        if flee_price is None or (price - flee_price) * self._direction(symbol) > 0:
            return False
        if mark_price is not None:
            text = f"{symbol}: the mark price {price:f} has come to {flee_price:.8f}, near the liquidation: leaving"
            self._alarm(now_ms, "liquidation-near", text)
        self._leave(symbol, "liquidation", now_ms)
        return True

    def _say_what_prices_are_missing(self, symbol: str, mark_price: Decimal | None, now_ms: int) -> None:
        if mark_price is not None:
            self._by_last_price.discard(symbol)
        elif symbol in self.mark_prices and symbol not in self._by_last_price:
            self._by_last_price.add(symbol)
            age_s = (now_ms - self.mark_prices[symbol][0]) // 1_000
            text = f"{symbol}: no mark price for {age_s} s: how near its liquidation is goes by the last price"
            self._alarm(now_ms, "mark-price-missing", text)

    def _shares_margin(self) -> bool:
        """Whether what one position has behind it depends on another's price."""
        margin = self.settings.margin
        return margin is not None and not margin.isolated and len(self.portfolio.positions) > 1

    def _is_ample(self, equity: Decimal) -> bool:
        """Whether so much equity keeps every position away from its liquidation, up to the prices of `_reach`.

        Where one position has to be left, equity is down to the maintenance of all and what the distance is worth;
        four times the notional is more than both can be of.
        """
        margin, needed = self.settings.margin, ZERO
        assert margin is not None, "only futures share a margin"
        for symbol, position in self.portfolio.positions.items():
            mark, brackets = self.marks.get(symbol), self.instruments[symbol].brackets
            if mark is None or not brackets:
                return False
            most = AMPLE * position.quantity * mark
            needed += most * (bracket_of(brackets, most).rate + margin.distance_min_pct / 100)
        return equity > needed

    def _owned(self, symbol: str) -> Decimal:
        """How much equity moves with the symbol's price: the coins owned, or the contracts with their sign."""
        position = self.portfolio.positions.get(symbol)
        if position is not None and position.contract:
            return position.signed_quantity
        return self.portfolio.wallet(self.instruments[symbol].base)

    def _calm_for_margin(self, symbol: str, now_ms: int) -> tuple[Decimal, Decimal]:
        """Between which prices, exclusive, a position stays away from its liquidation."""
        if self._shares_margin():
            return ZERO, self._reach(symbol)
        price = self._flee_price(symbol, now_ms)
        if price is None:
            return ZERO, PRICE_MAX
        return (price, PRICE_MAX) if self._direction(symbol) > 0 else (ZERO, price)

    def _reach(self, symbol: str) -> Decimal:
        """Up to this price `_is_ample` holds."""
        return self.marks[symbol] * 3 / 2

    # -- acting -------------------------------------------------------------------------------------------------

    def _act_on_contracts(self, symbol: str, action: Action, now_ms: int) -> None:
        instrument, direction = self.instruments[symbol], self._direction(symbol)
        held = instrument.lots_down(self.portfolio.sellable(symbol))
        match action:
            case MoveStop(stop_price=stop_price, why=why):
                order = stop_order(self._next_id(1, "s"), instrument, stop_price, held, why, direction)
                self._do(SubmitOrder(now_ms, order))
            case TakePart(quantity=quantity, stage=stage):
                self._close_part(symbol, quantity, "part", now_ms, stage + 1)
            case Leave(reason=reason):
                self._leave(symbol, reason, now_ms)

    def _leave(self, symbol: str, reason: str, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        quantity = instrument.lots_down(self.portfolio.sellable(symbol))
        direction = self._direction(symbol)
        order = leaving_order(self._next_id(1, "x"), instrument, quantity, Purpose.EXIT, reason, direction)
        self._do(SubmitOrder(now_ms, order))

    def _close_part(self, symbol: str, quantity: Decimal, why: str, now_ms: int, taken: int = 0) -> None:
        direction = self._direction(symbol)
        order = leaving_order(self._next_id(1, "p"), self.instruments[symbol], quantity, Purpose.PART, why, direction)
        self._do(SubmitOrder(now_ms, order, taken))

    def _leaves(self, symbol: str) -> bool:
        """Whether an exit of all is on its way."""
        return any(order.request.purpose is Purpose.EXIT for order in self.orders.open_orders(symbol))

    def _may_leave(self, symbol: str, now_ms: int) -> bool:
        return not self._leaves(symbol) and now_ms >= self._retry_ms.get(symbol, 0)

    # -- protection ---------------------------------------------------------------------------------------------

    def _may_cover(self, symbol: str) -> bool:
        """A stop that is on its way is waited for, until the position has been without one for too long."""
        waits_for = {Purpose.EXIT} if symbol in self._overdue else {Purpose.EXIT, Purpose.STOP}
        return not any(
            order.request.purpose is Purpose.EXIT
            or (order.unanswered and order.request.purpose in waits_for)
            or (order.owed and symbol not in self._overdue)
            for order in self.orders.open_orders(symbol)
        )

    def _cover(self, symbol: str, now_ms: int) -> None:
        """Stop and target at once after the entry's fill, or all out where that makes no sense any more."""
        instrument, plan = self.instruments[symbol], self._plan(symbol, self.instruments[symbol])
        mark, direction = self.marks.get(symbol), self._direction(symbol)
        low, high = sorted((plan.stop_price, plan.target_price))
        passed = mark is not None and not low < mark < high
        hopeless = self._refusals.get(symbol, 0) >= HOPELESS
        if passed or hopeless or symbol in self._overdue or symbol in self._to_leave:
            self._leave(symbol, self._to_leave.get(symbol, ""), now_ms)
            return
        held = instrument.lots_down(self.portfolio.sellable(symbol))
        stop = stop_order(self._next_id(1, "s"), instrument, plan.stop_price, held, direction=direction)
        self._do(SubmitOrder(now_ms, stop))
        if not any(self._covers(order, Purpose.TARGET) for order in self.orders.open_orders(symbol)):
            target = target_order(self._next_id(1, "t"), instrument, plan, held, direction)
            self._do(SubmitOrder(now_ms, target))

    def _is_of_no_use(self, order: Order) -> bool:
        """Whether a stop or target has nothing left to close, or a newer one does its work."""
        purpose, symbol = order.request.purpose, order.symbol
        if order.request.type not in CONDITIONAL:
            return False
        position = self.portfolio.positions.get(symbol)
        if position is None or not position.quantity:
            return True
        newer = False
        for other in self.orders.open_orders(symbol):
            if newer and self._covers(other, purpose):
                return True
            newer = newer or other is order
        return False

    def _shrink_contracts(self, symbol: str, now_ms: int) -> None:
        """Half of it goes; too small to be halved, it stays."""
        instrument = self.instruments[symbol]
        half = instrument.lots_down(self.portfolio.sellable(symbol) / 2)
        if half > 0:
            self._close_part(symbol, half, SHRINK, now_ms)
        else:
            self._to_shrink.discard(symbol)


def _or_nowhere(price: Decimal | None) -> str:
    return "nowhere" if price is None else f"at {price:.8f}"
