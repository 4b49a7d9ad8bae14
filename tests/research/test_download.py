"""Downloads from a server on real sockets: what is fetched, what is kept, what is believed, and how long it waits."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from surefoot.cli import main
from surefoot.core.model import INTERVAL_MS
from surefoot.research.archive import Market, Series, range_of
from surefoot.research.data import DataError, load_candles
from surefoot.research.download import Download, Wanted
from surefoot.research.transfer import Patience, Transfer, TransferError
from tests.research.venue import (
    Venue,
    archive_of,
    broken_after,
    candle,
    dropped,
    instead,
    serving,
    stalled_after,
    status,
    utc_ms,
)

NOW_MS = utc_ms(2025, 3, 3, 10, 30)
QUICK = Patience(base_s=0.001, silence_s=2.0)
MONTH = "/data/spot/monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2025-01.zip"
KLINES = "/api/v3/klines"


@dataclass
class Bench:
    """A venue, a folder, and everything that was said and waited for."""

    venue: Venue
    folder: Path
    patience: Patience = QUICK
    said: list[str] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)
    chance: float = 0.5

    async def fetch(
        self,
        first: str,
        last: str | None,
        *symbols: str,
        market: Market = "spot",
        interval: str = "15m",
        force: bool = False,
    ) -> list[dict[str, Any]]:
        series = [Series(market, symbol, interval) for symbol in symbols or ("BTCUSDT",)]
        wanted = Wanted(series, *range_of(first, last, NOW_MS), NOW_MS)
        address = self.venue.address
        transfer = Transfer(self.said.append, self.patience, self._sleep, lambda: self.chance)
        async with transfer:
            download = Download(transfer, self.folder, lambda *at: self.progress.append(at), address, address, force)
            return await download.run(wanted)

    async def _sleep(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        await asyncio.sleep(min(seconds, 0.001))

    def times(self, name: str = "spot/BTCUSDT-15m.parquet") -> list[int]:
        """Open times of a file, after a look at every number in it."""
        file = load_candles(self.folder / name, gaps="keep")
        interval_ms = INTERVAL_MS[file.interval]
        for open_ms, *values in file.rows():
            assert [float(value) for value in values] == [float(str(v)) for v in candle(open_ms, interval_ms)[1:6]]
        return [int(open_ms) for open_ms in file.columns.open_ms]


@asynccontextmanager
async def bench(folder: Path, **made: Any) -> AsyncIterator[Bench]:
    async with serving(Venue(NOW_MS, **made)) as venue:
        yield Bench(venue, folder)


def quarters(from_ms: int, to_ms: int) -> list[int]:
    return list(range(from_ms, to_ms, INTERVAL_MS["15m"]))


@pytest.mark.spec("DATA-7")
async def test_months_then_days_then_rest_make_one_file_without_a_gap(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2024-12", "2025-01")
        days = [f"2025-02-{day:02d}" for day in range(1, 29)]  # the month is over, its archive not out yet
        it.venue.publish("spot", "BTCUSDT", "15m", *days, "2025-03-01")
        (told,) = await it.fetch("2024-12-20", None)
        assert it.times() == quarters(utc_ms(2024, 12, 20), utc_ms(2025, 3, 3, 10, 30))
        assert (told["gaps"], told["archives_fetched"], told["archives_kept"]) == ([], 31, 0)
        assert told["rest_candles"] == 96 + 42  # the 2nd, whose archive is not out, and today's closed ones
        assert len(it.venue.requests_of(KLINES)) == 1
        assert it.progress[-1] == (73, 74)  # 73 days and the part of today
        assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.spec("DATA-7")
async def test_what_is_there_and_whole_is_not_fetched_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2024-12", "2025-01")
        await it.fetch("2024-12", "2024-12")
        before = (tmp_path / "spot/BTCUSDT-15m.parquet").read_bytes()
        it.venue.asked.clear()
        (again,) = await it.fetch("2024-12", "2024-12")
        assert it.venue.asked == []
        assert (again["archives_fetched"], again["archives_kept"]) == (0, 1)
        assert (tmp_path / "spot/BTCUSDT-15m.parquet").read_bytes() == before
        await it.fetch("2025-01", "2025-01")  # the earlier month stays in the file
        assert it.times() == quarters(utc_ms(2024, 12, 1), utc_ms(2025, 2, 1))
        assert {path for path, _ in it.venue.asked} == {MONTH, f"{MONTH}.CHECKSUM"}


@pytest.mark.spec("DATA-7")
async def test_an_archive_that_was_changed_on_disk_is_fetched_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        await it.fetch("2025-01", "2025-01")
        (kept,) = tmp_path.rglob("*.zip")
        good = kept.read_bytes()
        kept.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        (told,) = await it.fetch("2025-01", "2025-01")
        assert told["archives_fetched"] == 1
        assert kept.read_bytes() == good


@pytest.mark.spec("DATA-7", "NET-3")
async def test_a_transfer_that_breaks_goes_on_where_it_broke(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        size = len(it.venue.files[MONTH])
        # Four breaks are more than three tries: each of them brought something.
        it.venue.fail(MONTH, *[broken_after(5_000)] * 4, dropped)
        await it.fetch("2025-01", "2025-01")
        ranges = ["", "bytes=5000-", "bytes=10000-", "bytes=15000-", "bytes=20000-", "bytes=20000-"]
        assert it.venue.requests_of(MONTH) == ranges
        assert it.venue.sent[MONTH] == size - 20_000
        assert it.times() == quarters(utc_ms(2025, 1, 1), utc_ms(2025, 2, 1))
        assert all("again in" in line for line in it.said)
        assert len(it.said) == 5


@pytest.mark.spec("DATA-7")
async def test_a_server_that_cannot_go_on_sends_all_of_it_again(tmp_path: Path) -> None:
    async with bench(tmp_path, knows_ranges=False) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        it.venue.fail(MONTH, broken_after(10_000))
        await it.fetch("2025-01", "2025-01")
        assert it.venue.sent[MONTH] == len(it.venue.files[MONTH])
        assert len(it.times()) == 31 * 96


@pytest.mark.spec("DATA-7")
async def test_a_part_of_another_file_is_found_out_by_the_checksum(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        part = tmp_path / "archives/spot/BTCUSDT/15m/BTCUSDT-15m-2025-01.zip.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 5_000)
        await it.fetch("2025-01", "2025-01")
        assert it.venue.requests_of(MONTH) == ["bytes=5000-", ""]
        assert len(it.times()) == 31 * 96
        part.write_bytes(it.venue.files[MONTH] + b"longer than all")
        part.with_suffix("").unlink()
        await it.fetch("2025-01", "2025-01")
        assert not part.exists()


@pytest.mark.spec("DATA-7")
async def test_a_wrong_checksum_once_is_fetched_again_and_always_is_an_error(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        other = b"0" * 64 + b"  BTCUSDT-15m-2025-01.zip\n"
        it.venue.fail(f"{MONTH}.CHECKSUM", instead(other))
        await it.fetch("2025-01", "2025-01")
        assert len(it.times()) == 31 * 96
        assert it.said == [f"{it.venue.address}{MONTH}: its checksum is another one; again in 0 s"]

    async with bench(tmp_path / "never") as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        it.venue.files[f"{MONTH}.CHECKSUM"] = other
        with pytest.raises(TransferError, match="its checksum is another one; 3 tries failed"):
            await it.fetch("2025-01", "2025-01")
        assert len(it.venue.requests_of(MONTH)) == 3
        assert not [file for file in it.folder.rglob("*") if file.is_file()], "nothing unverified is left to be trusted"
        it.venue.files[f"{MONTH}.CHECKSUM"] = b"<html>hello</html>"
        with pytest.raises(TransferError, match="holds no SHA-256"):
            await it.fetch("2025-01", "2025-01")


@pytest.mark.spec("DATA-7", "NET-3")
async def test_a_server_that_falls_silent_is_given_up_and_the_rest_asked_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.patience = Patience(base_s=0.001, silence_s=0.1)
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        it.venue.fail(MONTH, stalled_after(8_000, 1.0))
        await it.fetch("2025-01", "2025-01")
        assert it.venue.requests_of(MONTH) == ["", "bytes=8000-"]
        assert len(it.times()) == 31 * 96


@pytest.mark.spec("NET-3")
async def test_waits_double_from_a_second_with_a_quarter_of_chance(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        for chance, expected in ((0.0, [0.75, 1.5]), (0.5, [1.0, 2.0]), (1.0, [1.25, 2.5])):
            it.chance, it.patience, it.waited_s = chance, Patience(), []
            it.venue.fail(f"{MONTH}.CHECKSUM", status(500), dropped, status(503))
            with pytest.raises(TransferError, match="the answer is 503; 3 tries failed"):
                await it.fetch("2025-01", "2025-01")
            assert it.waited_s == expected
        it.patience, it.waited_s = Patience(tries=9), []
        it.venue.fail(f"{MONTH}.CHECKSUM", *[status(502)] * 8)
        await it.fetch("2025-01", "2025-01")
        assert it.waited_s == [1.25 * wait_s for wait_s in (1, 2, 4, 8, 16, 30, 30, 30)]


@pytest.mark.spec("NET-3")
async def test_every_try_is_one_arrival(tmp_path: Path) -> None:
    """aiohttp repeats a GET by itself when the connection drops, unless told otherwise."""
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        it.venue.fail(MONTH, dropped, dropped, dropped)
        with pytest.raises(TransferError, match="3 tries failed"):
            await it.fetch("2025-01", "2025-01")
        assert len(it.venue.requests_of(MONTH)) == 3


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize("code", [400, 401, 403, 451])
async def test_a_refusal_is_told_and_never_repeated(tmp_path: Path, code: int) -> None:
    async with bench(tmp_path) as it:
        it.venue.fail(f"{MONTH}.CHECKSUM", status(code, "not\nfor you"))
        with pytest.raises(TransferError, match=f"refused with {code}: not for you"):
            await it.fetch("2025-01", "2025-01")
        assert len(it.venue.asked) == 1
        assert it.waited_s == []


@pytest.mark.spec("DATA-7", "NET-2")
async def test_too_many_requests_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.fail(KLINES, status(429, retry_after="7"), status(418, retry_after="120"))
        await it.fetch("2025-03-02", "2025-03-02")
        assert it.waited_s[0] == 7
        assert 120 in it.waited_s
        assert "the answer is 418; again in 120 s" in it.said[1]
        assert len(it.times()) == 96


@pytest.mark.spec("DATA-7", "NET-2")
async def test_a_ban_of_days_is_an_error_and_not_asked_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.fail(KLINES, status(418, retry_after="259200"))
        with pytest.raises(TransferError, match="it wants to be left alone for 259200 s; try again then"):
            await it.fetch("2025-03-02", "2025-03-02")
        assert len(it.venue.requests_of(KLINES)) == 1


@pytest.mark.spec("NET-2")
async def test_klines_leave_half_of_the_weight_to_the_bot(tmp_path: Path) -> None:
    async with bench(tmp_path, used_weight=2_998) as it:
        await it.fetch("2025-03-01", "2025-03-02", interval="1m")  # 2 880 candles are three pages
        assert len(it.venue.requests_of(KLINES)) == 3
        assert it.waited_s == []
        it.venue.used_weight = 2_999
        await it.fetch("2025-03-01", "2025-03-02", interval="1m")
        assert len(it.waited_s) == 2
        assert all(0 < wait_s <= 60 for wait_s in it.waited_s)
        assert "2999 of the minute's weight is used" in it.said[0]


@pytest.mark.spec("DATA-1", "DATA-7")
async def test_the_running_candle_is_left_out(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.now_ms = NOW_MS + 5 * 60_000  # the venue already knows the candle of 10:30
        await it.fetch("2025-03-03", None)
        assert it.times()[-1] == utc_ms(2025, 3, 3, 10, 15)


@pytest.mark.spec("DATA-7")
async def test_a_symbol_that_was_listed_later_begins_when_it_was_listed(tmp_path: Path) -> None:
    async with bench(tmp_path, listed_ms=utc_ms(2024, 12, 17, 3, 0)) as it:
        it.venue.publish("spot", "NEWUSDT", "15m", "2024-12", "2025-01")
        (told,) = await it.fetch("2024-06", "2025-01", "NEWUSDT")
        assert it.times("spot/NEWUSDT-15m.parquet") == quarters(utc_ms(2024, 12, 17, 3, 0), utc_ms(2025, 2, 1))
        assert told["gaps"] == []
        assert not [path for path, _ in it.venue.asked if "/daily/" in path], "a month long past has no days either"
        assert len(it.venue.requests_of(KLINES)) == 1


@pytest.mark.spec("DATA-7")
async def test_a_symbol_that_is_traded_no_more_has_its_archives(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "OLDUSDT", "15m", "2024-10")
        it.venue.fail(KLINES, status(400, '{"code":-1121,"msg":"Invalid symbol."}'))
        (told,) = await it.fetch("2024-10", "2024-12", "OLDUSDT")
        assert told["candles"] == 31 * 96
        assert "OLDUSDT: nothing after the archives" in it.said[0]
        assert "Invalid symbol." in it.said[0]
        it.venue.fail(KLINES, status(400, '{"code":-1121,"msg":"Invalid symbol."}'))
        with pytest.raises(TransferError, match=r"NOSUCH: neither archives nor klines.*Invalid symbol"):
            await it.fetch("2024-10", "2024-10", "NOSUCH")
        it.venue.listed_ms = NOW_MS
        with pytest.raises(DataError, match="the venue has no candles from 2024-09-01 00:00 to 2024-10-01 00:00 UTC"):
            await it.fetch("2024-09", "2024-09", "LATER")


@pytest.mark.spec("DATA-7")
async def test_perpetuals_have_archives_klines_and_files_of_their_own(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        (path,) = it.venue.publish("futures/um", "BTCUSDT", "15m", "2025-01")
        await it.fetch("2025-01", "2025-02", market="um")
        assert path.startswith("/data/futures/um/monthly/klines/BTCUSDT/15m/")
        assert it.times("um/BTCUSDT-15m.parquet") == quarters(utc_ms(2025, 1, 1), utc_ms(2025, 3, 1))
        assert it.venue.requests_of("/fapi/v1/klines")
        assert not (tmp_path / "spot").exists()


@pytest.mark.spec("DATA-7")
async def test_a_file_that_tells_other_numbers_is_left_alone_unless_forced(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2024-12", "2025-01")
        await it.fetch("2024-12", "2025-01")
        file = tmp_path / "spot/BTCUSDT-15m.parquet"
        frame = pl.read_parquet(file).with_columns(pl.col("volume") + 1)
        frame.write_parquet(file)
        before = file.read_bytes()
        with pytest.raises(DataError, match=r"disagree at 2025-01-01 00:00 UTC.*--force takes the venue's"):
            await it.fetch("2025-01", "2025-01")
        assert file.read_bytes() == before
        await it.fetch("2025-01", "2025-01", force=True)
        volumes = pl.read_parquet(file)["volume"].to_list()
        assert volumes[0] == frame["volume"][0], "what the venue was not asked for is kept"
        assert volumes[-1] == pytest.approx(frame["volume"][-1] - 1)


@pytest.mark.spec("DATA-6", "DATA-7")
async def test_an_archive_with_candles_off_the_grid_is_replaced_by_klines(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2024-12", "2025-01")
        times = range(utc_ms(2025, 1, 1) + 28 * 60_000, utc_ms(2025, 2, 1), INTERVAL_MS["15m"])
        it.venue.put(MONTH, archive_of("BTCUSDT-15m-2025-01.zip", times, INTERVAL_MS["15m"]))
        (told,) = await it.fetch("2024-12", "2025-01")
        assert it.times() == quarters(utc_ms(2024, 12, 1), utc_ms(2025, 2, 1))
        assert (told["rest_candles"], told["archives_fetched"]) == (31 * 96, 2)
        assert "a 15m candle cannot open then" in it.said[0]
        assert "Asking for klines instead" in it.said[0]
        assert it.progress[-1] == (62, 62)


@pytest.mark.spec("DATA-6", "DATA-7")
async def test_a_candle_by_rest_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        bad = candle(utc_ms(2025, 3, 2), INTERVAL_MS["15m"])
        bad[2] = "1.00"
        it.venue.fail(KLINES, instead(json.dumps([bad]).encode()))
        with pytest.raises(DataError, match="high and low do not enclose open and close"):
            await it.fetch("2025-03-02", "2025-03-02")
        assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("answer", [b"<html>", b'{"code": 1}', b'[["a"]]', b"[[1, 2]]"])
async def test_an_answer_that_is_no_list_of_candles_is_refused(tmp_path: Path, answer: bytes) -> None:
    async with bench(tmp_path) as it:
        it.venue.fail(KLINES, instead(answer))
        with pytest.raises(TransferError, match="is this the right address"):
            await it.fetch("2025-03-02", "2025-03-02")


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2024", None, "--from 2024: no such month or day"),
        ("2024-13", None, "--from 2024-13: no such month"),
        ("2024-01", "2024-02-30", "--to 2024-02-30: no such month or day"),
        ("2024-02", "2024-01", "there is no time between these"),
        ("2031-01", None, "there is no time between these"),
    ],
)
def test_times_that_are_none_are_refused(first: str, last: str | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        range_of(first, last, NOW_MS)


# -- the command -------------------------------------------------------------------------------------------------------


async def command(*words: str, folder: Path) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SUREFOOT_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "surefoot", "data", "download", *words, "--out", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean,
    )


@pytest.mark.spec("DATA-7")
async def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.publish("spot", "BTCUSDT", "15m", "2025-01")
        it.venue.fail(MONTH, stalled_after(9_000, 30))
        words = ("BTCUSDT", "--interval", "15m", "--from", "2025-01", "--to", "2025-01", "--archive", it.venue.address)
        first = await command(*words, folder=tmp_path)
        part = tmp_path / "archives/spot/BTCUSDT/15m/BTCUSDT-15m-2025-01.zip.part"
        async with asyncio.timeout(30):
            while not part.exists() or part.stat().st_size < 8_000:
                await asyncio.sleep(0.02)
        first.kill()
        await first.communicate()
        had = part.stat().st_size
        second = await command(*words, "--json", folder=tmp_path)
        told, complaints = await second.communicate()
        assert (second.returncode, complaints) == (0, b"")
        assert it.venue.requests_of(MONTH) == ["", f"bytes={had}-"]
        (file,) = json.loads(told)["files"]
        assert (file["candles"], file["archives_fetched"], file["gaps"]) == (31 * 96, 1, [])
        assert file["file"] == str(tmp_path / "spot/BTCUSDT-15m.parquet")


async def test_a_venue_that_cannot_be_reached_is_one_line_and_exit_code_4(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.venue.fail(f"{MONTH}.CHECKSUM", status(403, "forbidden"))
        words = ("BTCUSDT", "--interval", "15m", "--from", "2025-01", "--to", "2025-01", "--archive", it.venue.address)
        done = await command(*words, folder=tmp_path)
        told, complaints = await done.communicate()
        assert (done.returncode, told) == (4, b"")
        assert complaints.decode().count("\n") == 1
        assert "refused with 403: forbidden; the venue may not serve your region" in complaints.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("btcusdt", "--interval", "1m"), "btcusdt: not a symbol; give one like BTCUSDT"),
        (("BTCUSDT", "--interval", "7m"), "--interval 7m: give one of 1m"),
        (("BTCUSDT", "--interval", "1m", "--market", "cm"), "--market cm: give spot or um"),
        (("BTCUSDT", "--interval", "1m", "--archive", "binance"), "--archive binance: not an address"),
    ],
)
def test_a_wrong_word_is_said_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["data", "download", *words, "--from", "2024-01", "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
