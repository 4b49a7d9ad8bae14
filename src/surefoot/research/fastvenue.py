"""What the simulated exchange does to our orders, in whole numbers: `simex` in the few forms that a backtest uses.

The formulas are the exchange's own and are written again here, since research may not import them; that they are the
same is what the comparison of the two engines shows.
"""

from __future__ import annotations

from typing import Any

from surefoot.research.faststate import (
    BPS,
    BY_ITSELF,
    BY_LIST,
    BY_REPLACEMENT,
    HEARD_BUY,
    HEARD_CANCEL_REFUSED,
    HEARD_CANCELED,
    HEARD_HALF,
    HEARD_MOVED,
    HEARD_PROTECTED,
    HEARD_REST,
    HEARD_SALE,
    HEARD_TOO_LATE,
    HEARD_UNPROTECTED,
    NEVER,
    NONE,
    ONE,
    QUEUE,
    QUEUE_FULL,
    TARGET,
    THIN,
    UNIT,
    compiled,
    inlined,
)


@compiled
def push(queue: Any, world: Any, rules: Any, kind: int, symbol: int, a: int, b: int, c: int, d: int, e: int) -> None:
    """Send a message; all take the same time, so they arrive in the order in which they left."""
    if world.tail - world.head >= QUEUE:
        world.error = QUEUE_FULL
        return
    row = queue[world.tail & (QUEUE - 1)]
    row[0] = world.now + rules.latency_ms
    row[1] = kind
    row[2] = symbol
    row[3] = a
    row[4] = b
    row[5] = c
    row[6] = d
    row[7] = e
    row[8] = 0
    world.tail += 1


# -- prices and fees ---------------------------------------------------------------------------------------------------


