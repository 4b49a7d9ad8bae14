"""Which purchase a sale used up and what it gained: tables worked by hand, and sums that no method changes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.model import ZERO, Balance, Instrument, Side
from surefoot.core.portfolio import Portfolio
from surefoot.research.tax_lots import Disposal, Method, Moved, TaxLots, Traded, plain_text, tax_lots, total
from tests.core.desk import BTC, dec, fill

BNB = replace(BTC, symbol="BNBUSDT", base="BNB")


def traded(
    at_ms: int,
    side: Side,
    quantity: str,
    price: str,
    fee: str = "0",
    fee_asset: str = "USDT",
    worth: str | None = None,
    instrument: Instrument = BTC,
) -> Traded:
    """A fill; the worth of a fee in the quote or the base is known, that of another as it is told."""
    one = fill("x", at_ms, quantity, price, side, fee, fee_asset, at_ms, instrument.symbol)
    known = {instrument.quote: one.fee, instrument.base: one.fee * one.price}
    return Traded(one, instrument, known.get(fee_asset, None if worth is None else dec(worth)))


def rows(report: TaxLots) -> list[tuple[str, str | None, str | None, str | None]]:
    """Quantity, proceeds, cost and gain of each disposal, as text."""
    return [tuple(_text(getattr(each, name)) for name in NAMES) for each in report.disposals]  # type: ignore[misc]


NAMES = ("quantity", "proceeds", "cost", "gain")


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain_text(value)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1E+2", "100"),
        ("1.500", "1.5"),
        ("0E-8", "0"),
        ("-0.10", "-0.1"),
        ("1E-9", "0.000000001"),
        ("3" * 40, "3" * 40),
    ],
)
def test_amounts_are_written_without_exponent_and_without_losing_a_digit(amount: str, text: str) -> None:
    assert plain_text(dec(amount)) == text


# A: 1 for 100 and a fee of 1 USDT, so 101. B: 0.99 arrive for 200, since the fee is 0.01 BTC: 202.02 each. C: 1 for
# 150.
# Then 1.5 are sold at 300, which brings 450 less a fee of 4.5: 445.5, or 297 for one.
TABLE = [
    traded(1, Side.BUY, "1", "100", "1", "USDT"),
    traded(2, Side.BUY, "1", "200", "0.01", "BTC"),
    traded(3, Side.BUY, "1", "150"),
    traded(4, Side.SELL, "1.5", "300", "4.5", "USDT"),
]
HALF_OF_B = ("0.5", "148.5", "101.01010101", "47.48989899")  # 200 * 0.5 / 0.99, the rest stays: 98.98989899
EXPECTED = {
    Method.FIFO: ([("1", "297", "101", "196"), HALF_OF_B], [("0.49", "98.98989899"), ("1", "150")]),
    Method.LIFO: ([("1", "297", "150", "147"), HALF_OF_B], [("1", "101"), ("0.49", "98.98989899")]),
    Method.HIFO: (
        # All of B brings 445.5 * 0.99 / 1.5 = 294.03; the other 0.51 are of C: 151.47 for 150 * 0.51 = 76.5.
        [("0.99", "294.03", "200", "94.03"), ("0.51", "151.47", "76.5", "74.97")],
        [("1", "101"), ("0.49", "73.5")],
    ),
}


@pytest.mark.spec("PNL-4")
@pytest.mark.parametrize("method", Method)
def test_a_sale_uses_up_lots_in_the_order_of_the_method(method: Method) -> None:
    disposals, lots = EXPECTED[method]
    report = tax_lots(TABLE, [], method)
    assert rows(report) == disposals
    assert [(_text(lot.quantity), _text(lot.cost)) for lot in report.lots] == lots
    assert dec(str(report.as_dict()["realised_gain"])) == sum(dec(row[3]) for row in disposals)


@pytest.mark.spec("PNL-4")
def test_fills_are_matched_in_the_order_of_the_venue_however_late_they_were_heard() -> None:
    assert rows(tax_lots(TABLE[::-1], [], Method.FIFO)) == EXPECTED[Method.FIFO][0]


@pytest.mark.spec("PNL-4")
def test_a_fee_in_a_third_asset_belongs_to_the_cost_and_is_a_disposal_itself() -> None:
    trades = [
        # 0.002 BNB are worth 1: the purchase cost 101. They come from what the account held before.
        traded(1, Side.BUY, "1", "100", "0.002", "BNB", worth="1"),
        # One BNB is bought for 400 and a fee of 0.4.
        traded(2, Side.BUY, "1", "400", "0.4", "USDT", instrument=BNB),
        # 0.004 BNB are worth 2: the sale brought 198. They are the last 0.001 of before and 0.003 of the lot, for
        # 400.4 * 0.003 = 1.2012.
        traded(3, Side.SELL, "1", "200", "0.004", "BNB", worth="2"),
    ]
    report = tax_lots(trades, [Moved(0, "BNB", dec("0.003"))], Method.FIFO)
    assert [(each.kind, each.asset) for each in report.disposals] == [
        ("fee", "BNB"), ("sale", "BTC"), ("fee", "BNB"), ("fee", "BNB")
    ]  # fmt: skip
    assert rows(report) == [
        ("0.002", "1", None, None),
        ("1", "198", "101", "97"),
        ("0.001", "0.5", None, None),
        ("0.003", "1.5", "1.2012", "0.2988"),
    ]
    assert [(lot.asset, _text(lot.quantity), _text(lot.cost)) for lot in report.lots] == [("BNB", "0.997", "399.1988")]
    assert report.fees_left_out == {}
    assert report.as_dict()["cost_unknown"] == 2


@pytest.mark.spec("PNL-4")
def test_a_fee_whose_worth_is_not_known_is_left_out_and_the_rows_say_so() -> None:
    trades = [
        traded(1, Side.BUY, "1", "100", "0.002", "BNB"),
        traded(2, Side.BUY, "1", "100"),
        traded(3, Side.SELL, "2", "200"),
    ]
    report = tax_lots(trades, [], Method.FIFO)
    assert rows(report) == [("0.002", None, None, None), ("1", "200", "100", "100"), ("1", "200", "100", "100")]
    assert [each.fee_left_out for each in report.disposals] == [True, True, False]
    assert report.as_dict()["fees_left_out"] == {"BNB": "0.002"}


@pytest.mark.spec("PNL-4")
def test_what_is_sold_beyond_all_lots_has_no_cost_and_no_gain() -> None:
    trades = [traded(1, Side.BUY, "1", "100"), traded(2, Side.SELL, "3", "110")]
    report = tax_lots(trades, [], Method.LIFO)
    assert rows(report) == [("1", "110", "100", "10"), ("2", "220", None, None)]
    assert report.disposals[1].bought_ms is None


@pytest.mark.spec("PNL-4")
def test_a_fee_in_the_base_of_a_sale_is_a_disposal_beside_it() -> None:
    trades = [
        traded(1, Side.BUY, "2", "400", instrument=BNB),
        traded(2, Side.SELL, "1", "500", "0.001", "BNB", instrument=BNB),  # worth 0.5
    ]
    report = tax_lots(trades, [], Method.FIFO)
    assert rows(report) == [("1", "499.5", "400", "99.5"), ("0.001", "0.5", "0.4", "0.1")]
    assert total(lot.quantity for lot in report.lots) == dec("0.999")


# -- sums that no method changes --------------------------------------------------------------------------------------

DEALS = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.integers(1, 10**6).map(lambda lots: Decimal(lots).scaleb(-5)),
        st.integers(1, 10**7).map(lambda ticks: Decimal(ticks).scaleb(-2)),
        st.sampled_from(["USDT", "BTC", "none"]),
    ),
    max_size=25,
)


def dealt(at_ms: int, side: Side, quantity: Decimal, price: Decimal, fee_asset: str) -> Traded:
    received = quantity if fee_asset == "BTC" else quantity * price
    fee = ZERO if fee_asset == "none" or (side is Side.SELL and fee_asset == "BTC") else received / 1_000
    return traded(at_ms, side, str(quantity), str(price), str(fee), "BTC" if fee_asset == "BTC" else "USDT")


@pytest.mark.spec("PNL-4")
@given(DEALS, st.sampled_from(Method))
def test_sums_are_those_of_the_ledger_to_the_last_digit(
    deals: list[tuple[Side, Decimal, Decimal, str]], method: Method
) -> None:
    trades = [dealt(at, *deal) for at, deal in enumerate(deals)]
    ledger = Portfolio()
    ledger.open([Balance("USDT", ZERO, ZERO)])
    for trade in trades:
        ledger.apply(trade.fill, trade.instrument, "test")
    report = tax_lots(trades, [], method)
    unmatched = [each for each in report.disposals if each.cost is None]
    remaining = total(lot.quantity for lot in report.lots)
    assert remaining - total(each.quantity for each in unmatched) == ledger.wallet("BTC")
    cost = total([*(lot.cost for lot in report.lots), *(each.cost for each in report.disposals)])
    assert total(each.proceeds for each in report.disposals) - cost == ledger.wallet("USDT")
    assert all(lot.quantity > 0 and lot.cost > 0 for lot in report.lots)
    assert all(_is_in_order(each) for each in report.disposals)


def _is_in_order(disposal: Disposal) -> bool:
    """Bought before it was sold, and with a gain exactly where all of it is known."""
    known = disposal.cost is not None and disposal.proceeds is not None
    return (disposal.bought_ms or 0) <= disposal.sold_ms and (disposal.gain is not None) == known


def test_many_small_lots_are_matched_in_a_moment() -> None:
    # Each purchase leaves a little behind, as dust does; LIFO never comes back to it.
    trades = [
        deal
        for at in range(0, 40_000, 2)
        for deal in (traded(at, Side.BUY, "1.001", "100"), traded(at + 1, Side.SELL, "1", "101"))
    ]
    report = tax_lots(trades, [], Method.LIFO)
    assert (len(report.disposals), len(report.lots)) == (20_000, 20_000)
