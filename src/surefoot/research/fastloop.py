"""Time in the fast backtest: ticks, messages and deadlines in the order of the exact one, and long stretches skipped.

At the same millisecond messages come before the market, and the market before deadlines. While nothing is held, only
candles that close are looked at; while positions are held and no price between now and the next close could make a rule
act, a stop fill or the breaker trip, the ticks up to then are passed over.
"""

from __future__ import annotations

import math
from typing import Any

from surefoot.research.fastengine import (
    MS_PER_HOUR,
    close_if_flat,
    count_refusals,
    equity_at_marks,
    hear_buy,
    hear_close_of,
    hear_sale,
    is_quiet,
    judge,
    manage,
    note_hour,
    reset,
    review,
    set_near,
    tend,
    wake_price2,
)
from surefoot.research.fastleap import hear_quote, heard_by_the_end, leap_held, leap_idle, mark_price
from surefoot.research.faststate import (
    DONE,
    HEARD_ANSWER,
    HEARD_BUY,
    HEARD_CANCEL_REFUSED,
    HEARD_CANCELED,
    HEARD_CLOSE,
    HEARD_HALF,
    HEARD_LATE_CLOSE,
    HEARD_MARK,
    HEARD_MOVED,
    HEARD_PROTECTED,
    HEARD_REST,
    HEARD_SALE,
    HEARD_TOO_LATE,
    HEARD_UNPROTECTED,
    LONG_ONLY,
    NEVER,
    NO_CANDLE,
    NONE,
    NOTHING,
    ONE,
    QUEUE,
    ROOM_FULL,
    TO_ASK,
    TO_CANCEL,
    TO_ENTER,
    TO_LEAVE,
    TO_MOVE,
    TO_PROTECT,
    TO_READ,
    TO_SELL,
    TO_WATCH,
    TRIP_HOURS,
    TWO,
    compiled,
    inlined,
    whole,
)
from surefoot.research.fastvenue import (
    catch_up,
    half_spread,
    meet,
    next_candle,
    print_tick,
    push,
    take_cancel,
    take_entry,
    take_leave,
    take_move,
    take_protection,
    take_sale,
)

AHEAD = whole(512)  # candles that one skip looks at, at most


# -- what reaches the venue --------------------------------------------------------------------------------------------


@compiled
def note_level(at: int, world: Any, rules: Any, levels: Any, stop: int, target: int) -> None:
    """Where a request wants stop and target to rest, from when it was sent."""
    if world.levels >= levels.size:
        world.error = ROOM_FULL
        return
    level = levels[world.levels]
    world.levels += 1
    level.symbol, level.at_ms, level.stop, level.target = at, world.now - rules.latency_ms, stop, target


