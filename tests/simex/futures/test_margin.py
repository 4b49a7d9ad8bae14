"""Margin by hand: liquidation prices, liquidations to the last cent, what orders bind, margin calls."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from simex.futures.contracts import DEFAULT_CONTRACTS, Bracket, MarkTold, brackets
from simex.futures.margin import Leg, liquidation_price
from tests.simex.futures.wire import Trader, floor, market_of
from tests.simex.wire import BOB, Floor

pytestmark = [pytest.mark.spec("SIM-1", "PNL-2")]
D = Decimal
BTC, ETH = DEFAULT_CONTRACTS[0], DEFAULT_CONTRACTS[1]


def single(rate: str, cum: int) -> tuple[Bracket, ...]:
    """One bracket for every notional, as an example states it."""
    return (Bracket(1, 20, D(0), D(10) ** 12, D(rate), D(cum)),)


@pytest.mark.parametrize(
    ("wallet", "amount", "entry", "steps", "maintenance", "profit", "price"),
    [
        ("1535443.01", "3683.979", "1456.84", single("0.1", 135_365), "71200.81144", "-56354.57", "1153.2565"),
        ("1535443.01", "109.488", "32481.98", single("0.025", 16_300), "356512.508", "-448192.89", "26316.8933"),
        ("500", "0.05", "100000", BTC.brackets, "0", "0", "90361.4458"),
        ("500", "-0.05", "100000", BTC.brackets, "0", "0", "109561.7530"),
        ("200000", "20", "100000", BTC.brackets, "0", "0", "90513.3367"),
        ("10000", "1", "100000", BTC.brackets, "164", "-1000", "91530.1205"),
    ],
    ids=["example 1", "example 2", "isolated long", "isolated short", "isolated long, third bracket", "cross long"],
)
def test_liquidation_prices_of_the_documented_table(
    wallet: str, amount: str, entry: str, steps: tuple[Bracket, ...], maintenance: str, profit: str, price: str
) -> None:
    leg = Leg(replace(BTC, brackets=steps), D(amount), D(entry))
    found = liquidation_price(D(wallet), [leg], D(entry), D(maintenance), D(profit))
    assert found.quantize(D("0.0001")) == D(price)


def test_the_bracket_is_the_one_of_the_notional_at_the_liquidation_price() -> None:
    # 3.2 BTC at 100 000 lie in the second bracket, at the liquidation price in the first: 1 - 0.004 below 32 000.
    found = liquidation_price(D(32_000), [Leg(BTC, D("3.2"), D(100_000))], D(100_000))
    assert found == (D(32_000) - D(320_000)) / (D("3.2") * D("0.004") - D("3.2"))
    assert BTC.bracket(D("3.2") * found).number == 1


def test_no_price_liquidates_a_long_that_could_lose_everything() -> None:
    assert liquidation_price(D(200), [Leg(BTC, D("0.001"), D(100_000))], D(100_000)) == 0


def test_bracket_amounts_follow_from_the_rates() -> None:
    documented = [0, 300, 1_500, 12_000, 132_000, 482_000, 2_982_000, 14_482_000, 26_482_000, 41_482_000,
                  121_482_000, 421_482_000]  # fmt: skip
    assert [step.cum for step in BTC.brackets] == documented
    assert brackets((100, 10, "0.1"), (200, 5, "0.2"))[1].cum == 10


def long_at_100000(at: Floor, quantity: str, leverage: int, margin: str = "ISOLATED") -> Trader:
    """A long entered as maker at exactly 100 000, for a fee of 0.02 %."""
    alice = Trader(at)
    if margin == "ISOLATED":
        alice.post("marginType", symbol="BTCUSDT", marginType=margin)
    alice.post("leverage", symbol="BTCUSDT", leverage=leverage)
    alice.order("BUY", quantity, "100000")
    at.tick("99999.9")
    assert alice.position()["entryPrice"] == "100000.00000000"
    return alice


def test_isolated_long_is_liquidated_at_its_price_and_loses_its_margin_not_more() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    row = alice.position()
    assert (row["isolatedWallet"], row["liquidationPrice"]) == ("500.00000000", "90361.44578313")
    assert alice.wallet() == 9999  # 5000 × 0.02 %
    at.tick("90361.5")
    assert alice.amount() == D("0.050")
    link = alice.listen()
    at.tick("90361.4")
    # Sold at the bid of 90361.3: a loss of 481.935, a fee of 2.2590325; the clearance fee takes the rest of the 500.
    assert alice.amount() == 0
    assert alice.wallet() == 9499
    rows = {row["incomeType"]: row["income"] for row in alice.get("income")}
    assert rows == {"COMMISSION": "-2.25903250", "REALIZED_PNL": "-481.93500000", "INSURANCE_CLEAR": "-15.80596750"}
    new, _, trade, account = at.heard(link)
    assert new["o"]["c"].startswith("autoclose-")
    assert (new["o"]["x"], new["o"]["o"], new["o"]["f"], new["o"]["p"]) == ("NEW", "LIQUIDATION", "IOC", "90000")
    assert (trade["o"]["x"], trade["o"]["X"], trade["o"]["L"], trade["o"]["er"]) == ("TRADE", "FILLED", "90361.3", "5")
    assert account["a"]["B"][0]["wb"] == "9499.00000000"
    (forced,) = alice.get("forceOrders")
    assert (forced["side"], forced["price"], forced["status"]) == ("SELL", "90000.00", "FILLED")
    assert forced["clientOrderId"] == new["o"]["c"]
    (row,) = alice.get("userTrades", symbol="BTCUSDT", orderId=forced["orderId"])
    assert (row["id"], row["realizedPnl"], row["commission"]) == (trade["o"]["t"], "-481.93500000", "2.25903250")
    assert alice.get("forceOrders", symbol="ETHUSDT") == alice.get("forceOrders", autoCloseType="ADL") == []
    assert alice.get("forceOrders", symbol="BTCUSDT", autoCloseType="LIQUIDATION") == [forced]
    assert alice.refused("GET", "forceOrders", autoCloseType="MARGIN") == -1130
    used = "X-MBX-USED-WEIGHT-1M"
    before = int(alice.call("GET", "forceOrders", symbol="BTCUSDT").headers[used])
    assert int(alice.call("GET", "forceOrders").headers[used]) == before + 50
    assert int(alice.call("GET", "forceOrders", symbol="BTCUSDT").headers[used]) == before + 70
    at.exchange.check_books()


def test_a_balance_that_is_just_the_maintenance_margin_is_too_little() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    alice.post("positionMargin", symbol="BTCUSDT", amount="18", type=1)
    assert alice.position()["liquidationPrice"] == "90000.00000000"  # (518 - 5000) / -0.0498
    at.tick("90000.1")
    assert alice.amount() == D("0.050")
    at.tick("90000")
    assert alice.amount() == 0


def test_the_bankruptcy_price_is_rounded_so_that_no_more_than_the_margin_is_lost() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.03", 7)
    # 3000 / 7, rounded up; the bankruptcy price of 85714.28571 is rounded up, too.
    assert alice.position()["isolatedWallet"] == "428.57142858"
    at.tick("85000")
    assert alice.wallet() == 10_000 - D("0.6") - D("428.57142858")
    (profit,) = alice.get("income", incomeType="REALIZED_PNL")
    assert profit["income"] == "-428.57100000"
    at.exchange.check_books()


def test_what_the_market_does_not_take_the_insurance_fund_takes_at_the_bankruptcy_price() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    link = alice.listen()
    at.tick("90361.4", liquidity="0.02")
    assert (alice.amount(), alice.wallet()) == (0, 9499)
    fills = [event["o"] for event in at.heard(link) if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["l"] != "0"]
    assert [(fill["x"], fill["l"], fill["L"]) for fill in fills] == [
        ("TRADE", "0.02", "90361.3"), ("CALCULATED", "0.03", "90000"),
    ]  # fmt: skip
    # Of the margin of 0.02 BTC, 200, the loss of 192.774 leaves 7.226; the fee is 0.903613. The 0.03 BTC that it has
    # for 90000 are worth 90361.4.
    assert market_of(at).engine.ledger.counters["insurance"]["USDT"] == D("7.226") - D("0.903613") + D("10.842")
    at.exchange.check_books()


def test_a_gap_beyond_the_bankruptcy_price_is_the_insurance_funds_loss() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    at.tick("85000")
    assert (alice.amount(), alice.wallet()) == (0, 9499)
    assert market_of(at).engine.ledger.counters["insurance"]["USDT"] == -250  # 0.05 × (85000 - 90000)
    at.exchange.check_books()


def test_isolated_short_is_liquidated_above() -> None:
    at = floor(price="99999")
    alice = Trader(at)
    alice.post("marginType", symbol="BTCUSDT", marginType="ISOLATED")
    alice.post("leverage", symbol="BTCUSDT", leverage=10)
    alice.order("SELL", "0.05", "100000")
    at.tick("100000.1")
    assert alice.position()["liquidationPrice"] == "109561.75298805"
    at.tick("109561.7")
    assert alice.amount() == D("-0.050")
    at.tick("109561.8")
    assert (alice.amount(), alice.wallet()) == (0, 9499)
    at.exchange.check_books()


def test_cross_liquidation_takes_the_position_that_binds_most_first() -> None:
    at = floor(price="100001", maker_bps="0", taker_bps="0")
    at.tick("4201", symbol="ETHUSDT")
    alice = long_at_100000(at, "1", 20, "CROSSED")
    alice.order("BUY", "10", "4200", symbol="ETHUSDT")
    at.tick("4199", symbol="ETHUSDT")
    at.tick("4100", symbol="ETHUSDT")
    # The table's cross case: 10 000, another position with 1000 of loss and 164 of maintenance margin.
    assert alice.position()["liquidationPrice"] == "91530.12048193"
    account = alice.get("v3/account")
    assert D(account["totalMaintMargin"]) == 164 + D("399.9996")
    resting = alice.order("SELL", "0.5", "101000", reduceOnly="true")
    at.tick("91530.2")
    assert alice.amount() == 1
    at.tick("91530.1")
    # Bankruptcy price 91000; sold at 91530 for a loss of 8470. The clearance fee of 1144.125 finds 530 left. Then the
    # other position has a balance of nothing: it goes to the insurance fund at the mark price.
    assert (alice.amount(), alice.amount("ETHUSDT"), alice.wallet()) == (0, 0, 0)
    assert alice.seen(resting["orderId"])["status"] == "EXPIRED"
    clearances = [row["income"] for row in alice.get("income", incomeType="INSURANCE_CLEAR")]
    assert clearances == ["-530.00000000"]
    at.exchange.check_books()


def test_a_cross_position_stays_when_closing_the_larger_one_is_enough() -> None:
    contracts = (replace(BTC, liquidation_fee=D(0)), ETH)
    at = floor(price="100001", maker_bps="0", taker_bps="0", contracts=contracts)
    at.tick("4201", symbol="ETHUSDT")
    alice = long_at_100000(at, "1", 20, "CROSSED")
    alice.order("BUY", "10", "4200", symbol="ETHUSDT")
    at.tick("4199", symbol="ETHUSDT")
    at.tick("4100", symbol="ETHUSDT")
    at.tick("91530.1")
    # Without the fee 530 remain, more than the 164 that the other position needs.
    assert (alice.amount(), alice.amount("ETHUSDT"), alice.wallet()) == (0, 10, 1530)
    at.exchange.check_books()


def test_liquidation_cancels_orders_with_reason_five() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    alice.order("SELL", "0.05", "101000", reduceOnly="true")
    link = alice.listen()
    at.tick("90000")
    first = at.heard(link)[0]["o"]
    assert (first["x"], first["X"], first["er"]) == ("EXPIRED", "EXPIRED", "5")


@pytest.mark.spec("SIM-3")
def test_where_mark_price_and_funding_rate_are_told_they_decide_whatever_is_traded() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    settles_ms = (at.now_ms // 28_800_000 + 1) * 28_800_000
    market_of(at).tell_mark("BTCUSDT", MarkTold(D(99_000), D(99_100), D("0.002"), settles_ms), at.now_ms)
    for price in ("95000", "90000.1", "110000"):
        at.tick(price)
        row = alice.get("premiumIndex", symbol="BTCUSDT")
        assert (row["markPrice"], row["indexPrice"]) == ("99000.00000000", "99100.00000000")
        assert (row["lastFundingRate"], row["nextFundingTime"]) == ("0.00200000", settles_ms)
        assert alice.amount() == D("0.05")
    at.now_ms = settles_ms
    at.tick("100000")
    (paid,) = alice.get("income", incomeType="FUNDING_FEE")
    assert D(paid["income"]) == D("-9.9")  # 0.05 × 99000 × 0.2 %
    market_of(at).tell_mark("BTCUSDT", MarkTold(D(90_000), D(90_000), D("-0.001"), 2 * settles_ms), at.now_ms)
    assert alice.amount() == 0
    at.exchange.check_books()


def test_a_part_of_a_position_is_deleveraged_at_the_operators_price() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    fitting = alice.order("SELL", "0.03", "101000", reduceOnly="true")
    too_large = alice.order("SELL", "0.02", "102000", reduceOnly="true")
    link = alice.listen()
    market_of(at).deleverage(alice.key, "BTCUSDT", D("0.02"), D("100500"), at.now_ms)
    new, trade, account, *rest = (event for event in at.heard(link) if event["e"] != "TRADE_LITE")
    assert [event["o"]["x"] for event in (new, trade)] == ["NEW", "TRADE"]
    assert (trade["o"]["c"], trade["o"]["S"], trade["o"]["R"]) == ("adl_autoclose", "SELL", True)
    assert (trade["o"]["l"], trade["o"]["L"], trade["o"]["rp"], trade["o"]["n"]) == (
        "0.02",
        "100500",
        "10",
        "1.00500000",
    )
    assert account["a"]["P"][0]["pa"] == "0.03"
    (expired,) = rest
    assert (expired["o"]["i"], expired["o"]["er"]) == (too_large["orderId"], "4")
    assert alice.seen(fitting["orderId"])["status"] == "NEW"
    # 10000 less 1 for the entry, 10 gained, 1.005 paid as a taker.
    assert (alice.amount(), alice.wallet()) == (D("0.03"), D("10007.995"))
    (forced,) = alice.get("forceOrders", symbol="BTCUSDT", autoCloseType="ADL")
    assert (forced["clientOrderId"], forced["status"], forced["avgPrice"]) == (
        "adl_autoclose",
        "FILLED",
        "100500.00000",
    )
    assert alice.get("forceOrders", autoCloseType="LIQUIDATION") == []
    at.exchange.check_books()


def test_no_more_is_deleveraged_than_is_held() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    for quantity, price in (
        ("0.051", "100000"),
        ("0", "100000"),
        ("0.0105", "100000"),
        ("0.01", "0"),
        ("0.01", "0.01"),
    ):
        with pytest.raises(ValueError, match="BTCUSDT"):
            market_of(at).deleverage(alice.key, "BTCUSDT", D(quantity), D(price), at.now_ms)
    assert alice.amount() == D("0.05")
    market_of(at).deleverage(alice.key, "BTCUSDT", D("0.05"), D("100000"), at.now_ms)
    assert alice.amount() == 0
    at.exchange.check_books()


def test_margin_call_comes_once_before_the_liquidation() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    link = alice.listen()
    at.tick("91000")
    assert at.heard(link) == []
    # At 90440: balance 22, maintenance 18.088, which is more than four fifths.
    at.tick("90440")
    (call,) = at.heard(link)
    assert call["e"] == "MARGIN_CALL"
    assert "cw" not in call
    assert call["p"] == [
        {"s": "BTCUSDT", "ps": "BOTH", "pa": "0.05", "mt": "ISOLATED", "iw": "500", "mp": "90440", "up": "-478",
         "mm": "18.088"},
    ]  # fmt: skip
    at.tick("90430")
    assert at.heard(link) == []
    alice.post("positionMargin", symbol="BTCUSDT", amount="1", type=1)
    at.heard(link)
    at.tick("90420")
    assert [event["e"] for event in at.heard(link)] == ["MARGIN_CALL"]  # something had changed


def test_an_order_is_refused_when_its_cost_exceeds_what_is_available() -> None:
    at = floor(wallet={"USDT": D(1000)})
    alice = Trader(at)
    alice.post("leverage", symbol="BTCUSDT", leverage=10)
    assert alice.no_order("BUY", "0.101", "100000") == -2019  # 1010 of margin
    alice.order("BUY", "0.100", "100000")
    assert alice.available() == 0
    assert alice.no_order("BUY", "0.001", "100000") == -2019


def test_a_buy_above_the_mark_price_also_costs_the_loss_it_opens_with() -> None:
    at = floor(wallet={"USDT": D(1000)})
    alice = Trader(at)
    alice.post("leverage", symbol="BTCUSDT", leverage=10)
    # 0.09 at 102 000: margin 918, loss 180.
    assert alice.no_order("BUY", "0.090", "102000") == -2019
    alice.order("BUY", "0.080", "102000")


def test_of_opposite_orders_only_the_larger_side_binds_margin() -> None:
    at = floor()
    alice = Trader(at)
    alice.post("leverage", symbol="BTCUSDT", leverage=10)
    alice.order("BUY", "0.010", "99000")
    assert alice.available() == 10_000 - 99
    alice.order("SELL", "0.020", "101000")
    assert alice.available() == 10_000 - 202
    alice.order("BUY", "0.005", "99000")
    assert alice.available() == 10_000 - 202


def test_reduce_only_orders_bind_nothing() -> None:
    at = floor()
    alice = Trader(at)
    alice.order("BUY", "0.100")
    before = alice.available()
    alice.order("SELL", "0.100", "101000", reduceOnly="true")
    assert alice.available() == before


def test_a_modified_order_binds_what_it_then_costs() -> None:
    at = floor()
    alice = Trader(at)
    alice.post("leverage", symbol="BTCUSDT", leverage=10)
    order = alice.order("BUY", "0.010", "99000")
    alice.put("order", symbol="BTCUSDT", orderId=order["orderId"], side="BUY", price="98000", quantity="0.020")
    assert alice.available() == 10_000 - 196


def test_a_position_may_not_exceed_the_bracket_of_its_leverage() -> None:
    at = floor(wallet={"USDT": D(10_000_000)})
    alice = Trader(at)
    answer = alice.post("leverage", symbol="BTCUSDT", leverage=150)
    assert answer == {"leverage": 150, "maxNotionalValue": "300000", "symbol": "BTCUSDT"}
    assert alice.no_order("BUY", "3.001", "100000") == -2027
    alice.order("BUY", "3.000", "100000")
    assert alice.no_order("BUY", "0.001", "100000") == -2027


def test_profits_of_cross_positions_can_be_used_and_losses_cannot() -> None:
    at = floor(maker_bps="0", taker_bps="0", price="100001")
    alice = long_at_100000(at, "0.5", 50, "CROSSED")
    at.tick("101000")
    assert alice.available() == 10_000 + 500 - 1010  # margin at the mark price
    at.tick("98000")
    assert alice.available() == 10_000 - 1000 - 980
    assert D(alice.row("USDT")["maxWithdrawAmount"]) == 10_000 - 1000 - 980


def test_isolated_margin_can_be_added_and_taken_back() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    link = alice.listen()
    alice.post("positionMargin", symbol="BTCUSDT", amount="250", type=1)
    # (750 - 5000) / (0.0002 - 0.05)
    assert alice.position()["liquidationPrice"] == "85341.36546185"
    (event,) = at.heard(link)
    assert event["a"]["m"] == "MARGIN_TRANSFER"
    assert event["a"]["B"] == [{"a": "USDT", "wb": "9999.00000000", "cw": "9249.00000000", "bc": "-250.00000000"}]
    assert event["a"]["P"][0]["iw"] == "750"
    assert alice.refused("POST", "positionMargin", symbol="BTCUSDT", amount="250.1", type=2) == -4051
    alice.post("positionMargin", symbol="BTCUSDT", amount="249", type=2)
    assert alice.position()["isolatedWallet"] == "501.00000000"
    added, taken = alice.get("positionMargin/history", symbol="BTCUSDT")
    assert (added["amount"], added["type"], taken["amount"], taken["type"]) == ("250.00000000", 1, "249.00000000", 2)
    at.exchange.check_books()


def test_isolated_margin_shrinks_with_the_position() -> None:
    at = floor(price="100001", maker_bps="0", taker_bps="0")
    alice = long_at_100000(at, "0.05", 10)
    alice.order("SELL", "0.02", "100000", reduceOnly="true")
    at.tick("101000")
    assert alice.position()["isolatedWallet"] == "300.00000000"
    assert alice.wallet() == 10_000
    at.exchange.check_books()


def test_an_order_that_fills_far_from_the_market_is_looked_at_at_once() -> None:
    at = floor(price="100001", wallet={"USDT": D(600)}, maker_bps="0", taker_bps="0")
    alice = Trader(at)
    alice.order("BUY", "0.1", "100000")
    at.tick("94300")  # filled at its own price: 570 of the 600 are lost, and 37.72 are needed
    assert alice.amount() == 0
    at.exchange.check_books()


def test_a_debt_without_a_position_is_the_insurance_funds() -> None:
    at = floor(wallet={"USDT": D(300)}, maker_bps="0", taker_bps="0", price="99990")
    alice, bob = Trader(at), Trader(at, BOB)
    for trader in (alice, bob):
        trader.post("leverage", symbol="BTCUSDT", leverage=50)
    alice.order("BUY", "0.1", "100000")
    link = alice.listen()
    at.tick("99990", liquidity="0")
    bob.order("BUY", "0.1", "95000")
    # Her sale finds nothing but his bid: of 300 she loses 0.1 × (99990.1 - 95000).
    alice.order("SELL", "0.1", "95000", reduceOnly="true")
    assert (alice.amount(), alice.wallet()) == (0, 0)
    (row,) = alice.get("income", incomeType="INSURANCE_CLEAR")
    assert row["income"] == "199.01000000"
    events = [event["a"] for event in at.heard(link) if event["e"] == "ACCOUNT_UPDATE"]
    assert [event["m"] for event in events] == ["ORDER", "INSURANCE_CLEAR"]
    assert events[-1]["B"] == [{"a": "USDT", "wb": "0.00000000", "cw": "0.00000000", "bc": "199.01000000"}]
    at.exchange.check_books()


def test_one_account_in_trouble_leaves_the_others_alone() -> None:
    at = floor(price="100001")
    alice = long_at_100000(at, "0.05", 10)
    bob = Trader(at, BOB)
    bob.order("BUY", "0.05")
    at.tick("90000")
    assert (alice.amount(), bob.amount()) == (0, D("0.050"))
    at.exchange.check_books()
