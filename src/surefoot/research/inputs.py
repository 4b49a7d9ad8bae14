"""What a backtest begins with, in either engine: candle files, and the settings as they are for these files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import ValidationError

from surefoot.assembly import QUOTE
from surefoot.config import ConfigError, Mode, Settings
from surefoot.core.model import INTERVAL_MS
from surefoot.research.data import CandleFile, DataError, Gaps, load_candles
from surefoot.research.tape import Tape, tape_of

RECONCILE_EVERY_S = 3_600  # nobody else trades on the simulated account


def load_files(files: Sequence[str], gaps: Gaps) -> list[CandleFile]:
    """Candles of one interval, one file a symbol; DataError for anything else."""
    loaded = [load_candles(file, gaps=gaps) for file in files]
    _refuse_repeated(loaded)
    intervals = {file.interval for file in loaded}
    if len(intervals) > 1:
        raise DataError(f"the files have candles of {', '.join(sorted(intervals))}: give files of one interval")
    return loaded


def load_detail(files: Sequence[str], loaded: Sequence[CandleFile]) -> list[CandleFile]:
    """Finer candles may have gaps: what they do not cover is left to the others."""
    finer = [load_candles(file, gaps="keep") for file in files]
    _refuse_repeated(finer)
    known = {file.symbol for file in loaded}
    for file in finer:
        if file.symbol not in known:
            raise DataError(f"{file.path}: detail of {file.symbol}, of which no other candles are given")
    return finer


def _refuse_repeated(loaded: Sequence[CandleFile]) -> None:
    for symbol, count in Counter(file.symbol for file in loaded).items():
        if count > 1:
            raise DataError(f"{symbol} is given {count} times: give one file a symbol")


def tapes_of(settings: Settings, loaded: Sequence[CandleFile], finer: Sequence[CandleFile]) -> list[Tape]:
    """One a symbol, in the order of the settings."""
    by_symbol, detail = {file.symbol: file for file in loaded}, {file.symbol: file for file in finer}
    return [tape_of(by_symbol[symbol], detail.get(symbol)) for symbol in settings.market.symbols]


def settings_for(settings: Settings, loaded: Sequence[CandleFile]) -> Settings:
    """The settings of a run over these files: their symbols, in the order of the configuration."""
    base = loaded[0].interval
    market = settings.market
    if INTERVAL_MS[market.interval] % INTERVAL_MS[base]:
        raise ConfigError(
            f"market.interval = {market.interval}: cannot be built from candles of {base};"
            f" give finer candles or set market.interval={base}"
        )
    given = {file.symbol for file in loaded}
    ordered = [symbol for symbol in market.symbols if symbol in given]
    symbols = (*ordered, *sorted(given - set(ordered)))
    for symbol in symbols:
        if not symbol.endswith(QUOTE):
            raise DataError(f"{symbol} is not quoted in {QUOTE}: only such symbols can share one account")
    values = settings.model_dump()
    values["mode"] = Mode.BACKTEST
    values["market"]["symbols"] = symbols
    values["orders"]["reconcile_every_s"] = RECONCILE_EVERY_S
    try:
        return Settings.model_validate(values)
    except ValidationError as problem:
        raise ConfigError("\n".join(error["msg"] for error in problem.errors())) from None
