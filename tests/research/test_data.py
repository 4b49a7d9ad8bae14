"""Candle files: what is read, what is refused, and how it is said."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from surefoot.research.data import COLUMN_NAMES, KNOWN_HALTS, DataError, find_gaps, load_candles

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
QUARTER_MS = 900_000
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)

Line = tuple[int, str, str, str, str, str]


def shared(name: str) -> Path:
    place = Path(os.environ.get("SUREFOOT_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not place.exists():
        pytest.skip(f"market data is not here: {place} (set SUREFOOT_DATA)")
    return place


def lines(*numbers: int) -> list[Line]:
    return [(START_MS + number * QUARTER_MS, "42000.10", "42100.5", "41900", "42050.01", "12.5") for number in numbers]


def csv(
    folder: Path, given: Sequence[Line], name: str = "BTCUSDT-15m-2024-01.csv", head: str = "", unit: int = 1
) -> Path:
    """Written as the venue's archive has it: twelve columns, with or without a header, ms or µs."""
    place = folder / name
    rows = [f"{at * unit},{','.join(rest)},{(at + QUARTER_MS) * unit - 1},1.0,10,0.5,0.5,0" for at, *rest in given]
    place.write_text("\n".join([*([head] if head else []), *rows]) + "\n", encoding="utf-8")
    return place


