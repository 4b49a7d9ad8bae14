"""`surefoot data import`: files become one, what disagrees is refused, and nothing that was there is lost."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as some

from surefoot.cli import main
from surefoot.core.model import INTERVAL_MS
from surefoot.research.candlefile import COLUMN_NAMES
from surefoot.research.data import DataError, load_candles
from surefoot.research.merge import Part, merge
from surefoot.signals.window import Columns
from tests.research.venue import archive_of, candle, utc_ms

QUARTER_MS = INTERVAL_MS["15m"]
START_MS = utc_ms(2024, 12, 31)


def times(first: int, count: int) -> range:
    return range(START_MS + first * QUARTER_MS, START_MS + (first + count) * QUARTER_MS, QUARTER_MS)


def archive(folder: Path, name: str, first: int, count: int) -> str:
    (folder / name).write_bytes(archive_of(name, times(first, count), QUARTER_MS))
    return str(folder / name)


def csv(folder: Path, name: str, rows: list[list[Any]]) -> str:
    (folder / name).write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return str(folder / name)


def rows(first: int, count: int) -> list[list[Any]]:
    return [candle(open_ms, QUARTER_MS) for open_ms in times(first, count)]


def imported(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["data", "import", *words, "--json"]) == 0, capsys.readouterr().err
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return found


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["data", "import", *words]) == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.mark.spec("DATA-7")
def test_months_of_archives_in_ms_and_us_become_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = archive(tmp_path, "BTCUSDT-15m-2024-12.zip", 0, 96)
    new = archive(tmp_path, "BTCUSDT-15m-2025-01.zip", 96, 200)
    (told,) = imported(capsys, new, old, "--out", str(tmp_path / "out"))
    file = load_candles(told["file"])
    assert told["file"] == str(tmp_path / "out/BTCUSDT-15m.parquet")
    assert file.columns.open_ms.tolist() == list(times(0, 296))
    assert [list(row)[1:] for row in file.rows()] == [
        [type(row[1])(str(float(str(value)))) for value in candle(row[0], QUARTER_MS)[1:6]] for row in file.rows()
    ]
    assert (told["candles"], told["repeated"], told["gaps"], told["sha256"]) == (296, 0, [], file.sha256)
    assert files_in(tmp_path / "out") == ["BTCUSDT-15m.parquet"]


@pytest.mark.spec("DATA-7")
def test_equal_rows_are_taken_once_and_disorder_is_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = csv(tmp_path, "BTCUSDT-15m-2024-12.csv", rows(0, 10) + rows(0, 2))
    second = csv(tmp_path, "BTCUSDT-15m-2025-01.csv", rows(6, 10)[::-1])
    (told,) = imported(capsys, second, first, "--out", str(tmp_path / "whole.parquet"))
    assert (told["candles"], told["repeated"], told["gaps"]) == (16, 6, [])
    assert load_candles(f"BTCUSDT={tmp_path}/whole.parquet").columns.open_ms.tolist() == list(times(0, 16))


@pytest.mark.spec("DATA-7")
def test_an_overlap_that_disagrees_is_refused_with_both_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = rows(6, 10)
    changed[2][5] = "77.0"
    one, other = csv(tmp_path, "BTCUSDT-15m-2024.csv", rows(0, 10)), csv(tmp_path, "BTCUSDT-15m-2025.csv", changed)
    said = refusal(capsys, one, other, "--out", str(tmp_path / "out"))
    assert f"{one} and {other} disagree at 2024-12-31 02:00 UTC: volume " in said
    assert "or 77.0; leave one of them out" in said
    assert not (tmp_path / "out").exists()
    twice = csv(tmp_path, "ETHUSDT-15m.csv", [*rows(0, 3), [*rows(1, 1)[0][:5], "5.5"]])
    assert f"{twice}: two rows disagree at 2024-12-31 00:15 UTC" in refusal(capsys, twice, "--out", str(tmp_path))


@pytest.mark.spec("DATA-7")
def test_symbols_and_intervals_go_to_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hours = [candle(START_MS + at * INTERVAL_MS["1h"], INTERVAL_MS["1h"]) for at in range(4)]
    given_files = [
        csv(tmp_path, "BTCUSDT-15m.csv", rows(0, 4)),
        csv(tmp_path, "ETHUSDT-15m.csv", rows(0, 4)),
        csv(tmp_path, "BTCUSDT-1h.csv", hours),
    ]
    told = imported(capsys, *given_files, "--out", str(tmp_path / "out"))
    assert files_in(tmp_path / "out") == ["BTCUSDT-15m.parquet", "BTCUSDT-1h.parquet", "ETHUSDT-15m.parquet"]
    assert [one["candles"] for one in told] == [4, 4, 4]
    said = refusal(capsys, *given_files, "--out", str(tmp_path / "one.parquet"))
    assert "one file cannot hold BTCUSDT 15m, ETHUSDT 15m, BTCUSDT 1h; give a folder" in said


@pytest.mark.spec("DATA-7")
def test_what_is_there_is_replaced_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "BTCUSDT-15m.parquet"
    out.write_bytes(b"precious")
    source = csv(tmp_path, "BTCUSDT-15m.csv", rows(0, 4))
    assert "is there already; give another --out, or --force" in refusal(capsys, source, "--out", str(tmp_path))
    assert out.read_bytes() == b"precious"
    imported(capsys, source, "--out", str(tmp_path), "--force")
    assert len(load_candles(out)) == 4
    more = csv(tmp_path, "BTCUSDT-15m-2025.csv", rows(4, 4))
    imported(capsys, str(out), more, "--out", str(out), "--force")  # a file may be added to itself
    assert len(load_candles(out)) == 8


@pytest.mark.spec("DATA-7")
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (2, "1.0", "high and low do not enclose open and close"),
        (4, "oops", "row 3: close is missing or not a number"),
        (0, START_MS + 2 * QUARTER_MS + 1, "a 15m candle cannot open then"),
        (1, "nan", "a price or volume is not finite"),
    ],
)
def test_bad_input_leaves_everything_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: int, value: object, said: str
) -> None:
    out = tmp_path / "out"
    imported(capsys, csv(tmp_path, "BTCUSDT-15m.csv", rows(0, 4)), "--out", str(out))
    before = (out / "BTCUSDT-15m.parquet").read_bytes()
    bad = rows(0, 6)
    bad[2][column] = value
    good, worse = csv(tmp_path, "ETHUSDT-15m.csv", rows(0, 4)), csv(tmp_path, "BTCUSDT-15m-2.csv", bad)
    assert said in refusal(capsys, good, f"BTCUSDT={worse}", "--interval", "15m", "--out", str(out), "--force")
    assert files_in(out) == ["BTCUSDT-15m.parquet"]
    assert (out / "BTCUSDT-15m.parquet").read_bytes() == before


@pytest.mark.spec("DATA-7")
def test_a_disk_that_fails_midway_leaves_the_old_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = csv(tmp_path, "BTCUSDT-15m.csv", rows(0, 4)), tmp_path / "out"
    imported(capsys, source, "--out", str(out))
    before = (out / "BTCUSDT-15m.parquet").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("surefoot.research.merge.os.fsync", full)
    said = refusal(capsys, source, "--out", str(out), "--force")
    assert "BTCUSDT-15m.parquet: cannot be written: No space left on device" in said
    assert files_in(out) == ["BTCUSDT-15m.parquet"]
    assert (out / "BTCUSDT-15m.parquet").read_bytes() == before


def test_missing_candles_are_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = csv(tmp_path, "BTCUSDT-15m.csv", rows(0, 4) + rows(7, 4))
    assert main(["data", "import", source, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "8 candles of BTCUSDT 15m, 2024-12-31 00:00 to 2024-12-31 02:30 UTC" in told
    assert "missing 3 candles from 2024-12-31 01:00 to 2024-12-31 01:45" in told


def test_zips_that_are_no_archive_of_candles_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "BTCUSDT-15m-2024-12.zip"
    whole = archive_of(place.name, times(0, 96), QUARTER_MS)
    place.write_bytes(whole)
    assert len(load_candles(place)) == 96
    for broken in (whole[: len(whole) // 2], b"PK", whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]):
        place.write_bytes(broken)
        with pytest.raises(DataError, match="is not a whole zip archive"):
            load_candles(place)
    with zipfile.ZipFile(place, "w") as made:
        made.writestr("a.csv", "1")
        made.writestr("b.csv", "1")
    with pytest.raises(DataError, match="holds 2 CSV files instead of one"):
        load_candles(place)
    with zipfile.ZipFile(place, "w") as made:
        made.writestr("a.csv", "")
    with pytest.raises(DataError, match="is empty"):
        load_candles(place)


def test_real_files_of_the_venue_come_through_unchanged(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared_data / "demo/um_1m/BTCUSDT.parquet"
    frame = pl.read_parquet(source)
    frame[:6_000].write_csv(tmp_path / "BTCUSDT-1m-2025-05.csv")
    frame[5_000:].write_csv(tmp_path / "BTCUSDT-1m-2025-06.csv", include_header=False)
    names = [str(tmp_path / f"BTCUSDT-1m-2025-0{month}.csv") for month in (6, 5)]
    (told,) = imported(capsys, *names, "--out", str(tmp_path))
    assert (told["candles"], told["repeated"]) == (10_080, 1_000)
    assert pl.read_parquet(told["file"]).equals(frame.select(COLUMN_NAMES))


@given(some.lists(some.tuples(some.integers(0, 40), some.integers(1, 20)), min_size=1, max_size=6), some.randoms())
def test_however_a_history_is_cut_it_comes_together_again(cuts: list[tuple[int, int]], chance: Any) -> None:
    parts = []
    for number, (first, count) in enumerate(cuts):
        taken = rows(first, count)
        chance.shuffle(taken)
        columns = [pl.Series([float(str(row[at])) for row in taken]).to_numpy() for at in range(6)]
        made = Columns(columns[0].astype("int64"), columns[1], columns[2], columns[3], columns[4], columns[5])
        parts.append(Part(f"part {number}", "BTCUSDT", "15m", made))
    (whole,) = merge(parts)
    wanted = sorted({at for first, count in cuts for at in times(first, count)})
    assert whole.columns.open_ms.tolist() == wanted
    assert whole.columns.close.tolist() == [float(str(candle(at, QUARTER_MS)[4])) for at in wanted]
    assert whole.repeated == sum(count for _, count in cuts) - len(wanted)
    missing = sum(gap.candles for gap in whole.gaps)
    assert missing == (wanted[-1] - wanted[0]) // QUARTER_MS + 1 - len(wanted)