@inlined
def watch(
    at: int, symbol: Any, world: Any, rules: Any, wanted: int, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any,
    lows: Any, closes: Any, volumes: Any,
) -> None:  # fmt: skip
    symbol.v_watched = wanted
    if wanted and not symbol.v_engaged:
        # Without latency what arrives now was caused by a print of now, so that the prints of now are over.
        until_ms = world.now + (1 if rules.latency_ms == 0 else 0)
        catch_up(symbol, until_ms, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
        symbol.v_engaged = 1
        world.engaged += 1
    elif not wanted and symbol.v_engaged:
        has_orders = symbol.v_entry_lots > 0 or symbol.v_stop_lots > 0 or symbol.v_target_lots > 0
        if not has_orders:
            symbol.v_engaged = 0
            world.engaged -= 1


@inlined
def tell_mark(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    """Best bid and ask after a print, our own resting orders among them."""
    half = half_spread(symbol.v_price, rules)
    bid, ask = symbol.v_price - half, symbol.v_price + half
    if symbol.v_target_lots > 0 and symbol.v_target <= ask:
        bid, ask = min(bid, symbol.v_target - 1), symbol.v_target
    elif symbol.v_entry_lots > 0 and symbol.v_limit >= bid:
        bid, ask = symbol.v_limit, max(ask, symbol.v_limit + 1)
    push(queue, world, rules, HEARD_MARK, at, bid, ask, NONE, NONE, NONE)


# -- what reaches the engine -------------------------------------------------------------------------------------------


@compiled
def tend_all(symbols: Any, queue: Any, world: Any, rules: Any) -> None:
    """Positions first, in the order in which they were opened."""
    before = NONE
    for _ in range(symbols.size):
        first, order = NO_CANDLE, NEVER
        for at in range(symbols.size):
            if symbols[at].e_held == 1 and before < symbols[at].e_order < order:
                first, order = at, symbols[at].e_order
        if first >= 0:
            tend(first, symbols[first], queue, world, rules)
            before = order
    for at in range(symbols.size):
        if symbols[at].e_held == 0:
            tend(at, symbols[at], queue, world, rules)


@compiled
def settle(at: int, symbols: Any, queue: Any, world: Any, rules: Any, looked: int) -> None:
    """The standing duties after an event, where it could have changed them; `looked` is for mere prices."""
    if looked == 1 and not world.acted and not world.tripped and world.deadline > world.now:
        return
    world.known += 1
    if world.tripped:
        tend_all(symbols, queue, world, rules)
    else:
        tend(at, symbols[at], queue, world, rules)
        for other in range(symbols.size):
            if symbols[other].e_deadline <= world.now:
                tend(other, symbols[other], queue, world, rules)
    world.known += 1
    world.acted = world.tripped = 0
    deadline = NEVER
    for other in range(symbols.size):
        deadline = min(deadline, symbols[other].e_deadline)
    world.deadline = deadline


@inlined
def hear_close(
    at: int, symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, alarms: Any,
    candle: int, counts: Any, p_closes: Any, p_highs: Any, p_closes_ms: Any, kinds: Any, scores: Any, atrs: Any,
    ready: Any, filtered: Any, gaps: Any, alike: Any,
) -> None:  # fmt: skip
    """A primary candle: exits first, then the decision."""
    symbol = symbols[at]
    hear_close_of(at, symbol, candle, p_closes, p_highs, p_closes_ms)
    judge(symbols, world, rules, limits, hours, anchors, alarms)
    manage(at, symbol, queue, world, rules, candle, kinds, scores)
    if kinds[candle] < 0:
        counts[LONG_ONLY] += 1
    elif kinds[candle] > 0:
        outcome = review(
            at, symbols, queue, world, rules, candle, p_closes_ms, scores, atrs, ready, filtered, gaps, alike
        )
        counts[outcome] += 1
    settle(at, symbols, queue, world, rules, ONE)


@inlined
def hear_mark(
    at: int, symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, alarms: Any,
    bid: int, ask: int, kinds: Any, scores: Any,
) -> None:  # fmt: skip
    symbol = symbols[at]
    symbol.e_mark2 = bid + ask
    symbol.e_bid, symbol.e_ask, symbol.e_spread_known = bid, ask, 1
    judge(symbols, world, rules, limits, hours, anchors, alarms)
    manage(at, symbol, queue, world, rules, NO_CANDLE, kinds, scores)
    settle(at, symbols, queue, world, rules, ONE)


@inlined
def hear_report(
    at: int, symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, alarms: Any,
    trips: Any, row: Any,
) -> None:  # fmt: skip
    """What became of an order."""
    symbol, kind = symbols[at], row[1]
    if kind == HEARD_BUY:
        hear_buy(at, symbol, world, rules, row)
        judge(symbols, world, rules, limits, hours, anchors, alarms)
    elif kind == HEARD_SALE:
        hear_sale(at, symbol, world, rules, trips, row)
        judge(symbols, world, rules, limits, hours, anchors, alarms)
    elif kind == HEARD_REST:
        symbol.e_wait = NOTHING
    elif kind == HEARD_CANCELED:
        symbol.e_wait = symbol.e_entry_open = NOTHING
        close_if_flat(at, symbol, world, rules, trips)
    elif kind == HEARD_CANCEL_REFUSED:
        symbol.e_wait = NOTHING
    elif kind in (HEARD_PROTECTED, HEARD_MOVED):
        symbol.e_wait = symbol.e_refusals = NOTHING
        symbol.e_stop_lots, symbol.e_rests = row[3], row[4]
        symbol.e_target_open = 1 if kind == HEARD_PROTECTED else 0
    elif kind == HEARD_UNPROTECTED:
        symbol.e_wait = NOTHING
        count_refusals(symbol, world, TWO)
        close_if_flat(at, symbol, world, rules, trips)
    elif kind == HEARD_HALF:
        symbol.e_wait = symbol.e_stop_lots = symbol.e_target_open = NOTHING
        count_refusals(symbol, world, ONE)
        close_if_flat(at, symbol, world, rules, trips)
    elif kind == HEARD_TOO_LATE:
        symbol.e_wait = NOTHING
        if symbol.e_held == 1:
            count_refusals(symbol, world, ONE)
        close_if_flat(at, symbol, world, rules, trips)
    elif kind == HEARD_ANSWER:
        symbol.e_wait = NOTHING
        symbol.e_crossed_ms = -1
        close_if_flat(at, symbol, world, rules, trips)
    settle(at, symbols, queue, world, rules, NONE)


# -- passing over what cannot matter -----------------------------------------------------------------------------------


@inlined
def next_close_ms(world: Any, events_ms: Any) -> int:
    return events_ms[world.event] if world.event < events_ms.size else NEVER


@inlined
def low_trigger(symbol: Any, world: Any, rules: Any) -> int:
    """The highest price, in ticks, at or below which something could happen."""
    trigger = symbol.v_stop
    if rules.hold_max_ms > 0 and world.now >= symbol.e_opened_ms + rules.hold_max_ms:
        keep = math.ceil(symbol.e_entry * (100.0 + rules.hold_keep) / 100.0) + 1
        trigger = max(trigger, keep)
    return trigger


@inlined
def high_trigger(symbol: Any, rules: Any) -> int:
    """The lowest price, in ticks, at or above which something could happen."""
    trigger = NEVER
    if symbol.v_target_lots > 0:  # near it our own order is the best ask, and the mark is no longer the last price
        trigger = symbol.v_target - half_spread(symbol.v_target, rules) - 1
    if rules.only_rests == 0:
        trigger = min(trigger, wake_price2(symbol, rules) // 2)
    return trigger


@inlined
def can_skip(symbols: Any, world: Any) -> bool:
    """Whether all that is engaged is held in peace, at the beginning of a candle."""
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.v_engaged == 1:
            if not is_quiet(symbol) or symbol.e_to_leave or symbol.e_to_shrink or symbol.v_stage > 1:
                return False
            if symbol.v_stop_lots != symbol.e_stop_lots or symbol.v_at >= symbol.last or world.now < symbol.e_retry_ms:
                return False
    return True


@compiled
def look_ahead(
    symbols: Any, world: Any, rules: Any, until_ms: int, reach: int, opens_ms: Any, highs: Any, lows: Any, bounds: Any
) -> int:
    """Until when no price of an engaged symbol triggers anything, and in `bounds` the equity's lowest and highest."""
    low_equity = high_equity = world.quote / 1e8
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.e_base == 0:
            continue
        share = symbol.e_base / 1e8 * symbol.tick
        if symbol.v_engaged == 0:
            low_equity += share * (symbol.e_mark2 * 0.5)
            high_equity += share * (symbol.e_mark2 * 0.5)
            continue
        low_trip, high_trip = low_trigger(symbol, world, rules), high_trigger(symbol, rules)
        lowest = highest = symbol.e_mark2 // 2
        highest += 1
        place, last = symbol.v_at, min(symbol.last, symbol.v_at + reach)
        while place < last and opens_ms[place] < until_ms:
            if lows[place] <= low_trip or highs[place] >= high_trip:
                break
            lowest, highest = min(lowest, lows[place]), max(highest, highs[place])
            place += 1
        if place < symbol.last:
            until_ms = min(until_ms, opens_ms[place])
        low_equity += share * lowest
        high_equity += share * highest
    bounds[0], bounds[1] = low_equity, high_equity
    return until_ms


@inlined
def pass_over(
    symbol: Any, rules: Any, until_ms: int, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any, lows: Any,
    closes: Any, volumes: Any,
) -> None:  # fmt: skip
    """Let a symbol's ticks before a time go by; the engine has heard them by then."""
    while symbol.v_at + 1 < symbol.last and opens_ms[symbol.v_at + 1] < until_ms:
        next_candle(symbol, opens_ms)
    if symbol.v_due >= until_ms:
        return
    while symbol.v_due < until_ms:
        print_tick(symbol, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
    mark_price(symbol, rules)


@inlined
def skip(
    symbols: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, bounds: Any, events_ms: Any,
    curve_ms: int, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any, lows: Any, closes: Any, volumes: Any,
) -> None:  # fmt: skip
    """Pass over ticks up to the next close, hour or point of the curve, as far as nothing can come of them."""
    until_ms = min(next_close_ms(world, events_ms), curve_ms, rules.end_ms)
    until_ms = min(until_ms, (world.now // MS_PER_HOUR + 1) * MS_PER_HOUR, world.reset_ms)
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.v_engaged == 1 and rules.hold_max_ms > 0:
            left_ms = symbol.e_opened_ms + rules.hold_max_ms
            if left_ms > world.now:
                until_ms = min(until_ms, left_ms)
    free_ms = look_ahead(symbols, world, rules, until_ms, AHEAD, opens_ms, highs, lows, bounds)
    if bounds[0] <= world.near or bounds[1] > world.peak:
        free_ms = look_ahead(symbols, world, rules, until_ms, ONE, opens_ms, highs, lows, bounds)
        if bounds[0] <= world.near or bounds[1] > world.peak:
            return
    # The last candle before a close is left to `hold_on`, but for its opening print.
    free_ms = min(free_ms - rules.latency_ms, next_close_ms(world, events_ms) - world.candle_ms + 1)
    if free_ms <= world.now:
        return
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.v_engaged == 1:
            pass_over(symbol, rules, free_ms, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)


@inlined
def hold_on(
    symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, bounds: Any, curve: Any,
    curve_ms: Any, events_ms: Any, events_symbol: Any, events_candle: Any, events_late: Any, events_at: Any,
    counts: Any, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any, lows: Any, closes: Any, volumes: Any,
    p_closes: Any, p_highs: Any, p_closes_ms: Any, kinds: Any, scores: Any, atrs: Any, ready: Any, filtered: Any,
    gaps: Any, alike: Any, spoken: Any, breaks: Any, block_lows: Any, block_highs: Any,
) -> None:  # fmt: skip
    """Live through closes of primary candles while all that is engaged is held in peace and nothing comes of them.

    It goes from the opening print of a candle that has been heard to that of the next one, as long as both candles stay
    between the triggers, at the same times for all that is engaged, and no close can make anything happen.
    """
    first = NO_CANDLE
    stop_ms = min(world.reset_ms, rules.end_ms) - rules.latency_ms
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.v_engaged == 0:
            continue
        if symbol.v_stage != 1:
            return
        first = at if first < 0 else first
        if opens_ms[symbol.v_at] != opens_ms[symbols[first].v_at]:
            return
        symbol.v_low_trip, symbol.v_high_trip = low_trigger(symbol, world, rules), high_trigger(symbol, rules)
        left_ms = symbol.e_opened_ms + rules.hold_max_ms
        if rules.hold_max_ms > 0 and left_ms > world.now:
            stop_ms = min(stop_ms, left_ms - rules.latency_ms)
    place, length_ms = symbols[first].v_at, lengths_ms[symbols[first].v_at]
    if rules.latency_ms * 4 + 4 >= length_ms:
        return
    if next_close_ms(world, events_ms) > world.now:  # without latency, all of now has been heard by now
        note_curve(symbols, world, curve, curve_ms, world.now + 1)
    if rules.leaps > 1:
        leap_held(
            symbols, queue, world, rules, limits, hours, anchors, curve, curve_ms, stop_ms, events_ms, events_at,
            counts, opens_ms, lengths_ms, opens, highs, lows, closes, volumes, p_closes_ms, kinds, scores, atrs, ready,
            filtered, gaps, alike, spoken, breaks, block_lows, block_highs,
        )  # fmt: skip
        place = symbols[first].v_at
    while place + 1 < symbols[first].last:
        next_ms = opens_ms[place + 1]
        hour_ms = (world.now // MS_PER_HOUR + 1) * MS_PER_HOUR
        if next_ms != next_close_ms(world, events_ms) or next_ms >= stop_ms or next_ms > hour_ms:
            return
        if world.curve_at < curve_ms.size and curve_ms[world.curve_at] < next_ms:
            return
        if not stays_calm(symbols, world, next_ms, opens_ms, highs, lows, bounds):
            return
        if not closes_calmly(
            symbols, world, rules, next_ms, events_ms, events_symbol, events_candle, events_late, p_closes, kinds,
            scores,
        ):  # fmt: skip
            return
        for at in range(symbols.size):
            symbol = symbols[at]
            if symbol.v_engaged == 1:
                symbol.e_mark2 = 2 * heard_by_the_end(symbol.v_at, rules, highs, lows, closes)
        equity = equity_at_marks(symbols, world)
        turns = next_ms == hour_ms
        if turns and rules.latency_ms == 0 and symbols[events_symbol[world.event]].v_engaged == 0:
            return  # the hour begins with a close that is not ours
        if turns and not turns_calmly(symbols, first, hour_ms, world, limits, hours, anchors, bounds, closes):
            return
        if rules.latency_ms > 0:
            note_point(world, curve, curve_ms, next_ms, equity)
        for at in range(symbols.size):  # the last print before the close, which a decision on it looks at
            symbol = symbols[at]
            if symbol.v_engaged == 1 and rules.spread_matters == 1:
                hear_quote(symbol, closes[symbol.v_at], rules)
        world.now = next_ms + rules.latency_ms
        while next_close_ms(world, events_ms) == next_ms:
            at, candle = events_symbol[world.event], events_candle[world.event]
            symbols[at].v_hint = events_at[world.event]
            world.event += 1
            hear_close_of(at, symbols[at], candle, p_closes, p_highs, p_closes_ms)
            if kinds[candle] < 0:
                counts[LONG_ONLY] += 1
            elif kinds[candle] > 0:
                outcome = review(
                    at, symbols, queue, world, rules, candle, p_closes_ms, scores, atrs, ready, filtered, gaps, alike
                )
                counts[outcome] += 1
        for at in range(symbols.size):
            symbol = symbols[at]
            if symbol.v_engaged == 1:
                next_candle(symbol, opens_ms)
                print_tick(symbol, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
                mark_price(symbol, rules)
        if rules.latency_ms == 0:
            note_point(world, curve, curve_ms, next_ms, equity_at_marks(symbols, world))
        place += 1


@inlined
def note_point(world: Any, curve: Any, curve_ms: Any, at_ms: int, equity: float) -> None:
    """A point of the curve, if there is one at this time."""
    if world.curve_at < curve_ms.size and curve_ms[world.curve_at] == at_ms:
        curve[world.curve_at] = equity
        world.curve_at += 1


@inlined
def stays_calm(symbols: Any, world: Any, next_ms: int, opens_ms: Any, highs: Any, lows: Any, bounds: Any) -> bool:
    """Whether this candle and the next one reach no trigger, no limit of the breaker and no new peak of equity."""
    low_equity = high_equity = world.quote / 1e8
    for at in range(symbols.size):
        symbol = symbols[at]
        if symbol.e_base == 0:
            continue
        share = symbol.e_base / 1e8 * symbol.tick
        if symbol.v_engaged == 0:
            low_equity += share * (symbol.e_mark2 * 0.5)
            high_equity += share * (symbol.e_mark2 * 0.5)
            continue
        place = symbol.v_at
        if place + 1 >= symbol.last or opens_ms[place + 1] != next_ms:
            return False
        low, high = min(lows[place], lows[place + 1]), max(highs[place], highs[place + 1])
        if low <= symbol.v_low_trip or high >= symbol.v_high_trip:
            return False
        low_equity += share * low
        high_equity += share * high
    bounds[0] = low_equity
    return low_equity > world.near and high_equity <= world.peak


@inlined
def turns_calmly(
    symbols: Any, first: int, hour_ms: int, world: Any, limits: Any, hours: Any, anchors: Any, bounds: Any, closes: Any
) -> bool:
    """Begin an hour with the equity at the first price heard in it, the close of the first symbol. When a loss measured
    from there could trip the breaker, nothing has happened, and the prices are lived through one by one."""
    symbol, hour, before = symbols[first], hour_ms // MS_PER_HOUR, world.hour
    place = hour % TRIP_HOURS
    mark2, day_start, week_start = symbol.e_mark2, world.day_start, world.week_start
    known, anchor = hours[place], anchors[place]
    symbol.e_mark2 = 2 * closes[symbol.v_at]
    note_hour(equity_at_marks(symbols, world), hour, world, hours, anchors)
    set_near(world, limits, hours, anchors)
    if bounds[0] > world.near:
        return True
    symbol.e_mark2, world.day_start, world.week_start = mark2, day_start, week_start
    world.hour, hours[place], anchors[place] = before, known, anchor
    set_near(world, limits, hours, anchors)
    return False


@inlined
def closes_calmly(
    symbols: Any, world: Any, rules: Any, next_ms: int, events_ms: Any, events_symbol: Any, events_candle: Any,
    events_late: Any, p_closes: Any, kinds: Any, scores: Any,
) -> bool:  # fmt: skip
    """Whether nothing comes of the closes that are told at a time: no entry, no exit."""
    place = world.event
    while place < events_ms.size and events_ms[place] == next_ms:
        symbol, candle = symbols[events_symbol[place]], events_candle[place]
        if events_late[place]:
            return False
        if symbol.v_engaged == 0:
            if kinds[candle] > 0:
                return False
        else:
            falls = p_closes[candle] < symbol.e_last_close
            if rules.reversal_closes > 0 and falls and symbol.e_falls + 1 >= rules.reversal_closes:
                return False
            opposes = rules.opposite_score_min > 0 and kinds[candle] == -1
            if opposes and scores[candle] >= rules.opposite_score_min:
                return False
        place += 1
    return True


@inlined
def wait(
    symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, alarms: Any, curve: Any,
    curve_ms: Any, events_ms: Any, events_symbol: Any, events_candle: Any, events_late: Any, events_at: Any,
    counts: Any, p_closes: Any, p_highs: Any, p_closes_ms: Any, kinds: Any, scores: Any, atrs: Any, ready: Any,
    filtered: Any, gaps: Any, alike: Any, spoken: Any, breaks: Any,
) -> None:  # fmt: skip
    """While nothing is engaged or on its way: one close after the other is heard, until something comes of one."""
    tries = True
    while world.event < events_ms.size:
        told_ms = events_ms[world.event]
        now = told_ms + rules.latency_ms
        if now > rules.end_ms or now >= world.reset_ms:
            return
        place = world.event
        while place < events_ms.size and events_ms[place] == told_ms:
            if events_late[place]:
                return
            place += 1
        note_curve(symbols, world, curve, curve_ms, now)
        if rules.leaps > 0 and tries:
            place = world.event
            leap_idle(
                symbols, world, rules, limits, hours, anchors, curve, curve_ms, events_ms, events_at, counts, p_closes,
                kinds, spoken, breaks,
            )  # fmt: skip
            tries = world.event > place
            if tries:
                continue
        world.now = now
        while next_close_ms(world, events_ms) == told_ms:
            at, candle = events_symbol[world.event], events_candle[world.event]
            symbols[at].v_hint = events_at[world.event]
            world.event += 1
            hear_close(
                at, symbols, queue, world, rules, limits, hours, anchors, alarms, candle, counts, p_closes, p_highs,
                p_closes_ms, kinds, scores, atrs, ready, filtered, gaps, alike,
            )  # fmt: skip
            tries = tries or kinds[candle] > 0
        if world.head < world.tail:
            return


@inlined
def note_curve(symbols: Any, world: Any, curve: Any, curve_ms: Any, before_ms: int) -> None:
    """The equity at every point of the curve before a time: nothing is heard between them and then."""
    if world.curve_at < curve_ms.size and curve_ms[world.curve_at] < before_ms:
        equity = equity_at_marks(symbols, world)
        while world.curve_at < curve_ms.size and curve_ms[world.curve_at] < before_ms:
            curve[world.curve_at] = equity
            world.curve_at += 1


# -- the loop ----------------------------------------------------------------------------------------------------------


@compiled
def run(
    symbols: Any, worlds: Any, ruleses: Any, limits: Any, hours: Any, anchors: Any, bounds: Any, queue: Any, trips: Any,
    alarms: Any, levels: Any, counts: Any, curve: Any, curve_ms: Any, opens_ms: Any, lengths_ms: Any, opens: Any,
    highs: Any, lows: Any, closes: Any, volumes: Any, events_ms: Any, events_symbol: Any, events_candle: Any,
    events_late: Any, events_at: Any, rolls_symbol: Any, rolls_candle: Any, rolls_late: Any, p_closes: Any,
    p_highs: Any, p_closes_ms: Any, kinds: Any, scores: Any, atrs: Any, ready: Any, filtered: Any, gaps: Any,
    alike: Any, spoken: Any, breaks: Any, block_lows: Any, block_highs: Any,
) -> int:  # fmt: skip
    """The whole backtest; see `fastrun` for what goes in. Why it ended; what it found is in the records."""
    world, rules = worlds[0], ruleses[0]
    set_near(world, limits, hours, anchors)
    draining = False
    while True:
        message_ms = queue[world.head & (QUEUE - 1), 0] if world.head < world.tail else NEVER
        if message_ms == NEVER and world.engaged == 0 and world.deadline == NEVER and not draining:
            wait(
                symbols, queue, world, rules, limits, hours, anchors, alarms, curve, curve_ms, events_ms, events_symbol,
                events_candle, events_late, events_at, counts, p_closes, p_highs, p_closes_ms, kinds, scores, atrs,
                ready, filtered, gaps, alike, spoken, breaks,
            )  # fmt: skip
            message_ms = queue[world.head & (QUEUE - 1), 0] if world.head < world.tail else NEVER
        elif message_ms == NEVER and world.deadline == NEVER and not draining and can_skip(symbols, world):
            hold_on(
                symbols, queue, world, rules, limits, hours, anchors, bounds, curve, curve_ms, events_ms, events_symbol,
                events_candle, events_late, events_at, counts, opens_ms, lengths_ms, opens, highs, lows, closes,
                volumes, p_closes, p_highs, p_closes_ms, kinds, scores, atrs, ready, filtered, gaps, alike, spoken,
                breaks, block_lows, block_highs,
            )  # fmt: skip
            point_ms = curve_ms[world.curve_at] if world.curve_at < curve_ms.size else NEVER
            skip(
                symbols, world, rules, limits, hours, anchors, bounds, events_ms, point_ms, opens_ms, lengths_ms, opens,
                highs, lows, closes, volumes,
            )  # fmt: skip
        market_ms = next_close_ms(world, events_ms)
        if world.engaged > 0:
            for at in range(symbols.size):
                symbol = symbols[at]
                if symbol.v_engaged == 1 and symbol.v_due < market_ms:
                    market_ms = symbol.v_due
        now = min(message_ms, market_ms, world.deadline, world.reset_ms)
        if not draining and now > rules.end_ms:
            while world.curve_at < curve_ms.size:
                curve[world.curve_at] = equity_at_marks(symbols, world)
                world.curve_at += 1
            draining = True
            world.now = rules.end_ms
            for roll in range(rolls_symbol.size):
                kind = HEARD_LATE_CLOSE if rolls_late[roll] else HEARD_CLOSE
                push(queue, world, rules, kind, rolls_symbol[roll], rolls_candle[roll], NONE, NONE, NONE, NONE)
            continue
        if draining and message_ms == NEVER:
            break
        if draining:
            now = message_ms
        note_curve(symbols, world, curve, curve_ms, now)
        world.now = now
        if world.reset_ms == now:
            reset(symbols, world, limits, hours, anchors)
            world.tripped = 1
            settle(NONE, symbols, queue, world, rules, NONE)
        elif message_ms == now:
            row = queue[world.head & (QUEUE - 1)]
            world.head += 1
            kind, at = row[1], row[2]
            symbol = symbols[at]
            if kind == HEARD_MARK:
                hear_mark(
                    at, symbols, queue, world, rules, limits, hours, anchors, alarms, row[3], row[4], kinds, scores
                )
            elif kind == HEARD_CLOSE:
                hear_close(
                    at, symbols, queue, world, rules, limits, hours, anchors, alarms, row[3], counts, p_closes, p_highs,
                    p_closes_ms, kinds, scores, atrs, ready, filtered, gaps, alike,
                )  # fmt: skip
            elif kind == HEARD_LATE_CLOSE:
                push(queue, world, rules, TO_READ, at, row[3], NONE, NONE, NONE, NONE)
            elif kind == TO_READ:
                push(queue, world, rules, HEARD_CLOSE, at, row[3], NONE, NONE, NONE, NONE)
            elif kind == TO_WATCH:
                watch(at, symbol, world, rules, row[3], opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
            elif kind == TO_ENTER:
                note_level(at, world, rules, levels, row[5], row[6])
                take_entry(at, symbol, queue, world, rules, row)
            elif kind == TO_CANCEL:
                take_cancel(at, symbol, queue, world, rules)
            elif kind == TO_PROTECT:
                note_level(at, world, rules, levels, row[4], row[5])
                take_protection(at, symbol, queue, world, rules, row)
            elif kind == TO_MOVE:
                note_level(at, world, rules, levels, row[4], NONE)
                take_move(at, symbol, queue, world, rules, row)
            elif kind == TO_LEAVE:
                take_leave(at, symbol, queue, world, rules, row)
            elif kind == TO_SELL:
                take_sale(at, symbol, queue, world, rules, row)
            elif kind == TO_ASK:
                push(queue, world, rules, HEARD_ANSWER, at, NONE, NONE, NONE, NONE, NONE)
            else:
                hear_report(at, symbols, queue, world, rules, limits, hours, anchors, alarms, trips, row)
        elif market_ms == now:
            for at in range(symbols.size):
                symbol = symbols[at]
                symbol.v_played = 0
                if symbol.v_engaged == 1 and symbol.v_due == now:
                    print_tick(symbol, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
                    meet(at, symbol, queue, world, rules)
                    symbol.v_played = 1
            for at in range(symbols.size):
                symbol = symbols[at]
                if next_close_ms(world, events_ms) == now and events_symbol[world.event] == at:
                    kind = HEARD_LATE_CLOSE if events_late[world.event] else HEARD_CLOSE
                    push(queue, world, rules, kind, at, events_candle[world.event], NONE, NONE, NONE, NONE)
                    symbol.v_hint = events_at[world.event]
                    world.event += 1
                if symbol.v_played == 1 and symbol.v_watched == 1:
                    tell_mark(at, symbol, queue, world, rules)
        else:
            for at in range(symbols.size):
                if symbols[at].e_deadline <= now:
                    settle(at, symbols, queue, world, rules, NONE)
        if world.error:
            return world.error
    for at in range(symbols.size):
        symbol = symbols[at]
        price = closes[symbol.last - 1]
        hear_mark(at, symbols, queue, world, rules, limits, hours, anchors, alarms, price, price, kinds, scores)
    curve[curve_ms.size] = equity_at_marks(symbols, world)
    return DONE
