"""The fast loop makes the round trips that the exact engine makes: random settings over real candles, and known ones.

`make equality` is the long form; SUREFOOT_SEED repeats one number. A failure prints the command that repeats it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from surefoot.research.backtest import run_loaded
from surefoot.research.fastbacktest import run_fast_loaded
from tests.research.configurations import Configuration, configuration

FULL = os.environ.get("SUREFOOT_FULL") == "1"
SHORT, LONG = 30, 500
HOURS_FACTOR = 4.0 if FULL else 0.7
EQUITY_WITHIN = 1e-6
MINUTES_FULL = 240
THIS_TEST = "tests/research/test_fast_equals_exact.py -k random"
# Round trips that the two engines may end differently are flagged; what came before them is still compared.
ALL_KEYS_BUT = {"seconds", "candles_per_second", "engine", "digest", "notes", "round_trips", "equity_curve", "period",
                "return_pct",                "final_equity", "metrics", "costs", "trips"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What comparing the two engines on one configuration showed."""

    number: int
    round_trips: int
    flagged: bool
    worst_equity: float
    reasons: tuple[str, ...]
    refusals: tuple[str, ...]
    wrong: str


def compare(number: int, data: Path, hours_factor: float) -> Found:
    chosen = configuration(number, data, hours_factor)
    # Now and then against the exact engine that is told every price, which is slower.
    exact = run_loaded(chosen.settings, chosen.files, every_price=number % 4 == 0)
    fast = run_fast_loaded(chosen.settings, chosen.files)
    flagged = [trip["entry_ms"] for trip in fast["round_trips"] if trip.get("flagged")]
    wrong, worst = _wrong(chosen, exact, fast, min(flagged, default=None))
    return Found(
        number,
        len(exact["round_trips"]),
        bool(flagged),
        worst,
        tuple(exact["exits"]),
        tuple(exact["refusals"]),
        wrong,
    )


def _wrong(
    chosen: Configuration, exact: dict[str, Any], fast: dict[str, Any], until_ms: int | None
) -> tuple[str, float]:
    """What differs, empty when nothing does, and the largest relative difference of equity."""
    ours, theirs = _trips(exact, until_ms), _trips(fast, until_ms)
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        problem = _trip_differs(one, other)
        if problem:
            return f"round trip {at}: {problem}\n  exact {one}\n  fast  {other}", 0.0
    if len(ours) != len(theirs):
        return f"{len(ours)} round trips by the exact engine, {len(theirs)} by the fast one", 0.0
    if until_ms is not None:
        return "", 0.0
    for key in exact.keys() - ALL_KEYS_BUT:
        if exact[key] != fast[key]:
            return f"{key}: {exact[key]} by the exact engine, {fast[key]} by the fast one", 0.0
    return _equity_differs(exact, fast)


def _trips(result: dict[str, Any], until_ms: int | None) -> list[dict[str, Any]]:
    trips: list[dict[str, Any]] = result["round_trips"]
    return [trip for trip in trips if until_ms is None or trip["exit_ms"] < until_ms]


def _trip_differs(one: dict[str, Any], other: dict[str, Any]) -> str:
    for key in ("symbol", "side", "entry_ms", "exit_ms", "reason", "entry_price", "exit_price", "quantity", "pnl"):
        if one[key] != other[key]:
            return key
    if abs(Decimal(one["dust_loss"]) - Decimal(other["dust_loss"])) > Decimal("1e-7"):
        return "dust_loss"
    for key in ("stops", "target"):
        if _levels(one.get(key)) != _levels(other.get(key)):
            return key
    return ""


def _levels(told: Any) -> Any:
    """Prices as numbers: the engines write their zeros differently."""
    if isinstance(told, list):
        return [(at_ms, Decimal(price)) for at_ms, price in told]
    return None if told is None else Decimal(told)


def _equity_differs(exact: dict[str, Any], fast: dict[str, Any]) -> tuple[str, float]:
    ours, theirs = dict(map(tuple, exact["equity_curve"][:-1])), dict(map(tuple, fast["equity_curve"][:-1]))
    points = [(ours[at_ms], theirs[at_ms]) for at_ms in ours.keys() & theirs.keys()]
    points.append((float(exact["final_equity"]), float(fast["final_equity"])))
    worst = max(abs(one - other) / abs(one) for one, other in points)
    alarms = [[{**trip, "value": round(float(trip["value"]), 3)} for trip in each["trips"]] for each in (exact, fast)]
    if alarms[0] != alarms[1]:
        return f"trips of the breaker: {alarms[0]} by the exact engine, {alarms[1]} by the fast one", worst
    return ("equity" if worst > EQUITY_WITHIN else ""), worst


def _numbers() -> list[int]:
    alone = os.environ.get("SUREFOOT_SEED")
    return [int(alone)] if alone is not None else list(range(LONG if FULL else SHORT))


def _found(numbers: list[int], data: Path) -> Iterator[Found]:
    work = partial(compare, data=data, hours_factor=HOURS_FACTOR)
    if not FULL or len(numbers) == 1:
        yield from map(work, numbers)
        return
    # Not forked: the test process has threads.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, numbers, chunksize=4)


@pytest.mark.spec("BT-2", "BT-1", "BT-3", "SAFE-8")
@pytest.mark.timeout(MINUTES_FULL * 60 if FULL else 300)
def test_both_engines_make_the_same_round_trips_on_random_settings_and_real_candles(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, found = _numbers(), []
    for each in _found(numbers, shared_data):
        found.append(each)
        again = (
            f"make equality SEED={each.number}" if FULL else f"SUREFOOT_SEED={each.number} python -m pytest {THIS_TEST}"
        )
        assert not each.wrong, f"configuration {each.number}: {each.wrong}\nrepeat it: {again}"
    reasons = Counter(reason for each in found for reason in each.reasons)
    with capsys.disabled():
        print(
            f"\nfast equals exact: {len(found)} configurations, {sum(each.round_trips for each in found)} round trips,"
            f" worst difference of equity {max(each.worst_equity for each in found):.1e},"
            f" {sum(each.flagged for each in found)} with flagged fills; exits {dict(sorted(reasons.items()))}"
        )
    if len(numbers) > 1:
        # Agreement about nothing would show nothing.
        assert sum(each.round_trips for each in found) >= 5 * len(numbers)
        assert {"stop", "target", "trail", "time", "reversal", "break-even"} <= set(reasons)
        assert {"position", "score", "long-only", "breaker"} <= {name for each in found for name in each.refusals}