@inlined
def half_spread(price: int, rules: Any) -> int:
    """Half of bid to ask in ticks: at least one, rounded half up."""
    return max((2 * price * rules.half_spread + BPS) // (2 * BPS), 1)


@compiled
def buying_price(price: int, rules: Any) -> int:
    ask = price + half_spread(price, rules)
    return -((-ask * (BPS + rules.slippage)) // BPS)


@compiled
def selling_price(price: int, rules: Any) -> int:
    bid = price - half_spread(price, rules)
    return (bid * (BPS - rules.slippage)) // BPS


@compiled
def fee_of(amount: int, rules: Any) -> int:
    """The fee on an amount received, rounded up at the eighth decimal; in parts, since the product may be too long."""
    return (amount // UNIT) * rules.fee - (-(amount % UNIT) * rules.fee) // UNIT


@compiled
def note_volume(symbol: Any, lots: int, rules: Any) -> int:
    """Whether a fill took more than its tick offered."""
    symbol.v_used += lots
    offered = rules.volume_share * symbol.v_volume
    return THIN if symbol.v_used * symbol.lot_size > offered * (1 + 1e-12) else 0


# -- fills -------------------------------------------------------------------------------------------------------------


@compiled
def sell(
    at: int, symbol: Any, queue: Any, world: Any, rules: Any, lots: int, price: int, reason: int, how: int
) -> None:
    """A sale at a price; `how` says what becomes of the symbol's other orders."""
    if how != BY_ITSELF:
        symbol.v_stop_lots = 0
        symbol.v_target_lots = 0
    flags = note_volume(symbol, lots, rules)
    push(queue, world, rules, HEARD_SALE, at, price, lots, world.now, reason * 4 + how, flags)


@compiled
def fill_entry(at: int, symbol: Any, queue: Any, world: Any, rules: Any, lots: int, price: int, answers: int) -> None:
    """The entry fills: its legs go live, or expire when the price has left them behind."""
    symbol.v_entry_lots = 0
    flags = note_volume(symbol, lots, rules)
    received = lots * symbol.lot - fee_of(lots * symbol.lot, rules)
    leg_lots = received // symbol.lot if symbol.v_sells_received else symbol.v_leg_lots
    stop, target, last = symbol.v_leg_stop, symbol.v_leg_target, symbol.v_price
    fits = leg_lots >= symbol.lots_min and leg_lots > 0 and stop < last < target
    if fits and leg_lots * last * symbol.value >= symbol.notional_min:
        symbol.v_stop, symbol.v_target, symbol.v_reason = stop, target, 1
        symbol.v_stop_lots = symbol.v_target_lots = leg_lots
    else:
        leg_lots = 0
    push(queue, world, rules, HEARD_BUY, at, price, lots, world.now, leg_lots * 2 + answers, flags)
    queue[(world.tail - 1) & (QUEUE - 1), 8] = 1 - answers  # what fills later fills as a maker


# -- requests ----------------------------------------------------------------------------------------------------------


@inlined
def take_entry(at: int, symbol: Any, queue: Any, world: Any, rules: Any, row: Any) -> None:
    lots, limit = row[3], row[4]
    symbol.v_leg_stop, symbol.v_leg_target = row[5], row[6]
    symbol.v_sells_received = 1 if row[7] == 0 else 0
    symbol.v_leg_lots = row[7]
    if limit < symbol.v_price + half_spread(symbol.v_price, rules):
        symbol.v_entry_lots, symbol.v_limit = lots, limit
        push(queue, world, rules, HEARD_REST, at, NONE, NONE, NONE, NONE, NONE)
    else:
        price = min(buying_price(symbol.v_price, rules), limit)
        fill_entry(at, symbol, queue, world, rules, lots, price, ONE)


@inlined
def take_cancel(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    kind = HEARD_CANCELED if symbol.v_entry_lots else HEARD_CANCEL_REFUSED
    symbol.v_entry_lots = 0
    push(queue, world, rules, kind, at, NONE, NONE, NONE, NONE, NONE)


@inlined
def take_protection(at: int, symbol: Any, queue: Any, world: Any, rules: Any, row: Any) -> None:
    lots, stop, target = row[3], row[4], row[5]
    if stop < symbol.v_price < target and lots * symbol.v_price * symbol.value >= symbol.notional_min:
        symbol.v_stop, symbol.v_target, symbol.v_reason = stop, target, 1
        symbol.v_stop_lots = symbol.v_target_lots = lots
        push(queue, world, rules, HEARD_PROTECTED, at, lots, stop, NONE, NONE, NONE)
    else:
        push(queue, world, rules, HEARD_UNPROTECTED, at, NONE, NONE, NONE, NONE, NONE)


@inlined
def take_move(at: int, symbol: Any, queue: Any, world: Any, rules: Any, row: Any) -> None:
    """Cancel the stop with its list and rest another one; the first must still be there, the price above the second."""
    lots, stop, reason = row[3], row[4], row[5]
    if symbol.v_stop_lots == 0:
        push(queue, world, rules, HEARD_TOO_LATE, at, ONE, NONE, NONE, NONE, NONE)
        return
    symbol.v_stop_lots = symbol.v_target_lots = 0
    if symbol.v_price <= stop:
        push(queue, world, rules, HEARD_HALF, at, NONE, NONE, NONE, NONE, NONE)
        return
    symbol.v_stop, symbol.v_stop_lots, symbol.v_reason = stop, lots, reason
    push(queue, world, rules, HEARD_MOVED, at, lots, stop, NONE, NONE, NONE)


@inlined
def take_leave(at: int, symbol: Any, queue: Any, world: Any, rules: Any, row: Any) -> None:
    if symbol.v_stop_lots == 0:
        push(queue, world, rules, HEARD_TOO_LATE, at, NONE, NONE, NONE, NONE, NONE)
        return
    price = selling_price(symbol.v_price, rules)
    sell(at, symbol, queue, world, rules, row[3], price, row[4], BY_REPLACEMENT)


@inlined
def take_sale(at: int, symbol: Any, queue: Any, world: Any, rules: Any, row: Any) -> None:
    price = selling_price(symbol.v_price, rules)
    sell(at, symbol, queue, world, rules, row[3], price, row[4], BY_ITSELF)


# -- the tape ----------------------------------------------------------------------------------------------------------


@inlined
def meet(at: int, symbol: Any, queue: Any, world: Any, rules: Any) -> None:
    """The print that was just made meets our orders: stops first, then what rests."""
    price = symbol.v_price
    if symbol.v_stop_lots > 0 and price <= symbol.v_stop:
        sell(at, symbol, queue, world, rules, symbol.v_stop_lots, selling_price(price, rules), symbol.v_reason, BY_LIST)
    elif symbol.v_target_lots > 0 and price > symbol.v_target:
        sell(at, symbol, queue, world, rules, symbol.v_target_lots, symbol.v_target, TARGET, BY_LIST)
    if symbol.v_entry_lots > 0 and price < symbol.v_limit:
        fill_entry(at, symbol, queue, world, rules, symbol.v_entry_lots, symbol.v_limit, NONE)


@inlined
def low_comes_first(symbol: Any, rules: Any, high: int, low: int, close: int) -> int:
    """The worst path runs into the stop first; without one, it visits the extreme further from the close first."""
    worst = symbol.v_stop_lots > 0 or close - low > high - close
    return 1 if worst == (rules.worst == 1) else 0


@inlined
def next_tick(symbol: Any, opens_ms: Any, lengths_ms: Any) -> None:
    """When the tick after this one is due."""
    symbol.v_stage += 1
    at = symbol.v_at
    if symbol.v_stage == 1:
        symbol.v_due = opens_ms[at] + lengths_ms[at] // 4
    elif symbol.v_stage == 2:
        symbol.v_due = opens_ms[at] + lengths_ms[at] // 2
    elif symbol.v_stage == 3:
        symbol.v_due = opens_ms[at] + lengths_ms[at] - 1
    else:
        next_candle(symbol, opens_ms)


@inlined
def next_candle(symbol: Any, opens_ms: Any) -> None:
    symbol.v_at += 1
    symbol.v_stage = 0
    symbol.v_due = opens_ms[symbol.v_at] if symbol.v_at < symbol.last else NEVER


@inlined
def tick_price(symbol: Any, opens: Any, highs: Any, lows: Any, closes: Any) -> int:
    at, stage = symbol.v_at, symbol.v_stage
    if stage == 0:
        return opens[at]
    if stage == 3:
        return closes[at]
    return lows[at] if (symbol.v_low_first == 1) == (stage == 1) else highs[at]


@inlined
def print_tick(
    symbol: Any,
    rules: Any,
    opens_ms: Any,
    lengths_ms: Any,
    opens: Any,
    highs: Any,
    lows: Any,
    closes: Any,
    volumes: Any,
) -> None:
    """The next tick of the tape becomes the last price."""
    at = symbol.v_at
    if symbol.v_stage == 1:
        symbol.v_low_first = low_comes_first(symbol, rules, highs[at], lows[at], closes[at])
    symbol.v_price = tick_price(symbol, opens, highs, lows, closes)
    symbol.v_volume = volumes[at]
    symbol.v_used = 0
    next_tick(symbol, opens_ms, lengths_ms)


@inlined
def catch_up(
    symbol: Any, until_ms: int, rules: Any, opens_ms: Any, lengths_ms: Any, opens: Any, highs: Any, lows: Any,
    closes: Any, volumes: Any,
) -> None:  # fmt: skip
    """Bring a symbol that nobody watched up to a time. Its candles end as soon as their first quarter is over: nobody
    would see the rest of them tick by tick."""
    if symbol.v_hint > symbol.v_at:
        symbol.v_at, symbol.v_stage, symbol.v_due = symbol.v_hint, 0, opens_ms[symbol.v_hint]
    while symbol.v_due < until_ms:
        if symbol.v_stage == 1:
            symbol.v_price, symbol.v_volume, symbol.v_used = closes[symbol.v_at], volumes[symbol.v_at], 0
            next_candle(symbol, opens_ms)
        else:
            print_tick(symbol, rules, opens_ms, lengths_ms, opens, highs, lows, closes, volumes)
