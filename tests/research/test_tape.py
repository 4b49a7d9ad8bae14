"""Finer candles in place of those that they decide: which ones, and that the engine trades on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.market import GeneratedMarket
from surefoot.cli import main
from surefoot.config import load
from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.research.backtest import run_backtest
from surefoot.research.data import COLUMN_NAMES, CandleFile, DataError, load_candles
from surefoot.research.tape import TapeColumns, counted, resample_tape, tape_of
from surefoot.signals.window import Columns, Resampler, resample

MINUTE_MS, QUARTER_MS = INTERVAL_MS["1m"], INTERVAL_MS["15m"]
START_MS = 1_790_000_100_000 // 3_600_000 * 3_600_000
DAYS = 2
OFTEN = {
    "market.interval": "15m",
    "market.confirm_interval": "1h",
    "rsi.oversold": "45",
    "rsi.overbought": "55",
    "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.5",
}


def save(folder: Path, symbol: str, interval: str, columns: Columns) -> str:
    place = folder / f"{symbol}-{interval}.parquet"
    pl.DataFrame(dict(zip(COLUMN_NAMES, columns, strict=True))).write_parquet(place)
    return str(place)


def part(columns: Columns, kept: Any) -> Columns:
    return Columns(*(column[kept] for column in columns))


@pytest.fixture(scope="module")
def minutes() -> dict[str, Columns]:
    """Two days of generated minutes of two symbols."""
    history = GeneratedMarket(15, ["BTCUSDT", "ETHUSDT"], START_MS, history_days=DAYS).history
    found = {}
    for symbol, candles in history.items():
        rows = [(c.open_ms, *map(float, (c.open, c.high, c.low, c.close, c.volume))) for c in candles]
        open_ms, *values = (np.array(column) for column in zip(*rows, strict=True))
        # A sum of Decimals is exact and a sum of floats is not: one order of adding for both files.
        found[symbol] = Columns(open_ms, values[0], values[1], values[2], values[3], np.round(values[4], 3))
    return found


@pytest.fixture(scope="module")
def quarters(minutes: dict[str, Columns]) -> dict[str, Columns]:
    higher = {symbol: resample(columns, "1m", "15m")[0] for symbol, columns in minutes.items()}
    return {symbol: columns._replace(volume=np.round(columns.volume, 3)) for symbol, columns in higher.items()}


@pytest.fixture
def files(tmp_path: Path, minutes: dict[str, Columns], quarters: dict[str, Columns]) -> tuple[list[str], list[str]]:
    """The same market twice: as 15m and as 1m files."""
    coarse = [save(tmp_path, symbol, "15m", columns) for symbol, columns in quarters.items()]
    return coarse, [save(tmp_path, symbol, "1m", columns) for symbol, columns in minutes.items()]


def backtest(candles: Sequence[str], detail: Sequence[str] = (), **changed: str) -> dict[str, Any]:
    return run_backtest(load(None, OFTEN | changed, {}).settings, candles, detail=detail)


def tape(files: tuple[list[str], list[str]], detail: Columns, folder: Path) -> Any:
    return tape_of(load_candles(files[0][0]), load_candles(save(folder, "BTCUSDT", "1m", detail), gaps="keep"))


@pytest.mark.spec("BT-3")
@pytest.mark.parametrize("path", ["worst", "best"])
def test_candles_with_full_detail_trade_as_the_finer_candles_do(files: tuple[list[str], list[str]], path: str) -> None:
    coarse, fine = files
    detailed = backtest(coarse, fine, **{"costs.path": path})
    finest = backtest(fine, **{"costs.path": path})
    assert len(finest["round_trips"]) >= 5, "the test proves nothing without trades"
    assert detailed["round_trips"] == finest["round_trips"]
    assert detailed["digest"] == finest["digest"]
    assert detailed["equity_curve"] == finest["equity_curve"]
    assert detailed["detail"] == {
        "candles_replaced": 2 * DAYS * 96,
        "share_pct": 100.0,
        "candles_disagreeing": 0,
        "first_disagreeing_ms": {},
    }
    assert [entry["interval"] for entry in detailed["data"]] == ["15m", "1m", "15m", "1m"]


@pytest.mark.spec("BT-3")
def test_detail_decides_and_not_the_assumed_path(files: tuple[list[str], list[str]]) -> None:
    """Without this the test above could pass on a market in which the path inside a candle does not matter."""
    coarse, fine = files
    assert backtest(coarse)["round_trips"] != backtest(coarse, fine)["round_trips"]
    assert backtest(coarse)["detail"]["share_pct"] == 0.0


@pytest.mark.spec("BT-3", "BT-6")
def test_a_tape_of_mixed_lengths_trades_as_its_parts_do(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], tmp_path: Path
) -> None:
    """Detail of the last day only: every round trip that ends before them is that of the coarse candles alone."""
    coarse, _ = files
    from_ms = START_MS - INTERVAL_MS["1d"]
    late = tmp_path / "late"
    late.mkdir()
    fine = [save(late, symbol, "1m", part(columns, columns.open_ms >= from_ms)) for symbol, columns in minutes.items()]
    mixed, alone = backtest(coarse, fine), backtest(coarse)
    assert mixed["detail"]["share_pct"] == 50.0
    assert mixed["candles"] == 2 * (96 + 1_440)
    early = [trip for trip in alone["round_trips"] if trip["exit_ms"] < from_ms]
    assert len(early) >= 2
    assert mixed["round_trips"][: len(early)] == early
    assert len(mixed["round_trips"]) > len(early)
    assert any(trip["exit_ms"] % QUARTER_MS not in {0, QUARTER_MS // 4} for trip in mixed["round_trips"][len(early) :])
    assert backtest(coarse[::-1], fine[::-1])["digest"] == mixed["digest"]


@pytest.mark.spec("BT-3", "SIG-4")
def test_signals_see_the_same_candles_whatever_was_replaced(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], quarters: dict[str, Columns], tmp_path: Path
) -> None:
    some = minutes["BTCUSDT"].open_ms // QUARTER_MS % 3 != 0
    made = tape(files, part(minutes["BTCUSDT"], some), tmp_path)
    lengths = set(made.columns.length_ms.tolist())
    assert lengths == {MINUTE_MS, QUARTER_MS}
    signals, seen = resample_tape(made.columns, "15m")
    for ours, told in zip(signals[:5], quarters["BTCUSDT"][:5], strict=True):
        assert np.array_equal(ours, told)
    assert np.allclose(signals.volume, quarters["BTCUSDT"].volume, rtol=1e-12)
    ends = made.columns.open_ms + made.columns.length_ms
    assert np.array_equal(seen, np.searchsorted(signals.open_ms + QUARTER_MS, ends, side="right"))


def test_equal_lengths_resample_as_the_live_window_does(minutes: dict[str, Columns]) -> None:
    given = part(minutes["ETHUSDT"], np.r_[0:40, 47:200])
    whole = TapeColumns(given.open_ms, np.full_like(given.open_ms, MINUTE_MS), *given[1:])
    signals, _ = resample_tape(whole, "15m")
    live = Resampler("1m", "15m")
    built: list[Candle] = []
    for open_ms, *values in zip(*(column.tolist() for column in given), strict=True):
        candle = Candle("ETHUSDT", "1m", open_ms, open_ms + MINUTE_MS - 1, *(Decimal(repr(value)) for value in values))
        built += live.append(candle)
    assert [candle.open_ms for candle in built] == signals.open_ms.tolist()[: len(built)]
    assert [float(candle.close) for candle in built] == signals.close.tolist()[: len(built)]


def test_a_candle_of_which_one_finer_is_missing_is_kept(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], tmp_path: Path
) -> None:
    for at in (0, 7, 14):
        without = np.delete(np.arange(minutes["BTCUSDT"].open_ms.size), 15 * 10 + at)
        made = tape(files, part(minutes["BTCUSDT"], without), tmp_path)
        assert (made.given, made.replaced, made.disagreeing_ms) == (192, 191, ())
        kept = np.flatnonzero(made.columns.length_ms == QUARTER_MS)
        assert made.columns.open_ms[kept].tolist() == [minutes["BTCUSDT"].open_ms[150]]
        assert np.array_equal(made.columns.open_ms[1:], (made.columns.open_ms + made.columns.length_ms)[:-1])


def test_finer_candles_beyond_either_end_and_none_at_all_are_taken_as_they_are(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], tmp_path: Path
) -> None:
    later = minutes["BTCUSDT"]._replace(open_ms=minutes["BTCUSDT"].open_ms + 365 * INTERVAL_MS["1d"])
    made = tape(files, later, tmp_path)
    assert (len(made), made.replaced) == (192, 0)
    middle = part(minutes["BTCUSDT"], slice(1_000, 1_049))
    assert tape(files, middle, tmp_path).replaced == 2  # 1 005 to 1 035; of the next one the last minute is missing


@pytest.mark.spec("BT-3")
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_finer_candles_that_tell_another_price_do_not_decide(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], tmp_path: Path, column: str
) -> None:
    """A tick apart is a matter of rounding; two are another market."""
    given, inside = minutes["BTCUSDT"], slice(300, 315)
    at = {"open": 300, "high": 300 + int(given.high[inside].argmax()), "low": 300 + int(given.low[inside].argmin())}
    place, sign = at.get(column, 314), -1 if column == "low" else 1
    for ticks, disagreeing in ((1, ()), (2, (int(given.open_ms[300]),))):
        moved = {name: values.copy() for name, values in given._asdict().items()}
        moved[column][place] = np.round(moved[column][place] + sign * ticks * 0.01, 2)
        if column in ("open", "close"):  # the candle stays a possible one
            moved["high"][place] = max(moved["high"][place], moved[column][place])
        made = tape(files, Columns(**moved), tmp_path)
        assert made.disagreeing_ms == disagreeing
        assert made.replaced == 192 - len(disagreeing)


def test_the_rows_of_a_tape_are_exact_and_carry_their_length(
    files: tuple[list[str], list[str]], minutes: dict[str, Columns], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.research.tape.ROWS_AT_A_TIME", 1_000)
    made = tape(files, part(minutes["BTCUSDT"], slice(15, 2_760)), tmp_path)
    rows = list(made.rows())
    assert len(rows) == len(made)
    assert rows[0][1] == QUARTER_MS
    assert rows[1][1] == MINUTE_MS
    for at in (0, 1, 999, 1_000, len(rows) - 1):
        assert rows[at][2:] == tuple(Decimal(repr(float(column[at]))) for column in made.columns[2:])


def refusal(base: CandleFile, detail: CandleFile) -> str:
    with pytest.raises(DataError) as error:
        tape_of(base, detail)
    return str(error.value)


def test_detail_of_another_symbol_or_of_no_finer_interval_is_refused(files: tuple[list[str], list[str]]) -> None:
    (btc, eth), (btc_1m, eth_1m) = (list(map(load_candles, some)) for some in files)
    assert "has candles of ETHUSDT, which cannot say more about BTCUSDT" in refusal(btc, eth_1m)
    assert "candles of 15m do not divide those of 15m" in refusal(btc, btc)
    assert "candles of 15m do not divide those of 1m" in refusal(eth_1m, eth)
    with pytest.raises(DataError, match="detail of BTCUSDT, of which no other candles are given"):
        backtest(files[0][1:], [files[1][0]])
    with pytest.raises(DataError, match="BTCUSDT is given 2 times"):
        backtest(files[0], [files[1][0], files[1][0]])
    assert btc_1m.interval == "1m"


@pytest.mark.spec("BT-3")
def test_the_command_tells_what_detail_decided_and_where_it_was_not_believed(
    files: tuple[list[str], list[str]],
    minutes: dict[str, Columns],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    other = minutes["BTCUSDT"]._replace(close=minutes["BTCUSDT"].close.copy(), high=minutes["BTCUSDT"].high + 0.0)
    other.close[314] = other.high[314] = other.high[314] + 50
    save(tmp_path, "BTCUSDT", "1m", other)
    sets = [word for key, value in OFTEN.items() for word in ("--set", f"{key}={value}")]
    assert main(["backtest", "--candles", *files[0], "--detail", *files[1], *sets]) == 0
    told = capsys.readouterr().out
    moment = datetime.fromtimestamp(int(other.open_ms[300]) / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert "detail       finer candles decide 383 candles, 99.74 %\n" in told
    assert f"BTCUSDT: they tell other prices than the candles, first at {moment}\n" in told
    assert "1 candle kept for that reason\n" in told


@pytest.mark.spec("BT-3")
def test_real_quarters_and_real_minutes_of_one_market_agree(shared_data: Path) -> None:
    coarse = load_candles(shared_data / "open/klines/um_5m/BTCUSDT.parquet")
    fine = resample(load_candles(shared_data / "demo/um_1m/BTCUSDT.parquet").columns, "1m", "5m")[0]
    assert not np.intersect1d(coarse.columns.open_ms, fine.open_ms).size  # these two do not meet in time
    quarters = load_candles(shared_data / "open/klines/um_15m/BTCUSDT.parquet")
    made = tape_of(quarters, coarse)
    assert made.disagreeing_ms == ()
    assert made.replaced == len(quarters)


@given(st.lists(st.decimals(0, 10**9, places=8) | st.integers(0, 10**12) | st.floats(1e-12, 1e12), min_size=1))
def test_counted_floats_are_what_their_shortest_texts_say(numbers: list[Decimal | int | float]) -> None:
    column = [float(number) for number in numbers]
    decimals, (steps,) = counted(np.array([column]))
    assert [Decimal(step).scaleb(-decimals) for step in steps] == [Decimal(repr(number)) for number in column]


@pytest.mark.parametrize(
    ("texts", "decimals"), [(("1", "250"), 0), (("95000.1", "7"), 1), (("0.00000001",), 8), (("0.1", "123.25"), 2)]
)
def test_numbers_are_counted_in_the_coarsest_step_that_they_lie_on(texts: tuple[str, ...], decimals: int) -> None:
    assert counted(np.array([[float(text) for text in texts]]))[0] == decimals
