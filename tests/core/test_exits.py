"""The protection plan: its prices are on the tick, and rounded away from the entry."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.exits import (
    Course,
    ExitSettings,
    Held,
    Leave,
    Levels,
    Move,
    MoveStop,
    Plan,
    Take,
    TakePart,
    levels_of,
    on_price,
    on_reversal,
    on_time,
    plan_for,
    stop_order,
    target_order,
)
from surefoot.core.model import OrderType, Purpose, Readiness, Side
from tests.core.desk import BTC, EXITS, PERP, dec

PLAN = Plan(dec("29400"), dec("31200"), dec("29400"))


@pytest.mark.spec("EXIT-2")
def test_plan_is_two_per_cent_down_and_four_up() -> None:
    assert plan_for(dec("30000"), EXITS, BTC) == PLAN


@pytest.mark.spec("EXIT-2")
def test_stop_is_rounded_down_and_target_up() -> None:
    # 2 % below 30000.33 is 29400.3234, 4 % above it 31200.3432.
    assert plan_for(dec("30000.33"), EXITS, BTC) == Plan(dec("29400.32"), dec("31200.35"), dec("29400.32"))


@pytest.mark.spec("EXIT-2")
@given(
    st.integers(1_000, 10**8).map(lambda ticks: ticks * dec("0.01")),
    st.decimals("0.5", "10", places=2),
    st.decimals("0.5", "20", places=2),
)
def test_plan_is_on_the_tick_and_never_nearer_than_asked(
    price: Decimal, stop_pct: Decimal, target_pct: Decimal
) -> None:
    plan = plan_for(price, ExitSettings(stop_pct, target_pct), BTC)
    stop, target = price * (1 - stop_pct / 100), price * (1 + target_pct / 100)
    assert plan.stop_price % BTC.tick_size == 0
    assert plan.target_price % BTC.tick_size == 0
    assert stop - BTC.tick_size < plan.stop_price <= stop
    assert target <= plan.target_price < target + BTC.tick_size


def test_target_rests_as_a_maker_order() -> None:
    order = target_order("sf-r1-2t", BTC, PLAN, dec("0.1"))
    assert (order.side, order.type, order.purpose) == (Side.SELL, OrderType.LIMIT_MAKER, Purpose.TARGET)
    assert (order.quantity, order.price, order.stop_price) == (dec("0.1"), dec(31200), None)


def test_stop_sells_at_the_market_where_that_is_offered() -> None:
    order = stop_order("sf-r1-3s", BTC, PLAN.stop_price, None)
    assert (order.side, order.type, order.purpose) == (Side.SELL, OrderType.STOP_LOSS, Purpose.STOP)
    assert (order.quantity, order.price, order.stop_price) == (None, None, dec(29400))


def test_stop_without_market_sales_sells_down_to_one_per_cent_below_its_trigger() -> None:
    limited = replace(BTC, order_types=("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"))
    order = stop_order("sf-r1-3s", limited, dec("29400.33"), dec("0.1"))
    assert order.type is OrderType.STOP_LOSS_LIMIT
    assert (order.price, order.stop_price) == (dec("29106.32"), dec("29400.33"))


# -- where the stop comes from ------------------------------------------------------------------------------------

ATR = replace(EXITS, by_atr=True)


@pytest.mark.spec("EXIT-3")
def test_atr_plan_is_one_and_a_half_ranges_down_and_three_up() -> None:
    assert plan_for(dec("30000"), ATR, BTC, atr=200.0) == Plan(dec("29700"), dec("30600"), dec("29700"))


@pytest.mark.spec("EXIT-3")
def test_without_a_range_the_plan_is_the_fixed_one() -> None:
    assert plan_for(dec("30000"), ATR, BTC, atr=None) == PLAN


@pytest.mark.spec("EXIT-3", "RISK-2")
@pytest.mark.parametrize(("atr", "stop"), [(20.0, "29850"), (5000.0, "27000")])
def test_stop_is_never_nearer_than_half_a_per_cent_nor_further_than_ten(atr: float, stop: str) -> None:
    assert plan_for(dec("30000"), ATR, BTC, atr=atr).stop_price == dec(stop)


@pytest.mark.spec("SIG-6")
@pytest.mark.parametrize(
    ("readiness", "stop"), [(Readiness.MINIMUM, "29100"), (Readiness.WARM, "29250"), (Readiness.BEST, "29400")]
)
def test_stop_is_wider_with_little_history(readiness: Readiness, stop: str) -> None:
    assert plan_for(dec("30000"), EXITS, BTC, readiness=readiness).stop_price == dec(stop)


# -- what a price asks for ----------------------------------------------------------------------------------------

TRAIL = replace(EXITS, trail_activate_pct=dec("1.5"), trail_distance_pct=dec("1"), trail_step_pct=dec("0.5"))
EVEN = replace(EXITS, break_even_after_r=dec(1))
PARTS = replace(EXITS, takes=(Take(dec(2), dec(50)), Take(dec(3), dec(25))))
HELD = Held(
    entry_price=dec(30000),
    opened_ms=0,
    bought=dec("0.02"),
    sellable=dec("0.01998"),
    plan=PLAN,
    taken=0,
    target_rests=True,
)
FEE = dec("0.001")


def levels(settings: ExitSettings, held: Held = HELD) -> Levels:
    return levels_of(held, settings, BTC, FEE)


def asked(price: str, settings: ExitSettings, held: Held = HELD) -> MoveStop | TakePart | Leave | None:
    return on_price(dec(price), held, levels(settings, held), settings, BTC)


def with_stop(stop: str, held: Held = HELD) -> Held:
    return replace(held, plan=replace(held.plan, stop_price=dec(stop)))


@pytest.mark.spec("EXIT-4")
@pytest.mark.parametrize(
    ("price", "held", "stop"),
    [
        ("30449.99", HELD, None),  # not yet at +1.5 %
        ("30450", HELD, "30145.5"),
        ("30500.01", HELD, "30195"),  # 30195.0099, rounded down to the tick
        ("30600", with_stop("30145.5"), None),  # 30294 is less than half a per cent above it
        ("30602.78", with_stop("30145.5"), "30296.75"),  # the step is at 30296.2275
        ("30000", with_stop("30145.5"), None),
    ],
)
def test_trailing_stop_follows_in_steps_once_it_is_active(price: str, held: Held, stop: str | None) -> None:
    assert asked(price, TRAIL, held) == (None if stop is None else MoveStop(dec(stop), Move.TRAIL))


@pytest.mark.spec("EXIT-4")
@given(
    st.lists(st.integers(2_700_000, 3_900_000).map(lambda ticks: ticks * dec("0.01")), min_size=1, max_size=60),
    st.decimals("0.1", "3", places=1),
    st.decimals("0.1", "3", places=1),
    st.decimals("0", "2", places=1),
    st.booleans(),
)
def test_whatever_the_prices_the_stop_only_ever_tightens_and_stays_below_them(
    prices: list[Decimal], activate: Decimal, distance: Decimal, step: Decimal, even: bool
) -> None:
    settings = replace(
        EXITS,
        trail_activate_pct=activate,
        trail_distance_pct=distance,
        trail_step_pct=step,
        break_even_after_r=dec(1) if even else dec(0),
    )
    held = HELD
    for price in prices:
        action = on_price(price, held, levels(settings, held), settings, BTC)
        if isinstance(action, MoveStop):
            assert held.plan.stop_price < action.stop_price < price
            assert action.stop_price % BTC.tick_size == 0
            held = replace(held, plan=replace(held.plan, stop_price=action.stop_price))


@pytest.mark.spec("EXIT-8")
def test_after_one_r_the_stop_pays_the_entry_and_both_fees() -> None:
    assert asked("30599.99", EVEN) is None
    # 30000 / 0.999 / 0.999 is 30060.09 and a bit.
    assert asked("30600", EVEN) == MoveStop(dec("30060.10"), Move.BREAK_EVEN)
    assert asked("30600", EVEN, with_stop("30060.10")) is None
    earned = dec("0.02") * (1 - FEE) * dec("30060.10") * (1 - FEE)
    assert earned > dec("0.02") * 30000


@pytest.mark.spec("EXIT-4", "EXIT-8")
def test_of_trailing_and_break_even_the_higher_stop_counts() -> None:
    both = replace(TRAIL, break_even_after_r=dec(1))
    assert asked("30600", both) == MoveStop(dec("30294"), Move.TRAIL)
    near = replace(both, trail_distance_pct=dec(5))
    assert asked("30600", near) == MoveStop(dec("30060.10"), Move.BREAK_EVEN)


@pytest.mark.spec("EXIT-6")
def test_parts_are_taken_in_stages_and_the_rest_runs_on() -> None:
    assert asked("30599.99", PARTS) is None
    assert asked("30600", PARTS) == TakePart(dec("0.01"), 0)
    assert asked("30900", PARTS) == TakePart(dec("0.01"), 0)  # one stage at a time, also after a jump
    second = replace(HELD, taken=1, sellable=dec("0.00998"))
    assert asked("30899.99", PARTS, second) is None
    assert asked("30900", PARTS, second) == TakePart(dec("0.005"), 1)
    assert asked("40000", PARTS, replace(second, taken=2)) is None


@pytest.mark.spec("EXIT-6", "ORD-8")
def test_a_part_that_could_not_be_sold_or_leaves_a_rest_that_could_not_is_not_taken() -> None:
    small = replace(HELD, bought=dec("0.0003"), sellable=dec("0.0003"))
    assert asked("30600", PARTS, small) is None  # 0.00015 is worth 4.59, and 5 is the least


@pytest.mark.spec("EXIT-2")
def test_a_target_that_no_longer_rests_is_watched_and_met_one_tick_through() -> None:
    watched = replace(HELD, target_rests=False)
    assert asked("31200", EXITS, watched) is None
    assert asked("31200.01", EXITS, watched) == Leave("target")
    assert asked("31200.01", EXITS) is None


def test_below_its_lowest_level_a_price_asks_for_nothing() -> None:
    every = replace(TRAIL, break_even_after_r=dec("0.5"), takes=PARTS.takes)
    assert levels(every).nearest == dec("30300")
    assert levels(EXITS).nearest is None


# -- what a candle and the time ask for ---------------------------------------------------------------------------

REVERSAL = replace(EXITS, reversal_fall_pct=dec("0.5"), reversal_closes=3, reversal_profit_min_pct=dec("0.8"))


def course(*candles: tuple[str, str]) -> Course:
    after = Course()
    for high, close in candles:
        after.take(dec(high), dec(close), dec(close))
    return after


@pytest.mark.spec("EXIT-5")
@pytest.mark.parametrize(
    ("closes", "left"),
    [
        (("30600", "30550", "30500", "30450"), True),
        (("30600", "30550", "30560", "30450"), False),  # the falls were interrupted
        (("30600", "30590", "30580", "30570"), False),  # not 0.5 % below the peak of 30620
        (("30400", "30300", "30250", "30200"), False),  # less than 0.8 % is left
    ],
)
def test_profit_that_gives_way_is_taken(closes: tuple[str, ...], left: bool) -> None:
    path = course(("30620", closes[0]), *((close, close) for close in closes[1:]))
    answer = on_reversal(dec(closes[-1]), HELD, path, REVERSAL)
    assert answer == (Leave("reversal") if left else None)


@pytest.mark.spec("EXIT-7")
@pytest.mark.parametrize(
    ("price", "age_s", "left"),
    [("29999", 7_199, False), ("29999", 7_200, True), ("30449", 7_200, True), ("30450", 7_200, False)],
)
def test_position_that_had_its_time_is_left_unless_it_earns_enough(price: str, age_s: int, left: bool) -> None:
    settings = replace(EXITS, hold_max_ms=7_200_000, hold_keep_pct=dec("1.5"))
    answer = on_time(dec(price), age_s * 1_000, HELD, settings)
    assert answer == (Leave("time") if left else None)
    assert on_time(dec(price), age_s * 1_000, HELD, EXITS) is None


# -- short positions, which are long ones in the mirror -------------------------------------------------------------

SHORT_PLAN = Plan(dec("30600"), dec("28800"), dec("30600"))
SHORT = replace(HELD, plan=SHORT_PLAN, direction=-1)


def short_asked(price: str, settings: ExitSettings, held: Held = SHORT) -> MoveStop | TakePart | Leave | None:
    known = levels_of(held, settings, PERP, FEE)
    return on_price(dec(price), held, known, settings, PERP)


@pytest.mark.spec("EXIT-2", "MODE-3")
def test_plan_of_a_short_position_stands_on_the_other_side_and_is_rounded_away_from_it() -> None:
    assert plan_for(dec(30000), EXITS, PERP, direction=-1) == SHORT_PLAN
    assert plan_for(dec("30000.3"), EXITS, PERP, direction=-1) == Plan(dec("30600.4"), dec("28800.2"), dec("30600.4"))
    assert plan_for(dec(30000), ATR, PERP, atr=200.0, direction=-1) == Plan(dec(30300), dec(29400), dec(30300))


@pytest.mark.spec("EXIT-2", "ORD-6")
@pytest.mark.parametrize(("direction", "side"), [(1, Side.SELL), (-1, Side.BUY)])
def test_stop_and_target_of_futures_trade_at_the_market_when_triggered(direction: int, side: Side) -> None:
    stop = stop_order("sf-r1-3s", PERP, dec(30600), dec("0.02"), direction=direction)
    target = target_order("sf-r1-4t", PERP, SHORT_PLAN, dec("0.02"), direction)
    assert (stop.type, stop.side, stop.stop_price, stop.price) == (OrderType.STOP_MARKET, side, dec(30600), None)
    assert (target.type, target.side, target.stop_price) == (OrderType.TAKE_PROFIT_MARKET, side, dec(28800))


def with_short_stop(stop: str) -> Held:
    return replace(SHORT, plan=replace(SHORT_PLAN, stop_price=dec(stop)))


@pytest.mark.spec("EXIT-4", "MODE-3")
@pytest.mark.parametrize(
    ("price", "stop", "moved"),
    [
        ("29550.1", "30600", None),  # not yet at 1.5 % below the entry
        ("29550", "30600", "29845.5"),
        ("29403", "29845.5", None),  # 29697.1, and the step is at 29696.2
        ("29400", "29845.5", "29694"),
        ("30000", "29845.5", None),
    ],
)
def test_trailing_stop_of_a_short_position_comes_down_in_steps(price: str, stop: str, moved: str | None) -> None:
    expected = None if moved is None else MoveStop(dec(moved), Move.TRAIL)
    assert short_asked(price, TRAIL, with_short_stop(stop)) == expected


@pytest.mark.spec("EXIT-4", "MODE-3")
@given(
    st.lists(st.integers(210_000, 330_000).map(lambda ticks: ticks * dec("0.1")), min_size=1, max_size=60),
    st.decimals("0.1", "3", places=1),
    st.decimals("0.1", "3", places=1),
)
def test_whatever_the_prices_the_stop_of_a_short_position_only_ever_tightens_and_stays_above_them(
    prices: list[Decimal], activate: Decimal, distance: Decimal
) -> None:
    settings = replace(EXITS, trail_activate_pct=activate, trail_distance_pct=distance, break_even_after_r=dec("0.5"))
    held = SHORT
    for price in prices:
        action = on_price(price, held, levels_of(held, settings, PERP, FEE), settings, PERP)
        if isinstance(action, MoveStop):
            assert price < action.stop_price < held.plan.stop_price
            assert action.stop_price % PERP.tick_size == 0
            held = replace(held, plan=replace(held.plan, stop_price=action.stop_price))


@pytest.mark.spec("EXIT-8", "MODE-3")
@pytest.mark.parametrize(("held", "price", "stop"), [(HELD, "30600", "30060.1"), (SHORT, "29400", "29940.0")])
def test_break_even_of_futures_pays_both_fees_which_are_taken_in_quote(held: Held, price: str, stop: str) -> None:
    known = levels_of(held, EVEN, PERP, FEE)
    # 30000 × 1.001 / 0.999 is 30060.06 and a bit, 30000 × 0.999 / 1.001 is 29940.06 without one.
    assert on_price(dec(price), held, known, EVEN, PERP) == MoveStop(dec(stop), Move.BREAK_EVEN)
    profit = (dec(stop) - 30000) * held.direction - FEE * (30000 + dec(stop))
    assert 0 <= profit < dec("0.1") * 2


@pytest.mark.spec("EXIT-6", "MODE-3")
def test_parts_of_a_short_position_are_taken_on_the_way_down() -> None:
    short = replace(SHORT, bought=dec("0.02"), sellable=dec("0.02"))
    assert short_asked("29400.1", PARTS, short) is None
    assert short_asked("29400", PARTS, short) == TakePart(dec("0.01"), 0)
    assert short_asked("29100", PARTS, replace(short, taken=1, sellable=dec("0.01"))) == TakePart(dec("0.005"), 1)


@pytest.mark.spec("EXIT-5", "EXIT-7", "MODE-3")
def test_a_short_position_is_left_when_its_profit_gives_way_or_its_time_is_over() -> None:
    path = Course(direction=-1)
    for low, close in (("29380", "29400"), ("29450", "29450"), ("29500", "29500"), ("29550", "29550")):
        path.take(dec("29999"), dec(low), dec(close))
    assert (path.peak, path.falls) == (dec("29380"), 3)
    assert on_reversal(dec("29550"), SHORT, path, REVERSAL) == Leave("reversal")
    assert on_reversal(dec("29550"), SHORT, replace(path, falls=2), REVERSAL) is None
    settings = replace(EXITS, hold_max_ms=1_000, hold_keep_pct=dec("1.5"))
    assert on_time(dec("29550"), 1_000, SHORT, settings) is None
    assert on_time(dec("29551"), 1_000, SHORT, settings) == Leave("time")


@pytest.mark.spec("EXIT-2", "MODE-3")
def test_watched_target_of_a_short_position_is_met_below_it() -> None:
    watched = replace(SHORT, target_rests=False)
    assert short_asked("28800", EXITS, watched) is None
    assert short_asked("28799.9", EXITS, watched) == Leave("target")
