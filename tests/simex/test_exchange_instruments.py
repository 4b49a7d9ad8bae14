"""The rules of a replayed symbol follow from its listing and its prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simex.venue import DEFAULT_INSTRUMENTS, instrument_for

pytestmark = [pytest.mark.spec("SIM-1")]


def rules(symbol: str, *prices: str) -> tuple[str, str]:
    spec = instrument_for(symbol, [Decimal(price) for price in prices])
    return f"{spec.tick_size:f}", f"{spec.lot_size:f}"


def test_listed_symbol_keeps_its_rules_where_its_prices_fit() -> None:
    assert instrument_for("BTCUSDT", [Decimal("60000.1"), Decimal("61000")]) is DEFAULT_INSTRUMENTS[0]
    assert instrument_for("ETHUSDT", []) is DEFAULT_INSTRUMENTS[1]


def test_listed_symbol_gets_a_finer_tick_where_its_prices_need_one() -> None:
    assert rules("SOLUSDT", "150.125", "150.1") == ("0.001", "0.001")
    assert rules("BTCUSDT", "60000.1234") == ("0.0001", "0.0001"), "price × lot still fits eight decimals"


@pytest.mark.parametrize(
    ("symbol", "price", "expected"),
    [
        ("XRPUSDT", "2.1234", ("0.0001", "0.1")),
        ("DOGEUSDT", "0.21234", ("0.00001", "1")),
        ("LTCUSDT", "85.12", ("0.01", "0.01")),
        ("ETHBTC", "0.03215", ("0.00001", "0.001")),
        ("GOLDUSDC", "2000", ("1", "0.0001")),
    ],
)
def test_unlisted_symbol_gets_tick_and_lot_from_its_prices(symbol: str, price: str, expected: tuple[str, str]) -> None:
    assert rules(symbol, price) == expected
    spec = instrument_for(symbol, [Decimal(price)])
    assert spec.symbol == spec.base + spec.quote
    assert not Decimal(price) % spec.tick_size
    assert spec.min_price < Decimal(price) < spec.max_price


def test_unlisted_symbol_needs_prices_and_a_known_quote() -> None:
    with pytest.raises(ValueError):
        instrument_for("XRPUSDT", [])
    with pytest.raises(ValueError):
        instrument_for("ABCXYZ", [Decimal(1)])
