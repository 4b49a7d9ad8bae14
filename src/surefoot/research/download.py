"""Candles of the venue into checked Parquet files: archives first, REST for what they do not have yet.

Every archive is kept, with its checksum, in `archives/` of the folder, so that a run that ended early, or one that
wants more, fetches only what is lacking. A file that is there already is added to; where it tells other numbers than
the venue does now, it is left as it is and that is said, unless the caller wants the venue's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from surefoot.core.model import INTERVAL_MS
from surefoot.research.archive import ARCHIVE, DAY_MS, REST, Period, Series, joined, may_have_days, periods
from surefoot.research.candlefile import DataError
from surefoot.research.data import utc_text
from surefoot.research.merge import Part, checked, cut, merge, read_part, told_of, without, write
from surefoot.research.transfer import Missing, Refused, Transfer, TransferError, server_ms
from surefoot.signals.window import Columns

ARCHIVES_AT_ONCE = 4
# The bot may trade from the same address at the same time, so half of the weight is left to it.
WEIGHT_SHARE = 0.5
MINUTE_S = 60

Span = tuple[int, int]


class Wanted(NamedTuple):
    """Candles that open in [from_ms, to_ms); `now_ms` is the present, after which nothing is closed."""

    series: Sequence[Series]
    from_ms: int
    to_ms: int
    now_ms: int


@dataclass(slots=True)
class Download:
    """One run. `progress` is told days done and days in all; addresses default to the venue's."""

    transfer: Transfer
    folder: Path
    progress: Callable[[int, int], None]
    archive: str = ARCHIVE
    rest: str | None = None
    force: bool = False
    _done_ms: int = 0
    _total_ms: int = 0
    _used_weight: int = 0
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ARCHIVES_AT_ONCE))

    async def run(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Fetch all series, one after the other, and write a file for each. Raises TransferError or DataError."""
        self._total_ms = (wanted.to_ms - wanted.from_ms) * len(wanted.series)
        return [await self._series(series, wanted) for series in wanted.series]

    async def _series(self, series: Series, wanted: Wanted) -> dict[str, Any]:
        found = _Found()
        asked = [
            self._period(series, period, wanted, found)
            for period in periods(wanted.from_ms, wanted.to_ms, wanted.now_ms)
        ]
        await _all(asked)
        parts = [part for part in [await self._read(series, *one, found) for one in found.files] if part is not None]
        from_rest = [await self._klines(series, span, wanted.now_ms, found) for span in joined(found.missing)]
        parts += [part for part in from_rest if part is not None]
        parts = [part for part in (cut(part, wanted.from_ms, wanted.to_ms) for part in parts) if part is not None]
        if not parts:
            span = f"{utc_text(wanted.from_ms)} to {utc_text(wanted.to_ms)} UTC"
            raise DataError(f"{series.symbol} {series.interval}: the venue has no candles from {span}")
        told = await asyncio.to_thread(self._write, series, parts)
        counts = {"archives_fetched": found.fetched, "archives_kept": len(found.files) - found.fetched}
        rest_candles = sum(int(part.columns.open_ms.size) for part in from_rest if part is not None)
        return told | {"market": series.market, **counts, "rest_candles": rest_candles}

    # -- archives ---------------------------------------------------------------------------------------------

    async def _period(self, series: Series, period: Period, wanted: Wanted, found: _Found) -> None:
        """Fetch the archive of a month or a day, or of a month's days; note what there is none of."""
        span = max(period.from_ms, wanted.from_ms), min(period.to_ms, wanted.to_ms)
        if span[0] >= span[1]:
            return
        if period.to_ms <= wanted.now_ms and await self._archive(series, period, span, found):
            self._advance(span[1] - span[0])
        elif period.is_month and may_have_days(period, wanted.now_ms):
            await _all([self._period(series, day, wanted, found) for day in period.days()])
        else:
            found.missing.append(span)

    async def _archive(self, series: Series, period: Period, span: Span, found: _Found) -> bool:
        place = self.folder / "archives" / series.market / series.symbol / series.interval / period.name(series)
        async with self._room:
            try:
                fetched = await self.transfer.file(f"{self.archive}/{period.path(series)}", place)
            except Missing:
                return False
        found.files.append((place, span))
        found.fetched += fetched
        return True

    async def _read(self, series: Series, file: Path, span: Span, found: _Found) -> Part | None:
        """The candles of an archive; where it has such as cannot be, REST is asked instead.

        Those of February 2018 open at 28 minutes and 14 seconds past the hour, for instance.
        """
        try:
            return await asyncio.to_thread(read_part, str(file), series.symbol, series.interval)
        except DataError as error:
            self.transfer.say(f"{error}. Asking for klines instead")
            found.missing.append(span)
            self._advance(span[0] - span[1])
            return None

    # -- REST -------------------------------------------------------------------------------------------------

    async def _klines(self, series: Series, span: Span, now_ms: int, found: _Found) -> Part | None:
        """Closed candles of a time, page by page; None when the venue has none."""
        source, interval_ms = REST[series.market], INTERVAL_MS[series.interval]
        url = f"{self.rest or source.base}{source.path}"
        from_ms, to_ms = span
        rows: list[list[Any]] = []
        while from_ms < to_ms:
            await self._keep_within(source.weight_max * WEIGHT_SHARE, source.weight)
            asked = {
                "symbol": series.symbol,
                "interval": series.interval,
                "startTime": str(from_ms),
                "endTime": str(to_ms - 1),
                "limit": str(source.page),
            }
            try:
                page, headers = await self.transfer.json(url, asked)
            except (Missing, Refused) as problem:
                if found.files:  # a symbol that is traded no more has archives, and REST does not know it
                    self.transfer.say(f"{series.symbol}: nothing after the archives: {problem}")
                    break
                raise TransferError(f"{series.symbol}: neither archives nor klines: {problem}") from None
            self._used_weight = int(headers.get("x-mbx-used-weight-1m", source.weight))
            closed_ms = min(now_ms, server_ms(headers) or now_ms)
            page = _page(url, page)
            rows += [row for row in page if row[0] + interval_ms <= closed_ms]
            next_ms = page[-1][0] + interval_ms if len(page) == source.page else to_ms
            if next_ms <= from_ms:
                raise TransferError(f"{url}: the candles do not go on after {utc_text(from_ms)} UTC")
            self._advance(min(next_ms, to_ms) - from_ms)
            from_ms = next_ms
        return checked(Part(url, series.symbol, series.interval, _columns(rows))) if rows else None

    async def _keep_within(self, weight_max: float, weight: int) -> None:
        """Wait for the next minute when this read would use more than our share of the present one."""
        if self._used_weight + weight <= weight_max:
            return
        wait_s = MINUTE_S - time.time() % MINUTE_S
        self.transfer.say(f"{self._used_weight} of the minute's weight is used; going on in {wait_s:.0f} s")
        await self.transfer.sleep(wait_s)
        self._used_weight = 0

    # -- the file ---------------------------------------------------------------------------------------------

    def _write(self, series: Series, parts: list[Part]) -> dict[str, Any]:
        (merged,) = merge(parts)
        file = self.folder / series.market / merged.file_name
        if file.exists():
            before = read_part(str(file), series.symbol, series.interval)
            kept = without(before, merged.columns) if self.force else before
            now = Part("what the venue has now", series.symbol, series.interval, merged.columns)
            try:
                (merged,) = merge([now] if kept is None else [kept, now])
            except DataError as error:
                raise DataError(f"{error}; --force takes the venue's") from None
        return told_of(merged, file, write(merged, file, force=True))

    def _advance(self, span_ms: int) -> None:
        self._done_ms += span_ms
        self.progress(self._done_ms // DAY_MS, -(-self._total_ms // DAY_MS))


@dataclass(slots=True)
class _Found:
    """What there was of one series: archives and what is wanted of each, how many are new, and times that none has."""

    files: list[tuple[Path, Span]] = field(default_factory=list)
    missing: list[Span] = field(default_factory=list)
    fetched: int = 0


async def _all(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Everything at once; the first failure ends the others and is told as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def _page(url: str, page: Any) -> list[list[Any]]:
    """Candles as the venue sends them: whole numbers and texts."""
    try:
        return [[int(row[0]), *(float(row[column]) for column in range(1, 6))] for row in page]
    except (TypeError, ValueError, IndexError, KeyError):
        raise TransferError(f"{url}: the answer is no list of candles; is this the right address?") from None


def _columns(rows: Sequence[Sequence[Any]]) -> Columns:
    values = np.array([row[1:] for row in rows], dtype=np.float64).T
    return Columns(np.array([row[0] for row in rows], dtype=np.int64), *map(np.ascontiguousarray, values))
