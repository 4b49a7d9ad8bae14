"""Settings under which positions end in every way there is, and the breaker trips: for tests that compare two ways."""

from __future__ import annotations

MANAGED = {
    "exits.trail_activate_pct": "0.3",
    "exits.trail_distance_pct": "0.3",
    "exits.trail_step_pct": "0.1",
    "exits.break_even_after_r": "0.5",
    "exits.take_1_at_pct": "0.4",
    "exits.take_1_share_pct": "50",
}
TIMED = {"exits.hold_max_s": "7200", "exits.hold_keep_pct": "0.2", "exits.reversal_closes": "3"}
TIGHT = {
    "breaker.day_loss_max_pct": "0.5",
    "breaker.rolling_loss_max_pct": "0.6",
    "breaker.drawdown_max_pct": "0.8",
    "breaker.drawdown_tier": "warn",
    "breaker.backtest_reset_after_h": "3",
}
