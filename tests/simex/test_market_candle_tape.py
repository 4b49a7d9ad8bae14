"""The tape: four ticks a candle, in the order that hurts (or helps) most, on one clock for all symbols."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from simex.market import CandleTape
from simex.strip import Strip
from simex.venue import Candle

INTERVAL_MS = 900_000
MINUTE_MS = 60_000
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
    untold: list[int] = field(default_factory=list)
    passed: list[tuple[object, ...]] = field(default_factory=list)  # symbol, numbers of candles
    close_ms: int = 1 << 62
    calm_range: tuple[Decimal, Decimal] | None = None

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        self.ticks.append((now_ms, symbol, str(price)))
        self.volumes.append(volume)
        if not told:
            self.untold.append(now_ms - T0_MS)
        self.liquidities.append(liquidity)

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None:
        self.passed.append((symbol, *((strip.open_ms[at] - T0_MS) // strip.length_ms[at] for at in range(start, end))))

    def next_close_ms(self, symbol: str) -> int:
        return self.close_ms

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return self.calm_range

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
    assert exchange.passed == [("BTCUSDT", 0), ("BTCUSDT", 1)]


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


@pytest.mark.spec("BT-1", "PERF-3")
@pytest.mark.parametrize(
    ("before_ms", "close_ms", "passed"),
    [
        (MINUTE_MS * 9, 1 << 62, [(0, 1, 2, 3, 4, 5)]),
        (MINUTE_MS * 3 + MINUTE_MS // 4, 1 << 62, [(0, 1, 2), (3,), (4,), (5,)]),  # the quarter is not over before it
        (MINUTE_MS * 3 + MINUTE_MS // 4 + 1, 1 << 62, [(0, 1, 2, 3), (4,), (5,)]),
        (MINUTE_MS * 9, MINUTE_MS * 2, [(0, 1), (2,), (3,), (4,), (5,)]),  # the third candle ends a kline
    ],
)
def test_a_symbol_nobody_watches_is_passed_over_as_far_as_nothing_else_happens(
    before_ms: int, close_ms: int, passed: list[tuple[int, ...]]
) -> None:
    minutes = [candle(at, "100 110 95 105", interval_ms=MINUTE_MS) for at in range(6)]
    tape, exchange = CandleTape({"BTCUSDT": minutes}, always_tick=False), Recorder(idle={"BTCUSDT"})
    exchange.close_ms = T0_MS + close_ms
    while tape.next_ms() is not None:
        tape.advance(exchange, T0_MS + before_ms)
    assert exchange.passed == [("BTCUSDT", *numbers) for numbers in passed]
    assert [(at - T0_MS) // MINUTE_MS for at, _, _ in exchange.ticks] == [numbers[0] for numbers in passed]


WIDE = (Decimal(1), Decimal(1000))


@pytest.mark.spec("BT-1", "PERF-3")
@pytest.mark.parametrize(
    ("calm", "wanted", "passed"),
    [
        (WIDE, WIDE, (0, 1, 2, 3)),  # of six candles before the time, the last one whose end is before it is printed
        (WIDE, (Decimal(94), Decimal(150)), (0, 1)),  # the fourth reaches 150; the third is printed
        ((Decimal(90), Decimal(1000)), WIDE, (0, 1, 2, 3)),
        ((Decimal(95), Decimal(1000)), WIDE, ()),  # the first low is on it
        (None, WIDE, ()),
        (WIDE, None, ()),
    ],
)
def test_a_watched_symbol_is_passed_over_inside_the_ranges_and_its_last_candle_is_printed(
    calm: tuple[Decimal, Decimal] | None, wanted: tuple[Decimal, Decimal] | None, passed: tuple[int, ...]
) -> None:
    told = ["100 110 95 105", "105 110 96 105", "105 110 96 105", "105 150 96 105", "105 110 96 105", "105 110 96 105"]
    minutes = [candle(at, prices, interval_ms=MINUTE_MS) for at, prices in enumerate(told)]
    tape, exchange = CandleTape({"BTCUSDT": minutes}, always_tick=False), Recorder()
    exchange.calm_range = calm
    tape.advance(exchange, T0_MS)
    ranges = None if wanted is None else (T0_MS + 6 * MINUTE_MS, {"BTCUSDT": wanted})
    tape.advance(exchange, T0_MS + 6 * MINUTE_MS - 1, lambda: ranges)
    assert exchange.passed == ([("BTCUSDT", *passed)] if passed else [])
    last_ms = len(passed) * MINUTE_MS
    assert exchange.untold == ([last_ms, last_ms + MINUTE_MS // 4] if passed else [])
    played(tape, exchange)
    assert len(exchange.ticks) == (6 * 4 if not passed else 1 + 4 * (6 - len(passed)))


def test_symbols_that_are_watched_together_are_passed_over_together() -> None:
    calm_one = [candle(at, "100 110 95 105", interval_ms=MINUTE_MS) for at in range(6)]
    wild_one = [candle(at, f"100 {110 + 20 * at} 95 105", interval_ms=MINUTE_MS) for at in range(6)]
    tape, exchange = CandleTape({"ETHUSDT": calm_one, "BTCUSDT": wild_one}, always_tick=False), Recorder()
    exchange.calm_range = WIDE
    tape.advance(exchange, T0_MS)
    ranges = T0_MS + 6 * MINUTE_MS, {"ETHUSDT": WIDE, "BTCUSDT": (Decimal(1), Decimal(170))}
    tape.advance(exchange, T0_MS + 6 * MINUTE_MS, lambda: ranges)
    assert exchange.passed == [("ETHUSDT", 0, 1), ("BTCUSDT", 0, 1)]  # the fourth candle of BTC reaches 170
