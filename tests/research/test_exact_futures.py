"""The exact backtest on futures: bot and simulated exchange agree to the last cent, and with a reckoning by hand.

One contract at 60000 on a flat path, without slippage and with the least spread there is, one tick: every number of a
story can be reckoned on paper. A position is 20 % of 10000, at a limit 0.1 % away: 0.033 coins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.market import GeneratedMarket
from surefoot.assembly import build_engine, build_session, engine_settings
from surefoot.config import Settings, load
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    CandleClosed,
    Command,
    Event,
    IncomePaid,
    OrderRejected,
    RecordAlarm,
    RecordBooks,
    RunStarted,
    SubmitList,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import CONDITIONAL, Candle, Income, OrderRequest, Purpose, Signal
from surefoot.research.backtest import _costs, run_backtest
from surefoot.research.data import load_candles
from surefoot.research.exact import BOOT_MS, DEMO_KEYS, VirtualTime, candle_exchange
from surefoot.research.funding import Settlements
from surefoot.research.tape import tape_of

HOUR_MS = 3_600_000
EIGHT_MS = 1_790_000_100_000 // (8 * HOUR_MS) * 8 * HOUR_MS  # a time of funding
START_MS = EIGHT_MS - HOUR_MS
PLAIN = {
    "market.venue": "futures",
    "market.symbols": "BTCUSDT",
    "market.interval": "1m",
    "market.confirm_interval": "5m",
    "futures.leverage": "3",
    "futures.margin_type": "ISOLATED",
    "costs.half_spread_bps": "0",
    "costs.slippage_bps": "0",
    "risk.entry_gap_min_s": "0",
}
D = Decimal
TICK, COINS, FEE = D("0.1"), D("0.033"), D("0.0005")


def settings_with(**values: str) -> Settings:
    changes = {name.replace("__", ".", 1): value for name, value in values.items()}
    return load(None, PLAIN | {"mode": "backtest"} | changes, {}).settings


def candles_csv(folder: Path, *rows: tuple[int, str, str, str, str]) -> str:
    """Minutes of BTCUSDT: flat at 60000 for two hours, but for those given as (minute, open, high, low, close)."""
    known = {minute: prices for minute, *prices in rows}
    lines, last = [], "60000.0"
    for minute in range(120):
        first, high, low, last = known.get(minute, [last] * 4)
        open_ms = START_MS + minute * 60_000
        lines.append(f"{open_ms},{first},{high},{low},{last},1000,{open_ms + 59_999},0,0,0,0,0")
    path = folder / "BTCUSDT-1m.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@dataclass
class Plot:
    """Signals by the minute after whose candle they come."""

    targets: dict[int, float] = field(default_factory=dict)

    def warm(self, candles: Sequence[Candle]) -> None: ...

    def on_candle(self, candle: Candle) -> Signal:
        target = self.targets.get((candle.open_ms - START_MS) // 60_000)
        return Signal(candle.symbol, candle.close_ms, target, 0.9, "told" if target else "nothing")

    def correlation(self, symbol: str, other: str) -> float | None:
        return None

    def prepare(self) -> bool:
        return False


@dataclass
class Run:
    """A finished run: what the bot heard and said, and both sides' books."""

    messages: list[Event | Command]
    engine: Engine
    exchange: Exchange

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def orders(self, purpose: Purpose) -> list[OrderRequest]:
        return [message.order for message in self.of(SubmitOrder) if message.order.purpose is purpose]

    def check(self) -> None:
        """Ledger and venue agree, all along and at the end; the venue's own books add up."""
        assert self.exchange.futures is not None
        self.exchange.futures.check_books()
        assert [books.differences for books in self.of(RecordBooks)] == [()]
        account = self.exchange.futures.engine.ledger.accounts[DEMO_KEYS.api_key]
        assert self.engine.portfolio.wallets() == {"USDT": account.wallets["USDT"]}
        sums: dict[str, Decimal] = {}
        for (_, asset), amount in self.engine.portfolio.ledger.items():
            sums[asset] = sums.get(asset, D(0)) + amount
        assert not any(sums.values())
        assert not self.of(SubmitList)
        assert all(order.type in CONDITIONAL for order in self.orders(Purpose.STOP) + self.orders(Purpose.TARGET))


