"""The figures of a run as the API tells them: money as decimal text, ratios and lengths of time as numbers.

Rules. Money is summed from the decimals of the books, never made from the floats that the ratios are measured with.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, get_type_hints

from pydantic import create_model

from surefoot.api.records import Records
from surefoot.research.figures import Metrics

# In quote; all others are ratios, shares in per cent, counts or lengths of time.
MONEY = frozenset(
    ("expectancy", "average_win", "average_loss", "largest_win", "largest_loss", "fees", "slippage", "funding")
)
MEAN_STEP = Decimal("1e-8")

# `Metrics` with decimals for money; made from it, so that a figure that is added there is told here.
_FIGURES: dict[str, Any] = {
    name: (Decimal | None if name in MONEY else kind, ...) for name, kind in get_type_hints(Metrics).items()
}
_ABOUT = f"""{Metrics.__doc__} With `truncated`, older rows are no longer kept, and all figures are of the time since
`from_ms`, those of round trips and fees of what ended since."""
Performance = create_model("Metrics", __doc__=_ABOUT, truncated=(bool, ...), **_FIGURES)


def performance_of(records: Records) -> dict[str, Any]:
    """All figures of the time since when all rows are there; None for what is not defined or not known."""
    trips = records.counted_trips()
    profits = [trip.pnl for trip in trips]
    wins, losses = [each for each in profits if each > 0], [each for each in profits if each < 0]
    money = {
        "expectancy": _mean(profits),
        "average_win": _mean(wins),
        "average_loss": _mean(losses),
        "largest_win": max(wins, default=None),
        "largest_loss": min(losses, default=None),
        "fees": records.counted_fees(),
        "funding": sum((trip.funding for trip in trips), Decimal(0)),
        "slippage": None,  # a journal does not say what was expected
    }
    return records.metrics().as_dict() | money | {"truncated": records.figures_from_ms is not None}


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return (sum(amounts, Decimal(0)) / len(amounts)).quantize(MEAN_STEP) if amounts else None
