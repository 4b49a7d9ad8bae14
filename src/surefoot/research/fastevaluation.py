"""The fast loop as an evaluator of a search: arrays are made once a period, signals once for each set of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.config import Settings, Variants, changed
from surefoot.research.data import CandleFile
from surefoot.research.evaluation import Ledger, Outcome, Period, cut
from surefoot.research.fastrun import Outcome as Found
from surefoot.research.fastrun import Prepared, prepare
from surefoot.research.inputs import settings_for, tapes_of
from surefoot.research.metrics import Curve

PERIODS_KEPT = 8


class FastEvaluator:
    """See `evaluation.Evaluator`."""

    def __init__(self, settings: Settings, files: Sequence[CandleFile]) -> None:
        self._settings = settings
        self._files = files
        self._prepared: dict[tuple[Period, str], tuple[Variants, Prepared]] = {}

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        interval = values.get("market.interval", self._settings.market.interval)
        if (period, interval) not in self._prepared:
            self._prepare(period, interval)
        variants, prepared = self._prepared[period, interval]
        return outcome_of(prepared.run(variants.of(values)))

    def _prepare(self, period: Period, interval: str) -> None:
        """Arrays of a period; the settings that go with them are validated once."""
        files = cut(self._files, period)
        settings = settings_for(changed(self._settings, {"market.interval": interval}), files)
        while len(self._prepared) >= PERIODS_KEPT:
            self._prepared.pop(next(iter(self._prepared)))
        self._prepared[period, interval] = Variants(settings), prepare(tapes_of(settings, files, ()), settings)


def outcome_of(found: Found) -> Outcome:
    """A run of the fast loop in the words of a search."""
    entry_price, exit_price = found.prices()
    ledger = Ledger(
        symbol=tuple(found.symbols()),
        entry_ms=found.trips["entry_ms"],
        exit_ms=found.trips["exit_ms"],
        entry_price=entry_price,
        exit_price=exit_price,
        quantity=found.quantities(),
        pnl=found.pnl(),
        reason=tuple(found.reasons()),
    )
    return Outcome(Curve(found.curve_ms, found.curve), ledger, found.flagged)
