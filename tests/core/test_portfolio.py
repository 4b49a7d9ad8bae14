"""The ledger: postings that sum to zero, and positions, dust and round trips against numbers done by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.model import ZERO, Balance, Fill, Income, RoundTrip, Side
from surefoot.core.portfolio import Portfolio, contract_postings, fill_postings, is_balanced
from tests.core.desk import BTC, PERP, START_MS, dec, fill

BUY, SELL = Side.BUY, Side.SELL

quantities = st.integers(1, 500_000).map(lambda lots: lots * dec("0.00001"))
prices = st.integers(1, 10_000_000).map(lambda ticks: ticks * dec("0.01"))
fee_rates = st.sampled_from([ZERO, dec("0.00075"), dec("0.001")])


@st.composite
def fills(draw: st.DrawFn, trade_id: int = 1, sides: tuple[Side, ...] = (BUY, SELL)) -> Fill:
    side, quantity, price = draw(st.sampled_from(sides)), draw(quantities), draw(prices)
    fee_asset = draw(st.sampled_from(["BTC", "USDT", "BNB"]))
    base = quantity if fee_asset == "BTC" else quantity * price
    return Fill(
        "sf-r1-1e", "BTCUSDT", trade_id, side, price, quantity, base * draw(fee_rates), fee_asset, True, START_MS
    )


def portfolio(**balances: str) -> Portfolio:
    book = Portfolio()
    book.open(Balance(asset, dec(free), ZERO) for asset, free in balances.items())
    return book


def buy(quantity: str, price: str, fee: str = "0", fee_asset: str = "BNB", at_ms: int = START_MS) -> Fill:
    return fill("sf-r1-1e", 1, quantity, price, BUY, fee, fee_asset, at_ms)


def sell(quantity: str, price: str, fee: str = "0", fee_asset: str = "BNB", at_ms: int = START_MS + 1) -> Fill:
    return fill("sf-r1-1s", 2, quantity, price, SELL, fee, fee_asset, at_ms)


def booked(*traded: Fill, reason: str = "stop", **balances: str) -> Portfolio:
    book = portfolio(**balances or {"USDT": "1000000"})
    for each in traded:
        book.apply(each, BTC, reason)
    return book


@pytest.mark.spec("PNL-1")
@given(fills())
def test_postings_of_every_fill_sum_to_zero_in_each_asset(traded: Fill) -> None:
    postings = fill_postings(traded, BTC)
    assert is_balanced(postings)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for posting in postings:
        sums[posting.asset] += posting.amount
    assert set(sums.values()) == {ZERO}


def test_one_posting_that_is_off_is_seen() -> None:
    postings = fill_postings(buy("1", "100", "0.001", "BTC"), BTC)
    assert not is_balanced(postings[1:])


@pytest.mark.spec("PNL-1", "SAFE-4")
@given(st.lists(st.one_of(fills(), st.tuples(st.sampled_from(["USDT", "BTC", "BNB"]), prices)), max_size=12))
def test_wallet_equals_what_summing_up_every_movement_gives(moves: list[Fill | tuple[str, Decimal]]) -> None:
    book = portfolio(USDT="1000", BNB="2")
    wallet: defaultdict[str, Decimal] = defaultdict(Decimal, {"USDT": dec(1000), "BNB": dec(2)})
    for move in moves:
        if isinstance(move, tuple):
            book.transfer(*move)
            wallet[move[0]] += move[1]
            continue
        book.apply(move, BTC, "stop")
        sign = 1 if move.side is BUY else -1
        wallet["BTC"] += sign * move.quantity
        wallet["USDT"] -= sign * move.quantity * move.price
        wallet[move.fee_asset] -= move.fee
    assert {asset: amount for asset, amount in book.wallets().items() if amount} == {
        asset: amount for asset, amount in wallet.items() if amount
    }
    by_asset: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (_, asset), amount in book.ledger.items():
        by_asset[asset] += amount
    assert not any(by_asset.values())


@pytest.mark.spec("PNL-1")
@given(st.lists(fills(sides=(BUY,)), min_size=1, max_size=5), st.integers(0, 100), prices, prices)
def test_cash_and_open_profit_are_equity(bought: list[Fill], sold_pct: int, exit_price: Decimal, mark: Decimal) -> None:
    book = booked(*bought, USDT="1000", BNB="50")
    position = book.positions["BTCUSDT"]
    quantity = BTC.lots_down(position.quantity * sold_pct / 100)
    if quantity:
        book.apply(sell(str(quantity), str(exit_price), "0.5", "USDT"), BTC, "target")
    equity = book.equity("USDT", {"BTC": mark})
    assert equity is not None
    open_profit = position.quantity * mark - position.cost
    # BNB has no price here and no market of ours: it is left out, and never counts as a price of zero.
    assert abs(1000 + position.realised + open_profit - equity) < dec("1e-12")


@pytest.mark.spec("PNL-1", "SAFE-5")
def test_equity_is_unknown_when_something_we_traded_has_no_price() -> None:
    book = booked(buy("1", "100"), USDT="1000")
    assert book.equity("USDT", {}) is None
    assert book.equity("USDT", {"BTC": dec(90)}) == dec(990)


@pytest.mark.spec("SAFE-5")
def test_coins_that_were_never_traded_are_valued_only_when_they_have_a_price() -> None:
    book = portfolio(USDT="1000", BNB="2")
    assert book.equity("USDT", {}) == dec(1000)
    assert book.equity("USDT", {"BNB": dec(600)}) == dec(2200)


def test_average_cost_follows_what_was_received_and_paid() -> None:
    book = booked(buy("1", "100", "0.001", "BTC"), buy("3", "200", "0.6", "USDT"), buy("1", "400", "0.01", "BNB"))
    position = book.positions["BTCUSDT"]
    assert position.quantity == dec("4.999")
    assert position.cost == dec("1100.6")
    assert position.entry_price == dec("220")
    assert book.fees == {"BTC": dec("0.001"), "USDT": dec("0.6"), "BNB": dec("0.01")}


def test_coins_that_were_there_before_are_owned_and_not_a_position() -> None:
    book = portfolio(USDT="1000", BTC="3")
    assert (book.wallet("BTC"), book.positions, book.sellable("BTCUSDT")) == (dec(3), {}, ZERO)


# What was traded; then average entry, average exit, quantity, profit, loss in dust: all by hand.
TRIPS = {
    "no fees": ([buy("2", "100")], [sell("2", "110")], "100", "110", "2", "20", "0"),
    "fees in quote": ([buy("2", "100", "0.2", "USDT")], [sell("2", "110", "0.22", "USDT")],
                      "100", "110", "2", "19.58", "0"),
    "two buys, two sales": (
        [buy("1", "100", "0.1", "USDT"), buy("1", "110", "0.11", "USDT")],
        [sell("0.5", "120", "0.06", "USDT"), sell("1.5", "90", "0.135", "USDT")],
        "105", "97.5", "2", "-15.405", "0",
    ),
    # 0.01 bought at 30000, 0.00001 of it gone as fee: 0.00999 sold for 299.7 less 0.2997, at a cost of all 300.
    "fee in base": ([buy("0.01", "30000", "0.00001", "BTC")], [sell("0.00999", "30000", "0.2997", "USDT")],
                    "30000", "30000", "0.00999", "-0.5997", "0"),
    # 0.01666 less 0.00001666 leaves 0.01664334: 0.01664 are sold, 0.00000334 are dust. Cost of a coin is
    # 499.8 / 0.01664334; the dust's share of it is 0.100300...; the rest is lost or won by the sale.
    "dust": ([buy("0.01666", "30000", "0.00001666", "BTC")], [sell("0.01664", "31200", "0.519168", "USDT")],
             "30000", "31200", "0.01664", "18.848832", "0.1003003003"),
    "fee in BNB": ([buy("2", "100", "0.001", "BNB")], [sell("2", "110", "0.001", "BNB")], "100", "110", "2", "20", "0"),
}  # fmt: skip


@pytest.mark.spec("PNL-1", "ORD-8")
@pytest.mark.parametrize("name", list(TRIPS))
def test_round_trip_earns_what_the_hand_computed_table_says(name: str) -> None:
    bought, sold, entry, exit_, quantity, pnl, dust_loss = TRIPS[name]
    book = booked(*bought, *sold, reason="target")
    trip = book.close("BTCUSDT")
    assert (trip.entry_price, trip.exit_price, trip.quantity) == (dec(entry), dec(exit_), dec(quantity))
    assert trip.pnl == dec(pnl)
    assert round(trip.dust_loss, 10) == dec(dust_loss)
    assert (trip.side, trip.reason, trip.entry_ms, trip.exit_ms) == ("long", "target", START_MS, START_MS + 1)
    assert list(book.round_trips) == [trip]
    assert book.positions == {}


@pytest.mark.spec("ORD-8")
def test_what_cannot_be_sold_is_dust_and_its_cost_is_lost() -> None:
    book = booked(buy("0.00002", "30000", at_ms=START_MS))
    trip = book.close("BTCUSDT")
    assert trip == RoundTrip(
        "BTCUSDT", "long", START_MS, START_MS, dec(30000), ZERO, dec("0.00002"), "dust", dec("-0.6"), dec("0.6")
    )
    assert book.dust == {"BTCUSDT": dec("0.00002")}


@pytest.mark.spec("ORD-8")
def test_dust_is_sold_along_later_and_then_it_is_profit() -> None:
    book = booked(buy("0.000005", "30000"))
    book.close("BTCUSDT")
    book.apply(buy("0.001005", "30000"), BTC, "entry")
    assert book.sellable("BTCUSDT") == dec("0.00101")
    book.apply(sell("0.00101", "30000"), BTC, "stop")
    trip = book.close("BTCUSDT")
    assert trip.pnl == dec("0.15")  # the five millionths at 30000, which the first round trip had written off
    assert trip.dust_loss == ZERO
    assert sum((each.pnl for each in book.round_trips), ZERO) == ZERO
    assert (book.dust["BTCUSDT"], book.wallet("BTC"), book.wallet("USDT")) == (ZERO, ZERO, dec(1_000_000))


@pytest.mark.spec("SAFE-4")
def test_exit_heard_before_its_entry_leaves_no_position_and_the_same_profit() -> None:
    bought, sold = buy("0.01", "30000", "0.00001", "BTC"), sell("0.00999", "31000")
    in_order, overtaken = booked(bought, sold), booked(sold, bought)
    assert overtaken.positions["BTCUSDT"].quantity == ZERO
    assert overtaken.sellable("BTCUSDT") == ZERO
    assert overtaken.close("BTCUSDT").pnl == in_order.close("BTCUSDT").pnl
    assert overtaken.dust == in_order.dust == {"BTCUSDT": ZERO}


@pytest.mark.spec("ORD-8")
def test_selling_more_than_we_bought_takes_nothing_from_the_next_position() -> None:
    book = booked(buy("0.01", "30000"), sell("0.03", "30000"), BTC="1", USDT="1000")
    book.close("BTCUSDT")
    assert book.dust["BTCUSDT"] == dec("-0.02")
    book.apply(buy("0.01", "30000"), BTC, "entry")
    assert book.sellable("BTCUSDT") == dec("0.01")


# -- futures: contracts in a wallet of quote ------------------------------------------------------------------------


def contract(side: Side, quantity: str, price: str, fee: str = "0", realised: str | None = None, at: int = 0) -> Fill:
    made = fill("sf-r1-1e", 1, quantity, price, side, fee, "USDT", START_MS + at)
    return replace(made, realised=None if realised is None else dec(realised))


@pytest.mark.spec("PNL-1", "PNL-2", "MODE-3")
@pytest.mark.parametrize(("opens", "closes", "side", "sign"), [(BUY, SELL, "long", 1), (SELL, BUY, "short", -1)])
def test_futures_realise_profit_in_the_wallet_when_they_are_closed(
    opens: Side, closes: Side, side: str, sign: int
) -> None:
    book = portfolio(USDT="1000")
    book.apply(contract(opens, "0.1", "30000", "1.5"), PERP, "entry")
    assert book.wallet("USDT") == dec("998.5")
    assert book.positions["BTCUSDT"].signed_quantity == sign * dec("0.1")
    assert book.equity("USDT", {}, {"BTCUSDT": dec(30100)}) == dec("998.5") + sign * 10
    book.apply(contract(closes, "0.04", "30500", "0.61", at=1), PERP, "part", closes=True)
    assert book.wallet("USDT") == dec("997.89") + sign * 20
    book.apply(contract(closes, "0.06", "31000", "0.93", at=2), PERP, "target", closes=True)
    assert book.wallet("USDT") == dec("996.96") + sign * 80
    trip = book.close("BTCUSDT")
    assert (trip.side, trip.reason, trip.quantity, trip.entry_price) == (side, "target", dec("0.1"), dec(30000))
    assert (trip.exit_price, trip.pnl) == (dec(30800), sign * 80 - dec("3.04"))
    assert book.equity("USDT", {}, {}) == book.wallet("USDT")


@pytest.mark.spec("PNL-1", "SAFE-4")
def test_profit_of_futures_is_what_the_venue_says_it_was() -> None:
    book = portfolio(USDT="1000")
    book.apply(contract(BUY, "0.003", "100", realised="0"), PERP, "entry")
    book.apply(contract(SELL, "0.003", "100.1", realised="0.00029999"), PERP, "stop", closes=True)
    assert book.wallet("USDT") == dec("1000.00029999")
    assert book.close("BTCUSDT").pnl == dec("0.00029999")


@pytest.mark.spec("PNL-1", "PNL-2")
@given(fills())
def test_postings_of_every_fill_of_futures_sum_to_zero(traded: Fill) -> None:
    postings = contract_postings(traded, PERP, dec("12.3"))
    assert is_balanced(postings)
    moved = [posting for posting in postings if posting.account == "wallet"]
    assert {posting.asset for posting in moved} == {"USDT", traded.fee_asset}


@pytest.mark.spec("PNL-2")
def test_funding_and_insurance_are_postings_and_part_of_what_a_round_trip_earned() -> None:
    book = portfolio(USDT="1000")
    book.apply(contract(SELL, "0.1", "30000"), PERP, "entry")
    book.book_income(Income.FUNDING, "BTCUSDT", "USDT", dec("0.3"))
    book.book_income(Income.INSURANCE, "BTCUSDT", "USDT", dec("-2"))
    assert book.wallet("USDT") == dec("998.3")
    assert book.ledger["funding", "USDT"] == dec("-0.3")
    assert sum(amount for (_, asset), amount in book.ledger.items() if asset == "USDT") == 0
    book.apply(contract(BUY, "0.1", "30000"), PERP, "time", closes=True)
    trip = book.close("BTCUSDT")
    assert (trip.pnl, trip.funding) == (dec("-1.7"), dec("-1.7"))


@pytest.mark.spec("ORD-3", "MODE-3")
def test_an_exit_of_futures_that_is_heard_before_its_entry_leaves_nothing_behind() -> None:
    book = portfolio(USDT="1000")
    book.apply(contract(BUY, "0.1", "29000", realised="100"), PERP, "target", closes=True)
    assert book.positions["BTCUSDT"].signed_quantity == 0
    assert book.positions["BTCUSDT"].direction == -1
    book.apply(contract(SELL, "0.1", "30000", realised="0"), PERP, "entry")
    assert book.sellable("BTCUSDT") == 0
    trip = book.close("BTCUSDT")
    assert (trip.side, trip.pnl, book.wallet("USDT")) == ("short", dec(100), dec(1100))
