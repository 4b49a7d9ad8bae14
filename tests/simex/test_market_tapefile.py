"""Candle files: exact candles from Parquet and CSV, or one line that names file and row."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import polars
import pytest

from simex.tapefile import TapeError, load_tape, read_candles, symbol_and_path
from simex.venue import Candle

T0_MS = 1_717_200_000_000
STEP_MS = 900_000
HALT_FROM_MS = 1_679_661_000_000  # 2023-03-24 12:30 UTC
DATA = Path(os.environ.get("SUREFOOT_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no market data: set SUREFOOT_DATA")


def line(index: int, prices: str = "100.5,101,99.25,100", volume: str = "3.5", t0: int = T0_MS, unit: int = 1) -> str:
    open_ms = t0 + index * STEP_MS
    return f"{open_ms * unit},{prices},{volume},{(open_ms + STEP_MS) * unit - 1},0,0,0,0,0"


def csv_file(folder: Path, *lines: str, name: str = "BTCUSDT-15m-2024-06.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.spec("SIM-3")
def test_a_csv_without_header_is_read_exactly(tmp_path: Path) -> None:
    first, second = read_candles(csv_file(tmp_path, line(0), line(1)))
    assert first == Candle(
        T0_MS, STEP_MS, Decimal("100.5"), Decimal(101), Decimal("99.25"), Decimal(100), Decimal("3.5")
    )
    assert second.open_ms == T0_MS + STEP_MS


def test_a_header_names_the_columns_in_any_order(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "volume,close,low,high,open,open_time,note",
        f"3,100,99,101,100.5,{T0_MS},x",
        f"3,100,99,101,100.5,{T0_MS + STEP_MS},y",
    )
    assert read_candles(path)[0].high == Decimal(101)


def test_times_in_microseconds_are_understood(tmp_path: Path) -> None:
    plain = read_candles(csv_file(tmp_path, line(0), line(1)))
    assert read_candles(csv_file(tmp_path, line(0, unit=1_000), line(1, unit=1_000))) == plain


def test_floats_of_parquet_become_their_shortest_text(tmp_path: Path) -> None:
    path = tmp_path / "SOLUSDT.parquet"
    polars.DataFrame(
        {
            "open_time": [T0_MS, T0_MS + 60_000],
            "open": [0.1, 0.3],
            "high": [0.3, 0.3],
            "low": [0.1, 0.1],
            "close": [0.3, 0.1],
            "volume": [16138.190000000001, 0.0],
        }
    ).write_parquet(path)
    first, second = read_candles(path)
    assert (first.open, first.high, first.volume) == (Decimal("0.1"), Decimal("0.3"), Decimal("16138.19"))
    assert first.interval_ms == 60_000
    assert second.volume == 0


@pytest.mark.parametrize(
    ("source", "symbol", "path"),
    [
        ("files/BTCUSDT.parquet", "BTCUSDT", "files/BTCUSDT.parquet"),
        ("BTCUSDT-15m-2024-01.csv", "BTCUSDT", "BTCUSDT-15m-2024-01.csv"),
        ("ETHUSDT=some/prices.csv", "ETHUSDT", "some/prices.csv"),
    ],
)
def test_the_symbol_comes_from_the_name_or_is_said(source: str, symbol: str, path: str) -> None:
    assert symbol_and_path(source) == (symbol, Path(path))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([line(0), line(1, "100,99,101,100")], "row 2: high 99 is below low 101"),
        ([line(0), line(1, "102,101,99,100")], "row 2: open 102 or close 100 is outside"),
        ([line(0), line(1, "100,101,99,x")], "row 2: 100, 101, 99, x, 3.5 are not all numbers"),
        ([line(0), line(1, "100,101,-1,100")], "row 2: low -1 is not a positive price"),
        ([line(0), line(1, "100,NaN,99,100")], "row 2: high NaN is not a positive price"),
        ([line(0), line(1, "100,101,99.123456789,100")], "row 2: low 99.123456789 has more than 8 decimals"),
        ([line(0), line(1, volume="-1")], "row 2: volume -1 is not a quantity"),
        ([line(0), line(0)], "row 2: open_time 1717200000000 is there twice"),
        ([line(1), line(0)], "row 2: open_time 1717200000000 comes after 1717200900000"),
        ([line(0), line(1), line(4)], "row 3: 2 candles are missing before open_time 1717203600000"),
        ([line(0, t0=T0_MS + 7), line(1, t0=T0_MS + 7)], "row 1: open_time 1717200000007 is not on the grid"),
        ([line(0), line(2)], "the name says 900000 ms a candle, the times say 1800000 ms"),
        ([line(0), "1717200900000,1,1"], "row 2: 3 fields, at least 6 are needed"),
        (["open_time,open,high,low,close", "1,2,3,4,5"], "row 1: column volume is missing"),
        ([line(0), line(1).replace("1717200900000", "soon")], "row 2: open_time 'soon' is not a whole number"),
        ([], "the file has no candles"),
    ],
)
def test_a_file_that_cannot_be_true_is_refused_with_its_row(lines: list[str], complaint: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, *lines)
    with pytest.raises(TapeError) as refused:
        read_candles(path)
    assert complaint in str(refused.value)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["BTCUSDT.parquet", "BTCUSDT.csv"])
def test_bytes_that_are_no_candle_file_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe\x00 not a table")
    with pytest.raises(TapeError, match="not a readable"):
        read_candles(path)


@pytest.mark.parametrize("source", ["BTCUSDT-missing.parquet", "prices.csv"])
def test_missing_files_and_nameless_files_are_refused(source: str) -> None:
    with pytest.raises(TapeError):
        load_tape([source])


def test_gaps_are_kept_when_allowed(tmp_path: Path) -> None:
    path = csv_file(tmp_path, line(0), line(1), line(4))
    assert [candle.open_ms for candle in read_candles(path, gaps="keep")] == [
        T0_MS,
        T0_MS + STEP_MS,
        T0_MS + 4 * STEP_MS,
    ]


def test_a_gap_inside_a_known_halt_of_the_exchange_is_no_gap(tmp_path: Path) -> None:
    before_ms = HALT_FROM_MS - 2 * STEP_MS
    halted = [line(0, t0=before_ms), line(1, t0=before_ms), line(8, t0=before_ms)]
    assert len(read_candles(csv_file(tmp_path, *halted))) == 3
    too_long = [line(0, t0=before_ms), line(1, t0=before_ms), line(9, t0=before_ms)]
    with pytest.raises(TapeError, match="missing"):
        read_candles(csv_file(tmp_path, *too_long))


def test_files_of_one_symbol_are_joined_by_time(tmp_path: Path) -> None:
    late = csv_file(tmp_path, line(2), line(3), name="BTCUSDT-15m-b.csv")
    early = csv_file(tmp_path, line(0), line(1), name="BTCUSDT-15m-a.csv")
    tape = load_tape([str(late), str(early)])
    assert [c.open_ms for c in tape.candles["BTCUSDT"]] == [T0_MS + i * STEP_MS for i in range(4)]
    with pytest.raises(TapeError, match="is already in"):
        load_tape([str(early), str(csv_file(tmp_path, line(1), line(2), name="BTCUSDT-15m-c.csv"))])


@needs_data
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"])
def test_a_week_of_real_minutes_is_read_on_its_grid(symbol: str) -> None:
    tape = load_tape([str(DATA / "demo" / "um_1m" / f"{symbol}.parquet")])
    (instrument,) = tape.instruments
    candles = tape.candles[symbol]
    assert (len(candles), candles[0].interval_ms) == (10_080, 60_000)
    assert not any(price % instrument.tick_size for c in candles for price in (c.open, c.high, c.low, c.close))


@needs_data
def test_the_real_halt_of_march_2023_is_read_without_a_flag() -> None:
    candles = read_candles(DATA / "open" / "klines" / "spot_5m_outage" / "BTCUSDT.parquet")
    assert len(candles) == 2_576
