"""Candle files put together: one checked Parquet file a symbol and interval, for `surefoot data import`.

Equal rows are one candle; two that disagree are refused, with both files named. A file is written whole under another
name, read back, and only then given its name: whatever goes wrong, nothing that was there is lost.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS
from surefoot.research.candlefile import COLUMN_NAMES, DataError, named, read_cells, sha256_of
from surefoot.research.data import (
    Gap,
    find_gaps,
    grid_fault,
    interval_of,
    load_candles,
    number_faults,
    readable,
    refuse,
    symbol_of,
    utc_text,
)
from surefoot.signals.window import Columns, IntArray


@dataclass(frozen=True, slots=True)
class Part:
    """Candles of one file, each of them possible, in whatever order they stood there."""

    name: str
    symbol: str
    interval: str
    columns: Columns


@dataclass(frozen=True, slots=True)
class Merged:
    """Candles of one symbol and interval, oldest first, each once; `repeated` counts the equal rows left out."""

    symbol: str
    interval: str
    columns: Columns
    gaps: tuple[Gap, ...]
    repeated: int
    parts: int

    @property
    def file_name(self) -> str:
        return f"{self.symbol}-{self.interval}.parquet"


def read_part(text: str, symbol: str | None = None, interval: str | None = None) -> Part:
    """One file, given as for `load_candles`, checked but for order and gaps."""
    source = named(text)
    sha256_of(source.path)  # says why a folder or an unreadable file is none
    columns = readable(source.path, read_cells(source.path))
    length = interval_of(source, interval, np.unique(columns.open_ms))
    return checked(Part(str(source.path), symbol_of(source, symbol), length, columns))


def checked(part: Part) -> Part:
    """The same, each candle of it possible; DataError names the first that is not."""
    for fault in (*number_faults(part.columns), grid_fault(part.columns.open_ms, part.interval)):
        refuse(part.name, part.columns.open_ms, fault)
    return part


def cut(part: Part, from_ms: int, to_ms: int) -> Part | None:
    """Only the candles that open in [from_ms, to_ms); None when there are none."""
    open_ms = part.columns.open_ms
    return _only(part, (open_ms >= from_ms) & (open_ms < to_ms))


def without(part: Part, others: Columns) -> Part | None:
    """Only the candles that open when none of the others does; None when there are none."""
    return _only(part, ~np.isin(part.columns.open_ms, others.open_ms))


def _only(part: Part, kept: npt.NDArray[np.bool_]) -> Part | None:
    open_ms, *values = part.columns
    columns = Columns(open_ms[kept], *(column[kept] for column in values))
    return replace(part, columns=columns) if columns.open_ms.size else None


def merge(parts: Sequence[Part]) -> list[Merged]:
    """One for each symbol and interval, in the order of their first parts. DataError where two candles disagree."""
    groups: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.symbol, part.interval), []).append(part)
    return [_merged(group) for group in groups.values()]


def _merged(parts: Sequence[Part]) -> Merged:
    joined = _joined([part.columns for part in parts])
    owner = np.repeat(np.arange(len(parts)), [part.columns.open_ms.size for part in parts])
    order = np.argsort(joined.open_ms, kind="stable")
    ordered = Columns(joined.open_ms[order], *(column[order] for column in joined[1:]))
    again = np.flatnonzero(np.diff(ordered.open_ms) == 0) + 1
    _refuse_contradiction(parts, owner[order], ordered, again)
    columns = Columns(np.delete(ordered.open_ms, again), *(np.delete(column, again) for column in ordered[1:]))
    gaps = find_gaps(columns.open_ms, INTERVAL_MS[parts[0].interval])
    return Merged(parts[0].symbol, parts[0].interval, columns, gaps, int(again.size), len(parts))


def _joined(parts: Sequence[Columns]) -> Columns:
    times, *values = zip(*parts, strict=True)
    return Columns(np.concatenate(times), *map(np.concatenate, values))


def _refuse_contradiction(parts: Sequence[Part], owner: IntArray, columns: Columns, again: IntArray) -> None:
    differs = np.zeros(again.size, dtype=np.bool_)
    for column in columns[1:]:
        differs |= column[again] != column[again - 1]
    at = again[differs]
    if not at.size:
        return
    first, second = parts[owner[at[0] - 1]].name, parts[owner[at[0]]].name
    where = f"{first} and {second} disagree" if first != second else f"{first}: two rows disagree"
    old, new = ([float(column[place]) for column in columns[1:]] for place in (at[0] - 1, at[0]))
    changed = next(place for place in range(len(old)) if old[place] != new[place])
    more = f" and at {at.size - 1} more" if at.size > 1 else ""
    raise DataError(
        f"{where} at {utc_text(int(columns.open_ms[at[0]]))} UTC{more}:"
        f" {COLUMN_NAMES[1 + changed]} {old[changed]!r} or {new[changed]!r};"
        " leave one of them out"
    )


def targets(merged: Sequence[Merged], out: Path, *, force: bool) -> list[Path]:
    """Where each one goes: into the folder `out`, or to the file of that name when it is one only.

    DataError when something is there already and `force` is not said, or a file cannot be there.
    """
    if out.suffix.lower() == ".parquet" and not out.is_dir():
        if len(merged) > 1:
            kinds = ", ".join(f"{one.symbol} {one.interval}" for one in merged)
            raise DataError(f"{out}: one file cannot hold {kinds}; give a folder")
        files = [out]
    else:
        files = [out / one.file_name for one in merged]
    for file in files:
        if not force:
            _refuse_existing(file)
    return files


def write(merged: Merged, file: Path, *, force: bool) -> str:
    """Write one Parquet file, whole or not at all; the SHA-256 of its bytes."""
    import polars as pl

    beside = file.with_name(f".{os.getpid()}.{file.stem}.part.parquet")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(dict(zip(COLUMN_NAMES, merged.columns, strict=True)))
        with beside.open("wb") as raw:
            frame.write_parquet(raw, compression="zstd")
            raw.flush()
            os.fsync(raw.fileno())
        _verify(merged, beside)
        if not force:
            _refuse_existing(file)  # someone may have made it meanwhile
        beside.replace(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)
    return sha256_of(file)


def told_of(merged: Merged, file: Path, sha256: str) -> dict[str, Any]:
    """For JSON."""
    return {
        "file": str(file),
        "symbol": merged.symbol,
        "interval": merged.interval,
        "candles": int(merged.columns.open_ms.size),
        "first_ms": int(merged.columns.open_ms[0]),
        "last_ms": int(merged.columns.open_ms[-1]),
        "repeated": merged.repeated,
        "gaps": [[gap.from_ms, gap.to_ms, gap.candles, gap.halt] for gap in merged.gaps],
        "sha256": sha256,
    }


def _verify(merged: Merged, file: Path) -> None:
    back = load_candles(file, merged.symbol, merged.interval, gaps="keep").columns
    if not all(np.array_equal(ours, theirs) for ours, theirs in zip(merged.columns, back, strict=True)):
        raise DataError(f"{file}: what was written reads differently; the disk may be failing")


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise DataError(f"{file}: is there already; give another --out, or --force to replace it")
