"""The account: settings, funding, fees in BNB, income, several assets as margin, and who may call."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import HttpRequest, KeyRights, Undocumented
from tests.simex.futures.wire import Trader, floor, market_of, public
from tests.simex.wire import ALICE, BOB, Floor, accepted

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
HOUR_MS = 3_600_000


# -- settings -----------------------------------------------------------------------------------------------------


def test_leverage_is_set_told_and_read_back(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    assert alice.post("leverage", symbol="BTCUSDT", leverage=50)["maxNotionalValue"] == "12000000"
    (event,) = at.heard(link)
    assert (event["e"], event["ac"]) == ("ACCOUNT_CONFIG_UPDATE", {"s": "BTCUSDT", "l": 50})
    assert alice.position()["leverage"] == "50"
    (config,) = alice.get("symbolConfig", symbol="BTCUSDT")
    assert (config["leverage"], config["marginType"], config["maxNotionalValue"]) == (50, "CROSSED", "12000000")
    assert alice.refused("POST", "leverage", symbol="BTCUSDT", leverage=151) == -4028
    assert alice.refused("POST", "leverage", symbol="BTCUSDT", leverage=0) == -4028
    assert alice.refused("POST", "leverage", symbol="BTCUSDT") == -1102


def test_leverage_may_not_go_where_the_position_does_not_fit() -> None:
    at = floor(wallet={"USDT": D(100_000)})
    alice = Trader(at)
    alice.order("BUY", "4", "99999")
    at.tick("99998")
    assert alice.refused("POST", "leverage", symbol="BTCUSDT", leverage=150) == -2027
    assert alice.refused("POST", "leverage", symbol="BTCUSDT", leverage=3) == -2028
    assert alice.position()["leverage"] == "20"


def test_leverage_of_an_isolated_position_only_rises(alice: Trader) -> None:
    alice.post("marginType", symbol="BTCUSDT", marginType="ISOLATED")
    alice.order("BUY", "0.010")
    assert alice.refused("POST", "leverage", symbol="BTCUSDT", leverage=10) == -4161
    alice.post("leverage", symbol="BTCUSDT", leverage=30)


def test_margin_type_changes_only_when_nothing_is_there(alice: Trader) -> None:
    assert alice.refused("POST", "marginType", symbol="BTCUSDT", marginType="CROSSED") == -4046
    order = alice.order("BUY", "0.010", "99000")
    assert alice.refused("POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED") == -4047
    alice.delete("order", symbol="BTCUSDT", orderId=order["orderId"])
    alice.order("BUY", "0.010")
    assert alice.refused("POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED") == -4048
    alice.order("SELL", "0.010")
    assert alice.post("marginType", symbol="BTCUSDT", marginType="ISOLATED") == {"code": 200, "msg": "success"}
    assert alice.position()["marginType"] == "isolated"


def test_position_mode_changes_only_when_nothing_is_there(alice: Trader) -> None:
    assert alice.get("positionSide/dual") == {"dualSidePosition": False}
    assert alice.refused("POST", "positionSide/dual", dualSidePosition="false") == -4059
    order = alice.order("BUY", "0.010", "99000")
    assert alice.refused("POST", "positionSide/dual", dualSidePosition="true") == -4067
    alice.delete("order", symbol="BTCUSDT", orderId=order["orderId"])
    alice.order("BUY", "0.010")
    assert alice.refused("POST", "positionSide/dual", dualSidePosition="true") == -4068
    alice.order("SELL", "0.010")
    alice.post("positionSide/dual", dualSidePosition="true")
    assert alice.get("positionSide/dual") == {"dualSidePosition": True}
    assert [row["positionSide"] for row in alice.get("v2/positionRisk", symbol="BTCUSDT")] == ["LONG", "SHORT"]


def test_several_assets_as_margin() -> None:
    at = floor(wallet={"USDT": D(100), "BNB": D(1)})
    at.tick("600", symbol="BNBUSDT")
    alice = Trader(at)
    assert alice.no_order("BUY", "0.100", "100000") == -2019  # 500 of margin
    link = alice.listen()
    alice.post("multiAssetsMargin", multiAssetsMargin="true")
    (event,) = at.heard(link)
    assert event["ai"] == {"j": True}
    assert alice.get("multiAssetsMargin") == {"multiAssetsMargin": True}
    assert alice.refused("POST", "multiAssetsMargin", multiAssetsMargin="true") == -4171
    assert alice.refused("POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED") == -4168
    account = alice.get("v3/account")
    assert account["totalWalletBalance"] == "670.00000000"  # 100 + 600 × 0.95
    alice.order("BUY", "0.100", "100000")
    assert alice.get("v3/account")["availableBalance"] == "170.00000000"
    assert alice.refused("POST", "multiAssetsMargin", multiAssetsMargin="false") == -4169


def test_other_assets_keep_a_position_from_its_liquidation() -> None:
    at = floor(wallet={"USDT": D(1000), "BNB": D(10)}, price="100001", maker_bps="0")
    at.tick("600", symbol="BNBUSDT")
    alice = Trader(at)
    alice.order("BUY", "0.1", "100000")
    at.tick("99999")
    # (1000 - 10 000) / (0.0004 - 0.1), and with 10 × 600 × 0.95 more: (6700 - 10 000) / (0.0004 - 0.1)
    assert alice.position()["liquidationPrice"] == "90361.44578313"
    alice.order("SELL", "0.1", "100000")
    at.tick("100001")
    alice.post("multiAssetsMargin", multiAssetsMargin="true")
    alice.order("BUY", "0.1", "100000")
    at.tick("99999")
    assert alice.position()["liquidationPrice"] == "33132.53012048"
    at.tick("50000")
    assert alice.amount() == D("0.1")
    at.tick("33132.5")
    assert alice.amount() == 0
    at.exchange.check_books()


def test_a_position_dies_with_the_price_of_what_stands_in_for_it() -> None:
    at = floor(wallet={"USDT": D(1000), "BNB": D(10)}, maker_bps="0")
    at.tick("600", symbol="BNBUSDT")
    alice = Trader(at)
    alice.post("multiAssetsMargin", multiAssetsMargin="true")
    alice.order("BUY", "0.1")
    at.tick("80000")
    at.tick("80001")
    at.tick("100", symbol="BNBUSDT")  # 1000 + 950 are left, and 2000 lost
    assert alice.amount() == D("0.1")
    at.tick("80002")
    assert alice.amount() == 0


def test_an_asset_that_was_never_held_was_never_updated(at: Floor, alice: Trader) -> None:
    first_ms = at.now_ms
    assert [(row["asset"], row["updateTime"]) for row in alice.get("v3/account")["assets"]] == [
        ("BNB", 0), ("USDT", first_ms),
    ]  # fmt: skip
    at.now_ms += 1000
    alice.order("BUY", "0.010")
    assert alice.row("USDT")["updateTime"] == at.now_ms


def test_what_else_the_account_tells(alice: Trader) -> None:
    config = alice.get("accountConfig")
    assert (config["canTrade"], config["dualSidePosition"], config["multiAssetsMargin"]) == (True, False, False)
    rate = alice.get("commissionRate", symbol="BTCUSDT")
    assert (D(rate["makerCommissionRate"]), D(rate["takerCommissionRate"])) == (D("0.0002"), D("0.0005"))
    assert alice.get("apiTradingStatus")["indicators"] == {}
    account = alice.get("v2/account")
    assert (account["canTrade"], len(account["positions"])) == (True, 4)
    assert account["positions"][0]["leverage"] == "20"


def test_leverage_brackets_are_numbers_and_a_list_unless_switched(alice: Trader) -> None:
    (entry,) = alice.get("leverageBracket", symbol="BTCUSDT")
    assert entry["brackets"][1] == {
        "bracket": 2, "initialLeverage": 100, "notionalCap": 800_000, "notionalFloor": 300_000,
        "maintMarginRatio": 0.005, "cum": 300.0,
    }  # fmt: skip
    assert len(alice.get("leverageBracket")) == 4
    single = Trader(floor(rules=Undocumented(bracket_of_symbol="object")))
    assert single.get("leverageBracket", symbol="BTCUSDT")["symbol"] == "BTCUSDT"


def test_adl_quantile_of_held_positions(at: Floor, alice: Trader) -> None:
    assert alice.get("adlQuantile") == []
    alice.order("BUY", "0.010")
    at.tick("102500")
    assert alice.get("adlQuantile") == [{"symbol": "BTCUSDT", "adlQuantile": {"BOTH": 2}}]


# -- fees ---------------------------------------------------------------------------------------------------------


def test_fees_are_burnt_in_bnb_at_a_discount_while_it_lasts() -> None:
    at = floor(wallet={"USDT": D(10_000), "BNB": D("0.005")})
    at.tick("600", symbol="BNBUSDT")
    alice = Trader(at)
    assert alice.get("feeBurn") == {"feeBurn": False}
    alice.post("feeBurn", feeBurn="true")
    link = alice.listen()
    alice.order("BUY", "0.050")
    alice.order("SELL", "0.050")
    first, second = alice.get("userTrades", symbol="BTCUSDT")
    # 2.5000025 × 0.9 ÷ 600
    assert (first["commissionAsset"], first["commission"]) == ("BNB", "0.00375001")
    assert (second["commissionAsset"], second["commission"]) == ("USDT", "2.49999750")
    assert alice.wallet("BNB") == D("0.00124999")
    updates = [event["a"]["B"] for event in at.heard(link) if event["e"] == "ACCOUNT_UPDATE"]
    assert [[entry["a"] for entry in entries] for entries in updates] == [["USDT", "BNB"], ["USDT"]]
    at.exchange.check_books()


# -- funding ------------------------------------------------------------------------------------------------------


def next_funding_ms(at: Floor) -> int:
    when: int = accepted(public(at, "v1/premiumIndex?symbol=BTCUSDT"))["nextFundingTime"]
    assert when % (8 * HOUR_MS) == 0
    return when


def test_longs_pay_shorts_at_eight_hours_on_the_notional_at_mark() -> None:
    at = floor(price="60000")
    alice, bob = Trader(at), Trader(at, BOB)
    alice.order("BUY", "0.500")
    bob.order("SELL", "0.500")
    before = alice.wallet(), bob.wallet()
    due_ms = next_funding_ms(at)
    at.now_ms = due_ms - 60_000
    link = alice.listen()
    assert at.exchange.deadline_ms() == due_ms
    at.now_ms = due_ms - 1
    assert (alice.wallet(), bob.wallet()) == before
    at.now_ms = due_ms
    # 30 000 × 0.0001
    assert (alice.wallet(), bob.wallet()) == (before[0] - 3, before[1] + 3)
    (event,) = at.heard(link)
    assert (event["a"]["m"], event["a"]["P"], event["a"]["S"], event["T"]) == ("FUNDING_FEE", [], "BTCUSDT", due_ms)
    assert event["a"]["B"][0]["bc"] == "-3.00000000"
    (row,) = alice.get("income", incomeType="FUNDING_FEE")
    assert (row["income"], row["symbol"], row["time"]) == ("-3.00000000", "BTCUSDT", due_ms)
    (paid,) = accepted(public(at, "v1/fundingRate?symbol=BTCUSDT"))
    assert (paid["fundingTime"], paid["fundingRate"], paid["markPrice"]) == (due_ms, "0.00010000", "60000.00000000")
    at.exchange.check_books()


def test_funding_of_an_isolated_position_comes_out_of_its_own_wallet(at: Floor, alice: Trader) -> None:
    alice.post("marginType", symbol="BTCUSDT", marginType="ISOLATED")
    alice.order("BUY", "0.500", "100000.1")
    due_ms = next_funding_ms(at)
    at.now_ms = due_ms - 60_000
    link = alice.listen()
    at.now_ms = due_ms
    # 50 000 × 0.0001 out of 2500.0025
    assert alice.position()["isolatedWallet"] == "2495.00250000"
    (event,) = at.heard(link)
    assert event["a"]["P"][0]["iw"] == "2495.0025"
    at.exchange.check_books()


def test_funding_follows_a_table_of_rates_within_cap_and_floor() -> None:
    base = DEFAULT_CONTRACTS[0]
    first_ms = 1_790_006_400_000
    table = ((0, D("0.0002")), (first_ms, D("-0.0003")), (first_ms + 8 * HOUR_MS, D("0.5")))
    at = floor(contracts=[replace(base, funding_rates=table)], maker_bps="0", taker_bps="0")
    alice = Trader(at)
    alice.order("BUY", "0.100", "100000.1")
    at.tick("100000")
    paid = []
    for number in range(3):
        before = alice.wallet()
        at.now_ms = first_ms + number * 8 * HOUR_MS
        paid.append(alice.wallet() - before)
    assert paid == [3, -200, -200]  # 10 000 × 0.0003; the cap is 2 %


def test_funding_of_a_missed_stretch_is_made_up_in_order(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.100")
    at.now_ms = next_funding_ms(at) + 16 * HOUR_MS
    times = [row["time"] for row in alice.get("income", incomeType="FUNDING_FEE")]
    assert times == [at.now_ms - 16 * HOUR_MS, at.now_ms - 8 * HOUR_MS, at.now_ms]


def test_calls_about_funding_have_a_limit_of_their_own(at: Floor) -> None:
    for _ in range(250):
        assert public(at, "v1/fundingRate").headers["X-MBX-USED-WEIGHT-1M"] == "0"
        public(at, "v1/fundingInfo")
    refused = public(at, "v1/fundingRate")
    assert (refused.status, json.loads(refused.body)["code"]) == (429, -1003)
    assert public(at, "v1/time").status == 200


def test_only_unusual_intervals_are_listed() -> None:
    at = floor(contracts=[DEFAULT_CONTRACTS[0], replace(DEFAULT_CONTRACTS[1], funding_hours=4)])
    (entry,) = accepted(public(at, "v1/fundingInfo"))
    assert (entry["symbol"], entry["fundingIntervalHours"]) == ("ETHUSDT", 4)


# -- income and transfers -----------------------------------------------------------------------------------------


def test_income_by_kind_and_time(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    at.tick("101000")
    alice.order("SELL", "0.010")
    rows = alice.get("income")
    assert [row["incomeType"] for row in rows] == ["COMMISSION", "REALIZED_PNL", "COMMISSION"]
    assert rows[1]["income"] == "9.99800000"
    assert alice.get("income", startTime=at.now_ms, incomeType="REALIZED_PNL") == [rows[1]]
    assert alice.get("income", symbol="ETHUSDT") == []
    assert alice.refused("GET", "income", page=1) == -1104
    assert alice.refused("GET", "income", startTime=2, endTime=1) == -1023


def test_transfers_are_told_and_limited_to_what_is_not_bound(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "1", "99000")
    link = alice.listen()
    market = market_of(at)
    with pytest.raises(ValueError, match="may leave"):
        market.transfer(ALICE, "USDT", D(-6000), at.now_ms)
    market.transfer(ALICE, "USDT", D(-5000), at.now_ms)
    market.transfer(ALICE, "USDT", D(100), at.now_ms)
    assert alice.wallet() == 5100
    assert [event["a"]["m"] for event in at.heard(link)] == ["WITHDRAW", "DEPOSIT"]
    at.exchange.check_books()


def test_a_charge_is_a_loss_without_a_trade(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    market_of(at).charge(alice.key, "USDT", D("12.5"), at.now_ms)
    (event,) = at.heard(link)
    assert (event["e"], event["a"]["m"], event["a"]["B"][0]["bc"]) == ("ACCOUNT_UPDATE", "FUNDING_FEE", "-12.50000000")
    assert [(row["incomeType"], D(row["income"])) for row in alice.get("income")] == [("FUNDING_FEE", D("-12.5"))]
    assert alice.wallet() == 10_000 - D("12.5")
    at.exchange.check_books()


# -- who may call -------------------------------------------------------------------------------------------------


def test_keys_and_rights(at: Floor, alice: Trader) -> None:
    unsigned = HttpRequest("GET", f"/fapi/v3/account?timestamp={at.now_ms}", {})
    assert json.loads(at.exchange.rest(unsigned, at.now_ms).body)["code"] == -2014
    assert alice.refused("GET", "v3/account", timestamp=at.now_ms - 5001) == -1021
    at.exchange.change_key(ALICE, KeyRights(may_trade_futures=False))
    assert alice.wallet() == 10_000
    assert alice.no_order("BUY", "0.010") == -2015
    at.exchange.change_key(ALICE, None)
    assert alice.refused("GET", "v3/account") == -2015


def test_the_weight_is_the_futures_markets_own(at: Floor, alice: Trader) -> None:
    for _ in range(60):
        alice.get("openOrders")
    refused = alice.call("GET", "openOrders")
    assert refused.status == 429
    assert json.loads(refused.body)["code"] == -1003
    assert b"2400" in refused.body
    assert refused.headers["X-MBX-USED-WEIGHT-1M"] == "2400"
    at.now_ms += 60_000
    assert alice.get("openOrders") == []


def test_time_stamps_are_judged_by_a_clock_that_may_be_off(at: Floor, alice: Trader) -> None:
    at.exchange.set_clock_skew(-2_500)
    assert alice.refused("GET", "v3/account") == -1021
    alice.get("v3/account", timestamp=at.now_ms - 2_500)
