"""The figures of a run, as `metrics` makes them: for those who only hand them on, and need no arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Metrics:
    """None stands for "not defined" or "not known". `sharpe_basis` is also that of volatility and Sortino."""

    from_ms: int | None
    to_ms: int | None
    return_pct: float | None
    cagr_pct: float | None
    volatility_pct: float | None
    max_drawdown_pct: float | None
    max_drawdown_ms: int | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    sharpe_basis: str
    exposure_pct: float | None
    round_trips: int
    win_rate_pct: float | None
    profit_factor: float | None
    payoff_ratio: float | None
    expectancy: float | None
    sqn: float | None
    average_win: float | None
    average_loss: float | None
    largest_win: float | None
    largest_loss: float | None
    longest_wins: int | None
    longest_losses: int | None
    duration_mean_ms: float | None
    duration_median_ms: float | None
    mfe_pct: float | None
    mae_pct: float | None
    fees: float | None
    slippage: float | None
    funding: float | None

    def as_dict(self) -> dict[str, float | int | str | None]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
