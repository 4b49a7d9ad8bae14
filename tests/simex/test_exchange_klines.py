"""Candles are aggregated exactly: against a brute-force sum of the prints, for every interval."""

from __future__ import annotations

import json
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.klines import SPOT_INTERVALS, Bar, Series, interval_bounds
from simex.strip import Strip, spool_of
from simex.venue import Candle
from tests.simex.wire import START_MS, Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1", "DATA-1")]
MINUTE_MS = 60_000
QUARTER = Decimal("0.25")
D0 = Decimal(0)
Print = tuple[int, Decimal, Decimal]

prints = st.lists(
    st.tuples(
        st.integers(0, 400_000),
        st.integers(1, 10_000_000).map(lambda ticks: Decimal(ticks) / 100),
        st.integers(0, 10**9).map(lambda amount: Decimal(amount).scaleb(-8)),
    ),
    min_size=1,
    max_size=60,
)


def brute_force(done: list[Print], interval: str) -> list[list[object]]:
    """Rows of /klines from the bare prints."""
    rows: dict[int, list[Print]] = {}
    for one in done:
        rows.setdefault(interval_bounds(interval, one[0])[0], []).append(one)
    return [
        [
            open_ms,
            f"{held[0][1]:.8f}",
            f"{max(price for _, price, _ in held):.8f}",
            f"{min(price for _, price, _ in held):.8f}",
            f"{held[-1][1]:.8f}",
            f"{sum(volume for _, _, volume in held):.8f}",
            interval_bounds(interval, open_ms)[1] - 1,
            f"{sum(price * volume for _, price, volume in held):.8f}",
            len(held),
        ]
        for open_ms, held in rows.items()
    ]


def rows_of(at: Floor, interval: str) -> list[list[object]]:
    return [row[:9] for row in accepted(public(at, f"klines?symbol=BTCUSDT&interval={interval}&limit=1000"))]


