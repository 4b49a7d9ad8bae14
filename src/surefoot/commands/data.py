"""`surefoot data`: candle files fetched, put together and checked."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.commands.options import EXIT_DATA, EXIT_OK, EXIT_VENUE, AsJson, CommandError
from surefoot.commands.progress import Progress

if TYPE_CHECKING:
    from surefoot.research.archive import Series
    from surefoot.research.audit import Audit, Finding

PLACES_SHOWN = 10  # of one kind in one file; --json has all

data_app = typer.Typer(rich_markup_mode=None, help="Candle files: download, import, check.")

Symbol = Annotated[str | None, typer.Option(metavar="NAME", help="Which symbol it is, if the names do not say.")]
Interval = Annotated[str | None, typer.Option(metavar="1m…1d", help="Which interval it is, if not the usual distance.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there and tells something else.")]


@data_app.command("download")
def download(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL…", help="Such as BTCUSDT.")],
    interval: Annotated[str, typer.Option(metavar="1m…1d", help="Length of a candle.")],
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First month or day: 2024-01 or 2024-01-31.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go.")],
    last: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last month or day; default: now.")] = None,
    market: Annotated[str, typer.Option(metavar="spot|um", help="Spot, or USD-M perpetuals.")] = "spot",
    archive: Annotated[str | None, typer.Option(metavar="URL", help="Address of the archives.")] = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="Address of the REST API.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Fetch the venue's public candles.

    Its archives, each verified by its checksum and kept in FOLDER/archives, and
    its REST API for what they do not have yet. One Parquet file a symbol, in
    FOLDER/spot or FOLDER/um. Run it again to go on, or to add what is new:
    what is there and whole is not fetched again.

    \b
    examples:
      surefoot data download BTCUSDT ETHUSDT --interval 1m --from 2024-01 --to 2024-12 --out data
      surefoot data download SOLUSDT --interval 15m --from 2025-01-15 --market um --out data
    """
    import asyncio
    import time

    from surefoot.research.archive import ARCHIVE, range_of
    from surefoot.research.download import Download, Wanted
    from surefoot.research.transfer import Transfer, TransferError

    series = _series(symbols, interval, market)
    now_ms = int(time.time() * 1_000)
    wanted = Wanted(series, *range_of(first, last, now_ms), now_ms)

    async def fetch(progress: Progress) -> list[dict[str, Any]]:
        async with Transfer(_say) as transfer:
            places = (_address("--archive", archive) or ARCHIVE, _address("--rest", rest))
            return await Download(transfer, out, progress.show, *places, force).run(wanted)

    try:
        with Progress("days") as progress:
            files = asyncio.run(fetch(progress))
    except TransferError as error:
        raise CommandError(str(error), EXIT_VENUE) from None
    print(json.dumps({"files": files}) if as_json else "\n".join(line for file in files for line in _file_lines(file)))
    return EXIT_OK