def refusal(place: Path | str, **settings: str) -> str:
    with pytest.raises(DataError) as error:
        load_candles(place, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize("head", ["", HEADER])
@pytest.mark.parametrize("unit", [1, 1000])
def test_an_archive_is_read_with_or_without_header_in_ms_or_us(tmp_path: Path, head: str, unit: int) -> None:
    place = csv(tmp_path, lines(0, 1, 2), head=head, unit=unit)
    file = load_candles(place)
    assert (file.symbol, file.interval, len(file), file.gaps) == ("BTCUSDT", "15m", 3, ())
    assert file.sha256 == hashlib.sha256(place.read_bytes()).hexdigest()
    assert next(file.rows()) == (START_MS, *map(Decimal, ("42000.10", "42100.5", "41900", "42050.01", "12.5")))
    assert [str(number) for number in next(file.rows())[1:]] == ["42000.1", "42100.5", "41900.0", "42050.01", "12.5"]


def test_columns_of_a_csv_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    place = tmp_path / "ETHUSDT.csv"
    head = "volume,close,low,note,high,open,open_time"
    place.write_text(f"{head}\n7,4,1,x,9,2,{START_MS}\n7,4,1,x,9,2,{START_MS + QUARTER_MS}\n", encoding="utf-8")
    file = load_candles(place)
    assert next(file.rows()) == (START_MS, *map(Decimal, (2, 9, 1, 4, 7)))
    assert (file.symbol, file.interval) == ("ETHUSDT", "15m")


def test_parquet_and_csv_of_the_same_candles_are_equal(tmp_path: Path) -> None:
    source = shared("demo/um_1m/BTCUSDT.parquet")
    frame = pl.read_parquet(source)
    frame.write_csv(tmp_path / "BTCUSDT-1m-2025-05.csv")
    frame.write_csv(tmp_path / "BTCUSDT-1m-2025-06.csv", include_header=False)
    whole = load_candles(source)
    assert (whole.symbol, whole.interval, len(whole)) == ("BTCUSDT", "1m", 10_080)
    for name in ("BTCUSDT-1m-2025-05.csv", "BTCUSDT-1m-2025-06.csv"):
        other = load_candles(tmp_path / name)
        for ours, theirs in zip(whole.columns, other.columns, strict=True):
            assert np.array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
            assert ours.flags.c_contiguous


def test_every_row_is_the_exact_text_of_its_float_across_block_borders() -> None:
    file = load_candles(shared("demo/um_1m/SOLUSDT.parquet"))
    rows = list(file.rows())
    assert len(rows) == len(file) == 10_080
    for at in (0, 4_095, 4_096, 8_192, 10_079):
        values = [Decimal(repr(float(column[at]))) for column in file.columns[1:]]
        assert rows[at] == (int(file.columns.open_ms[at]), *values)
    for row, candle in islice(zip(rows, file.candles(), strict=True), 100):
        assert (candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume) == row
        assert (candle.symbol, candle.interval, candle.close_ms) == ("SOLUSDT", "1m", candle.open_ms + 59_999)


def test_sub_cent_prices_keep_every_digit(tmp_path: Path) -> None:
    given: list[Line] = [(START_MS, "0.00001234", "0.00001300", "0.00001", "0.00001299", "1000000")]
    file = load_candles(csv(tmp_path, given))
    assert next(file.rows())[1:] == tuple(map(Decimal, ("0.00001234", "0.000013", "0.00001", "0.00001299", "1000000")))


def test_the_symbol_comes_from_the_argument_the_prefix_or_the_name(tmp_path: Path) -> None:
    place = csv(tmp_path, lines(0, 1), name="my candles.csv")
    assert "the name does not say which symbol it is; write SYMBOL=" in refusal(place)
    assert load_candles(f"SOLUSDT={place}").symbol == "SOLUSDT"
    assert load_candles(place, symbol="BNBUSDT").symbol == "BNBUSDT"
    assert load_candles(place, symbol="BNBUSDT").interval == "15m"


@pytest.mark.spec("DATA-2")
def test_a_gap_is_refused_with_its_times_and_kept_on_demand(tmp_path: Path) -> None:
    place = csv(tmp_path, lines(0, 1, 5, 6, 8))
    said = refusal(place)
    assert str(place) in said
    assert "missing candles: 3, from 2024-01-01 00:30 to 2024-01-01 01:15 UTC (and 1 more gaps)" in said
    assert 'say gaps="keep"' in said
    kept = load_candles(place, gaps="keep").gaps
    assert [(gap.from_ms, gap.to_ms, gap.candles, gap.halt) for gap in kept] == [
        (START_MS + 2 * QUARTER_MS, START_MS + 5 * QUARTER_MS, 3, None),
        (START_MS + 7 * QUARTER_MS, START_MS + 8 * QUARTER_MS, 1, None),
    ]


@pytest.mark.spec("DATA-2")
@pytest.mark.parametrize(
    "name", ["measure/klines/spot_15m/BTCUSDT.parquet", "open/klines/spot_5m_outage/ETHUSDT.parquet"]
)
def test_the_halt_of_march_2023_is_known_and_accepted(name: str) -> None:
    (gap,) = load_candles(shared(name)).gaps
    assert gap.to_ms == KNOWN_HALTS[0].to_ms
    assert gap.halt == "Binance spot halt of 2023-03-24"


@pytest.mark.spec("DATA-2")
def test_a_gap_that_is_longer_than_the_halt_is_not_excused_by_it() -> None:
    halt = KNOWN_HALTS[0]
    opens = [halt.from_ms - QUARTER_MS, halt.to_ms, halt.to_ms + 2 * QUARTER_MS]
    within, after = find_gaps(np.array(opens), QUARTER_MS)
    assert (within.halt is not None, after.halt) == (True, None)
    (early,) = find_gaps(np.array([halt.from_ms - 2 * QUARTER_MS, halt.to_ms]), QUARTER_MS)
    assert early.halt is None


def changed(at: int, column: int, value: str) -> list[Line]:
    given = [list(line) for line in lines(0, 1, 2, 3)]
    given[at][column] = value
    return [tuple(line) for line in given]  # type: ignore[misc]


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (changed(1, 2, "nan"), "candle 2, 2024-01-01 00:15 UTC: a price or volume is not finite"),
        (changed(1, 5, "inf"), "a price or volume is not finite"),
        (changed(2, 3, "0"), "candle 3, 2024-01-01 00:30 UTC: a price is not above zero"),
        (changed(2, 1, "-1"), "a price is not above zero"),
        (changed(3, 5, "-0.5"), "candle 4, 2024-01-01 00:45 UTC: the volume is negative"),
        (changed(0, 4, "42100.6"), "candle 1, 2024-01-01 00:00 UTC: high and low do not enclose open and close"),
        (changed(0, 1, "41899.9"), "high and low do not enclose"),
        (changed(1, 4, "abc"), "row 2: close is missing or not a number"),
        (changed(1, 4, ""), "row 2: close is missing or not a number"),
        (lines(0, 1, 1, 2), "candle 3, 2024-01-01 00:15 UTC: the candle comes twice"),
        (lines(0, 2, 1, 3), "candle 3, 2024-01-01 00:15 UTC: the candle is older than the one before it"),
        ([(at + 60_000, *rest) for at, *rest in lines(0, 1)], "a 15m candle cannot open then (and 1 more)"),
        (
            [*lines(0, 1), (START_MS * 1000 + 2 * QUARTER_MS * 1000, *lines(2)[0][1:])],
            "candle 3, time 1704069000000000: the open time is in another unit",
        ),
    ],
)
def test_a_candle_that_cannot_be_is_refused_with_its_place(tmp_path: Path, given: Sequence[Line], said: str) -> None:
    assert said in refusal(csv(tmp_path, given))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; download it again"),
        (HEADER + "\n", "holds no candles"),
        ("open_time,open,high,low,close,amount\n1,1,1,1,1,1\n", "has no column 'volume'"),
        (f"{START_MS},1,1,1,1,1\n1.7e12,1,1,1,1,1\n", "row 2: open_time is missing or not a number"),
        ("<html>not found</html>\n", "row 1 has 1 columns instead of at least 6"),
        (f"{START_MS},1,1,1,1,1\n{START_MS + QUARTER_MS},1\n", "row 2: high is missing or not a number"),
    ],
)
def test_a_csv_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    place = tmp_path / "BTCUSDT.csv"
    place.write_text(text, encoding="utf-8")
    assert said in refusal(place)


