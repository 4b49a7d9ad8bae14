"""Leaps of the fast loop: one symbol whose candles are even is taken over many closes at once, held or not.

A leap ends before the first candle that could make anything happen. What is in between is looked up by blocks of
`BLOCK` candles, and leaves behind what living through it close by close would have: the same equity at every point of
the curve, anchors of the hours, peak, and counts.
"""

from __future__ import annotations

import math
from typing import Any

from surefoot.research.fastengine import (
    FIRST_MONDAY_HOUR,
    HOURS_PER_DAY,
    HOURS_PER_WEEK,
    MS_PER_HOUR,
    review,
    set_near,
)
from surefoot.research.faststate import (
    DRAWDOWN,
    LONG_ONLY,
    NEVER,
    NONE,
    TRIP_HOURS,
    UNIT,
    WARN,
    compiled,
    inlined,
    whole,
)
from surefoot.research.fastvenue import half_spread, print_tick

BLOCK = 16  # candles
LEAP = whole(4_096)  # candles that one leap takes, at most


# -- what the engine has heard of a price ------------------------------------------------------------------------------


@inlined
def heard_by_the_end(place: int, rules: Any, highs: Any, lows: Any, closes: Any) -> int:
    """The newest price of a candle with a stop below it that has been heard when the next one opens. Its close came a
    millisecond before that."""
    if rules.latency_ms <= 1:
        return closes[place]
    return highs[place] if rules.worst == 1 else lows[place]


@inlined
def hear_quote(symbol: Any, price: int, rules: Any) -> None:
    """Bid and ask around a price, with no order of ours near it."""
    half = half_spread(price, rules)
    symbol.e_bid, symbol.e_ask, symbol.e_spread_known = price - half, price + half, 1


@inlined
def mark_price(symbol: Any, rules: Any) -> None:
    """The engine hears the last price."""
    symbol.e_mark2 = 2 * symbol.v_price
    hear_quote(symbol, symbol.v_price, rules)


# -- how far -----------------------------------------------------------------------------------------------------------


@compiled
def even_closes(world: Any, breaks: Any, events_ms: Any) -> int:
    """How many closes from the next one on are told at even distances."""
    while world.broken < breaks.size and breaks[world.broken] < world.event:
        world.broken += 1
    until = breaks[world.broken] if world.broken < breaks.size else events_ms.size
    return min(until - world.event, LEAP)


@compiled
def next_opinion(world: Any, spoken: Any) -> int:
    """The place among the opinions of the first that is not of the past."""
    while world.spoken < spoken.size and spoken[world.spoken] < world.event:
        world.spoken += 1
    return world.spoken


@compiled
def next_opposed(world: Any, rules: Any, spoken: Any, kinds: Any, scores: Any) -> int:
    """The first candle to come whose opinion would end the position."""
    if world.opposed < world.event:
        at = next_opinion(world, spoken)
        world.opposed = NEVER
        while at < spoken.size:
            candle = spoken[at]
            if kinds[candle] == -1 and scores[candle] >= rules.opposite_score_min:
                world.opposed = candle
                break
            at += 1
    return world.opposed


@compiled
def near_at_most(world: Any, limits: Any, hours: Any, anchors: Any, highest: float, lowest: float) -> float:
    """No limit of the breaker is above this while the equity stays within bounds, whatever hours begin meanwhile."""
    peak = max(world.peak, highest)
    least = least_from_peak = math.inf
    for rule in range(limits.size):
        if limits[rule].tier == WARN or not world.latched >> rule & 1:
            if rule == DRAWDOWN:
                least_from_peak = limits[rule].value_pct
            else:
                least = min(least, limits[rule].value_pct)
    near = peak * (1 - least_from_peak / 100) * (1 + 1e-9)
    coarse = peak * (1 - least / 100) * (1 + 1e-9)
    if lowest > coarse:  # no anchor is above the peak
        return max(near, coarse)
    start = max(highest, world.day_start, world.week_start)
    for place in range(TRIP_HOURS):
        if hours[place] >= 0:
            start = max(start, anchors[place])
    return max(near, start * (1 - least / 100) * (1 + 1e-9))


# -- what is left behind -----------------------------------------------------------------------------------------------


@inlined
def equity_at(price: int, quote: float, base: float, tick: float) -> float:
    """As `equity_at_marks` has it."""
    return quote + base * (price * tick)


