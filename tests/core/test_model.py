"""Rounding knows its direction, and each filter says why it refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.model import Balance, Side, ceil_to, floor_to
from tests.core.desk import BTC, dec

STEPS = st.sampled_from([dec("0.01"), dec("0.05"), dec("0.00001"), dec("5"), dec("0.00000001")])
VALUES = st.decimals(min_value=0, max_value=10**9, places=8)
TIGHT = replace(
    BTC,
    price_min=dec("10"),
    price_max=dec("1000"),
    quantity_min=dec("0.1"),
    quantity_max=dec("50"),
    notional_min=dec("20"),
    notional_max=dec("10000"),
    bid_multiplier_down=dec("0.5"),
    bid_multiplier_up=dec("1.5"),
    ask_multiplier_down=dec("0.8"),
    ask_multiplier_up=dec("2"),
)


@pytest.mark.spec("ORD-1")
@given(VALUES, STEPS)
def test_rounding_lands_on_the_grid_on_the_right_side_and_less_than_a_step_away(value: Decimal, step: Decimal) -> None:
    down, up = floor_to(value, step), ceil_to(value, step)
    assert down % step == 0
    assert up % step == 0
    assert value - step < down <= value <= up < value + step


@pytest.mark.spec("ORD-1")
def test_prices_go_to_the_tick_and_quantities_never_up() -> None:
    assert BTC.price_down(dec("30000.019")) == dec("30000.01")
    assert BTC.price_up(dec("30000.011")) == dec("30000.02")
    assert BTC.price_up(dec("30000.01")) == dec("30000.01")
    assert BTC.lots_down(dec("0.0166699")) == dec("0.01666")


@pytest.mark.spec("ORD-1")
def test_sub_cent_coin_keeps_its_own_ticks() -> None:
    pepe = replace(BTC, tick_size=dec("0.00000001"), lot_size=dec("1"))
    assert pepe.price_down(dec("0.000012349")) == dec("0.00001234")
    assert pepe.lots_down(dec("1234567.9")) == dec("1234567")


# Side, quantity and price at a reference of 100; what the refusal says, None when there is none.
REFUSALS = [
    (Side.BUY, "1", "100", None),
    (Side.SELL, "1", "100", None),
    (Side.BUY, "1", "100.001", "PRICE_FILTER: 100.001 is not on the tick of 0.01"),
    (Side.BUY, "1", "0", "PRICE_FILTER: 0 is not on the tick of 0.01"),
    (Side.BUY, "1", "-1", "PRICE_FILTER: -1 is not on the tick of 0.01"),
    (Side.BUY, "1", "9.99", "PRICE_FILTER: 9.99 is outside 10 to 1000"),
    (Side.BUY, "1", "1000.01", "PRICE_FILTER: 1000.01 is outside 10 to 1000"),
    (Side.BUY, "1", "50", None),
    (Side.BUY, "1", "49.99", "PERCENT_PRICE_BY_SIDE: 49.99 is below 50.0"),
    (Side.BUY, "1", "150", None),
    (Side.BUY, "1", "150.01", "PERCENT_PRICE_BY_SIDE: 150.01 is above 150.0"),
    (Side.SELL, "1", "80", None),
    (Side.SELL, "1", "79.99", "PERCENT_PRICE_BY_SIDE: 79.99 is below 80.0"),
    (Side.SELL, "1", "200", None),
    (Side.SELL, "1", "200.01", "PERCENT_PRICE_BY_SIDE: 200.01 is above 200"),
    (Side.BUY, "0", "100", "LOT_SIZE: 0 is not on the lot of 0.00001"),
    (Side.BUY, "1.000001", "100", "LOT_SIZE: 1.000001 is not on the lot of 0.00001"),
    (Side.BUY, "0.09999", "100", "LOT_SIZE: 0.09999 is outside 0.1 to 50"),
    (Side.BUY, "50.00001", "100", "LOT_SIZE: 50.00001 is outside 0.1 to 50"),
    (Side.BUY, "0.2", "100", None),
    (Side.BUY, "0.19", "100", "NOTIONAL: 19.00 is below 20"),
    (Side.BUY, "100", "100", "LOT_SIZE: 100 is outside 0.1 to 50"),
]


@pytest.mark.spec("ORD-1")
@pytest.mark.parametrize(("side", "quantity", "price", "refusal"), REFUSALS)
def test_filter_refuses_with_its_name_and_its_numbers(
    side: Side, quantity: str, price: str, refusal: str | None
) -> None:
    assert TIGHT.refusal(side, dec(quantity), dec(price), dec(100)) == refusal


@pytest.mark.spec("ORD-1")
def test_notional_above_the_most_is_refused() -> None:
    wide = replace(TIGHT, quantity_max=dec(0))
    assert wide.refusal(Side.BUY, dec(100), dec(100), dec(100)) is None
    assert wide.refusal(Side.BUY, dec(101), dec(100), dec(100)) == "NOTIONAL: 10100 is above 10000"


@pytest.mark.spec("ORD-1")
def test_bound_of_zero_is_switched_off() -> None:
    off = dec(0)
    free = replace(TIGHT, price_min=off, price_max=off, quantity_max=off, notional_max=off)
    free = replace(free, bid_multiplier_up=off, bid_multiplier_down=off)
    assert free.refusal(Side.BUY, dec(10_000), dec(10_000), dec(100)) is None
    assert free.refusal(Side.BUY, dec(10_000), dec("0.01"), dec(100)) is None


@pytest.mark.spec("ORD-8")
def test_what_is_below_a_lot_or_the_least_notional_cannot_be_sold() -> None:
    assert TIGHT.can_close(dec("0.2000099"), dec(100))
    assert not TIGHT.can_close(dec("0.1999999"), dec(100))
    assert not TIGHT.can_close(dec("0.0000099"), dec(100))
    assert not TIGHT.can_close(dec(0), dec(100))


def test_balance_is_what_is_free_and_what_is_locked() -> None:
    assert Balance("BTC", dec("0.1"), dec("0.02")).total == dec("0.12")
