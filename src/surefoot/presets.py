"""Named sets of settings: exit presets, strengths of the breaker, and the profiles of a roll-out, as data.

A preset fills in what nobody set otherwise: file, environment and flags win over it. A profile also has a gate, which
`surefoot promote` holds against the ledger before the next profile is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[str, object]

EXIT_PRESETS: Mapping[str, Values] = {
    "off": {},
    "conservative": {
        "exits.trail_activate_pct": "1.5",
        "exits.trail_distance_pct": "1.0",
        "exits.trail_step_pct": "0.5",
        "exits.reversal_fall_pct": "0.5",
        "exits.reversal_closes": 3,
        "exits.reversal_profit_min_pct": "0.8",
        "exits.take_1_at_pct": "2.0",
        "exits.take_1_share_pct": "50",
        "exits.take_2_at_pct": "3.0",
        "exits.take_2_share_pct": "25",
        "exits.hold_max_s": 7_200,
        "exits.hold_keep_pct": "1.5",
        "exits.break_even_after_r": "1",
    },
    "balanced": {
        "exits.trail_activate_pct": "1.8",
        "exits.trail_distance_pct": "1.2",
        "exits.trail_step_pct": "0.5",
        "exits.reversal_fall_pct": "0.7",
        "exits.reversal_closes": 4,
        "exits.take_1_at_pct": "2.5",
        "exits.take_1_share_pct": "40",
        "exits.hold_max_s": 10_800,
        "exits.break_even_after_r": "1",
    },
    "aggressive": {
        "exits.trail_activate_pct": "2.0",
        "exits.trail_distance_pct": "1.5",
        "exits.trail_step_pct": "0.5",
        "exits.reversal_fall_pct": "1.0",
        "exits.reversal_closes": 5,
        "exits.take_1_at_pct": "3.0",
        "exits.take_1_share_pct": "30",
        "exits.hold_max_s": 14_400,
        "exits.break_even_after_r": "1",
    },
}

BREAKER_PRESETS: Mapping[str, Values] = {
    "conservative": {"breaker.day_loss_max_pct": "3", "breaker.drawdown_max_pct": "10"},
    "standard": {"breaker.day_loss_max_pct": "5", "breaker.drawdown_max_pct": "15"},
    "aggressive": {"breaker.day_loss_max_pct": "7", "breaker.drawdown_max_pct": "20"},
}


@dataclass(frozen=True, slots=True)
class Gate:
    """What a profile must have shown before the next one; None and False ask for nothing.

    Days are of running, rates and drawdown in per cent.
    """

    days_min: int
    no_trip: bool = False
    no_error: bool = False
    stream_hours_min: int = 0
    sharpe_above: float | None = None
    win_rate_above_pct: float | None = None
    drawdown_below_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A step of the roll-out: its settings, the gate to the next, and what that next one is called."""

    settings: Values
    gate: Gate | None
    next: str | None


PROFILES: Mapping[str, Profile] = {
    "none": Profile({}, None, None),
    "testnet": Profile(
        {
            "risk.capital_max_quote": "5000",
            "breaker.day_loss_max_pct": "5",
            "breaker.drawdown_max_pct": "15",
            "risk.positions_max": 3,
            "risk.risk_pct_of_equity": "2.0",
        },
        Gate(days_min=7, no_error=True, stream_hours_min=24),
        "conservative",
    ),
    "conservative": Profile(
        {
            "risk.capital_max_quote": "1000",
            "breaker.day_loss_max_pct": "3",
            "breaker.drawdown_max_pct": "10",
            "risk.positions_max": 2,
            "risk.risk_pct_of_equity": "1.5",
            "exits.stop_pct_of_price": "3.5",
            "exits.target_pct_of_price": "7",
        },
        Gate(days_min=14, no_trip=True, sharpe_above=0.5, win_rate_above_pct=45, drawdown_below_pct=10),
        "scale",
    ),
    "scale": Profile(
        {
            "risk.capital_max_quote": "10000",
            "breaker.day_loss_max_pct": "5",
            "breaker.drawdown_max_pct": "15",
            "risk.positions_max": 3,
            "risk.risk_pct_of_equity": "2.0",
        },
        Gate(days_min=14, sharpe_above=1.0, win_rate_above_pct=50, drawdown_below_pct=15),
        "full",
    ),
    "full": Profile(
        {
            "breaker.day_loss_max_pct": "5",
            "breaker.drawdown_max_pct": "15",
            "risk.positions_max": 5,
            "risk.risk_pct_of_equity": "2.0",
        },
        None,
        None,
    ),
}

# By the key that chooses: from its value to what that fills in. A later one gives way to an earlier one.
CHOICES: Mapping[str, Mapping[str, Values]] = {
    "profile": {name: profile.settings for name, profile in PROFILES.items()},
    "exits.preset": EXIT_PRESETS,
    "breaker.preset": BREAKER_PRESETS,
}


def filled_in(given: Mapping[str, object]) -> dict[str, tuple[object, str]]:
    """What the chosen presets add to the given values, by key: the value, and which choice it comes from."""
    added: dict[str, tuple[object, str]] = {}
    for key, presets in CHOICES.items():
        for name, value in presets.get(str(given.get(key)), {}).items():
            if name not in given:
                added.setdefault(name, (value, f"{key} {given[key]}"))
    return added
