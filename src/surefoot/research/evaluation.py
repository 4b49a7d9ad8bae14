"""One look at one period with one choice of settings, in any process: what a search asks for, thousands of times.

Rules. An evaluator is made once a process and candles are mapped from one set of read-only files, so that memory does
not grow with the number of workers. It is given a period and lives through the candles of that period only: those from
`lead_ms` on warm the signals up, [from_ms, to_ms) is measured. `Source.until_ms` takes the candles behind a time away
before the evaluator is made; what it answers then must be the same, or it has looked ahead (`walkforward`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from surefoot.config import SECRETS, ConfigError, Settings, changed
from surefoot.core.model import INTERVAL_MS
from surefoot.research.backtest import run_loaded
from surefoot.research.data import CandleFile, DataError, EvaluationError, load_candles, utc_text
from surefoot.research.metrics import Curve, Floats, Times, Trips, curve_of, daily_returns, measure
from surefoot.signals.window import Columns

EVALUATORS_KEPT = 2  # a process: the whole of the candles, and those up to a time
# The end of a run is heard some latencies after its last candle.
HEARD_LATE_MAX_MS = 600_000


@dataclass(frozen=True, slots=True)
class Period:
    """UTC ms; candles that open before `lead_ms` or end after `to_ms` are not seen, [from_ms, to_ms) is measured."""

    lead_ms: int
    from_ms: int
    to_ms: int

    def __str__(self) -> str:
        return f"{utc_text(self.from_ms)} to {utc_text(self.to_ms)}"


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Round trips as columns, in the order in which they ended. Floats: they are compared and described, not traded."""

    symbol: tuple[str, ...]
    entry_ms: Times
    exit_ms: Times
    entry_price: Floats
    exit_price: Floats
    quantity: Floats
    pnl: Floats
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pnl)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a run: marked equity, at least at the end of every day, and the round trips.

    `flagged` counts the round trips in which an engine knows that it may differ from the exact one.
    """

    curve: Curve
    trips: Ledger
    flagged: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What is kept of a look: daily returns after costs, and all figures. `returns` is None after a total loss."""

    returns: Floats | None
    round_trips: int
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The settings contradict each other, as `why` says: they were not evaluated."""

    why: str


class Evaluator(Protocol):
    """Made by `maker(settings, files)`; runs the settings with some of them changed. Raises ConfigError, DataError."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A candle file, and the folder where its columns can be mapped from; without the folder, the file is read."""

    path: str
    symbol: str
    interval: str
    sha256: str
    folder: str

    def open(self) -> CandleFile:
        try:
            arrays = (np.load(self._column(name), mmap_mode="r") for name in Columns._fields)
            return CandleFile(Path(self.path), self.symbol, self.interval, Columns(*arrays), (), self.sha256)
        except OSError:
            # Another machine, which has the file but not the folder.
            file = load_candles(self.path, self.symbol, self.interval, gaps="keep")
        if file.sha256 != self.sha256:
            raise DataError(f"{self.path}: not the file that the search began with; copy that one to every machine")
        return file

    def _column(self, name: str) -> Path:
        return Path(self.folder, f"{self.symbol}-{name}.npy")


@dataclass(frozen=True, slots=True)
class Source:
    """All that a process needs to make an evaluator. `maker` is `package.module:Class`; settings are JSON."""

    maker: str
    settings: str
    files: tuple[MappedFile, ...]
    until_ms: int | None = None

    def evaluator(self) -> Evaluator:
        module, _, name = self.maker.partition(":")
        files = [file.open() for file in self.files]
        if self.until_ms is not None:
            files = cut(files, Period(0, 0, self.until_ms))
        made: Evaluator = getattr(import_module(module), name)(Settings.model_validate_json(self.settings), files)
        return made


def source_of(maker: str, settings: Settings, files: Sequence[CandleFile], folder: Path) -> Source:
    """Write the columns of the files into a folder, to be mapped by every worker."""
    folder.mkdir(parents=True, exist_ok=True)
    mapped = []
    for file in files:
        entry = MappedFile(str(file.path.absolute()), file.symbol, file.interval, file.sha256, str(folder.absolute()))
        for name, column in zip(Columns._fields, file.columns, strict=True):
            np.save(entry._column(name), column)
        mapped.append(entry)
    return Source(maker, settings.model_dump_json(exclude=set(SECRETS)), tuple(mapped))


