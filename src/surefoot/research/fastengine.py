"""What the engine does with what it hears, as `core` does it: books, breaker, gate, exits and standing duties.

The formulas are those of `core.rules`, compiled. Floats come near a whole number of ticks or lots where decimals meet
it; `floor` and `ceil` therefore look a few units in the last place further (see docs/decisions/0012).
"""

from __future__ import annotations

import math
from typing import Any

from surefoot.core import rules as core_rules
from surefoot.research.faststate import (
    APPROVED,
    BREAK_EVEN,
    BREAKER,
    BY_ITSELF,
    BY_LIST,
    BY_REPLACEMENT,
    CANCEL,
    COOL_DOWN,
    CORRELATION,
    CUT,
    DAY_LOSS,
    DUST,
    ENTRY,
    EXIT,
    EXITABILITY,
    EXPIRED,
    FILTER,
    FILTERS,
    FLATTEN,
    FLATTEN_TIER,
    GAP,
    NEVER,
    NONE,
    NOTHING,
    ONE,
    OPPOSITE,
    OVERDUE,
    PART,
    PORTFOLIO_RISK,
    POSITION,
    POSITIONS,
    PRICE_AGE,
    PROTECTION,
    QUERY,
    READINESS,
    REPLACEMENT,
    REVERSAL,
    ROLLING_LOSS,
    ROOM_FULL,
    SALE,
    SAME_DIRECTION,
    SCORE,
    SHRINK,
    SHRINK_TIER,
    SIZE,
    SPREAD,
    STOP,
    TARGET,
    TIME,
    TO_ASK,
    TO_CANCEL,
    TO_ENTER,
    TO_LEAVE,
    TO_MOVE,
    TO_PROTECT,
    TO_SELL,
    TO_WATCH,
    TOO_SOON,
    TRAIL,
    TRIP_HOURS,
    UNIT,
    WARN,
    WEEK_LOSS,
    compiled,
    inlined,
)
from surefoot.research.fastvenue import fee_of, push

MS_PER_HOUR = 3_600_000
HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168
FIRST_MONDAY_HOUR = 96
CANCEL_ANSWER_MS = 5_000
RETRY_FIRST_MS = 1_000
RETRY_CAP_MS = 30_000
HOPELESS = 2  # refusals in a row
KELLY_ROUND_TRIPS_MIN = 200
FIXED, HALF_KELLY, BY_ATR = range(3)
STOP_PCT_MIN, STOP_PCT_MAX = core_rules.STOP_PCT_MIN, core_rules.STOP_PCT_MAX
NEAR_ENOUGH = 4e-15  # relative: some twenty units in the last place

stop_price_long = compiled(core_rules.stop_price_long)
target_price_long = compiled(core_rules.target_price_long)
limit_price_long = compiled(core_rules.limit_price_long)
profit_price_long = compiled(core_rules.profit_price_long)
r_price_long = compiled(core_rules.r_price_long)
break_even_price_long = compiled(core_rules.break_even_price_long)
risk_quantity = compiled(core_rules.risk_quantity)
kelly_share = compiled(core_rules.kelly_share)
loss_pct = compiled(core_rules.loss_pct)
profit_pct = compiled(core_rules.profit_pct)


@inlined
def floored(value: float) -> int:
    return math.floor(value + abs(value) * NEAR_ENOUGH)


@inlined
def ceiled(value: float) -> int:
    return math.ceil(value - abs(value) * NEAR_ENOUGH)


# -- books -------------------------------------------------------------------------------------------------------------


@inlined
def equity_at_marks(symbols: Any, world: Any) -> float:
    """What the account is worth at the newest marks, in quote."""
    total = world.quote / UNIT
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.e_base:
            total += symbol.e_base / UNIT * (symbol.e_mark2 * 0.5 * symbol.tick)
    return total


@compiled
def equity_at_closes(symbols: Any, world: Any) -> float:
    total = world.quote / UNIT
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.e_base:
            total += symbol.e_base / UNIT * (symbol.e_close * symbol.tick)
    return total


@inlined
def is_busy(symbol: Any) -> bool:
    """Whether an order of the symbol is open or on its way."""
    return symbol.e_entry_open == 1 or symbol.e_stop_lots > 0 or symbol.e_target_open == 1 or symbol.e_wait != NOTHING


@compiled
def can_sell(symbol: Any, lots: int, price2: int) -> bool:
    """Whether so many lots pass the filters of a sale at a price in half ticks."""
    if lots <= 0 or lots < symbol.lots_min or lots > symbol.lots_max:
        return False
    notional2 = lots * symbol.value * price2
    return notional2 >= 2 * symbol.notional_min and notional2 <= 2 * symbol.notional_max


