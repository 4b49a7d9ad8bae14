"""Everything that is wrong with a candle file, not only the first thing: for `surefoot data check`.

A problem is what makes a backtest refuse the file. A note is worth knowing and no fault of the file: a gap in a known
halt of the venue, candles without a trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS
from surefoot.research.candlefile import MICROSECONDS_FROM, Cells, DataError, Named, named, read_cells, sha256_of
from surefoot.research.data import Fault, find_gaps, grid_fault, interval_of, number_faults, symbol_of, utc_text
from surefoot.signals.window import Columns, IntArray

PLACES_MAX = 10_000  # of one kind in one file; `count` says how many there are


class Place(NamedTuple):
    """Where: the row in the file, the candle's open time, and what is to be said beside the kind; None is unknown."""

    row: int | None
    at_ms: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in a file and all its places."""

    kind: str
    what: str
    is_problem: bool
    count: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in one file; what could not even be told of it is None."""

    file: str
    findings: tuple[Finding, ...]
    symbol: str | None = None
    interval: str | None = None
    candles: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    sha256: str | None = None

    @property
    def is_good(self) -> bool:
        return not any(finding.is_problem for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = [
            {
                "kind": finding.kind,
                "what": finding.what,
                "problem": finding.is_problem,
                "count": finding.count,
                "places": [place._asdict() for place in finding.places],
            }
            for finding in self.findings
        ]
        return {
            "file": self.file,
            "ok": self.is_good,
            "symbol": self.symbol,
            "interval": self.interval,
            "candles": self.candles,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "sha256": self.sha256,
            "findings": findings,
        }


def audit(text: str, symbol: str | None = None, interval: str | None = None) -> Audit:
    """Look at one file, given as for `load_candles`; never raises for what is wrong with it."""
    try:
        source = named(text)
        digest = sha256_of(source.path)
        cells = read_cells(source.path)
    except DataError as error:
        return Audit(text, (_whole_file("unreadable", str(error)),))
    try:
        findings, length = tuple(_findings(source, interval, cells)), interval_of(source, interval, _ordered(cells))
        name = symbol_of(source, symbol)
    except DataError as error:
        findings, length, name = (*_of_cells(cells), _whole_file("unnamed", str(error))), None, None
    times = _ordered(cells)
    first_ms, last_ms = (int(times[0]), int(times[-1])) if times.size else (None, None)
    return Audit(str(source.path), findings, name, length, int(cells.rows.size), first_ms, last_ms, digest)


def _findings(source: Named, interval: str | None, cells: Cells) -> Iterator[Finding]:
    yield from _of_cells(cells)
    times = _ordered(cells)
    length = interval_of(source, interval, times)
    grid = grid_fault(cells.columns.open_ms, length)
    yield from _of_candles(cells, [grid])
    interval_ms = INTERVAL_MS[length]
    yield from _gaps(times[times % interval_ms == 0], interval_ms)
    yield from _without_trades(cells)


def _ordered(cells: Cells) -> IntArray:
    """Each open time once, oldest first; those in another unit are left out."""
    times = np.unique(cells.columns.open_ms)
    return times[(times >= 0) & (times < MICROSECONDS_FROM)]


def _of_cells(cells: Cells) -> Iterator[Finding]:
    """What can be told without knowing the interval."""
    if cells.unreadable:
        places = tuple(Place(row, None, column) for row, column in sorted(cells.unreadable)[:PLACES_MAX])
        yield Finding("not-a-number", "a cell is missing or not a number", True, len(cells.unreadable), places)
    yield from _of_candles(cells, [*number_faults(cells.columns), *_order(cells.columns)])


def _order(columns: Columns) -> Iterator[Fault]:
    """Candles that come again, equal or not, and candles older than the newest before them."""
    open_ms = columns.open_ms
    order = np.argsort(open_ms, kind="stable")
    again = np.zeros(open_ms.size, dtype=np.bool_)
    again[order[1:]] = np.diff(open_ms[order]) == 0
    differs = np.zeros(open_ms.size, dtype=np.bool_)
    for column in columns[1:]:
        differs[order[1:]] |= again[order[1:]] & (np.diff(column[order]) != 0)
    newest = np.maximum.accumulate(open_ms) if open_ms.size else open_ms
    yield Fault("duplicate", "the candle comes again, with the same numbers", "import drops it", again & ~differs)
    yield Fault("contradiction", "the candle comes again, with other numbers", "keep one of them", differs)
    yield Fault("order", "the candle is older than one before it", "import sorts", (open_ms < newest) & ~again)


def _of_candles(cells: Cells, faults: Iterable[Fault]) -> Iterator[Finding]:
    for fault in faults:
        if fault.bad.any():
            yield Finding(fault.kind, fault.what, True, int(fault.bad.sum()), _places(cells, fault.bad))


def _places(cells: Cells, bad: npt.NDArray[np.bool_]) -> tuple[Place, ...]:
    at = np.flatnonzero(bad)[:PLACES_MAX]
    rows, times = cells.rows[at].tolist(), cells.columns.open_ms[at].tolist()
    return tuple(Place(row, at_ms, "") for row, at_ms in zip(rows, times, strict=True))


def _gaps(open_ms: IntArray, interval_ms: int) -> Iterator[Finding]:
    found = find_gaps(open_ms, interval_ms)
    for kind, what, gaps in (
        ("gap", "candles are missing", [gap for gap in found if gap.halt is None]),
        ("halt", "candles are missing, the venue had halted", [gap for gap in found if gap.halt is not None]),
    ):
        places = tuple(
            Place(None, gap.from_ms, f"{gap.candles} until {utc_text(gap.to_ms)}" + (f", {gap.halt}" * bool(gap.halt)))
            for gap in gaps[:PLACES_MAX]
        )
        if gaps:
            yield Finding(kind, what, kind == "gap", len(gaps), places)


def _without_trades(cells: Cells) -> Iterator[Finding]:
    idle = cells.columns.volume == 0
    if idle.any():
        yield Finding("zero-volume", "nothing was traded", False, int(idle.sum()), _places(cells, idle))


def _whole_file(kind: str, text: str) -> Finding:
    return Finding(kind, text, True, 1, ())