def look(source: Source, values: tuple[tuple[str, str], ...], period: Period) -> Measured | Refused:
    """What a worker does: one run, measured."""
    try:
        outcome = live_through(source, values, period)
    except ConfigError as problem:
        # What a strategy finds wrong with its parameters only it can say.
        return Refused(str(problem))
    return measured(outcome, period)


def live_through(source: Source, values: tuple[tuple[str, str], ...], period: Period) -> Outcome:
    """One run with its round trips, for the few that are looked at closely."""
    if source not in _evaluators:
        while len(_evaluators) >= EVALUATORS_KEPT:
            _evaluators.pop(next(iter(_evaluators)))
        _evaluators[source] = source.evaluator()
    return _evaluators[source].run(dict(values), period)


_evaluators: dict[Source, Evaluator] = {}


def cut(files: Sequence[CandleFile], period: Period) -> list[CandleFile]:
    """Only the candles of a period, without copying them; a symbol that has none then is left out."""
    parts = []
    for file in files:
        open_ms = file.columns.open_ms
        start = int(np.searchsorted(open_ms, period.lead_ms))
        end = int(np.searchsorted(open_ms, period.to_ms - INTERVAL_MS[file.interval], side="right"))
        if start < end:
            values = (column[start:end] for column in file.columns[1:])
            parts.append(replace(file, columns=Columns(open_ms[start:end], *values)))
    if not parts:
        raise DataError(f"no file has candles from {period}")
    return parts


def measured(outcome: Outcome, period: Period) -> Measured:
    """The figures of a period: equity from its beginning on, and the round trips that began in it.

    EvaluationError when the run knows of times outside the period.
    """
    at_ms, equity = outcome.curve.at_ms, outcome.curve.equity
    if not at_ms.size or at_ms[0] < period.lead_ms or at_ms[-1] > period.to_ms + HEARD_LATE_MAX_MS:
        raise EvaluationError(f"the evaluation of {period} tells of times outside that period")
    at = int(np.searchsorted(at_ms, period.from_ms, side="right"))
    # What was known last before the beginning is the equity it begins with.
    first_ms, first = (np.array([period.from_ms]), equity[at - 1 : at]) if at else (at_ms[:0], equity[:0])
    parts = np.concatenate((first_ms, at_ms[at:].clip(max=period.to_ms))), np.concatenate((first, equity[at:]))
    curve = curve_of(Curve(*parts))
    trips = outcome.trips
    inside = trips.entry_ms >= period.from_ms
    figures = measure(curve, Trips(trips.entry_ms[inside], trips.exit_ms[inside], trips.pnl[inside]))
    returns = daily_returns(curve)
    return Measured(None if returns is None else np.array(returns), int(inside.sum()), figures.as_dict())


class ExactEvaluator:
    """The live engine in virtual time."""

    def __init__(self, settings: Settings, files: Sequence[CandleFile]) -> None:
        self._settings = settings
        self._files = files

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        return outcome_of(run_loaded(changed(self._settings, values), cut(self._files, period)))


def outcome_of(result: Mapping[str, Any]) -> Outcome:
    """The outcome that a backtest's result tells."""
    trips, curve = result["round_trips"], result["equity_curve"]

    def floats(name: str) -> Floats:
        return np.array([float(trip[name]) for trip in trips])

    def times(name: str) -> Times:
        return np.array([trip[name] for trip in trips], dtype=np.int64)

    ledger = Ledger(
        symbol=tuple(trip["symbol"] for trip in trips),
        entry_ms=times("entry_ms"),
        exit_ms=times("exit_ms"),
        entry_price=floats("entry_price"),
        exit_price=floats("exit_price"),
        quantity=floats("quantity"),
        pnl=floats("pnl"),
        reason=tuple(trip["reason"] for trip in trips),
    )
    at_ms, equity = zip(*curve, strict=True)
    return Outcome(Curve(np.array(at_ms, dtype=np.int64), np.array(equity, dtype=np.float64)), ledger)