@compiled
def sellable(symbol: Any) -> int:
    """Base units that an exit may sell."""
    return symbol.e_quantity + max(symbol.e_dust, 0)


@compiled
def close_if_flat(at: int, symbol: Any, world: Any, rules: Any, trips: Any) -> None:
    """End the round trip when nothing of it can be sold any more and no order of it is left."""
    if is_busy(symbol):
        return
    if symbol.e_held == 0:
        symbol.e_to_leave = 0
        return
    if can_sell(symbol, symbol.e_quantity // symbol.lot, 2 * symbol.e_entry):
        return
    if world.round_trips >= trips.size:
        world.error = ROOM_FULL
        return
    pnl = symbol.e_proceeds - symbol.e_paid
    trip = trips[world.round_trips]
    world.round_trips += 1
    trip.symbol = at
    trip.entry_ms = symbol.e_opened_ms
    trip.exit_ms = symbol.e_sold_ms if symbol.e_sold > 0 else symbol.e_opened_ms
    trip.entry = symbol.e_entry
    trip.sold = symbol.e_sold
    trip.bought = symbol.e_bought
    trip.received = symbol.e_received
    trip.reason = symbol.e_reason if symbol.e_sold > 0 else DUST
    trip.pnl = pnl
    trip.flags = symbol.e_flags
    trip.dust_loss = symbol.e_cost
    if symbol.e_flags:
        world.flagged += 1
    symbol.e_dust += symbol.e_quantity
    symbol.e_held = symbol.e_quantity = symbol.e_flags = symbol.e_to_leave = symbol.e_to_shrink = 0
    symbol.e_part_due = symbol.e_refusals = symbol.e_retry_ms = symbol.e_overdue = 0
    symbol.e_bare_ms = -1
    if pnl > 0:
        world.wins += 1
        world.won += pnl / UNIT
    elif pnl < 0:
        world.losses += 1
        world.lost -= pnl / UNIT
    world.losses_in_row = world.losses_in_row + 1 if pnl < 0 else 0
    if rules.loss_streak_max > 0 and world.losses_in_row == rules.loss_streak_max:
        world.losses_in_row = 0
        world.cooldown_until_ms = world.now + rules.cooldown_ms


# -- the breaker -------------------------------------------------------------------------------------------------------


@compiled
def start_of(rule: int, world: Any, hours: Any, anchors: Any) -> float:
    """The equity that a loss is measured from; NaN where there is none."""
    if rule == DAY_LOSS:
        return world.day_start
    if rule == WEEK_LOSS:
        return world.week_start
    if rule == ROLLING_LOSS:
        before = world.hour - HOURS_PER_DAY
        return anchors[before % TRIP_HOURS] if world.hour >= 0 and hours[before % TRIP_HOURS] == before else math.nan
    return world.peak


@compiled
def note_hour(equity: float, hour: int, world: Any, hours: Any, anchors: Any) -> None:
    before = world.hour
    world.hour = hour
    hours[hour % TRIP_HOURS] = hour
    anchors[hour % TRIP_HOURS] = equity
    if before < 0 or before // HOURS_PER_DAY != hour // HOURS_PER_DAY:
        world.day_start = equity
    if before < 0 or (before - FIRST_MONDAY_HOUR) // HOURS_PER_WEEK != (hour - FIRST_MONDAY_HOUR) // HOURS_PER_WEEK:
        world.week_start = equity


@compiled
def set_near(world: Any, limits: Any, hours: Any, anchors: Any) -> None:
    """The equity at or above which no rule can trip."""
    near = -math.inf
    for rule in range(limits.size):
        start = start_of(rule, world, hours, anchors)
        if start > 0 and (limits[rule].tier == WARN or not world.latched >> rule & 1):
            near = max(near, start * (1 - limits[rule].value_pct / 100) * (1 + 1e-9))
    world.near = near


@inlined
def judge(symbols: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, alarms: Any) -> None:
    """Hold the equity against the breaker's limits, as at every change of it."""
    equity = equity_at_marks(symbols, world)
    hour = world.now // MS_PER_HOUR
    if not equity <= world.peak:
        world.peak = equity
        set_near(world, limits, hours, anchors)
    if hour != world.hour:
        note_hour(equity, hour, world, hours, anchors)
        set_near(world, limits, hours, anchors)
    if equity > world.near:
        return
    day = hour // HOURS_PER_DAY
    for rule in range(limits.size):
        limit, start = limits[rule], start_of(rule, world, hours, anchors)
        if not start > 0 or is_known(rule, limit, world, day):
            continue
        loss = loss_pct(start, equity)
        if loss >= limit.value_pct:
            limit.warned_day = day
            trip(rule, limit, loss, symbols, world, rules, alarms)
    set_near(world, limits, hours, anchors)


@inlined
def is_known(rule: int, limit: Any, world: Any, day: int) -> bool:
    """Whether the rule has tripped already: a warning is said once a day, a trip stays until the reset."""
    if limit.tier == WARN:
        return limit.warned_day == day
    return world.latched >> rule & 1 == 1


@compiled
def trip(rule: int, limit: Any, loss: float, symbols: Any, world: Any, rules: Any, alarms: Any) -> None:
    """A limit is reached. A warning changes nothing."""
    if world.alarms >= alarms.size:
        world.error = ROOM_FULL
        return
    alarm = alarms[world.alarms]
    world.alarms += 1
    alarm.at_ms, alarm.rule, alarm.tier = world.now, rule, limit.tier
    alarm.value, alarm.limit = loss, limit.value_pct
    world.tripped = 1
    if limit.tier == WARN:
        return
    if world.latched == 0 and rules.reset_after_ms > 0:
        world.reset_ms = world.now + rules.reset_after_ms
    world.latched |= 1 << rule
    for at in range(symbols.size):
        symbol = symbols[at]
        if limit.tier == FLATTEN_TIER and symbol.e_to_leave == 0 and (symbol.e_held == 1 or is_busy(symbol)):
            symbol.e_to_leave = FLATTEN
        if limit.tier == SHRINK_TIER and symbol.e_held == 1:
            symbol.e_to_shrink = 1


@compiled
def reset(symbols: Any, world: Any, limits: Any, hours: Any, anchors: Any) -> None:
    """The operator lets go: trips and cool-down end, and losses are measured from now on."""
    world.cooldown_until_ms = world.losses_in_row = world.latched = 0
    world.reset_ms = NEVER
    equity = equity_at_marks(symbols, world)
    world.peak = world.day_start = world.week_start = equity
    hours[:] = -1
    for rule in range(limits.size):
        limits[rule].warned_day = -1
    set_near(world, limits, hours, anchors)


# -- what a held position is asked by prices and candles ---------------------------------------------------------------


@inlined
def is_quiet(symbol: Any) -> bool:
    """Whether its stop rests and nothing of it is on its way or due."""
    return (
        symbol.e_held == 1
        and symbol.e_stop_lots > 0
        and symbol.e_wait == NOTHING
        and symbol.e_entry_open == 0
        and symbol.e_part_due == 0
        and symbol.e_overdue == 0
        and symbol.e_crossed_ms < 0
    )


@compiled
def take_at(stage: int, rules: Any) -> float:
    return rules.take_1_at if stage == 0 else rules.take_2_at


@compiled
def take_share(stage: int, rules: Any) -> float:
    return rules.take_1_share if stage == 0 else rules.take_2_share


@compiled
def break_even_stop(symbol: Any, rules: Any) -> int:
    return ceiled(break_even_price_long(float(symbol.e_entry), rules.taker_fee))


@compiled
def wake_price2(symbol: Any, rules: Any) -> int:
    """The lowest price, in half ticks, at which a rule could act. It may be a little too low, never too high."""
    entry = float(symbol.e_entry)
    wake2 = NEVER
    if symbol.e_target_open == 0:
        wake2 = 2 * (symbol.e_target + 1)
    if rules.trail_activate > 0:
        level2 = 2 * ceiled(profit_price_long(entry, rules.trail_activate))
        wanted = max(symbol.e_rests + 1, ceiled(profit_price_long(float(symbol.e_rests), rules.trail_step)))
        step2 = int(wanted * 200.0 / (100.0 - rules.trail_distance)) - 2
        wake2 = min(wake2, max(level2, step2))
    if rules.break_even_after_r > 0 and break_even_stop(symbol, rules) > symbol.e_rests:
        level = ceiled(r_price_long(entry, float(symbol.e_first_stop), rules.break_even_after_r))
        wake2 = min(wake2, 2 * level)
    for stage in range(symbol.e_taken, rules.takes):
        wake2 = min(wake2, 2 * ceiled(profit_price_long(entry, take_at(stage, rules))))
    return wake2


@inlined
def look_up(symbol: Any, world: Any, rules: Any) -> None:
    """What is known of the position until something other than a price comes."""
    if symbol.e_known == world.known:
        return
    symbol.e_known = world.known
    quiet = is_quiet(symbol) and symbol.e_to_leave == 0 and symbol.e_to_shrink == 0
    symbol.e_quiet = 1 if quiet else 0
    symbol.e_wake2 = wake_price2(symbol, rules) if quiet else NEVER


@inlined
def manage(at: int, symbol: Any, queue: Any, world: Any, rules: Any, candle: int, kinds: Any, scores: Any) -> None:
    """The exit rules in the order of their numbers; the first that acts is the last that is asked. `candle` is the
    primary candle that closed, below 0 for a mere price."""
    if rules.only_rests == 1 or symbol.e_held == 0:
        return
    look_up(symbol, world, rules)
    if symbol.e_quiet == 0 or world.now < symbol.e_retry_ms:
        return
    if symbol.e_mark2 >= symbol.e_wake2 and on_price(at, symbol, queue, world, rules):
        return
    price, entry = symbol.e_mark2 * 0.5, float(symbol.e_entry)
    if candle >= 0 and rules.reversal_closes > 0 and symbol.e_peak > 0 and symbol.e_falls >= rules.reversal_closes:
        fallen = loss_pct(float(symbol.e_peak), price) >= rules.reversal_fall
        if fallen and profit_pct(entry, price) >= rules.reversal_profit_min:
            leave(at, symbol, queue, world, rules, REVERSAL)
            return
    over = rules.hold_max_ms > 0 and world.now >= symbol.e_opened_ms + rules.hold_max_ms
    if over and profit_pct(entry, price) < rules.hold_keep:
        leave(at, symbol, queue, world, rules, TIME)
        return
    opposes = candle >= 0 and rules.opposite_score_min > 0 and kinds[candle] == -1
    if opposes and scores[candle] >= rules.opposite_score_min:
        leave(at, symbol, queue, world, rules, OPPOSITE)


@compiled
def on_price(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> bool:
    price2, entry = symbol.e_mark2, float(symbol.e_entry)
    if symbol.e_target_open == 0 and price2 >= 2 * (symbol.e_target + 1):
        leave(at, symbol, queue, world, rules, TARGET)
        return True
    best, why = symbol.e_rests, STOP
    if rules.trail_activate > 0 and price2 >= 2 * ceiled(profit_price_long(entry, rules.trail_activate)):
        wanted = floored(stop_price_long(price2 * 0.5, rules.trail_distance))
        if wanted > best and wanted >= ceiled(profit_price_long(float(best), rules.trail_step)):
            best, why = wanted, TRAIL
    if rules.break_even_after_r > 0 and break_even_stop(symbol, rules) > symbol.e_rests:
        level = ceiled(r_price_long(entry, float(symbol.e_first_stop), rules.break_even_after_r))
        wanted = break_even_stop(symbol, rules)
        if price2 >= 2 * level and wanted > best:
            best, why = wanted, BREAK_EVEN
    if why != STOP and 2 * best < price2:
        replace_stop(at, symbol, queue, world, rules, symbol.e_stop_lots, best, why)
        return True
    for stage in range(symbol.e_taken, rules.takes):
        if price2 >= 2 * ceiled(profit_price_long(entry, take_at(stage, rules))):
            part = floored(symbol.e_bought * take_share(stage, rules) / 100)
            if is_sellable_part(symbol, part, price2):
                symbol.e_part_due, symbol.e_part_stage = PART, stage + 1
                free_part(at, symbol, queue, world, rules, part)
                return True
    return False


@compiled
def is_sellable_part(symbol: Any, part: int, price2: int) -> bool:
    rest = sellable(symbol) // symbol.lot - part
    return part > 0 and rest > 0 and can_sell(symbol, part, price2) and can_sell(symbol, rest, 2 * symbol.e_rests)


@compiled
def free_part(at: int, symbol: Any, queue: Any, world: Any, rules: Any, part: int) -> None:
    """First step of selling a part: a smaller stop in place of the old one. The sale follows when it rests."""
    rest = sellable(symbol) // symbol.lot - part
    replace_stop(at, symbol, queue, world, rules, rest, symbol.e_rests, symbol.e_reason_of_stop)


@compiled
def replace_stop(at: int, symbol: Any, queue: Any, world: Any, rules: Any, lots: int, stop: int, why: int) -> None:
    symbol.e_stop = stop
    symbol.e_reason_of_stop = why
    symbol.e_wait = REPLACEMENT
    world.acted = 1
    world.orders += 1
    push(queue, world, rules, TO_MOVE, at, lots, stop, why, NONE, NONE)


@compiled
def leave(at: int, symbol: Any, queue: Any, world: Any, rules: Any, reason: int) -> None:
    """Sell everything at the market in place of the stop."""
    symbol.e_wait = REPLACEMENT
    symbol.e_retry_ms = world.now + CANCEL_ANSWER_MS
    if symbol.e_to_leave == 0:
        symbol.e_to_leave = reason  # also when this request should be refused
    world.acted = 1
    world.orders += 1
    push(queue, world, rules, TO_LEAVE, at, sellable(symbol) // symbol.lot, reason, NONE, NONE, NONE)


# -- standing duties ---------------------------------------------------------------------------------------------------


@compiled
def tend(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    """What is due of a symbol whatever came."""
    if symbol.e_held == 1:
        tend_protection(at, symbol, queue, world, rules)
        tend_part(at, symbol, queue, world, rules)
        tend_wishes(at, symbol, queue, world, rules)
    if symbol.e_entry_open == 1 and symbol.e_wait == NOTHING and world.now >= cancel_ms(symbol, rules):
        symbol.e_wait = CANCEL
        symbol.e_submitted_ms = world.now  # when it was asked for: what a crossing fill leaves is asked about later
        world.acted = 1
        push(queue, world, rules, TO_CANCEL, at, NONE, NONE, NONE, NONE, NONE)
    if symbol.e_crossed_ms >= 0 and symbol.e_wait == NOTHING and world.now >= symbol.e_crossed_ms:
        symbol.e_wait = QUERY
        push(queue, world, rules, TO_ASK, at, NONE, NONE, NONE, NONE, NONE)
    wanted = 1 if symbol.e_held == 1 or is_busy(symbol) else 0
    if wanted != symbol.e_watched:
        symbol.e_watched = wanted
        world.acted = 1
        push(queue, world, rules, TO_WATCH, at, wanted, NONE, NONE, NONE, NONE)
    set_deadline(symbol, world, rules)


@compiled
def cancel_ms(symbol: Any, rules: Any) -> int:
    return 0 if symbol.e_to_leave else symbol.e_submitted_ms + rules.entry_timeout_ms


@compiled
def set_deadline(symbol: Any, world: Any, rules: Any) -> None:
    due = NEVER
    if symbol.e_entry_open == 1 and symbol.e_wait == NOTHING:
        due = cancel_ms(symbol, rules)
    if symbol.e_held == 1 and symbol.e_bare_ms >= 0:
        if symbol.e_overdue == 0:
            due = min(due, symbol.e_bare_ms + rules.unprotected_max_ms)
        if not is_busy(symbol):
            due = min(due, symbol.e_retry_ms)
    if symbol.e_crossed_ms >= 0 and symbol.e_wait == NOTHING:
        due = min(due, symbol.e_crossed_ms)
    wished = symbol.e_part_due or symbol.e_to_leave or symbol.e_to_shrink
    if wished and symbol.e_held == 1 and symbol.e_wait == NOTHING and symbol.e_retry_ms > world.now:
        due = min(due, symbol.e_retry_ms)
    symbol.e_deadline = due


@compiled
def tend_protection(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    lots = symbol.e_quantity // symbol.lot
    if symbol.e_stop_lots > 0 or not can_sell(symbol, lots, 2 * symbol.e_entry):
        symbol.e_bare_ms = -1
        return
    if symbol.e_bare_ms < 0:
        symbol.e_bare_ms = world.now
    if symbol.e_overdue == 0 and world.now >= symbol.e_bare_ms + rules.unprotected_max_ms:
        symbol.e_overdue = 1
        symbol.e_flags |= OVERDUE if is_busy(symbol) else 0
    if not is_busy(symbol) and world.now >= symbol.e_retry_ms:
        protect(at, symbol, queue, world, rules)


@compiled
def protect(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    lots = sellable(symbol) // symbol.lot
    passed = not 2 * symbol.e_stop < symbol.e_mark2 < 2 * symbol.e_target
    world.acted = 1
    if passed or symbol.e_refusals >= 2 or symbol.e_overdue == 1 or symbol.e_to_leave:
        symbol.e_wait = SALE
        symbol.e_retry_ms = world.now + CANCEL_ANSWER_MS
        world.orders += 1
        reason = symbol.e_to_leave if symbol.e_to_leave else EXIT
        push(queue, world, rules, TO_SELL, at, lots, reason, NONE, NONE, NONE)
    else:
        symbol.e_wait = PROTECTION
        symbol.e_reason_of_stop = STOP
        world.orders += 2
        push(queue, world, rules, TO_PROTECT, at, lots, symbol.e_stop, symbol.e_target, NONE, NONE)


@compiled
def tend_part(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    """Second step of selling a part: what the resting stop does not cover; it is due until the stop covers all."""
    if symbol.e_part_due == 0 or symbol.e_wait != NOTHING:
        return
    whole = sellable(symbol) // symbol.lot
    lots = whole - symbol.e_stop_lots
    alone = symbol.e_stop_lots > 0 and symbol.e_target_open == 0 and symbol.e_entry_open == 0
    if not alone or not can_sell(symbol, lots, 2 * symbol.e_rests):
        symbol.e_part_due = 0
    elif world.now < symbol.e_retry_ms:
        return
    elif symbol.e_refusals >= HOPELESS:
        symbol.e_part_due = 0
        replace_stop(at, symbol, queue, world, rules, whole, symbol.e_rests, symbol.e_reason_of_stop)
    else:
        if symbol.e_part_stage > 0:
            symbol.e_taken = symbol.e_part_stage
        if symbol.e_part_due == SHRINK:
            symbol.e_to_shrink = 0
        symbol.e_wait = SALE
        world.acted = 1
        world.orders += 1
        push(queue, world, rules, TO_SELL, at, lots, symbol.e_part_due, NONE, NONE, NONE)


@compiled
def tend_wishes(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    """What the breaker wants of a position, as soon as nothing of it is on its way."""
    if (symbol.e_to_leave == 0 and symbol.e_to_shrink == 0) or not is_quiet(symbol):
        return
    hopeless = symbol.e_to_leave > 0 and symbol.e_refusals >= HOPELESS
    if world.now < symbol.e_retry_ms or hopeless:
        return
    if symbol.e_to_leave:
        leave(at, symbol, queue, world, rules, symbol.e_to_leave)
        return
    half = symbol.e_quantity // (2 * symbol.lot)
    if is_sellable_part(symbol, half, symbol.e_mark2):
        symbol.e_part_due, symbol.e_part_stage = SHRINK, symbol.e_taken
        free_part(at, symbol, queue, world, rules, half)
    else:
        symbol.e_to_shrink = 0  # too small to be halved


# -- the gate ----------------------------------------------------------------------------------------------------------


@compiled
def review(
    at: int, symbols: Any, queue: Any, world: Any, rules: Any, candle: int, closes_ms: Any, scores: Any, atrs: Any,
    ready: Any, filtered: Any, gaps: Any, alike: Any,
) -> int:  # fmt: skip
    """Whether a long entry may be sent, the checks in the order of RISK-1; it is sent when it may. The outcome."""
    symbol = symbols[at]
    if world.now - closes_ms[candle] > rules.price_age_max_ms:
        return PRICE_AGE
    if gaps[candle]:
        return GAP
    if ready[candle] == 0:
        return READINESS
    if world.latched:
        return BREAKER
    if world.now < world.cooldown_until_ms:
        return COOL_DOWN
    if not scores[candle] >= rules.score_min:
        return SCORE
    if world.now - closes_ms[candle] > rules.expiry_ms:
        return EXPIRED
    if symbol.e_last_entry_ms >= 0 and world.now - symbol.e_last_entry_ms < rules.entry_gap_min_ms:
        return TOO_SOON
    if filtered[candle]:
        return FILTER
    if rules.spread_matters == 1 and spread_pct(symbol, rules) > rules.spread_max_pct:
        return SPREAD
    if symbol.e_held == 1 or is_busy(symbol):
        return POSITION
    others, risk = NONE, 0.0
    for other in range(symbols.size):
        if other != at and is_in(symbols[other]):
            others += 1
            risk += at_risk(symbols[other])
    if others >= rules.positions_max:
        return POSITIONS
    if others >= 3:
        return SAME_DIRECTION
    if rules.correlation_max < 1:
        for other in range(symbols.size):
            if other != at and is_in(symbols[other]) and not alike[candle, other] <= rules.correlation_max:
                return CORRELATION
    return fit(at, symbols, queue, world, rules, others, risk, atrs[candle], ready[candle])


@compiled
def spread_pct(symbol: Any, rules: Any) -> float:
    if symbol.e_spread_known == 0:
        return float(rules.spread_assumed_pct)
    return (symbol.e_ask - symbol.e_bid) * 200.0 / (symbol.e_ask + symbol.e_bid)


@compiled
def is_in(symbol: Any) -> bool:
    """Whether we are long in it, or about to be."""
    return symbol.e_held == 1 or symbol.e_entry_open == 1


@compiled
def stop_of(symbol: Any) -> int:
    """Where the stop rests, which need not be where we wanted it; the plan's while none rests."""
    return symbol.e_rests if symbol.e_stop_lots > 0 else symbol.e_stop


@compiled
def at_risk(symbol: Any) -> float:
    """What would be lost from entry to stop, in quote; a stop above the entry risks nothing."""
    risk = 0.0
    if symbol.e_held == 1:
        risk = symbol.e_quantity / UNIT * ((symbol.e_entry - stop_of(symbol)) * symbol.tick)
    if symbol.e_entry_open == 1:
        risk += symbol.e_entry_lots * symbol.lot_size * ((symbol.e_limit - symbol.e_stop) * symbol.tick)
    return max(risk, 0.0)


@compiled
def same_direction_factor(others: int) -> float:
    return 1.0 if others == 0 else 0.7 if others == 1 else 0.5


@compiled
def readiness_size(ready: int) -> float:
    return 0.25 if ready == 1 else 0.5 if ready == 2 else 1.0


@compiled
def readiness_stop(ready: int) -> float:
    return 1.5 if ready == 1 else 1.25 if ready == 2 else 1.0


@compiled
def half_kelly_pct(world: Any) -> float:
    """Half of Kelly's share in per cent of equity, from all closed round trips."""
    if world.wins == 0:
        return 0.0
    average_loss = world.lost / world.losses if world.losses > 0 else 0.0
    return 50.0 * kelly_share(world.wins / world.round_trips, world.won / world.wins, average_loss)


@compiled
def free_quote(symbols: Any, world: Any) -> float:
    """What open entries cannot spend any more."""
    reserved = 0
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.e_entry_open == 1:
            reserved += symbol.e_entry_lots * symbol.e_limit * symbol.value
    return float((world.quote - reserved) / UNIT)


@inlined
def fit(
    at: int, symbols: Any, queue: Any, world: Any, rules: Any, others: int, risk: float, atr: float, ready: int
) -> int:
    """Stop, target, size and the filters; the entry is sent when it passes."""
    symbol = symbols[at]
    price = symbol.e_close
    limit = floored(limit_price_long(float(price), rules.limit_offset_pct))
    stop_pct, target_pct = rules.stop_pct, rules.target_pct
    if rules.by_atr == 1 and not math.isnan(atr):
        atr_pct = atr * 100 / (price * symbol.tick)
        stop_pct, target_pct = rules.atr_stop * atr_pct, rules.atr_target * atr_pct
    stop_pct = min(max(stop_pct * readiness_stop(ready), STOP_PCT_MIN), STOP_PCT_MAX)
    stop = floored(stop_price_long(float(price), stop_pct))
    target = ceiled(target_price_long(float(price), target_pct))
    equity = equity_at_closes(symbols, world)
    money = min(equity, rules.capital_max) if rules.capital_max > 0 else equity
    risk_pct, distance = rules.risk_pct, (price - stop) * symbol.tick
    if rules.sizing == BY_ATR and atr > 0:
        distance = rules.atr_stop * atr
    if rules.sizing == HALF_KELLY and world.round_trips >= KELLY_ROUND_TRIPS_MIN:
        half = half_kelly_pct(world)
        if half <= 0:
            return SIZE
        risk_pct = min(risk_pct, half)
    limit_quote = limit * symbol.tick
    quantity = risk_quantity(money, risk_pct, distance)
    quantity = min(quantity, money * rules.notional_max_pct / 100 / limit_quote)
    quantity = min(quantity, rules.notional_max / limit_quote)
    quantity = min(quantity, free_quote(symbols, world) * (100 - rules.reserve_pct) / 100 / limit_quote)
    quantity = min(quantity, symbol.lots_max * symbol.lot_size)
    quantity = min(quantity, symbol.notional_max / UNIT / limit_quote)
    factor = same_direction_factor(others) * readiness_size(ready)
    lots = floored(max(quantity * factor, 0.0) / symbol.lot_size)
    risk += lots * symbol.lot_size * ((price - stop) * symbol.tick)
    if risk > money * rules.portfolio_risk_max_pct / 100:
        return PORTFOLIO_RISK
    if not price_fits(symbol, limit, price) or not can_sell(symbol, lots, 2 * limit):
        return FILTERS
    received = (lots * symbol.lot - fee_of(lots * symbol.lot, rules)) // symbol.lot
    for exit_price in (stop, target):
        if not price_fits(symbol, exit_price, price) or not can_sell(symbol, received, 2 * exit_price):
            return EXITABILITY
    enter(at, symbol, queue, world, rules, lots, limit, stop, target)
    return APPROVED


@compiled
def price_fits(symbol: Any, price: int, reference: int) -> bool:
    if price <= 0 or price < symbol.price_min or price > symbol.price_max:
        return False
    return reference * symbol.band_low <= price <= reference * symbol.band_high


@inlined
def enter(
    at: int, symbol: Any, queue: Any, world: Any, rules: Any, lots: int, limit: int, stop: int, target: int
) -> None:
    """Entry and protection in one request. Dust that makes a lot with what is received is sold along."""
    received = lots * symbol.lot - fee_of(lots * symbol.lot, rules) - 1
    along = (received + max(symbol.e_dust, 0)) // symbol.lot
    if along == received // symbol.lot:
        along = 0  # the venue sells what the entry brings
    symbol.e_stop, symbol.e_first_stop, symbol.e_target = stop, stop, target
    symbol.e_reason_of_stop = STOP
    symbol.e_taken = 0
    symbol.e_entry_open, symbol.e_entry_lots, symbol.e_limit = 1, lots, limit
    symbol.e_submitted_ms = symbol.e_last_entry_ms = world.now
    symbol.e_wait = ENTRY
    symbol.e_watched = 1
    world.acted = 1
    world.orders += 3
    push(queue, world, rules, TO_WATCH, at, ONE, NONE, NONE, NONE, NONE)
    push(queue, world, rules, TO_ENTER, at, lots, limit, stop, target, along)


# -- what is heard -----------------------------------------------------------------------------------------------------


@inlined
def hear_buy(at: int, symbol: Any, world: Any, rules: Any, row: Any) -> None:
    price, lots, at_ms, leg_lots, answers, flags = row[3], row[4], row[5], row[6] // 2, row[6] % 2, row[7]
    base = lots * symbol.lot - fee_of(lots * symbol.lot, rules)
    paid = price * lots * symbol.value
    world.quote -= paid
    world.fills += 1
    fee = fee_of(lots * symbol.lot, rules)
    symbol.e_fees += fee
    world.fees_in_quote += fee / UNIT * (price * symbol.tick)
    world.taken += (1 - row[8]) * (paid / UNIT)
    symbol.e_base += base
    symbol.e_held, symbol.e_quantity, symbol.e_bought, symbol.e_entry = 1, base, lots, price
    symbol.e_opened_ms, symbol.e_paid, symbol.e_cost = at_ms, paid, paid / UNIT
    world.opened += 1
    symbol.e_order = world.opened
    symbol.e_proceeds = symbol.e_received = symbol.e_sold = 0
    symbol.e_peak, symbol.e_last_close, symbol.e_falls = 0, -1, 0
    symbol.e_flags = flags
    symbol.e_bare_ms = -1
    symbol.e_retry_ms = symbol.e_refusals = symbol.e_part_due = symbol.e_to_shrink = 0
    symbol.e_entry_open = 0
    symbol.e_stop_lots = leg_lots
    symbol.e_rests = symbol.e_stop
    symbol.e_target_open = 1 if leg_lots > 0 else 0
    if answers:
        symbol.e_wait = NOTHING
    elif symbol.e_wait == CANCEL and leg_lots > 0:
        symbol.e_crossed_ms = symbol.e_submitted_ms + CANCEL_ANSWER_MS
        symbol.e_flags |= CUT


@inlined
def hear_sale(at: int, symbol: Any, world: Any, rules: Any, trips: Any, row: Any) -> None:
    price, lots, at_ms, reason, how, flags = row[3], row[4], row[5], row[6] // 4, row[6] % 4, row[7]
    notional = price * lots * symbol.value
    fee = fee_of(notional, rules)
    world.quote += notional - fee
    world.fills += 1
    world.fees += fee
    world.fees_in_quote += fee / UNIT
    world.taken += 0.0 if reason == TARGET and how == BY_LIST else notional / UNIT
    sold = lots * symbol.lot
    symbol.e_base -= sold
    from_position = min(sold, symbol.e_quantity)
    symbol.e_dust -= min(sold - from_position, max(symbol.e_dust, 0))
    if symbol.e_quantity > 0:
        symbol.e_cost -= symbol.e_cost * from_position / symbol.e_quantity
    symbol.e_quantity -= from_position
    symbol.e_proceeds += notional - fee
    symbol.e_received += notional
    symbol.e_sold += lots
    symbol.e_sold_ms, symbol.e_reason = at_ms, reason
    symbol.e_flags |= flags
    if how == BY_ITSELF:
        symbol.e_wait = NOTHING
    else:
        symbol.e_stop_lots = symbol.e_target_open = 0
        symbol.e_crossed_ms = -1
        if how == BY_REPLACEMENT:
            symbol.e_wait = NOTHING
    close_if_flat(at, symbol, world, rules, trips)


@compiled
def count_refusals(symbol: Any, world: Any, refusals: int) -> None:
    """Exits and protections refused in a row wait longer each time."""
    symbol.e_refusals += refusals
    steps = min((symbol.e_refusals - 1) // 2, 8)
    symbol.e_retry_ms = world.now + min(RETRY_FIRST_MS << steps, RETRY_CAP_MS)


@inlined
def hear_close_of(at: int, symbol: Any, candle: int, closes: Any, highs: Any, closes_ms: Any) -> None:
    """A primary candle closed: the price, and how the position's candles go."""
    close = closes[candle]
    symbol.e_close = close
    symbol.e_mark2 = 2 * close
    if symbol.e_held == 1 and closes_ms[candle] > symbol.e_opened_ms:
        symbol.e_peak = max(symbol.e_peak, highs[candle])
        symbol.e_falls = symbol.e_falls + 1 if symbol.e_last_close >= 0 and close < symbol.e_last_close else 0
        symbol.e_last_close = close