@compiled
def note_hours(
    world: Any, hours: Any, anchors: Any, closes: Any, place: int, ends_ms: int, count: int, length_ms: int,
    quote: float, base: float, tick: float,
) -> None:  # fmt: skip
    """Begin the hours that begin when a candle of `count` from a place on ends; the first of them ends at `ends_ms`.
    Each begins with the equity at the close before it; nobody asks for those of more than a day ago."""
    first = max(-(-ends_ms // MS_PER_HOUR), world.hour + 1)
    last = (ends_ms + (count - 1) * length_ms) // MS_PER_HOUR
    if last < first:
        return
    before = world.hour
    day, week = last - last % HOURS_PER_DAY, last - (last - FIRST_MONDAY_HOUR) % HOURS_PER_WEEK
    if day < first and before // HOURS_PER_DAY != first // HOURS_PER_DAY:
        day = first
    if week < first and (before - FIRST_MONDAY_HOUR) // HOURS_PER_WEEK != (first - FIRST_MONDAY_HOUR) // HOURS_PER_WEEK:
        week = first
    if day >= first:
        at = place + (day * MS_PER_HOUR - ends_ms) // length_ms
        world.day_start = equity_at(closes[at], quote, base, tick)
    if week >= first:
        at = place + (week * MS_PER_HOUR - ends_ms) // length_ms
        world.week_start = equity_at(closes[at], quote, base, tick)
    hour = max(first, last - TRIP_HOURS + 1)
    slot, step = hour % TRIP_HOURS, MS_PER_HOUR // length_ms
    at = place + (hour * MS_PER_HOUR - ends_ms) // length_ms
    while hour <= last:
        hours[slot] = hour
        anchors[slot] = equity_at(closes[at], quote, base, tick)
        hour += 1
        at += step
        slot = slot + 1 if slot + 1 < TRIP_HOURS else 0
    world.hour = last


@compiled
def note_points(
    curve: Any, at: int, prices: Any, place: int, count: int, quote: float, base: float, tick: float
) -> None:
    """Points of the curve at the prices from a place on."""
    for step in range(count):
        curve[at + step] = quote + base * (prices[place + step] * tick)


# -- leaps -------------------------------------------------------------------------------------------------------------


@inlined
def leap_idle(
    symbols: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, curve: Any, curve_ms: Any,
    events_ms: Any, events_at: Any, counts: Any, p_closes: Any, kinds: Any, spoken: Any, breaks: Any,
) -> None:  # fmt: skip
    """Hear the closes up to the next one that asks for an entry, while nothing is held. The first has just been
    reached: points of the curve before it are noted."""
    symbol, place = symbols[0], world.event
    if world.hour < 0 or math.isnan(world.peak):
        return
    count = even_closes(world, breaks, events_ms)
    last_ms = min(world.reset_ms, rules.end_ms + 1) - rules.latency_ms - 1
    count = min(count, (last_ms - events_ms[place]) // rules.interval_ms + 1)
    opinion = next_opinion(world, spoken)
    shorts = 0
    while opinion < spoken.size and spoken[opinion] < place + count:
        if kinds[spoken[opinion]] > 0:
            count = spoken[opinion] - place
            break
        shorts += 1
        opinion += 1
    points = count - 1
    if points < 1 or world.curve_at + points > curve_ms.size:
        return
    told_ms = events_ms[place]
    if curve_ms[world.curve_at] != (told_ms + rules.interval_ms if rules.latency_ms > 0 else told_ms):
        return
    quote, base, tick = world.quote / UNIT, symbol.e_base / UNIT, symbol.tick
    lowest = highest = p_closes[place]
    if symbol.e_base != 0:
        for at in range(place + 1, place + count):
            lowest, highest = min(lowest, p_closes[at]), max(highest, p_closes[at])
    low, high = equity_at(lowest, quote, base, tick), equity_at(highest, quote, base, tick)
    if symbol.e_base < 0 or not low > near_at_most(world, limits, hours, anchors, high, low):
        return
    note_points(curve, world.curve_at, p_closes, place, points, quote, base, tick)
    world.curve_at += points
    note_hours(world, hours, anchors, p_closes, place, told_ms, count, rules.interval_ms, quote, base, tick)
    world.peak = max(world.peak, high)
    set_near(world, limits, hours, anchors)
    counts[LONG_ONLY] += shorts
    world.spoken = opinion
    world.event = place + count
    world.now = events_ms[world.event - 1] + rules.latency_ms
    symbol.v_hint = events_at[world.event - 1]
    symbol.e_close = p_closes[world.event - 1]
    symbol.e_mark2 = 2 * symbol.e_close


@inlined
def leap_held(
    symbols: Any, queue: Any, world: Any, rules: Any, limits: Any, hours: Any, anchors: Any, curve: Any, curve_ms: Any,
    stop_ms: int, events_ms: Any, events_at: Any, counts: Any, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any,
    lows: Any, closes: Any, volumes: Any, p_closes_ms: Any, kinds: Any, scores: Any, atrs: Any, ready: Any,
    filtered: Any, gaps: Any, alike: Any, spoken: Any, breaks: Any, block_lows: Any, block_highs: Any,
) -> None:  # fmt: skip
    """As `hold_on` goes, from the opening print of a candle to that of one of the next, as long as candles stay between
    the triggers and no opinion ends the position. A new peak of equity stops nothing."""
    symbol = symbols[0]
    place, event, length_ms = symbol.v_at, world.event, rules.interval_ms
    if event >= events_ms.size or events_at[event] != place + 1 or symbol.e_base <= 0:
        return
    next_ms = opens_ms[place] + length_ms
    if events_ms[event] != next_ms or world.curve_at >= curve_ms.size or curve_ms[world.curve_at] != next_ms:
        return
    count = min(even_closes(world, breaks, events_ms), curve_ms.size - world.curve_at, symbol.last - 1 - place)
    count = min(count, (stop_ms - 1 - opens_ms[place]) // length_ms)
    if rules.opposite_score_min > 0:
        count = min(count, next_opposed(world, rules, spoken, kinds, scores) - event)
    if count < 1:
        return
    low_trip, high_trip = symbol.v_low_trip, symbol.v_high_trip
    lowest = highest = opens[place]
    at, end = place, place + count + 1
    while at < end:
        if at % BLOCK == 0 and at + BLOCK <= end:
            low, high = block_lows[at // BLOCK], block_highs[at // BLOCK]
            if low > low_trip and high < high_trip:
                lowest, highest = min(lowest, low), max(highest, high)
                at += BLOCK
                continue
        low, high = lows[at], highs[at]
        if low <= low_trip or high >= high_trip:
            break
        lowest, highest = min(lowest, low), max(highest, high)
        at += 1
    count = at - 1 - place
    if count < 1:
        return
    quote, base, tick = world.quote / UNIT, symbol.e_base / UNIT, symbol.tick
    low_equity, high_equity = equity_at(lowest, quote, base, tick), equity_at(highest, quote, base, tick)
    if not low_equity > near_at_most(world, limits, hours, anchors, high_equity, low_equity):
        return
    if high_equity > world.peak:  # of the last candle, only the opening print is heard
        highest = opens[place + count]
        for candle in range(place, place + count):
            highest = max(highest, highs[candle])
        world.peak = max(world.peak, equity_at(highest, quote, base, tick))
    if rules.latency_ms == 0:
        note_points(curve, world.curve_at, opens, place + 1, count, quote, base, tick)
    elif rules.latency_ms == 1:
        note_points(curve, world.curve_at, closes, place, count, quote, base, tick)
    elif rules.worst == 1:
        note_points(curve, world.curve_at, highs, place, count, quote, base, tick)
    else:
        note_points(curve, world.curve_at, lows, place, count, quote, base, tick)
    world.curve_at += count
    note_hours(world, hours, anchors, closes, place, next_ms, count, length_ms, quote, base, tick)
    set_near(world, limits, hours, anchors)
    opinion = next_opinion(world, spoken)
    while opinion < spoken.size and spoken[opinion] < event + count:
        candle = spoken[opinion]
        if kinds[candle] < 0:
            counts[LONG_ONLY] += 1
        else:
            world.now = events_ms[candle] + rules.latency_ms
            if rules.spread_matters == 1:
                hear_quote(symbol, closes[place + candle - event], rules)
            outcome = review(
                NONE, symbols, queue, world, rules, candle, p_closes_ms, scores, atrs, ready, filtered, gaps, alike
            )
            counts[outcome] += 1
        opinion += 1
    world.spoken = opinion
    world.event = event + count
    world.now = events_ms[world.event - 1] + rules.latency_ms
    symbol.v_hint = events_at[world.event - 1]
    symbol.e_close = closes[place + count - 1]
    symbol.v_at, symbol.v_stage, symbol.v_due = place + count, 0, opens_ms[place + count]
    print_tick(symbol, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
    mark_price(symbol, rules)
