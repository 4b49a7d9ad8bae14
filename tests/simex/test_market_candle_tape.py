"""The tape: four ticks a candle, in the order that hurts (or helps) most, on one clock for all symbols."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from simex.market import CandleTape
from simex.strip import Strip
from simex.venue import Candle

INTERVAL_MS = 900_000
T0_MS = 1_700_000_100_000 - 1_700_000_100_000 % INTERVAL_MS


def candle(index: int, prices: str, volume: str = "10", interval_ms: int = INTERVAL_MS) -> Candle:
    first, high, low, close = (Decimal(price) for price in prices.split())
    return Candle(T0_MS + index * interval_ms, interval_ms, first, high, low, close, Decimal(volume))


@dataclass
class Recorder:
    """Writes down what the tape does; idle and protected symbols are set by the test."""

    idle: set[str] = field(default_factory=set)
    sides: dict[str, int] = field(default_factory=dict)
    asked_at: list[int] = field(default_factory=list)
    ticks: list[tuple[int, str, str]] = field(default_factory=list)
    volumes: list[Decimal] = field(default_factory=list)
    liquidities: list[Decimal] = field(default_factory=list)
    finished: list[tuple[str, int]] = field(default_factory=list)

    def tick(self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int) -> None:
        self.ticks.append((now_ms, symbol, str(price)))
        self.volumes.append(volume)
        self.liquidities.append(liquidity)

    def finish_candle(self, symbol: str, candle: Candle) -> None:
        self.finished.append((symbol, candle.open_ms))

    def skip_candles(self, symbol: str, strip: Strip, start: int, before_ms: int) -> int:
        return start

    def is_idle(self, symbol: str) -> bool:
        return symbol in self.idle

    def stop_side(self, symbol: str) -> int:
        return self.sides.get(symbol, 0)


def played(tape: CandleTape, exchange: Recorder) -> Recorder:
    while tape.next_ms() is not None:
        tape.advance(exchange)
    return exchange


def prices(exchange: Recorder) -> list[str]:
    return [price for _, _, price in exchange.ticks]


@pytest.mark.spec("SIM-3")
def test_a_candle_is_four_ticks_at_its_start_quarter_half_and_last_millisecond() -> None:
    exchange = played(CandleTape({"BTCUSDT": [candle(0, "100 110 95 105")]}, always_tick=True), Recorder())
    assert [at - T0_MS for at, _, _ in exchange.ticks] == [0, 225_000, 450_000, 899_999]
    assert prices(exchange) == ["100", "95", "110", "105"]


@pytest.mark.parametrize(
    ("side", "path", "expected"),
    [
        (-1, "worst", ["95", "110"]),
        (+1, "worst", ["110", "95"]),
        (-1, "best", ["110", "95"]),
        (+1, "best", ["95", "110"]),
        (0, "worst", ["95", "110"]),  # the low is 10 from the close, the high 5
        (0, "best", ["110", "95"]),
    ],
)
@pytest.mark.spec("BT-3")
def test_the_first_extreme_is_the_one_the_path_asks_for(side: int, path: str, expected: list[str]) -> None:
    tape = CandleTape(
        {"BTCUSDT": [candle(0, "100 110 95 105")]}, path="best" if path == "best" else "worst", always_tick=True
    )
    assert prices(played(tape, Recorder(sides={"BTCUSDT": side})))[1:3] == expected


def test_a_protection_placed_after_the_open_still_decides_the_path() -> None:
    tape = CandleTape({"BTCUSDT": [candle(0, "100 110 95 105")]}, always_tick=True)
    exchange = Recorder()
    tape.advance(exchange)
    exchange.sides["BTCUSDT"] = +1
    assert prices(played(tape, exchange)) == ["100", "110", "95", "105"]


def test_the_volumes_of_the_ticks_sum_up_to_the_candle_exactly() -> None:
    exchange = played(CandleTape({"BTCUSDT": [candle(0, "1 1 1 1", "0.00000007")]}, always_tick=True), Recorder())
    assert exchange.volumes == [Decimal("0.00000001")] * 3 + [Decimal("0.00000004")]
    assert sum(exchange.volumes) == Decimal("0.00000007")


def test_every_tick_offers_the_given_share_of_the_candles_volume() -> None:
    tape = CandleTape({"BTCUSDT": [candle(0, "1 1 1 1", "10")]}, always_tick=True, volume_share=Decimal("0.25"))
    assert played(tape, Recorder()).liquidities == [Decimal("2.5")] * 4


def test_a_symbol_nobody_watches_is_finished_in_one_go() -> None:
    tape = CandleTape({"BTCUSDT": [candle(0, "100 110 95 105"), candle(1, "105 106 104 105")]}, always_tick=False)
    exchange = played(tape, Recorder(idle={"BTCUSDT"}))
    assert [price for _, _, price in exchange.ticks] == ["100", "105"]
    assert exchange.finished == [("BTCUSDT", T0_MS), ("BTCUSDT", T0_MS + INTERVAL_MS)]


def test_an_idle_symbol_is_ticked_all_the_same_when_every_tick_is_wanted() -> None:
    tape = CandleTape({"BTCUSDT": [candle(0, "100 110 95 105")]}, always_tick=True)
    assert len(played(tape, Recorder(idle={"BTCUSDT"})).ticks) == 4


def test_symbols_due_at_the_same_time_move_in_the_given_order() -> None:
    tape = CandleTape(
        {"ETHUSDT": [candle(0, "10 10 10 10")], "BTCUSDT": [candle(0, "100 110 95 105")]}, always_tick=True
    )
    exchange = Recorder()
    assert tape.next_ms() == T0_MS
    tape.advance(exchange)
    assert [symbol for _, symbol, _ in exchange.ticks] == ["ETHUSDT", "BTCUSDT"]
    assert tape.next_ms() == T0_MS + 225_000


def test_symbols_of_different_intervals_and_gaps_share_one_clock() -> None:
    hourly = [candle(0, "1 1 1 1", interval_ms=3_600_000)]
    gapped = [candle(0, "2 2 2 2"), candle(3, "3 3 3 3")]
    tape = CandleTape({"AUSDT": hourly, "BUSDT": gapped}, always_tick=True)
    times = [at for at, _, _ in played(tape, Recorder()).ticks]
    assert times == sorted(times)
    assert len(times) == 12
    assert (tape.start_ms, tape.end_ms) == (T0_MS, T0_MS + 3_600_000)


def test_the_tape_says_when_it_has_ended() -> None:
    tape = CandleTape({"BTCUSDT": [candle(0, "1 1 1 1")]}, always_tick=True)
    played(tape, Recorder())
    assert tape.next_ms() is None
    with pytest.raises(RuntimeError, match="ended"):
        tape.advance(Recorder())


def test_what_the_exchange_skips_is_not_played_again() -> None:
    @dataclass
    class Skipper(Recorder):
        before: list[int] = field(default_factory=list)

        def skip_candles(self, symbol: str, strip: Strip, start: int, before_ms: int) -> int:
            self.before.append(before_ms)
            return start + 2

    tape = CandleTape({"BTCUSDT": [candle(at, "100 110 95 105") for at in range(6)]}, always_tick=False)
    exchange = Skipper(idle={"BTCUSDT"})
    while tape.next_ms() is not None:
        tape.advance(exchange, T0_MS + 1)
    assert exchange.finished == [("BTCUSDT", T0_MS), ("BTCUSDT", T0_MS + 3 * INTERVAL_MS)]
    assert [at - T0_MS for at, _, _ in exchange.ticks] == [0, 3 * INTERVAL_MS]
    assert exchange.before == [T0_MS + 1] * 2
