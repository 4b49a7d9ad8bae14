"""The protection plan: its prices are on the tick, and rounded away from the entry."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.exits import ExitSettings, Plan, plan_long, stop_order, target_order
from surefoot.core.model import OrderType, Purpose, Side
from tests.core.desk import BTC, EXITS, dec

PLAN = Plan(dec("29400"), dec("31200"))


@pytest.mark.spec("EXIT-2")
def test_plan_is_two_per_cent_down_and_four_up() -> None:
    assert plan_long(dec("30000"), EXITS, BTC) == PLAN


@pytest.mark.spec("EXIT-2")
def test_stop_is_rounded_down_and_target_up() -> None:
    # 2 % below 30000.33 is 29400.3234, 4 % above it 31200.3432.
    assert plan_long(dec("30000.33"), EXITS, BTC) == Plan(dec("29400.32"), dec("31200.35"))


@pytest.mark.spec("EXIT-2")
@given(
    st.integers(1_000, 10**8).map(lambda ticks: ticks * dec("0.01")),
    st.decimals("0.5", "10", places=2),
    st.decimals("0.5", "20", places=2),
)
def test_plan_is_on_the_tick_and_never_nearer_than_asked(
    price: Decimal, stop_pct: Decimal, target_pct: Decimal
) -> None:
    plan = plan_long(price, ExitSettings(stop_pct, target_pct), BTC)
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
    order = stop_order("sf-r1-3s", BTC, PLAN, None)
    assert (order.side, order.type, order.purpose) == (Side.SELL, OrderType.STOP_LOSS, Purpose.STOP)
    assert (order.quantity, order.price, order.stop_price) == (None, None, dec(29400))


def test_stop_without_market_sales_sells_down_to_one_per_cent_below_its_trigger() -> None:
    limited = replace(BTC, order_types=("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"))
    order = stop_order("sf-r1-3s", limited, replace(PLAN, stop_price=dec("29400.33")), dec("0.1"))
    assert order.type is OrderType.STOP_LOSS_LIMIT
    assert (order.price, order.stop_price) == (dec("29106.32"), dec("29400.33"))
