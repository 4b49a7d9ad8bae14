"""Margin and liquidation price against the rows of the protocol's table (9.5 and 9.6), to the last digit it gives."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.margin import Backing, bracket_of, liquidation_price, maintenance, notional_max
from surefoot.core.model import Bracket
from tests.core.desk import BRACKETS, dec


def one(rate: str, deduction: str) -> tuple[Bracket, ...]:
    """A table of one bracket, where a row gives nothing but the rate and the deduction that count."""
    return (Bracket(dec(0), dec(10) ** 12, 150, dec(rate), dec(deduction)),)


# Rows of 9.6: quantity, entry, wallet, maintenance and profit of other positions, brackets, liquidation price.
ROWS = [
    ("3683.979", "1456.84", ("1535443.01", "71200.81144", "-56354.57"), one("0.1", "135365"), "1153.2565"),
    ("109.488", "32481.98", ("1535443.01", "356512.508", "-448192.89"), one("0.025", "16300"), "26316.8933"),
    ("0.05", "100000", ("500", "0", "0"), BRACKETS, "90361.4458"),
    ("-0.05", "100000", ("500", "0", "0"), BRACKETS, "109561.7530"),
    ("20", "100000", ("200000", "0", "0"), BRACKETS, "90513.3367"),
    ("1", "100000", ("10000", "164", "-1000"), BRACKETS, "91530.1205"),
]


@pytest.mark.spec("PNL-2")
@pytest.mark.parametrize(("quantity", "entry", "backing", "brackets", "price"), ROWS)
def test_liquidation_price_of_every_row(
    quantity: str, entry: str, backing: tuple[str, str, str], brackets: tuple[Bracket, ...], price: str
) -> None:
    answer = liquidation_price(dec(quantity), dec(entry), Backing(*map(dec, backing)), brackets)
    assert answer is not None
    assert round(answer, 4) == dec(price)


@pytest.mark.spec("PNL-2")
@given(
    st.integers(1, 10_000_000).map(lambda lots: lots * dec("0.001")),
    st.booleans(),
    st.integers(100, 10_000_000).map(lambda ticks: ticks * dec("0.1")),
    st.integers(1, 150),
)
def test_at_its_liquidation_price_what_is_left_is_the_maintenance_margin(
    size: Decimal, short: bool, entry: Decimal, leverage: int
) -> None:
    wallet = size * entry / leverage
    quantity = -size if short else size
    price = liquidation_price(quantity, entry, Backing(wallet), BRACKETS)
    if price is None:  # nothing above zero takes the whole margin of a long position without leverage
        assert not short
        assert wallet >= size * entry
        return
    left = wallet + quantity * (price - entry)
    assert abs(left - maintenance(BRACKETS, size * price)) <= left * dec("1e-15") + dec("1e-9")


@pytest.mark.spec("PNL-2")
def test_maintenance_is_continuous_where_brackets_meet() -> None:
    for lower, upper in pairwise(BRACKETS):
        assert lower.cap == upper.floor
        assert lower.cap * lower.rate - lower.deduction == upper.floor * upper.rate - upper.deduction
        assert bracket_of(BRACKETS, lower.cap) is lower
        assert bracket_of(BRACKETS, lower.cap + 1) is upper
    assert bracket_of(BRACKETS, BRACKETS[-1].cap * 2) is BRACKETS[-1]


@pytest.mark.spec("PNL-2", "RISK-2")
@pytest.mark.parametrize(("leverage", "most"), [(150, 300_000), (125, 300_000), (3, 800_000_000), (1, 1_800_000_000)])
def test_most_notional_at_a_leverage_is_the_cap_of_its_last_bracket(leverage: int, most: int) -> None:
    assert notional_max(BRACKETS, leverage) == most
    assert notional_max(BRACKETS, 151) == 0
