"""The gate: each cap binds and is named, each refusal has its place in the order, exits are possible before entries."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.exits import Plan
from surefoot.core.margin import Backing
from surefoot.core.model import Bracket, FeeRates, Instrument, Readiness, Side, Signal
from surefoot.core.risk import (
    Approved,
    Circumstances,
    Other,
    Record,
    Refused,
    RiskSettings,
    Sized,
    Sizing,
    Stake,
    exit_refusal,
    half_kelly_pct,
    review,
    size,
)
from tests.core.desk import BTC, EXITS, FEES, MARGIN, PERP, RISK, START_MS, dec

SIGNAL = Signal("BTCUSDT", START_MS, 1.0, 0.9, "scripted")
FINE = Circumstances(
    now_ms=START_MS,
    entries_off=None,
    breaker_off=None,
    instrument=BTC,
    fees=FEES,
    price=dec(30_000),
    equity=dec(1_000),
    free_quote=dec(1_000),
    busy=None,
    price_ms=START_MS,
)


def verdict(signal: Signal = SIGNAL, settings: RiskSettings = RISK, **changes: Any) -> Approved | Refused:
    return review(signal, replace(FINE, **changes), settings, EXITS)


def approved(**changes: Any) -> Approved:
    answer = verdict(**changes)
    assert isinstance(answer, Approved), answer
    return answer


def refused(**changes: Any) -> Refused:
    answer = verdict(**changes)
    assert isinstance(answer, Refused), answer
    return answer


def sized(instrument: Instrument = BTC, equity: str = "1000", free: str = "100000", **changes: str) -> Sized:
    caps: dict[str, Any] = {name: dec(value) for name, value in changes.items()}
    settings = replace(RISK, **caps)
    stake = Stake(dec(equity), settings.risk_pct_of_equity, dec(600), dec(1), "")
    return size(dec(30_030), stake, dec(free), instrument, settings)


# 2 % of 1000 is 20 at risk; between entry and stop lie 600 a coin. A coin costs at most 30030.
@pytest.mark.spec("RISK-2")
@pytest.mark.parametrize(
    ("answer", "cap", "quantity"),
    [
        (sized(notional_max_pct_of_equity="200"), "risk_pct_of_equity", "0.03333"),
        (sized(), "notional_max_pct_of_equity", "0.00666"),
        (sized(notional_max_quote="150"), "notional_max_quote", "0.00499"),
        (sized(free="200"), "free balance less reserve", "0.00599"),
        (sized(replace(BTC, quantity_max=dec("0.005"))), "LOT_SIZE", "0.005"),
        (sized(replace(BTC, market_quantity_max=dec("0.004"))), "MARKET_LOT_SIZE", "0.004"),
        (sized(replace(BTC, notional_max=dec("90"))), "NOTIONAL", "0.00299"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_smallest_cap_binds_and_is_named(answer: Sized, cap: str, quantity: str) -> None:
    assert answer == Sized(dec(quantity), cap)


@pytest.mark.spec("RISK-2")
def test_bounds_that_the_venue_does_not_set_bind_nothing() -> None:
    off = dec(0)
    unbounded = replace(BTC, quantity_max=off, market_quantity_max=off, notional_max=off)
    assert sized(unbounded) == Sized(dec("0.00666"), "notional_max_pct_of_equity")


@pytest.mark.spec("RISK-2")
def test_nothing_free_means_nothing_bought() -> None:
    assert sized(free="-5") == Sized(dec(0), "free balance less reserve")


@pytest.mark.spec("RISK-2")
@given(st.decimals("1", "1000000", places=2), st.decimals("0", "1000000", places=2))
def test_size_never_exceeds_any_cap(equity: Decimal, free: Decimal) -> None:
    quantity = size(dec(30_030), Stake(equity, dec(2), dec(600), dec(1), ""), free, BTC, RISK).quantity
    assert quantity * 600 <= equity * 2 / 100
    assert quantity * 30_030 <= min(equity * 20 / 100, free * 90 / 100, RISK.notional_max_quote)
    assert quantity % BTC.lot_size == 0


@pytest.mark.spec("RISK-1", "SIG-8")
def test_approved_entry_carries_its_final_numbers_and_why() -> None:
    answer = approved()
    assert (answer.symbol, answer.quantity, answer.limit_price) == ("BTCUSDT", dec("0.00666"), dec("30030"))
    assert answer.plan == Plan(dec(29_400), dec(31_200), dec(29_400))
    assert answer.detail.endswith("at risk 4.00 of 1000.00 USDT, bound by notional_max_pct_of_equity")


# Each line's circumstance alone is refused by its rule; and it wins over all lines below it (RISK-1).
SETTINGS = replace(
    RISK,
    price_age_max_ms=2_000_000,
    entry_gap_min_ms=300_000,
    spread_max_pct=dec("0.05"),
    positions_max=4,
    correlation_max=0.8,
    portfolio_risk_max_pct=dec(10),
)


def other(symbol: str = "ETHUSDT", risk: str = "5", correlation: float | None = 0.5) -> Other:
    return Other(symbol, dec(risk), correlation)


CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("entries-off", {"entries_off": "no link to account"}),
    ("no-instrument", {"fees": None}),
    ("no-price", {"equity": None}),
    ("price-age", {"price_ms": None}),
    ("gap", {"signal": replace(SIGNAL, gap=True)}),
    ("readiness", {"signal": replace(SIGNAL, readiness=Readiness.NOT_READY)}),
    ("breaker", {"breaker_off": "the loss of the day"}),
    ("paused", {"pause_off": "paused by ada: lunch"}),
    ("cool-down", {"cooldown_until_ms": START_MS + 2_000_000}),
    ("score", {"signal": replace(SIGNAL, score=0.59)}),
    ("expired", {"now_ms": START_MS + 1_800_001}),
    ("too-soon", {"last_entry_ms": START_MS - 299_999}),
    ("filter", {"signal": replace(SIGNAL, filtered="against the trend")}),
    ("spread", {"spread_pct": dec("0.051")}),
    ("not-trading", {"instrument": replace(BTC, trading=False)}),
    ("position", {"busy": "already holding 1"}),
    ("positions", {"others": (other(), other("BNBUSDT"), other("SOLUSDT"), other("XRPUSDT"))}),
    ("same-direction", {"others": (other(), other("BNBUSDT"), other("SOLUSDT"))}),
    ("correlation", {"others": (other(correlation=0.81),)}),
    ("portfolio-risk", {"others": (other(risk="101"),)}),
    ("filters", {"free_quote": dec(0)}),
    ("filters", {"instrument": replace(BTC, orders_max=2)}),
    ("exitability", {"instrument": replace(BTC, oco_allowed=False)}),
    ("order-budget", {"order_budget": "85 of 85 orders for entries"}),
]


@pytest.mark.spec("RISK-1", "SIG-8")
@pytest.mark.parametrize(("rule", "circumstance"), CHECKS, ids=[rule for rule, _ in CHECKS])
def test_each_check_refuses_by_its_own_name(rule: str, circumstance: dict[str, Any]) -> None:
    answer = refused(**({"settings": SETTINGS, "spread_pct": dec("0.05")} | circumstance))
    assert answer.rule == rule
    assert answer.detail


@pytest.mark.spec("RISK-1")
@pytest.mark.parametrize("first", range(len(CHECKS)), ids=[rule for rule, _ in CHECKS])
def test_checks_are_made_in_the_order_of_the_specification(first: int) -> None:
    everything: dict[str, Any] = {"settings": SETTINGS, "spread_pct": dec("0.05")}
    for _, circumstance in reversed(CHECKS[first:]):
        everything |= circumstance
    assert refused(**everything).rule == CHECKS[first][0]


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("missing", ["price", "equity"])
def test_missing_number_is_never_traded_on(missing: str) -> None:
    assert refused(**{missing: None}).rule == "no-price"


@pytest.mark.spec("SAFE-5")
def test_score_that_is_no_number_is_refused() -> None:
    assert refused(signal=replace(SIGNAL, score=float("nan"))).rule == "score"


@pytest.mark.spec("RISK-1")
def test_score_and_age_at_their_bounds_pass() -> None:
    late_ms = START_MS + 1_800_000
    assert approved(signal=replace(SIGNAL, score=0.6), now_ms=late_ms, price_ms=late_ms).quantity > 0


@pytest.mark.spec("SIG-8")
def test_refusals_say_by_how_much() -> None:
    assert refused(signal=replace(SIGNAL, score=0.51)).detail == "0.51 is below 0.60"
    late = refused(now_ms=START_MS + 1_900_000, price_ms=START_MS + 1_900_000)
    assert late.detail == "the candle closed 1900000 ms ago, 1800000 ms is the most"
    # 10 % of 22 are kept back; what 19.80 buy, 0.00065, is worth 19.5195 at the limit.
    small = refused(free_quote=dec(22), instrument=replace(BTC, notional_min=dec(25)))
    assert small.detail == "NOTIONAL: 19.519500 is below 25 (bound by free balance less reserve)"


# 0.00666 at 30000 is 199.80; less the fee 0.00665 are received, worth 195.51 at the stop and 207.48 at the target.
@pytest.mark.spec("ORD-2")
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"notional_min": dec("195.52")}, "its stop would be refused: NOTIONAL: 195.51000 is below 195.52"),
        ({"quantity_min": dec("0.00666")}, "its stop would be refused: LOT_SIZE: 0.00665 is outside 0.00666 to 9000"),
        (
            {"ask_multiplier_down": dec("0.99")},
            "its stop would be refused: PERCENT_PRICE_BY_SIDE: 29400 is below 29700.00",
        ),
        (
            {"ask_multiplier_up": dec("1.03")},
            "its target would be refused: PERCENT_PRICE_BY_SIDE: 31200 is above 30900.00",
        ),
        ({"price_max": dec("31199")}, "its target would be refused: PRICE_FILTER: 31200 is outside 0.01 to 31199"),
        ({"oco_allowed": False}, "BTCUSDT takes no OCO, so nothing could protect it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_entry_whose_exit_would_be_refused_is_refused(changes: dict[str, Any], text: str) -> None:
    answer = refused(instrument=replace(BTC, **changes))
    assert (answer.rule, answer.detail) == ("exitability", text)


@pytest.mark.spec("ORD-2")
def test_position_that_sells_at_exactly_the_least_notional_is_exitable() -> None:
    plan = Plan(dec(29_400), dec(31_200), dec(29_400))
    exact = replace(BTC, notional_min=dec("195.51"))
    assert exit_refusal(exact, dec("0.00666"), plan, dec(30_000), FEES) is None


@pytest.mark.spec("ORD-2")
@given(
    st.decimals("10", "5000", places=2),
    st.integers(1, 10**7).map(lambda ticks: ticks * dec("0.01")),
    st.sampled_from([dec("0.00001"), dec("0.001"), dec("1")]),
    st.sampled_from([dec(0), dec("0.001"), dec("0.01")]),
)
def test_whatever_is_approved_passes_the_filters_on_its_way_in_and_out(
    equity: Decimal, price: Decimal, lot: Decimal, fee: Decimal
) -> None:
    instrument = replace(BTC, lot_size=lot, quantity_min=lot)
    answer = verdict(instrument=instrument, price=price, equity=equity, free_quote=equity, fees=FeeRates(fee, fee))
    if isinstance(answer, Approved):
        received = instrument.lots_down(answer.quantity * (1 - fee))
        assert instrument.refusal(Side.BUY, answer.quantity, answer.limit_price, price) is None
        assert instrument.refusal(Side.SELL, received, answer.plan.stop_price, price) is None
        assert instrument.refusal(Side.SELL, received, answer.plan.target_price, price) is None
    else:
        assert answer.rule in ("filters", "exitability")


# -- what shrinks a size ------------------------------------------------------------------------------------------

ROOMY = replace(SETTINGS, notional_max_pct_of_equity=dec(100), reserve_pct_of_balance=dec(0))


@pytest.mark.spec("RISK-2")
@pytest.mark.parametrize(
    ("others", "quantity"), [((), "0.0333"), ((other(),), "0.02331"), ((other(), other("BNBUSDT")), "0.01665")]
)
def test_each_position_in_the_same_direction_makes_the_next_one_smaller(
    others: tuple[Other, ...], quantity: str
) -> None:
    answer = approved(settings=ROOMY, spread_pct=dec("0.01"), others=others)
    assert answer.quantity == dec(quantity)


@pytest.mark.spec("SIG-6", "RISK-2")
def test_little_history_means_a_small_size_and_the_decision_says_so() -> None:
    answer = approved(signal=replace(SIGNAL, readiness=Readiness.MINIMUM))
    assert answer.quantity == dec("0.00166")
    assert answer.detail.endswith("bound by notional_max_pct_of_equity, times 0.25 (0 in the same direction, minimum)")
    assert approved(signal=replace(SIGNAL, readiness=Readiness.WARM)).quantity == dec("0.00333")


@pytest.mark.spec("RISK-2", "MODE-4")
def test_only_the_capital_of_the_profile_counts() -> None:
    answer = approved(settings=replace(RISK, capital_max_quote=dec(500)))
    assert answer.quantity == dec("0.00333")


@pytest.mark.spec("RISK-3")
def test_the_new_trade_counts_in_the_risk_of_all_stops() -> None:
    # 10 % of 1000 may be lost; the new trade would lose 0.00666 x 600 = 3.996.
    assert approved(settings=SETTINGS, spread_pct=dec(0), others=(other(risk="97.20"),)).quantity > 0
    answer = refused(settings=SETTINGS, spread_pct=dec(0), others=(other(risk="97.21"),))
    assert (answer.rule, answer.detail) == ("portfolio-risk", "100.01 would be lost at all stops, 100.00 is the most")


@pytest.mark.spec("RISK-3")
def test_symbols_that_move_alike_count_as_one_and_so_does_what_is_not_known() -> None:
    assert approved(settings=SETTINGS, spread_pct=dec(0), others=(other(correlation=0.8),)).quantity > 0
    assert approved(settings=SETTINGS, spread_pct=dec(0), others=(other(correlation=-0.9),)).quantity > 0
    assert refused(settings=SETTINGS, spread_pct=dec(0), others=(other(correlation=None),)).rule == "correlation"
    assert (
        approved(
            settings=replace(SETTINGS, correlation_max=1.0), spread_pct=dec(0), others=(other(correlation=None),)
        ).quantity
        > 0
    )


@pytest.mark.spec("SIG-5", "SAFE-5")
def test_a_spread_that_was_never_heard_is_not_traded_on_unless_the_fill_model_states_one() -> None:
    assert refused(settings=SETTINGS).rule == "spread"
    assert approved(settings=replace(SETTINGS, spread_assumed_pct=dec("0.02"))).quantity > 0


@pytest.mark.spec("RISK-1", "DATA-3")
def test_an_old_price_is_not_traded_on() -> None:
    assert approved(now_ms=START_MS + 5_000).quantity > 0
    answer = refused(now_ms=START_MS + 5_001)
    assert (answer.rule, answer.detail) == ("price-age", "the newest price is 5001 ms old, 5000 ms is the most")


def record(round_trips: int, win_rate: str, average_win: str = "20", average_loss: str = "10") -> Record:
    return Record(round_trips, dec(win_rate), dec(average_win), dec(average_loss))


@pytest.mark.spec("RISK-5")
def test_half_of_kellys_share_by_hand() -> None:
    # W = 0.4, R = 2: 0.4 - 0.6 / 2 = 0.1, half of it is 5 %.
    assert half_kelly_pct(record(200, "0.4")) == dec(5)
    assert half_kelly_pct(record(200, "0", "0")) == 0


@pytest.mark.spec("RISK-5")
def test_kelly_needs_two_hundred_round_trips_only_ever_shrinks_and_refuses_without_an_edge() -> None:
    kelly = replace(RISK, sizing=Sizing.HALF_KELLY, notional_max_pct_of_equity=dec(100), reserve_pct_of_balance=dec(0))
    full = approved(settings=kelly).quantity
    assert approved(settings=kelly, record=record(199, "0.1")).quantity == full
    assert approved(settings=kelly, record=record(200, "0.4")).quantity == full  # 5 % is more than the 2 % allowed
    # W = 0.35: 0.35 - 0.65 / 2 = 0.025, half of it is 1.25 %: 12.5 at risk over 600.
    assert approved(settings=kelly, record=record(200, "0.35")).quantity == dec("0.02083")
    assert refused(settings=kelly, record=record(200, "0.33")).rule == "size"


@pytest.mark.spec("RISK-5")
def test_atr_sizing_risks_its_money_over_the_average_range() -> None:
    atr = replace(RISK, sizing=Sizing.ATR, notional_max_pct_of_equity=dec(100), reserve_pct_of_balance=dec(0))
    # 20 at risk over 1.5 x 800.
    assert approved(settings=atr, signal=replace(SIGNAL, atr=800.0)).quantity == dec("0.01666")
    assert approved(settings=atr, signal=SIGNAL).quantity == dec("0.0333")


# -- futures --------------------------------------------------------------------------------------------------------

SHORT = replace(SIGNAL, target=-1.0)
FUTURES = {"instrument": PERP, "margin": MARGIN, "backing": Backing(dec(1_000)), "equity": dec(10_000)}
WIDE = replace(RISK, notional_max_pct_of_equity=dec(400))


def futures(signal: Signal = SHORT, settings: RiskSettings = WIDE, **changes: Any) -> Approved | Refused:
    return verdict(signal, settings, **(FUTURES | {"free_quote": dec(10_000)} | changes))


@pytest.mark.spec("MODE-3", "RISK-2")
def test_short_entry_sells_down_to_its_limit_with_the_stop_above() -> None:
    answer = futures(backing=Backing(dec(10_000)))
    assert isinstance(answer, Approved), answer
    assert (answer.direction, answer.limit_price) == (-1, dec(29_970))
    assert (answer.plan.stop_price, answer.plan.target_price) == (dec(30_600), dec(28_800))
    assert answer.quantity == dec("0.333")  # 2 % of 10000 are lost over 600
    assert "down to 29970" in answer.detail


@pytest.mark.spec("RISK-2")
@pytest.mark.parametrize(("leverage", "quantity"), [(1, "0.300"), (2, "0.333"), (3, "0.333"), (20, "0.333")])
def test_leverage_only_decides_how_much_of_the_balance_a_position_binds(leverage: int, quantity: str) -> None:
    answer = futures(backing=Backing(dec(10_000)), margin=replace(MARGIN, leverage=leverage))
    assert isinstance(answer, Approved), answer
    assert answer.quantity == dec(quantity)


@pytest.mark.spec("RISK-2")
def test_venue_caps_the_notional_at_a_leverage() -> None:
    small = replace(PERP, brackets=(Bracket(dec(0), dec(6_000), 3, dec("0.01"), dec(0)),))
    answer = futures(backing=Backing(dec(10_000)), instrument=small)
    assert isinstance(answer, Approved), answer
    assert (answer.quantity, answer.detail.endswith("leverage bracket")) == (dec("0.200"), True)


@pytest.mark.spec("EXIT-1", "ORD-2")
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("target", [1.0, -1.0])
def test_stop_beyond_the_liquidation_price_is_refused_before_the_entry(isolated: bool, target: float) -> None:
    margin = replace(MARGIN, leverage=50, isolated=isolated)
    signal = replace(SIGNAL, target=target)
    thin = Backing(dec("0.3") * 30_000 / 50)  # crossed: no more in the wallet than the margin itself
    answer = futures(signal, margin=margin, backing=thin)
    assert isinstance(answer, Refused)
    assert answer.rule == "liquidation"
    assert isinstance(futures(signal, margin=replace(margin, leverage=10), backing=Backing(dec(1_000))), Approved)


@pytest.mark.spec("EXIT-1", "SAFE-5")
def test_without_brackets_or_prices_of_the_other_positions_no_futures_are_entered() -> None:
    for changes in ({"instrument": replace(PERP, brackets=())}, {"backing": None}):
        answer = futures(**changes)
        assert isinstance(answer, Refused)
        assert (answer.rule, answer.detail) == ("liquidation", "the margin of BTCUSDT is not known")


@pytest.mark.spec("RISK-2", "RISK-3")
def test_positions_in_the_other_direction_take_no_room_of_their_own_direction() -> None:
    longs = tuple(Other(f"X{at}USDT", dec(0), 0.0) for at in range(3))
    backing = Backing(dec(10_000))
    answer = futures(others=longs, backing=backing)
    assert isinstance(answer, Approved)
    assert "in the same direction" not in answer.detail
    refusal = futures(SIGNAL, others=longs, backing=backing)
    assert isinstance(refusal, Refused)
    assert refusal.rule == "same-direction"


@pytest.mark.spec("RISK-3")
def test_a_short_position_of_what_moves_along_is_no_second_position_and_of_what_moves_apart_it_is() -> None:
    settings = replace(WIDE, correlation_max=0.8)
    backing = Backing(dec(10_000))
    along, apart = Other("ETHUSDT", dec(0), 0.95), Other("ETHUSDT", dec(0), -0.95)
    assert isinstance(futures(settings=settings, others=(along,), backing=backing), Approved)
    answer = futures(settings=settings, others=(apart,), backing=backing)
    assert isinstance(answer, Refused)
    assert answer.rule == "correlation"


@pytest.mark.spec("ORD-2")
def test_futures_exit_whatever_its_notional_but_on_the_tick() -> None:
    plan = Plan(dec(100), dec(120), dec(100))
    assert exit_refusal(PERP, dec("0.001"), plan, dec(110), FEES) is None
    refusal = exit_refusal(PERP, dec(1), replace(plan, target_price=dec("120.05")), dec(110), FEES)
    assert refusal == "its target would be refused: PRICE_FILTER: 120.05 is not on the tick of 0.1"