@data_app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="CSV, zip or Parquet, or SYMBOL=FILE.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER|FILE", help="Where the Parquet goes.")],
    symbol: Symbol = None,
    interval: Interval = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Make Parquet of the venue's CSV, zip and other Parquet files.

    Files of the same symbol and interval become one. Equal rows are taken once;
    rows that disagree, and candles that cannot be, are refused, and then nothing
    is written. Missing candles are told. The input is never changed.

    \b
    examples:
      surefoot data import BTCUSDT-1m-2024-*.zip --out data
      surefoot data import prices.csv --symbol BTCUSDT --interval 15m --out data/BTCUSDT-15m.parquet
    """
    from surefoot.research.merge import merge, read_part, targets, told_of, write

    with Progress("files") as progress:
        parts = []
        for done, file in enumerate(files, 1):
            parts.append(read_part(file, symbol, interval))
            progress.show(done, len(files))
    merged = merge(parts)
    places = targets(merged, out, force=force)
    told = [told_of(one, place, write(one, place, force=force)) for one, place in zip(merged, places, strict=True)]
    print(json.dumps({"files": told}) if as_json else "\n".join(line for file in told for line in _file_lines(file)))
    return EXIT_OK


@data_app.command("check")
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="CSV, zip or Parquet, or SYMBOL=FILE.")],
    symbol: Symbol = None,
    interval: Interval = None,
    as_json: AsJson = False,
) -> int:
    """Everything that is wrong with candle files.

    Gaps, repeated and unordered candles, impossible prices, opens off the grid,
    cells that are no numbers: exit code 5. Gaps in a known halt of the venue and
    candles without a trade are told, and no fault.

    \b
    examples:
      surefoot data check data/spot/*.parquet
      surefoot data check BTCUSDT-1m-2024-01.zip --json
    """
    from surefoot.research.audit import audit

    with Progress("files") as progress:
        audits = []
        for done, file in enumerate(files, 1):
            audits.append(audit(file, symbol, interval))
            progress.show(done, len(files))
    is_good = all(one.is_good for one in audits)
    if as_json:
        print(json.dumps({"ok": is_good, "files": [one.as_dict() for one in audits]}))
    else:
        print("\n".join(line for one in audits for line in _audit_lines(one)))
    return EXIT_OK if is_good else EXIT_DATA


def _series(symbols: Sequence[str], interval: str, market: str) -> list[Series]:
    import re

    from surefoot.core.model import INTERVAL_MS
    from surefoot.research.archive import Series

    if interval not in INTERVAL_MS:
        raise CommandError(f"--interval {interval}: give one of {', '.join(INTERVAL_MS)}")
    for symbol in symbols:
        if not re.fullmatch(r"[A-Z0-9]{5,24}", symbol):
            raise CommandError(f"{symbol}: not a symbol; give one like BTCUSDT")
    match market:
        case "spot" | "um":
            return [Series(market, symbol, interval) for symbol in dict.fromkeys(symbols)]
    raise CommandError(f"--market {market}: give spot or um")


def _address(option: str, url: str | None) -> str | None:
    if url is not None and not url.startswith(("https://", "http://")):
        raise CommandError(f"{option} {url}: not an address; give one like https://data.binance.vision")
    return url.rstrip("/") if url else None


def _say(line: str) -> None:
    print(f"surefoot: {line}", file=sys.stderr, flush=True)


def _file_lines(file: Mapping[str, Any]) -> list[str]:
    """One file that was written: what is in it, what was done for it, and what is missing in it."""
    from surefoot.research.data import utc_text

    span = f"{utc_text(file['first_ms'])} to {utc_text(file['last_ms'])} UTC"
    lines = [f"{file['file']}  {file['candles']:,} candles of {file['symbol']} {file['interval']}, {span}"]
    if "archives_fetched" in file:
        had = f"archives {file['archives_fetched']} fetched, {file['archives_kept']} kept"
        lines.append(f"  {had}; {file['rest_candles']:,} candles by REST")
    if file["repeated"]:
        lines.append(f"  {file['repeated']:,} equal rows taken once")
    for from_ms, to_ms, candles, halt in file["gaps"][:PLACES_SHOWN]:
        why = f", {halt}" if halt else ""
        lines.append(f"  missing {candles:,} candles from {utc_text(from_ms)} to {utc_text(to_ms)}{why}")
    return lines + _more(len(file["gaps"]))


def _audit_lines(found: Audit) -> list[str]:
    what = f"{found.candles:,} candles of {found.symbol or '?'} {found.interval or '?'}"
    lines = [f"{found.file}  {what}, {'good' if found.is_good else 'NOT GOOD'}"]
    for finding in found.findings:
        mark = "problem" if finding.is_problem else "note"
        lines.append(f"  {mark:<8} {finding.what} ({finding.kind}): {finding.count:,}")
        lines += _place_lines(finding)
    return lines


def _place_lines(finding: Finding) -> list[str]:
    from surefoot.research.data import time_text

    lines = []
    for row, at_ms, detail in finding.places[:PLACES_SHOWN]:
        words = (f"row {row}" if row else "", time_text(at_ms) if at_ms is not None else "", detail)
        lines.append("           " + ", ".join(word for word in words if word))
    return lines + _more(finding.count if finding.places else 0)


def _more(count: int) -> list[str]:
    return [f"           and {count - PLACES_SHOWN:,} more; --json has them"] if count > PLACES_SHOWN else []