def test_a_file_that_is_not_there_or_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "BTCUSDT.csv").endswith("BTCUSDT.csv: there is no such file")
    assert refusal(tmp_path / "nope.csv").endswith("nope.csv: there is no such file")
    (tmp_path / "BTCUSDT.parquet").write_bytes(b"PAR1 but not really")
    assert "is not a Parquet file" in refusal(tmp_path / "BTCUSDT.parquet")
    pl.DataFrame({"open_time": [1], "open": [1.0]}).write_parquet(tmp_path / "ETHUSDT.parquet")
    assert "has no column 'high'" in refusal(tmp_path / "ETHUSDT.parquet")
    pl.DataFrame({name: [] for name in COLUMN_NAMES}).write_parquet(tmp_path / "BNBUSDT.parquet")
    assert "holds no candles" in refusal(tmp_path / "BNBUSDT.parquet")
    (tmp_path / "BTCUSDT-15m.json").write_text("[]", encoding="utf-8")
    assert "only .csv, .zip and .parquet are read" in refusal(f"BTCUSDT={tmp_path}/BTCUSDT-15m.json")
    (tmp_path / "SOLUSDT.csv").mkdir()
    assert "cannot be read" in refusal(tmp_path / "SOLUSDT.csv")


def test_an_interval_that_does_not_exist_or_cannot_be_told_is_refused(tmp_path: Path) -> None:
    place = csv(tmp_path, lines(0, 1), name="BTCUSDT.csv")
    assert "interval '7m' is not one of 1m, 3m" in refusal(place, interval="7m")
    alone = csv(tmp_path, lines(0), name="BTCUSDT.csv")
    assert "which is no interval; name the interval" in refusal(alone)
    assert load_candles(alone, interval="15m").interval == "15m"


def test_polars_is_not_loaded_before_a_file_is_read() -> None:
    asked = "import sys, surefoot.research.data; print('polars' in sys.modules, 'numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout == "False True\n"
