"""Which engine a backtest runs in, for the command line: the exact one, the fast one, or both against each other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from surefoot.commands.options import EXIT_FAILED, CommandError
from surefoot.commands.progress import Progress

if TYPE_CHECKING:
    from surefoot.config import Settings
    from surefoot.research.funding import Funding

ENGINES = ("exact", "fast", "both")
DIFFERENCES_SHOWN = 5

Result = dict[str, Any]
Show = Callable[[int, int], None] | None


class Runs:
    """Backtests of the same files; made by the words of the command line."""

    def __init__(
        self, engine: str, files: Sequence[str], detail: Sequence[str], gaps: Any, funding: Funding | None = None
    ) -> None:
        if engine not in ENGINES:
            raise CommandError(f"--engine {engine}: give {', '.join(ENGINES)}")
        if funding is not None and engine != "exact":
            raise CommandError(f"--engine {engine} --funding: only the exact engine trades futures")
        self._funding = funding
        self._engine = engine
        self._files = files
        self._detail = detail
        self._gaps = gaps
        self._with_curve = True

    def __call__(self, settings: Settings, *, with_band: bool, with_curve: bool) -> Result:
        """The result; of both engines it is the exact one's. CommandError where they disagree."""
        self._with_curve = with_curve or with_band
        if self._engine == "fast":
            return self._banded(settings, self._fast, None) if with_band else self._fast(settings, None)
        with Progress("candles") as progress:
            result = (
                self._banded(settings, self._exact, progress.show)
                if with_band
                else self._exact(settings, progress.show)
            )
        return self._compared(settings, result) if self._engine == "both" else result

    def _banded(self, settings: Settings, run: Callable[[Settings, Show], Result], show: Show) -> Result:
        from surefoot.research.band import run_with_band

        return run_with_band(settings, run, show)

    def _exact(self, settings: Settings, show: Show) -> Result:
        from surefoot.research.backtest import run_backtest

        return run_backtest(
            settings, self._files, detail=self._detail, gaps=self._gaps, funding=self._funding, progress=show
        )

    def _fast(self, settings: Settings, _: Show) -> Result:
        from surefoot.research.fastbacktest import run_fast_backtest

        return run_fast_backtest(
            settings, self._files, detail=self._detail, gaps=self._gaps, say=_say, wants_curve=self._with_curve
        )

    def _compared(self, settings: Settings, exact: Result) -> Result:
        from surefoot.research.fastbacktest import differences

        fast = self._fast(settings, None)
        found = differences(exact, fast)
        notes = [*exact.get("notes", ()), *fast.get("notes", ())]
        if found and not fast.get("notes"):
            raise CommandError("the engines differ: " + "; ".join(found[:DIFFERENCES_SHOWN]), EXIT_FAILED)
        agreement = f"Both engines make the same {len(exact['round_trips'])} round trips."
        return exact | {"notes": [*notes, *(found or [agreement])]}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
