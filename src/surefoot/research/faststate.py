"""What the fast loop keeps while it runs: records of whole numbers and floats, as compiled code takes them.

Prices are counted in ticks, quantities in lots or in units of 1e-8, money in units of 1e-8 of the quote, so that every
rounding that decides something is exact. A mark may lie half a tick off the grid: `mark2` counts half ticks.
Names that begin with `v_` are what the venue knows, with `e_` what the engine has heard, which is `latency_ms` older.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

NEVER: Final = 1 << 62
UNIT: Final = 100_000_000  # of money and base amounts
BPS: Final = 100_000_000  # half spread and slippage are counted in 1e-4 of a basis point, so that this many are a whole
QUEUE: Final = 4_096  # messages on their way, at most; a power of two
TRIP_HOURS: Final = 25


# Helpers of the loop that are to be compiled, with the options of each.
HELPERS: Final[dict[Any, dict[str, bool]]] = {}


def compiled(function: Function) -> Function:
    """Mark a helper of the loop. The loop on disk holds all helpers: they are compiled only when there is none."""
    HELPERS[function] = {}
    return function


def inlined(function: Function) -> Function:
    """The same for helpers that take many arrays and are called from one place: they are copied into their caller."""
    HELPERS[function] = {"forceinline": True}
    return function


def whole(number: int) -> int:
    """A constant of the loop. Numba would compile a function anew for each plain number that it is called with."""
    return cast(int, np.int64(number))


def wholes(count: int) -> tuple[int, ...]:
    return tuple(map(whole, range(count)))


NONE: Final = whole(0)  # also of a message: nothing is told there
ONE: Final = whole(1)
TWO: Final = whole(2)
NO_CANDLE: Final = whole(-1)

# -- messages: what is on its way, to the venue or to the engine -------------------------------------------------------

TO_WATCH: Final = whole(1)
TO_ENTER: Final = whole(2)
TO_CANCEL: Final = whole(3)
TO_PROTECT: Final = whole(4)
TO_MOVE: Final = whole(5)
TO_LEAVE: Final = whole(6)
TO_SELL: Final = whole(7)
TO_READ: Final = whole(8)  # the candles before one that did not fit
TO_ASK: Final = whole(9)  # orders whose cancel was refused

HEARD_CLOSE: Final = whole(11)
HEARD_LATE_CLOSE: Final = whole(12)
HEARD_MARK: Final = whole(13)
HEARD_REST: Final = whole(14)
HEARD_BUY: Final = whole(15)
HEARD_CANCELED: Final = whole(16)
HEARD_CANCEL_REFUSED: Final = whole(17)
HEARD_PROTECTED: Final = whole(18)
HEARD_UNPROTECTED: Final = whole(19)
HEARD_MOVED: Final = whole(20)
HEARD_HALF: Final = whole(21)  # the old stop was cancelled, the new one refused
HEARD_TOO_LATE: Final = whole(22)  # there was nothing left to replace
HEARD_SALE: Final = whole(23)
HEARD_ANSWER: Final = whole(24)  # to TO_ASK

# What the engine waits an answer for.
NOTHING, ENTRY, CANCEL, PROTECTION, REPLACEMENT, SALE, QUERY = wholes(7)

# Why a sale was made; the words are those of the exact engine.
REASONS: Final = (
    "dust",
    "stop",
    "target",
    "trail",
    "break-even",
    "exit",
    "part",
    "shrink",
    "reversal",
    "time",
    "opposite",
    "flatten",
)
(DUST, STOP, TARGET, TRAIL, BREAK_EVEN, EXIT, PART, SHRINK, REVERSAL, TIME, OPPOSITE, FLATTEN) = wholes(12)

# What a sale does to the orders of its symbol.
BY_LIST, BY_REPLACEMENT, BY_ITSELF = wholes(3)

# What became of a decision; the words are the gate's own.
OUTCOMES: Final = (
    "approved", "long-only", "price-age", "gap", "readiness", "breaker", "cool-down", "score", "expired", "too-soon",
    "filter", "spread", "position", "positions", "same-direction", "correlation", "size", "portfolio-risk", "filters",
    "exitability", "no-price",
)  # fmt: skip
(
    APPROVED, LONG_ONLY, PRICE_AGE, GAP, READINESS, BREAKER, COOL_DOWN, SCORE, EXPIRED, TOO_SOON,
    FILTER, SPREAD, POSITION, POSITIONS, SAME_DIRECTION, CORRELATION, SIZE, PORTFOLIO_RISK, FILTERS,
    EXITABILITY, NO_PRICE,
) = wholes(21)  # fmt: skip

# Marks on a round trip for which the two engines may differ.
THIN: Final = whole(1)  # a fill took more than its tick offered; the exact engine takes the rest at later ticks
OVERDUE: Final = whole(2)  # a position stayed unprotected for longer than allowed while an answer was out
CUT: Final = whole(4)  # a cancel crossed a fill

# Why the loop ended.
DONE, QUEUE_FULL, ROOM_FULL = range(3)

# -- records -----------------------------------------------------------------------------------------------------------

_SYMBOL_WHOLE = (
    # the instrument
    "lot", "value", "lots_min", "lots_max", "notional_min", "notional_max", "price_min", "price_max", "lists",
    # the tape
    "first", "last", "v_at", "v_stage", "v_due", "v_low_first", "v_engaged", "v_played", "v_hint",
    "v_low_trip", "v_high_trip",
    # the venue
    "v_watched", "v_price", "v_used", "v_entry_lots", "v_limit", "v_sells_received", "v_leg_lots", "v_leg_stop",
    "v_leg_target", "v_stop", "v_stop_lots", "v_reason", "v_target", "v_target_lots",
    # the engine: prices and books
    "e_mark2", "e_close", "e_bid", "e_ask", "e_spread_known", "e_base", "e_dust", "e_fees",
    # the engine: the position
    "e_held", "e_quantity", "e_bought", "e_entry", "e_opened_ms", "e_paid", "e_proceeds", "e_received", "e_sold",
    "e_sold_ms", "e_reason", "e_flags", "e_stop", "e_first_stop", "e_target", "e_reason_of_stop", "e_taken", "e_peak",
    "e_last_close", "e_falls",
    # the engine: its orders
    "e_wait", "e_entry_open", "e_entry_lots", "e_limit", "e_submitted_ms", "e_stop_lots", "e_target_open",
    "e_crossed_ms", "e_last_entry_ms", "e_to_leave", "e_to_shrink", "e_part_due", "e_part_stage", "e_rests",
    "e_refusals", "e_retry_ms",
    "e_bare_ms", "e_overdue", "e_watched", "e_deadline", "e_order", "e_known", "e_quiet", "e_wake2",
)  # fmt: skip
_SYMBOL_REAL = ("tick", "v_volume", "e_cost", "band_low", "band_high", "lot_size")
SYMBOL: Final = np.dtype(
    [(name, np.int64) for name in _SYMBOL_WHOLE] + [(name, np.float64) for name in _SYMBOL_REAL], align=True
)

_WORLD_WHOLE = (
    "now", "candle_ms", "head", "tail", "error", "acted", "tripped", "known", "event", "curve_at", "engaged",
    "deadline", "quote", "losses_in_row", "cooldown_until_ms", "reset_ms", "latched", "hour", "round_trips", "orders",
    "fills", "wins", "losses", "alarms", "levels", "flagged", "opened", "fees", "spoken", "broken", "opposed",
)  # fmt: skip
_WORLD_REAL = ("peak", "day_start", "week_start", "won", "lost", "near", "fees_in_quote", "taken")
WORLD: Final = np.dtype(
    [(name, np.int64) for name in _WORLD_WHOLE] + [(name, np.float64) for name in _WORLD_REAL], align=True
)

_RULES_WHOLE = (
    "latency_ms", "end_ms", "interval_ms", "half_spread", "slippage", "fee", "worst", "entry_timeout_ms",
    "unprotected_max_ms", "expiry_ms", "price_age_max_ms", "entry_gap_min_ms", "positions_max", "loss_streak_max",
    "cooldown_ms", "sizing", "by_atr", "only_rests", "reversal_closes", "hold_max_ms", "takes", "reset_after_ms",
    "spread_matters", "step_ms", "leaps",
)  # fmt: skip
_RULES_REAL = (
    "volume_share", "taker_fee", "risk_pct", "notional_max_pct", "notional_max", "reserve_pct", "score_min",
    "limit_offset_pct", "capital_max", "portfolio_risk_max_pct", "correlation_max", "spread_max_pct",
    "spread_assumed_pct", "stop_pct", "target_pct", "atr_stop", "atr_target", "trail_activate", "trail_distance",
    "trail_step", "break_even_after_r", "take_1_at", "take_1_share", "take_2_at", "take_2_share", "reversal_fall",
    "reversal_profit_min", "hold_keep", "opposite_score_min",
)  # fmt: skip
RULES: Final = np.dtype(
    [(name, np.int64) for name in _RULES_WHOLE] + [(name, np.float64) for name in _RULES_REAL], align=True
)

# `warned_day` is the last day on which a warning was said.
LIMIT: Final = np.dtype([("value_pct", np.float64), ("tier", np.int64), ("warned_day", np.int64)], align=True)
WARN, NO_ENTRIES, SHRINK_TIER, FLATTEN_TIER = range(4)
DAY_LOSS, ROLLING_LOSS, WEEK_LOSS, DRAWDOWN = range(4)

# What the breaker did, and where protective orders were to rest: for the report only.
ALARM: Final = np.dtype(
    [("at_ms", np.int64), ("rule", np.int64), ("tier", np.int64), ("value", np.float64), ("limit", np.float64)],
    align=True,
)
LEVEL: Final = np.dtype([(name, np.int64) for name in ("symbol", "at_ms", "stop", "target")], align=True)

TRIP: Final = np.dtype(
    [
        (name, np.int64)
        for name in (
            "symbol", "entry_ms", "exit_ms", "entry", "sold", "bought", "received", "reason", "pnl", "flags",
        )
    ]
    + [("dust_loss", np.float64)],
    align=True,
)  # fmt: skip

# What the loop takes, in its order: the kind of each array, and its dimensions.
I8, F8, I1, B1 = np.int64, np.float64, np.int8, np.bool_
TABLE: Final[dict[str, tuple[Any, int]]] = {
    "symbols": (SYMBOL, 1), "worlds": (WORLD, 1), "ruleses": (RULES, 1), "limits": (LIMIT, 1), "hours": (I8, 1),
    "anchors": (F8, 1), "bounds": (F8, 1), "queue": (I8, 2), "trips": (TRIP, 1), "alarms": (ALARM, 1),
    "levels": (LEVEL, 1), "counts": (I8, 1), "curve": (F8, 1), "curve_ms": (I8, 1), "opens_ms": (I8, 1),
    "lengths_ms": (I8, 1), "opens": (I8, 1), "highs": (I8, 1), "lows": (I8, 1), "closes": (I8, 1), "volumes": (F8, 1),
    "events_ms": (I8, 1), "events_symbol": (I8, 1), "events_candle": (I8, 1), "events_late": (B1, 1),
    "events_at": (I8, 1), "rolls_symbol": (I8, 1), "rolls_candle": (I8, 1), "rolls_late": (B1, 1), "p_closes": (I8, 1),
    "p_highs": (I8, 1), "p_closes_ms": (I8, 1), "kinds": (I1, 1), "scores": (F8, 1), "atrs": (F8, 1), "ready": (I1, 1),
    "filtered": (B1, 1), "gaps": (B1, 1), "alike": (F8, 2), "spoken": (I8, 1), "breaks": (I8, 1),
    "block_lows": (I8, 1), "block_highs": (I8, 1),
}  # fmt: skip