def lived(
    settings: Settings,
    files: Sequence[str],
    signals: Plot | None = None,
    funding: Mapping[str, Settlements] | None = None,
) -> Run:
    """The bot lives through these candles, and through these settlements where they are given."""
    messages: list[Event | Command] = []
    engine = build_engine(settings) if signals is None else Engine(engine_settings(settings), signals)
    session = build_session(settings, DEMO_KEYS, lambda: 0.5, watch_always=False)
    costs = replace(_costs(settings), funding=funding or {})
    exchange, tape = candle_exchange([tape_of(load_candles(file)) for file in files], costs)
    driver = VirtualTime(engine, session, exchange, tape, 50, messages.append)
    driver.begin(RunStarted(tape.start_ms - BOOT_MS, "t", "backtest", settings.market.symbols, "", ""))
    driver.run(tape.end_ms)
    driver.drain()
    return Run(messages, engine, exchange)


@pytest.mark.spec("BT-1", "MODE-3", "ORD-6", "PNL-2")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_a_stopped_round_trip_with_funding_is_what_it_is_on_paper(tmp_path: Path, target: float) -> None:
    """Entered at 60000 and a tick, an hour before funding; funded once; left where the market jumped to and a tick."""
    way = int(target)
    entry, jumped = 60_000 + way * TICK, 60_000 - way * 1_300
    leaves = jumped - way * TICK
    file = candles_csv(tmp_path, (70, "60000", *_span(60_000, jumped), str(jumped)))
    run = lived(settings_with(), [file], Plot({5: target}))
    run.check()
    funding = -way * COINS * 60_000 / 10_000
    (paid,) = {each.income_id: each for each in run.of(IncomePaid)}.values()
    assert (paid.kind, paid.amount, paid.paid_ms) == (Income.FUNDING, funding, EIGHT_MS)
    (trip,) = run.engine.portfolio.round_trips
    assert (trip.side, trip.reason, trip.quantity) == ("long" if target > 0 else "short", "stop", COINS)
    assert (trip.entry_price, trip.exit_price) == (entry, leaves)
    earned = way * COINS * (leaves - entry) - COINS * (entry + leaves) * FEE + funding
    assert (trip.pnl, trip.funding) == (earned, funding)
    assert run.engine.portfolio.wallet("USDT") == 10_000 + earned
    (stop,) = run.orders(Purpose.STOP)
    assert stop.stop_price == 60_000 - way * 1_200


def _span(first: int, last: int) -> tuple[str, str]:
    return str(max(first, last)), str(min(first, last))


@pytest.mark.spec("BT-1", "EXIT-1", "PNL-2")
@pytest.mark.parametrize(
    ("leverage", "target", "crash", "taken_at", "wallet"),
    [
        (20, 1.0, "50000", "57000.1", "9900.00983335"),
        (20, -1.0, "70000", "62999.8", "9900.01016665"),
        (3, 1.0, "36000", "40000.1", "9339.00889835"),
        (3, -1.0, "84000", "79999.8", "9339.01110165"),
    ],
)
def test_a_liquidation_costs_the_margin_to_the_last_cent(
    tmp_path: Path, leverage: int, target: float, crash: str, taken_at: str, wallet: str
) -> None:
    """By hand, long at leverage 3: 0.033 at 60000.1 cost a fee of 0.99000165 and bind a third of 1980.0033, 660.0011.

    The market jumps at once over stop and liquidation price. The venue takes the position at its bankruptcy price,
    where the margin is gone, rounded up to the tick: 40000.0667 is 40000.1, where 660 are lost. The rest of the margin,
    0.0011, is all there is for the fee. What was resting is cancelled, and the books agree: 10000 - 0.99000165 -
    660.0011 = 9339.00889835. At leverage 20 the margin is 99.000165 and the price 57000.1, where 99 are lost.
    """
    entry = 60_000 + int(target) * TICK
    file = candles_csv(tmp_path, (20, crash, crash, crash, crash))
    run = lived(settings_with(futures__leverage=str(leverage)), [file], Plot({5: target}))
    run.check()
    (taken,) = run.of(VenueTraded)
    assert (taken.why, taken.fill.quantity) == ("liquidation", COINS)
    assert taken.fill.price == D(taken_at)
    (trip,) = run.engine.portfolio.round_trips
    assert (trip.reason, trip.pnl) == ("liquidation", -COINS * entry / leverage - COINS * entry * FEE)
    assert run.engine.portfolio.wallet("USDT") == D(wallet)
    assert not list(run.engine.orders.open_orders())


