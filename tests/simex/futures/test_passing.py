"""Passing over candles that nobody notices leaves the futures market as it would be after all their prints."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.market import CandleTape
from simex.venue import AccountSpec, Candle
from tests.simex.futures.test_books import FIRST, LOTS, price_at
from tests.simex.futures.wire import Trader
from tests.simex.wire import ALICE, BOB, Floor, secret_of

pytestmark = [pytest.mark.spec("SIM-1", "PNL-2")]
D = Decimal
MINUTE_MS = 60_000
START_MS = 1_790_006_400_000 - 30 * MINUTE_MS  # a funding instant comes after half an hour
HORIZON_MS = START_MS + 10**9
EVERY_PRICE = {symbol: (D(0), D(10) ** 9) for symbol in FIRST}


class Impatient(Exchange):
    """An exchange of which a tape thinks that it notices everything."""

    def is_idle(self, symbol: str) -> bool:
        return False

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return None


def candles(symbol: str, closes: list[int]) -> list[Candle]:
    """Minutes from one close to the next, in tenths of a per cent, with shadows of as much as the move."""
    made = []
    before = 0
    for number, after in enumerate(closes):
        open_, close = price_at(symbol, before), price_at(symbol, after)
        shadow = abs(close - open_) / 2
        high, low = max(open_, close) + shadow, min(open_, close) - shadow
        made.append(Candle(START_MS + number * MINUTE_MS, MINUTE_MS, open_, high, low, close, D(100)))
        before = after
    return made


def lived(kind: type[Exchange], closes: dict[str, list[int]], wishes: list[tuple[str, dict[str, Any]]]) -> Any:
    """What the accounts have at the end of the tapes, and how often the tape was advanced."""
    accounts = [AccountSpec(key, secret_of(key), {}, wallet={"USDT": D(500)}) for key in (ALICE, BOB)]
    at = Floor(kind((), accounts, contracts=DEFAULT_CONTRACTS), now_ms=START_MS)
    tape = CandleTape({symbol: candles(symbol, path) for symbol, path in closes.items()}, always_tick=False)
    turns = 0
    while (next_ms := tape.next_ms()) is not None:
        at.now_ms = next_ms
        tape.advance(at.exchange, HORIZON_MS if turns else 0, lambda: (HORIZON_MS, EVERY_PRICE))
        turns += 1
        if turns == 1:
            for key, wish in wishes:
                Trader(at, key).call("POST", "algoOrder" if "algoType" in wish else "order", **wish)
    at.now_ms = START_MS + 4 * 3_600_000
    at.exchange.roll(at.now_ms)
    at.exchange.check_books()
    told = []
    for key in (ALICE, BOB):
        trader = Trader(at, key)
        trades = trader.get("userTrades", symbol="BTCUSDT"), trader.get("userTrades", symbol="ETHUSDT")
        told.append((trader.get("v2/account"), trader.get("income"), trader.get("allOrders"), trades))
    return told, turns


moves = st.lists(st.integers(-6, 6), min_size=20, max_size=60)
sizes = st.integers(1, 60)


def path(steps: list[int]) -> list[int]:
    return [sum(steps[: number + 1]) for number in range(len(steps))]


def order(symbol: str, side: str, level: int | None, size: int) -> dict[str, Any]:
    wish: dict[str, Any] = {"symbol": symbol, "side": side, "quantity": LOTS[symbol] * size}
    if level is None:
        return wish | {"type": "MARKET"}
    return wish | {"type": "LIMIT", "timeInForce": "GTC", "price": price_at(symbol, level)}


def algo(symbol: str, side: str, kind: str, level: int, size: int) -> dict[str, Any]:
    wish: dict[str, Any] = {"algoType": "CONDITIONAL", "symbol": symbol, "side": side, "type": kind}
    wish["quantity"] = LOTS[symbol] * size
    if kind == "TRAILING_STOP_MARKET":
        return wish | {"callbackRate": "1.5"}
    return wish | {"triggerPrice": price_at(symbol, level), "workingType": "MARK_PRICE"}


some_symbol, some_side = st.sampled_from(list(FIRST)), st.sampled_from(["BUY", "SELL"])
wanted = st.one_of(
    st.builds(order, some_symbol, some_side, st.none(), sizes),
    st.builds(order, some_symbol, some_side, st.integers(-30, 30), sizes),
    st.builds(
        algo,
        some_symbol,
        some_side,
        st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]),
        st.integers(-40, 40),
        sizes,
    ),
)


@settings(max_examples=40)
@given(moves, moves, st.lists(st.tuples(st.sampled_from([ALICE, BOB]), wanted), min_size=1, max_size=6))
def test_passing_over_candles_changes_nothing(
    first: list[int], second: list[int], wishes: list[tuple[str, dict[str, Any]]]
) -> None:
    closes = {"BTCUSDT": path(first), "ETHUSDT": path(second)}
    passed, few = lived(Exchange, closes, wishes)
    printed, many = lived(Impatient, closes, wishes)
    assert passed == printed
    assert few <= many


def test_symbols_that_share_a_wallet_may_sink_together() -> None:
    wishes = [
        (ALICE, order("BTCUSDT", "BUY", None, 60)),  # 6000
        (ALICE, order("ETHUSDT", "BUY", None, 35)),  # 3500
    ]
    # Each falls by four per cent, which alone the wallet of 500 would stand.
    sinking = [-number for number in range(1, 50)]
    closes = {"BTCUSDT": sinking, "ETHUSDT": sinking}
    passed, few = lived(Exchange, closes, wishes)
    printed, many = lived(Impatient, closes, wishes)
    assert passed == printed
    assert few < many
    clearances = [row for row in passed[0][1] if row["incomeType"] == "INSURANCE_CLEAR"]
    assert clearances, "it was liquidated"


def test_nobody_minds_what_is_due_elsewhere_inside_a_candle_that_nobody_watches() -> None:
    account = AccountSpec(ALICE, secret_of(ALICE), {}, wallet={"USDT": D(500)})
    at = Floor(Exchange((), [account], contracts=DEFAULT_CONTRACTS), now_ms=START_MS)
    at.exchange.tick("BTCUSDT", D(100_000), D(1), D(100), START_MS)
    Trader(at).post("order", **order("BTCUSDT", "BUY", None, 5))
    hours = [
        Candle(START_MS + number * 3_600_000, 3_600_000, D(4000), D(4010), D(3990), D(4000), D(100))
        for number in range(3)
    ]
    # Funding of the other symbol comes after half an hour.
    tape = CandleTape({"ETHUSDT": hours}, always_tick=False)
    while (next_ms := tape.next_ms()) is not None:
        tape.advance(at.exchange, next_ms + 1)
    at.now_ms = START_MS + 3 * 3_600_000
    assert [row["incomeType"] for row in Trader(at).get("income")] == ["COMMISSION", "FUNDING_FEE"]


def test_a_quiet_position_is_passed_over_from_funding_to_funding() -> None:
    wishes = [(ALICE, order("BTCUSDT", "BUY", None, 5))]
    closes = {"BTCUSDT": [0, 1] * 60}
    _, few = lived(Exchange, closes, wishes)
    _, many = lived(Impatient, closes, wishes)
    assert many == 480  # four prints a minute
    assert few < 20
