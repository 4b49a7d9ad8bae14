"""`surefoot data check`: everything that is wrong with a file, in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from surefoot.cli import main
from surefoot.core.model import INTERVAL_MS
from surefoot.research.audit import Audit, audit
from surefoot.research.data import DataError, load_candles
from tests.research.venue import archive_of, candle, utc_ms

QUARTER_MS = INTERVAL_MS["15m"]
START_MS = utc_ms(2024, 1, 1)


def rows(*numbers: int) -> list[list[Any]]:
    return [candle(START_MS + number * QUARTER_MS, QUARTER_MS) for number in numbers]


def save(folder: Path, given: list[list[Any]], name: str = "BTCUSDT-15m-2024-01.csv") -> str:
    (folder / name).write_text("".join(",".join(map(str, row)) + "\n" for row in given), encoding="utf-8")
    return str(folder / name)


def found_in(told: Audit) -> dict[str, list[Any]]:
    return {one.kind: list(one.places) for one in told.findings}


def at(number: int) -> int:
    return START_MS + number * QUARTER_MS


@pytest.mark.spec("DATA-7", "DATA-2", "DATA-6")
def test_everything_that_is_wrong_is_listed_with_its_place(tmp_path: Path) -> None:
    given = rows(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 5, 6, 30)
    given[1][2] = "1.00"  # high below all
    given[2][1] = "-5"
    given[3][5] = "-0.1"
    given[4][4] = "inf"
    given[7][4] = "n/a"
    given[8][1] = ""
    given[9][5] = "0"
    given[11][0] += 60_000
    given[13][5] = "99"
    told = audit(save(tmp_path, given))
    assert found_in(told) == {
        "not-a-number": [(8, None, "close"), (9, None, "open")],
        "not-finite": [(5, at(4), "")],
        "price": [(3, at(2), "")],
        "volume": [(4, at(3), "")],
        "impossible": [(2, at(1), ""), (3, at(2), "")],
        "duplicate": [(13, at(5), "")],
        "contradiction": [(14, at(6), "")],
        "off-grid": [(12, at(21) + 60_000, "")],
        "gap": [
            (None, at(7), "2 until 2024-01-01 02:15"),
            (None, at(10), "10 until 2024-01-01 05:00"),
            (None, at(21), "9 until 2024-01-01 07:30"),
        ],
        "zero-volume": [(10, at(9), "")],
    }
    assert [one.kind for one in told.findings if not one.is_problem] == ["zero-volume"]
    assert (told.symbol, told.interval, told.candles, told.is_good) == ("BTCUSDT", "15m", 13, False)


@pytest.mark.spec("DATA-7")
def test_disorder_and_a_change_of_unit_are_found(tmp_path: Path) -> None:
    given = rows(0, 1, 3, 2, 4, 5)
    given[5][0] *= 1_000
    found = found_in(audit(save(tmp_path, given)))
    assert found["order"] == [(4, at(2), "")]
    assert found["unit"] == [(6, at(5) * 1_000, "")]
    assert "gap" not in found


@pytest.mark.spec("DATA-7")
def test_a_good_file_has_nothing_and_what_is_refused_elsewhere_is_a_problem_here(tmp_path: Path) -> None:
    good = save(tmp_path, rows(*range(50)))
    told = audit(good)
    assert (told.findings, told.is_good, told.candles) == ((), True, 50)
    assert (told.first_ms, told.last_ms, told.sha256) == (at(0), at(49), load_candles(good).sha256)
    for column, value in ((1, "-1"), (2, "1"), (5, "-1"), (4, "x"), (0, at(3) + 1), (0, at(2)), (0, at(1))):
        bad = rows(*range(50))
        bad[3][column] = value
        file = save(tmp_path, bad)
        with pytest.raises(DataError):
            load_candles(file)
        assert not audit(file).is_good


@pytest.mark.spec("DATA-7")
def test_a_known_halt_is_told_and_no_fault(shared_data: Path) -> None:
    told = audit(str(shared_data / "open/klines/spot_5m_outage/BTCUSDT.parquet"))
    assert {one.kind: one.count for one in told.findings} == {"halt": 1, "zero-volume": 14}
    assert told.is_good
    assert told.findings[0].places[0].detail == "16 until 2023-03-24 14:00, Binance spot halt of 2023-03-24"


@pytest.mark.spec("DATA-7")
def test_the_counts_are_those_of_an_independent_look_at_the_same_files(shared_data: Path) -> None:
    """The manifest of the data was made by other code: 28 gaps, 43 opens off the grid, 4 idle candles, and so on."""
    manifest = (shared_data / "MANIFEST.md").read_text(encoding="utf-8")
    looked_at = 0
    for file in sorted((shared_data / "open/klines").rglob("*.parquet")):
        name = str(file.relative_to(shared_data))
        line = next(line for line in manifest.splitlines() if line.startswith(f"| `{name}`"))
        counts = {one.kind: one.count for one in audit(str(file), interval=file.parent.name.split("_")[1]).findings}
        assert f"off-grid opens {counts.get('off-grid', 0)};" in line
        assert f"zero-volume bars {counts.get('zero-volume', 0)};" in line
        assert f"OHLC violations {counts.get('impossible', 0)};" in line
        assert f"duplicates {counts.get('duplicate', 0) + counts.get('contradiction', 0)};" in line
        if "off-grid" not in counts:  # how such a candle counts in a gap is a matter of taste
            assert f"gaps {counts.get('gap', 0) + counts.get('halt', 0)}" in line
        looked_at += 1
    assert looked_at >= 15


def test_files_that_cannot_be_read_or_named_are_told_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, odd = save(tmp_path, rows(0, 1, 2)), save(tmp_path, rows(0, 1, 2), name="candles.csv")
    (tmp_path / "ETHUSDT.parquet").write_bytes(b"no")
    files = [good, str(tmp_path / "none.csv"), str(tmp_path / "ETHUSDT.parquet"), odd]
    assert main(["data", "check", *files, "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert [one["ok"] for one in told["files"]] == [True, False, False, False]
    kinds = [[finding["kind"] for finding in one["findings"]] for one in told["files"]]
    assert kinds == [[], ["unreadable"], ["unreadable"], ["unnamed"]]
    assert main(["data", "check", odd, "--symbol", "BTCUSDT", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["interval"] == "15m"


def test_the_command_says_it_in_lines_and_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped = tmp_path / "ETHUSDT-15m-2024-01.zip"
    zipped.write_bytes(archive_of(zipped.name, range(at(0), at(40), QUARTER_MS), QUARTER_MS))
    assert main(["data", "check", str(zipped)]) == 0
    assert capsys.readouterr().out == f"{zipped}  40 candles of ETHUSDT 15m, good\n"
    bad = rows(*range(60))
    for row in bad[20:40]:
        row[2] = "1.00"
    assert main(["data", "check", save(tmp_path, bad), str(zipped)]) == 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("60 candles of BTCUSDT 15m, NOT GOOD")
    assert lines[1] == "  problem  high and low do not enclose open and close (impossible): 20"
    assert lines[2] == "           row 21, 2024-01-01 05:00 UTC"
    assert lines[12] == "           and 10 more; --json has them"
    assert lines[13].endswith("good")


def test_a_file_in_which_no_row_is_readable_is_no_crash(tmp_path: Path) -> None:
    for name in ("BTCUSDT-15m.csv", "BTCUSDT.csv"):
        told = audit(save(tmp_path, [[START_MS, "a", "b", "c", "d", "e"]] * 3, name=name))
        assert (told.is_good, told.candles) == (False, 0)
        assert told.findings[0].count == 15