@given(prints, st.sampled_from(sorted(SPOT_INTERVALS)))
def test_rest_and_stream_candles_equal_the_brute_force_sum(gaps: list[Print], interval: str) -> None:
    at = floor(forming_klines=False)
    link = at.open(f"/ws/btcusdt@kline_{interval}")
    done: list[Print] = []
    for gap_ms, price, volume in gaps:
        at.now_ms += gap_ms
        at.exchange.tick("BTCUSDT", price, volume, Decimal(0), at.now_ms)
        done.append((at.now_ms, price, volume))
    expected = brute_force(done, interval)
    assert rows_of(at, interval) == expected
    at.exchange.roll(at.now_ms + 32 * 24 * 60 * MINUTE_MS)
    told = [frame["k"] for frame in at.heard(link)]
    assert [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"]] for k in told] == expected
    assert [k["f"] for k in told] == [1, *(k["L"] + 1 for k in told[:-1])]


def ticked(candle: Candle) -> list[Print]:
    """The four prints of a candle as the tape makes them."""
    quarter = (candle.volume * QUARTER).quantize(Decimal("0.00000001"), ROUND_DOWN)
    length_ms = candle.interval_ms
    return [
        (candle.open_ms, candle.open, quarter),
        (candle.open_ms + length_ms // 4, candle.low, quarter),
        (candle.open_ms + length_ms // 2, candle.high, quarter),
        (candle.end_ms - 1, candle.close, candle.volume - 3 * quarter),
    ]


def alone(candle: Candle) -> tuple[Strip, int, int]:
    """A candle as a strip of its own, to be passed over."""
    return next(spool_of([candle]).strips), 0, 1


def candles(count: int, interval_ms: int, start_ms: int) -> list[Candle]:
    made = []
    for number in range(count):
        price = Decimal(100 + number * 7 % 13)
        made.append(
            Candle(
                start_ms + number * interval_ms, interval_ms, price, price + number % 5, price - 1 - number % 3,
                price - 1, Decimal(number * 100_000_007 + 3).scaleb(-8),
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("base_ms", [MINUTE_MS, 5 * MINUTE_MS, 60 * MINUTE_MS])
def test_history_finished_and_skipped_candles_and_single_prints_give_the_same_klines(base_ms: int) -> None:
    start_ms = START_MS - START_MS % (24 * 60 * MINUTE_MS)
    tape = candles(60, base_ms, start_ms)
    one_by_one, in_one_go, skipped, as_history = (floor(forming_klines=False) for _ in range(4))
    streams = [at.open("/ws/btcusdt@kline_1h/btcusdt@kline_4h") for at in (one_by_one, in_one_go, skipped)]
    for candle in tape:
        for at_ms, price, volume in ticked(candle):
            one_by_one.exchange.tick("BTCUSDT", price, volume, Decimal(0), at_ms)
        opening = ticked(candle)[0]
        in_one_go.exchange.tick("BTCUSDT", opening[1], opening[2], Decimal(0), opening[0])
        in_one_go.exchange.pass_candles("BTCUSDT", *alone(candle))
    strip, at_candle = next(spool_of(tape).strips), 0
    while at_candle < len(tape):
        first = tape[at_candle]
        skipped.exchange.tick("BTCUSDT", first.open, ticked(first)[0][2], Decimal(0), first.open_ms)
        end = max(at_candle + 1, strip.first_from(skipped.exchange.next_close_ms("BTCUSDT"), at_candle))
        skipped.exchange.pass_candles("BTCUSDT", strip, at_candle, end)
        at_candle = end
    as_history.exchange.load_history("BTCUSDT", tape)
    for at in (one_by_one, in_one_go, skipped, as_history):
        at.now_ms = tape[-1].end_ms - 1
        at.exchange.roll(tape[-1].end_ms)
    for interval in ("1h", "4h", "1d"):
        assert rows_of(one_by_one, interval) == rows_of(in_one_go, interval) == rows_of(as_history, interval)
        assert rows_of(skipped, interval) == rows_of(one_by_one, interval)
    told = [at.heard(link) for at, link in zip((one_by_one, in_one_go, skipped), streams, strict=True)]
    assert told[0] == told[1] == told[2] != []
    assert in_one_go.exchange.last_price("BTCUSDT") == tape[-1].close


def test_candle_can_be_finished_without_its_opening_print_but_not_after_later_ones() -> None:
    at = floor(forming_klines=False)
    first, second = candles(2, MINUTE_MS, START_MS)
    at.exchange.pass_candles("BTCUSDT", *alone(first))
    at.now_ms = first.end_ms - 1
    assert rows_of(at, "1m") == brute_force(ticked(first), "1m")
    at.exchange.tick("BTCUSDT", second.open, Decimal(1), Decimal(1), second.open_ms + 1)
    with pytest.raises(ValueError):
        at.exchange.pass_candles("BTCUSDT", *alone(second))


def test_candles_are_not_passed_over_the_end_of_a_kline_that_somebody_hears() -> None:
    at = floor(forming_klines=False)
    at.open("/ws/btcusdt@kline_15m")
    start_ms = START_MS - START_MS % (15 * MINUTE_MS)
    tape = candles(40, MINUTE_MS, start_ms)
    strip = next(spool_of(tape).strips)
    at.exchange.pass_candles("BTCUSDT", strip, 0, 2)
    assert at.exchange.next_close_ms("BTCUSDT") == tape[15].open_ms
    with pytest.raises(ValueError, match="a kline ends"):
        at.exchange.pass_candles("BTCUSDT", strip, 2, 16)


@pytest.mark.spec("SIM-1", "PERF-3")
def test_candles_are_passed_over_an_order_only_where_it_would_not_notice_them() -> None:
    at = floor(forming_klines=False)
    first, *others = candles(4, MINUTE_MS, START_MS)
    at.exchange.tick("BTCUSDT", first.open, ticked(first)[0][2], Decimal(1), first.open_ms)
    Client(at).buy(type="LIMIT", timeInForce="GTC", quantity="0.1", price="50")
    strip = next(spool_of([first, *others]).strips)
    calm = at.exchange.calm("BTCUSDT")
    assert calm is not None
    assert Decimal(50) < calm[0] < Decimal("50.1")
    at.exchange.pass_candles("BTCUSDT", strip, 0, 2)
    at.now_ms = others[0].end_ms - 1
    lowest = min(candle.low for candle in others[1:])
    Client(at).buy(type="LIMIT", timeInForce="GTC", quantity="0.1", price=str(lowest))
    with pytest.raises(ValueError, match="an order would notice"):
        at.exchange.pass_candles("BTCUSDT", strip, 2, 4)


def test_history_must_be_in_order_and_before_the_first_print() -> None:
    at = floor()
    first, second = candles(2, MINUTE_MS, START_MS)
    with pytest.raises(ValueError):
        at.exchange.load_history("BTCUSDT", [second, first])
    at.exchange.load_history("BTCUSDT", [first])
    assert at.exchange.last_price("BTCUSDT") == first.close
    at.exchange.tick("BTCUSDT", Decimal(1), Decimal(1), Decimal(1), second.open_ms)
    with pytest.raises(ValueError):
        at.exchange.load_history("BTCUSDT", [second])


def test_weeks_open_on_monday_and_months_on_their_first_day() -> None:
    # 2024-02-29 12:00 UTC was a Thursday.
    at_ms = 1_709_208_000_000
    assert interval_bounds("1w", at_ms) == (1_708_905_600_000, 1_709_510_400_000)
    assert interval_bounds("1M", at_ms) == (1_706_745_600_000, 1_709_251_200_000)
    assert interval_bounds("1M", 1_735_689_599_999)[1] == 1_735_689_600_000


def test_newest_rows_are_found_across_gaps() -> None:
    at = floor()
    tape = [candle for candle in candles(100, MINUTE_MS, START_MS) if (candle.open_ms // MINUTE_MS) % 10 < 2]
    at.exchange.load_history("BTCUSDT", tape)
    at.now_ms = tape[-1].end_ms
    rows = json.loads(public(at, "klines?symbol=BTCUSDT&interval=1m&limit=15").body)
    assert [row[0] for row in rows] == [candle.open_ms for candle in tape[-15:]]


@given(prints, st.lists(st.integers(0, 500_000), min_size=1, max_size=10))
def test_a_window_that_is_asked_for_again_and_again_is_what_was_traded_in_it(
    done: list[Print], asked: list[int]
) -> None:
    series, steps = Series(), [(at_ms, price, volume) for at_ms, price, volume in done]
    events = sorted(
        [(at_ms, 0, price, volume) for at_ms, price, volume in steps] + [(at_ms, 1, D0, D0) for at_ms in asked]
    )
    for at_ms, is_question, price, volume in events:
        if not is_question:
            series.print(price, volume, START_MS + at_ms)
            continue
        for start_ms in (START_MS - 60 * MINUTE_MS, START_MS + MINUTE_MS, START_MS + 10 * MINUTE_MS):
            found = series.total_until(start_ms, START_MS + at_ms)
            wanted = series.total(start_ms, START_MS + at_ms + 1)
            assert values(found) == values(wanted)


def values(bar: Bar | None) -> list[object]:
    names = ("open", "high", "low", "close", "volume", "quote", "trades", "first_id", "last_id")
    return [] if bar is None else [getattr(bar, name) for name in names]


@given(prints, st.integers(0, 400_000), st.integers(0, 400_000), st.integers(1, 20))
def test_seconds_follow_the_paging_rule(done: list[Print], start_ms: int, end_ms: int, limit: int) -> None:
    at = floor()
    for at_ms, price, volume in sorted(done, key=lambda one: one[0]):
        at.exchange.tick("BTCUSDT", price, volume, Decimal(1), START_MS + at_ms)
    at.now_ms = START_MS + 500_000
    target = "klines?symbol=BTCUSDT&interval=1s"
    every = accepted(public(at, f"{target}&limit=1000"))
    from_start = [row for row in every if START_MS + start_ms <= row[0]]
    asked = f"{target}&limit={limit}&startTime={START_MS + start_ms}"
    assert accepted(public(at, asked)) == from_start[:limit]
    until_end = [row for row in every if row[0] <= START_MS + end_ms]
    assert accepted(public(at, f"{target}&limit={limit}&endTime={START_MS + end_ms}")) == until_end[-limit:]
    both = [row for row in from_start if row[0] <= START_MS + end_ms]
    assert accepted(public(at, f"{asked}&endTime={START_MS + end_ms}")) == both[:limit]


def test_seconds_are_streamed_each_second() -> None:
    at = floor()
    link = at.open("/ws/btcusdt@kline_1s")
    for price in ("100", "101"):
        at.tick(price)
    frames = [frame["k"] for frame in at.heard(link)]
    assert [(k["c"], k["x"], k["T"] - k["t"]) for k in frames] == [
        ("100.00000000", False, 999), ("100.00000000", True, 999), ("101.00000000", False, 999),
    ]  # fmt: skip