@pytest.mark.spec("EXIT-4", "EXIT-6", "ORD-6", "SAFE-2")
def test_a_trailing_stop_and_a_part_on_a_short_position(tmp_path: Path) -> None:
    """Down by 3 %: half is closed at 2 %, and the stop follows; up again, and the rest leaves by the moved stop."""
    rows = [
        (10, "60000", "60000", "58700", "58700"),
        (20, "58700", "58700", "58100", "58100"),
        (30, "58100", "59500", "58100", "59500"),
    ]
    settings = settings_with(
        exits__trail_activate_pct="1.5", exits__trail_distance_pct="1", exits__trail_step_pct="0.5",
        exits__take_1_at_pct="2", exits__take_1_share_pct="50",
    )  # fmt: skip
    run = lived(settings, [candles_csv(tmp_path, *rows)], Plot({5: -1.0}))
    run.check()
    (trip,) = run.engine.portfolio.round_trips
    assert (trip.side, trip.reason) == ("short", "trail")
    (part,) = run.orders(Purpose.PART)
    assert part.quantity == D("0.016")
    moved = [order.stop_price or D(0) for order in run.orders(Purpose.STOP)]
    assert moved == sorted(moved, reverse=True)
    assert len(moved) > 2
    assert not [alarm for alarm in run.of(RecordAlarm) if alarm.code == "unprotected"]


@pytest.mark.spec("EXIT-7", "MODE-3")
def test_an_opposite_signal_closes_and_the_next_one_opens_the_other_way(tmp_path: Path) -> None:
    settings = settings_with(exits__opposite_score_min="0.5")
    run = lived(settings, [candles_csv(tmp_path)], Plot({5: 1.0, 10: -1.0, 11: -1.0}))
    run.check()
    (trip,) = run.engine.portfolio.round_trips
    assert (trip.side, trip.reason) == ("long", "opposite")
    assert run.engine.portfolio.positions["BTCUSDT"].signed_quantity == D("-0.033")
    assert [order.side for order in run.orders(Purpose.ENTRY)] == ["BUY", "SELL"]
    entered = [message.at_ms for message in run.of(SubmitOrder) if message.order.purpose is Purpose.ENTRY]
    closes = [message.at_ms for message in run.of(CandleClosed)]
    assert entered == [closes[5], closes[11]]  # not at the 10th, when it was still held


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return generated_minutes(tmp_path_factory.mktemp("minutes"))


def generated_minutes(folder: Path) -> list[str]:
    """Files of a day and a half of generated minutes of two symbols."""
    market = GeneratedMarket(15, ["BTCUSDT", "ETHUSDT"], EIGHT_MS, history_days=2)
    for symbol, candles in market.history.items():
        rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.end_ms - 1},0,0,0,0,0" for c in candles)
        (folder / f"{symbol}-1m.csv").write_text("\n".join(list(rows)[:2_160]) + "\n")
    return [str(folder / f"{symbol}-1m.csv") for symbol in market.history]


OFTEN = {
    "market__symbols": "BTCUSDT,ETHUSDT",
    "market__interval": "5m",
    "market__confirm_interval": "15m",
    "rsi__oversold": "45",
    "rsi__overbought": "55",
    "costs__half_spread_bps": "1",
    "costs__slippage_bps": "2",
    "exits__preset": "aggressive",
    "exits__stop_pct_of_price": "0.6",
    "exits__target_pct_of_price": "0.8",
    "risk__loss_streak_max": "0",
}


@pytest.mark.spec("BT-1", "SAFE-2", "SAFE-4", "PNL-1")
@pytest.mark.parametrize("margin_type", ["CROSSED", "ISOLATED"])
def test_over_a_day_and_a_half_of_both_directions_the_books_never_differ(minutes: list[str], margin_type: str) -> None:
    run = lived(settings_with(**OFTEN, futures__margin_type=margin_type), minutes)
    run.check()
    trips = run.engine.portfolio.round_trips
    assert {trip.side for trip in trips} == {"long", "short"}
    assert len(trips) >= 10, "the test proves nothing without trades"
    assert not run.of(OrderRejected)
    funded = [paid for paid in run.of(IncomePaid) if paid.kind is Income.FUNDING]
    assert funded
    assert {paid.paid_ms % (8 * HOUR_MS) for paid in funded} == {0}


@pytest.mark.spec("BT-1", "BT-5", "BT-6")
def test_a_backtest_on_futures_tells_what_it_traded_and_what_it_cost(minutes: list[str]) -> None:
    settings = settings_with(**OFTEN)
    result = run_backtest(settings, minutes)
    earned = sum((D(trip["pnl"]) for trip in result["round_trips"]), D(0))
    if not result["open_positions"]:
        assert abs(D(result["final_equity"]) - D(result["initial_equity"]) - earned) < D("0.000001")
    assert {trip["side"] for trip in result["round_trips"]} == {"long", "short"}
    assert D(result["costs"]["funding"]) != 0
    assert "leverage 3" in result["fill_model"][-1]
    assert run_backtest(settings, minutes[::-1])["digest"] == result["digest"]
