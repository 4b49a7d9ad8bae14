"""Candles inside a report: what the script will read is what the files had, within the bounds."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from surefoot.research.report_candles import candle_section, levels
from surefoot.signals.window import Columns

MINUTE_MS = 60_000
START_MS = 1_704_067_200_000


def walk(count: int, seed: int = 5, digits: int = 2) -> Columns:
    """A random walk of minutes around 100."""
    chance = np.random.default_rng(seed)
    closes = np.round(100 + np.cumsum(chance.normal(0, 0.05, count)), digits)
    opens = np.r_[closes[0], closes[:-1]]
    spread = np.round(np.abs(chance.normal(0, 0.05, (2, count))), digits)
    highs, lows = np.maximum(opens, closes) + spread[0], np.minimum(opens, closes) - spread[1]
    open_ms = START_MS + MINUTE_MS * np.arange(count, dtype=np.int64)
    return Columns(open_ms, opens, np.round(highs, digits), np.round(lows, digits), closes, np.ones(count))


def some(columns: Columns, places: npt.NDArray[np.int64]) -> Columns:
    return Columns(columns.open_ms[places], *(column[places] for column in columns[1:]))


def read(level: dict[str, Any], decimals: int) -> list[tuple[int, float, float, float, float]]:
    """(open_ms, open, high, low, close) as `page/candles.js` reads them."""
    candles = []
    for first_ms, flat in level["runs"]:
        close = 0
        for at in range(0, len(flat), 4):
            opened = close + flat[at]
            close = opened + flat[at + 1]
            whole = (opened, max(opened, close) + flat[at + 2], min(opened, close) - flat[at + 3], close)
            candles.append((first_ms + at // 4 * level["step"], *(value / 10**decimals for value in whole)))
    return candles


def plain(columns: Columns) -> list[tuple[int, float, float, float, float]]:
    return list(zip(*(column.tolist() for column in columns[:5]), strict=True))


def trip(symbol: str, entry_ms: int, exit_ms: int, **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "side": "long", "entry_ms": entry_ms, "exit_ms": exit_ms, "entry_price": "100",
        "exit_price": "101", "reason": "target", "pnl": "1",
    } | more  # fmt: skip


def parts_of(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json">(.*?)</script>', page)
    assert found
    parts: list[dict[str, Any]] = json.loads(found[1])
    return parts


@pytest.mark.spec("BT-5")
def test_few_candles_are_all_there_and_exact() -> None:
    columns = walk(2_000)
    told = levels(columns, [START_MS], 3_000, 9_000)
    assert told["fine"] is None
    assert told["coarse"]["step"] == MINUTE_MS
    assert read(told["coarse"], told["decimals"]) == plain(columns)


@pytest.mark.spec("BT-5")
def test_many_candles_are_merged_without_losing_an_extreme() -> None:
    columns = walk(40_003)
    told = levels(columns, [], 1_000, 0)
    step_ms, merged = told["coarse"]["step"], read(told["coarse"], told["decimals"])
    assert 500 < len(merged) <= 1_000
    for open_ms, *values in merged:
        inside = (columns.open_ms >= open_ms) & (columns.open_ms < open_ms + step_ms)
        opens, highs, lows, closes = (column[inside] for column in columns[1:5])
        assert values == [opens[0], highs.max(), lows.min(), closes[-1]]


@pytest.mark.spec("BT-5")
def test_around_entries_and_exits_the_original_candles_are_kept() -> None:
    columns = walk(40_000)
    moments = [int(columns.open_ms[7_000]), int(columns.open_ms[31_000])]
    told = levels(columns, moments, 1_000, 2_000)
    fine, original = read(told["fine"], told["decimals"]), set(plain(columns))
    assert set(fine) <= original
    for moment in moments:
        beside = [open_ms for open_ms, *_ in fine if abs(open_ms - moment) <= 60 * MINUTE_MS]
        assert len(beside) == 121
    # The levels fit together: a coarse candle is covered wholly or not at all.
    coarse_ms = told["coarse"]["step"]
    places = [open_ms // coarse_ms for open_ms, *_ in fine]
    assert {places.count(place) for place in set(places)} == {coarse_ms // MINUTE_MS}


@pytest.mark.spec("BT-5")
@pytest.mark.parametrize("fine_max", [0, 500, 5_000])
def test_the_number_of_candles_is_bounded_however_many_round_trips_there_are(fine_max: int) -> None:
    columns = walk(60_000)
    told = levels(columns, columns.open_ms[::7].tolist(), 1_000, fine_max)
    assert len(read(told["fine"], told["decimals"])) <= fine_max


def test_a_gap_stays_a_gap() -> None:
    columns = some(walk(1_000), np.r_[0:300, 700:1_000])
    told = levels(columns, [], 3_000, 0)
    assert len(told["coarse"]["runs"]) == 2
    assert read(told["coarse"], told["decimals"]) == plain(columns)


def test_small_prices_keep_the_digits_that_can_be_seen() -> None:
    whole = walk(100)
    columns = Columns(whole.open_ms, *(column / 1e6 for column in whole[1:]))
    told = levels(columns, [], 3_000, 0)
    for told_candle, candle in zip(read(told["coarse"], told["decimals"]), plain(columns), strict=True):
        assert told_candle == pytest.approx(candle, rel=1e-4)


@pytest.mark.spec("BT-5")
def test_a_page_of_many_symbols_stays_small() -> None:
    columns, end_ms = walk(45_000), START_MS + 45_000 * MINUTE_MS
    symbols = [f"COIN{number}USDT" for number in range(8)]
    trips = [
        trip(symbols[number % 8], at, at + 3_600_000, stops=[[at + step * 1_000, "99.5"] for step in range(500)])
        for number, at in enumerate(range(START_MS, end_ms - 3_600_000, 600_000))
    ]
    page = candle_section(dict.fromkeys(symbols, columns), trips)
    assert len(page.encode()) < 5_000_000
    shown = [made for part in parts_of(page) for made in part["trips"]]
    assert len(shown) == len(trips)
    assert sum(len(made["stops"]) for made in shown) <= 40_000
    assert all(made["stops"][0][0] == 0 and made["stops"][-1][0] == 499_000 for made in shown)


@pytest.mark.spec("BT-5")
def test_a_round_trip_is_on_the_chart_of_its_symbol_with_its_stops() -> None:
    entry_ms = START_MS + 600_000
    trips = [
        trip("OTHER", entry_ms, entry_ms + 60_000),
        trip("BTCUSDT", entry_ms, entry_ms + 60_000, stops=[[entry_ms, "98"], [entry_ms + 5, "99"]], target="103",
             path_dependent=True),
    ]  # fmt: skip
    (part,) = parts_of(candle_section({"BTCUSDT": walk(100)}, trips))
    (shown,) = part["trips"]
    assert shown["number"] == 2
    assert shown["stops"] == [[0, 98], [5, 99]]
    assert (shown["target"], shown["depends"]) == (103, True)


@pytest.mark.spec("BT-5")
def test_without_candles_the_section_says_so() -> None:
    assert "not measured" in candle_section(None, [])
    assert "not measured" in candle_section({}, [])


def test_a_symbol_cannot_end_the_script() -> None:
    evil = "</script><b>"
    page = candle_section({evil: walk(10)}, [trip(evil, START_MS, START_MS, reason=evil)])
    assert page.count("</script>") == 1
    assert parts_of(page)[0]["symbol"] == evil
