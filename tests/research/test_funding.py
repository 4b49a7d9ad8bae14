"""Funding rates from files: read as the venue writes them, settled at their own times, and missing where they are."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from surefoot.config import ConfigError
from surefoot.core.messages import IncomePaid
from surefoot.core.model import Income
from surefoot.research.backtest import run_backtest
from surefoot.research.data import DataError
from surefoot.research.funding import Funding, Rate, Rates, load_funding, settlements
from tests.research.test_exact_futures import (
    COINS,
    EIGHT_MS,
    OFTEN,
    START_MS,
    Plot,
    candles_csv,
    generated_minutes,
    lived,
    settings_with,
)

D = Decimal
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ARCHIVE = """calc_time,funding_interval_hours,last_funding_rate
1741276800000,8,0.00006800
1741305600000,8,-0.00000633
1741334400001,8,-0.00001500
"""
READ = [
    (1_741_276_800_000, D("0.00006800")),
    (1_741_305_600_000, D("-0.00000633")),
    (1_741_334_400_000, D("-0.00001500")),
]


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return generated_minutes(tmp_path_factory.mktemp("minutes"))


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def rates(funding: Funding, symbol: str = "BTCUSDT") -> list[tuple[int, Decimal]]:
    return [(row.at_ms, row.rate) for row in funding.rates[symbol].rows]


@pytest.mark.spec("BT-1", "PNL-2")
def test_an_archive_of_the_venue_is_read_to_the_digit(tmp_path: Path) -> None:
    plain = written(tmp_path, "BTCUSDT-fundingRate-2025-03.csv", ARCHIVE)
    assert rates(load_funding([plain])) == READ
    assert [row.hours for row in load_funding([plain]).rates["BTCUSDT"].rows] == [8, 8, 8]
    bare = written(tmp_path, "BTCUSDT-fundingRate-2025-04.csv", ARCHIVE.partition("\n")[2])
    assert rates(load_funding([bare])) == READ
    with zipfile.ZipFile(tmp_path / "BTCUSDT-fundingRate-2025-03.zip", "w") as archive:
        archive.write(plain, "BTCUSDT-fundingRate-2025-03.csv")
    packed = str(tmp_path / "BTCUSDT-fundingRate-2025-03.zip")
    assert rates(load_funding([packed, plain])) == READ, "what two files tell alike is there once"
    simple = "funding_time,funding_rate\n1741276800000,0.000068\n"
    assert rates(load_funding(["ETHUSDT=" + written(tmp_path, "rates.csv", simple)]), "ETHUSDT") == [
        (1_741_276_800_000, D("0.000068"))
    ]


@pytest.mark.spec("BT-1", "PNL-2")
def test_real_rates_of_a_quarter_are_whole(shared_data: Path) -> None:
    file = shared_data / "open/funding/BTCUSDT-funding.parquet"
    known = load_funding([str(file)]).rates["BTCUSDT"]
    assert len(known.rows) == 266
    assert [(row.at_ms, row.rate) for row in known.rows[:2]] == [
        (READ[0][0], D("0.00006818")),
        (READ[1][0], D("-0.00000612")),
    ]
    first, last = known.rows[0].at_ms, known.rows[-1].at_ms
    assert settlements(known, first - 1, last, None).missing_ms == ()
    around = settlements(known, first - DAY_MS, last + DAY_MS, None)
    assert (around.known, around.hours, len(around.missing_ms)) == (266, 8, 5)


def settled(rows: Sequence[tuple[int, str, int | None]], from_h: int, until_h: int, constant: str | None = None) -> Any:
    """Rates, the hours between them and what is missing; all times in hours."""
    known = Rates([], [Rate(hour * HOUR_MS, D(rate), apart) for hour, rate, apart in rows])
    found = settlements(known, from_h * HOUR_MS, until_h * HOUR_MS, None if constant is None else D(constant))
    paid = {at_ms // HOUR_MS: rate for at_ms, rate in found.rates}
    return (
        {hour: str(rate) for hour, rate in paid.items() if rate},
        found.hours,
        [ms // HOUR_MS for ms in found.missing_ms],
    )


@pytest.mark.spec("BT-1", "PNL-2")
def test_a_settlement_that_is_in_no_file_is_missing_and_not_made_up() -> None:
    every_eight = [(8, "0.001", 8), (16, "0.002", 8), (32, "0.003", 8)]
    assert settled(every_eight, 0, 48) == ({8: "0.001", 16: "0.002", 32: "0.003"}, 8, [24, 40, 48])
    assert settled(every_eight, 8, 31) == ({16: "0.002"}, 8, [24])
    assert settled(every_eight, 8, 31, "0.01") == ({16: "0.002", 24: "0.01"}, 8, [24])
    assert settled([(hour, rate, None) for hour, rate, _ in every_eight], 0, 40)[2] == [24, 40]
    assert settled([], 0, 24) == ({}, 8, [8, 16, 24])
    # Where the venue goes over to another interval nothing is missing in between.
    assert settled([(8, "0.001", 8), (12, "0.002", 4), (16, "0.003", 4), (24, "0.004", 8)], 0, 24)[1:] == (4, [])


@pytest.mark.spec("CFG-1")
@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("BTCUSDT-funding.csv", "", "is empty"),
        ("BTCUSDT-funding.csv", "time,rate\n1,2\n", "has none of the columns"),
        ("BTCUSDT-funding.csv", "funding_time,funding_rate\n1741276800000,much\n", "'much' is no rate"),
        ("BTCUSDT-funding.csv", "funding_time,funding_rate\n1741276800000,1.5\n", "it is a share"),
        ("BTCUSDT-funding.csv", "funding_time,funding_rate\n1741278600000,0.1\n", "nothing is settled at"),
        ("BTCUSDT-funding.csv", "funding_time,funding_rate\nnow,0.1\n", "is not a table of funding rates"),
        ("BTCUSDT-funding.csv", "1,2,3,4\n", "has 4 columns and no header"),
        ("BTCUSDT-funding.zip", "no archive", "is not a whole zip archive"),
        ("BTCUSDT-funding.parquet", "no table", "is not a Parquet file"),
        ("BTCUSDT-funding.txt", "", "only .csv, .zip and .parquet"),
        ("rates.csv", ARCHIVE, "does not tell the symbol"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    file = written(tmp_path, name, text)
    with pytest.raises(DataError, match=told) as refused:
        load_funding([file])
    assert "\n" not in str(refused.value)


@pytest.mark.spec("CFG-1")
def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-funding.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-funding.csv", ARCHIVE)
    content = bytearray(file.read_bytes())
    content[60:70] = bytes(0xFF for _ in range(10))
    file.write_bytes(content)
    with pytest.raises(DataError, match="is not a whole zip archive"):
        load_funding([str(file)])


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    one = written(tmp_path, "BTCUSDT-funding.csv", "1741276800000,0.0001\n")
    other = written(tmp_path, "BTCUSDT-fundings.csv", "1741276800000,0.0002\n")
    with pytest.raises(DataError, match="another rate of 1741276800000"):
        load_funding([one, other])


def paid(settings: Any, files: Sequence[str], funding: Funding | None) -> tuple[dict[str, Any], dict[int, Decimal]]:
    """The result, and what was paid when."""
    incomes: dict[str | int, IncomePaid] = {}

    def sink(message: object) -> None:
        if isinstance(message, IncomePaid) and message.kind is Income.FUNDING:
            incomes[message.income_id] = message

    result = run_backtest(settings, files, funding=funding, sink=sink)
    found: dict[int, Decimal] = {}
    for each in incomes.values():
        found[each.paid_ms] = found.get(each.paid_ms, D(0)) + each.amount
    return result, found


def table(folder: Path, *rows: tuple[int, str]) -> Funding:
    lines = [f"{at_ms},{rate}" for at_ms, rate in rows]
    return load_funding([written(folder, "BTCUSDT-funding.csv", "\n".join(lines) + "\n")])


@pytest.mark.spec("BT-1", "PNL-2")
def test_what_was_settled_is_booked_at_its_times_and_what_is_missing_is_said(
    tmp_path: Path, minutes: list[str]
) -> None:
    settings = settings_with(**OFTEN | {"market__symbols": "BTCUSDT"})
    constant, before = paid(settings, minutes[:1], None)
    times = sorted(before)
    assert len(times) >= 2, "the test proves nothing unless something is held at two settlements"
    # The first at three times the constant rate with the other sign, then the same rate as ever; the rest is missing.
    known = table(tmp_path, (times[0], "-0.0003"), (times[1], "0.0001"))
    result, after = paid(settings, minutes[:1], known)
    assert after == {times[0]: -3 * before[times[0]], times[1]: before[times[1]]}
    (note,) = result["notes"]
    assert "are in no funding file" in note
    assert note.endswith("a missing one is not booked.")
    told = result["funding"]["BTCUSDT"]
    assert (told["settlements"], told["files"][0]["file"]) == (2, "BTCUSDT-funding.csv")
    assert not set(told["missing_ms"]) & set(times[:2])
    assert "as the funding files have them" in result["fill_model"][-1]
    assert "funding" not in constant
    known = Funding(known.rates, is_constant_for_missing=True)
    result, after = paid(settings, minutes[:1], known)
    assert after[times[0]] == -3 * before[times[0]]
    assert after.keys() == before.keys()
    assert result["notes"][0].endswith("a missing one is booked at 1 bps.")


@pytest.mark.spec("BT-1", "PNL-2")
def test_no_rate_is_cut_and_settlements_every_four_hours_are_booked_every_four_hours(tmp_path: Path) -> None:
    """A rate of 3 % is beyond what the exchange announces as its cap; it was settled all the same."""
    file = candles_csv(tmp_path)
    assert START_MS < EIGHT_MS < START_MS + 2 * HOUR_MS
    known = table(tmp_path, (EIGHT_MS - 4 * HOUR_MS, "0.01"), (EIGHT_MS, "0.03"), (EIGHT_MS + 4 * HOUR_MS, "0.01"))
    found = settlements(known.rates["BTCUSDT"], START_MS, START_MS + 2 * HOUR_MS, None)
    assert (found.rates, found.missing_ms) == (((EIGHT_MS, D("0.03")),), ())
    run = lived(settings_with(), [file], Plot({5: 1.0}), {"BTCUSDT": found})
    run.check()
    (held,) = run.engine.portfolio.positions.values()
    assert held.funding == -COINS * 60_000 * D("0.03")


@pytest.mark.spec("CFG-1")
def test_rates_that_fit_nothing_are_refused(tmp_path: Path, minutes: list[str]) -> None:
    known = table(tmp_path, (EIGHT_MS, "0.0001"))
    with pytest.raises(ConfigError, match="only futures are funded"):
        run_backtest(settings_with(market__venue="spot"), minutes[:1], funding=known)
    with pytest.raises(DataError, match="funding rates of BTCUSDT, of which no candles are given"):
        run_backtest(settings_with(), minutes[1:], funding=known)
