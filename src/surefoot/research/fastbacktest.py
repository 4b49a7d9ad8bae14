"""A whole backtest by the fast loop: the same inputs and result as the exact engine's, and how the two compare.

The digest is made of whole numbers, so that it is the same on every machine and whatever ran before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from surefoot.config import Settings
from surefoot.core.breaker import RULES
from surefoot.core.model import RoundTrip
from surefoot.research import faststate as state
from surefoot.research.data import CandleFile, Gaps
from surefoot.research.fastrun import Outcome, prepare
from surefoot.research.inputs import load_detail, load_files, settings_for, tapes_of
from surefoot.research.metrics import Curve, Trips, measure
from surefoot.research.result import Ran, result_of, thinned, trip_row
from surefoot.research.traces import Traces

UNIT = Decimal(1) / state.UNIT
EQUITY_WITHIN = Decimal("1e-6")
WHY_FLAGGED = {
    state.THIN: "took more than their tick offered, where the exact engine takes the rest at later ticks",
    state.OVERDUE: "stayed without protection for longer than allowed while an answer was out",
    state.CUT: "were entered while their cancel was on its way",
}

Say = Callable[[str], None]


def run_fast_backtest(
    settings: Settings,
    files: Sequence[str],
    *,
    detail: Sequence[str] = (),
    gaps: Gaps = "refuse",
    say: Say | None = None,
    wants_curve: bool = True,
) -> dict[str, Any]:
    """Run the fast loop over candle files, one a symbol. `say` is told when something has to be compiled first.

    A year of minutes has half a million points of equity, which who looks at words only does not want; all figures are
    made from them anyway. Raises DataError or ConfigError for what cannot be run.
    """
    loaded = load_files(files, gaps)
    return run_fast_loaded(settings, loaded, load_detail(detail, loaded), say=say, wants_curve=wants_curve)


def run_fast_loaded(
    settings: Settings,
    loaded: Sequence[CandleFile],
    finer: Sequence[CandleFile] = (),
    *,
    say: Say | None = None,
    wants_curve: bool = True,
) -> dict[str, Any]:
    """The same over candles that are in memory, one file a symbol and all of one interval."""
    settings = settings_for(settings, loaded)
    began_s = time.perf_counter()
    tapes = tapes_of(settings, loaded, finer)
    outcome = prepare(tapes, settings).run(settings, say)
    seconds = time.perf_counter() - began_s
    return result_of(settings, [*loaded, *finer], tapes, _ran(settings, outcome, wants_curve), seconds)


# -- the result --------------------------------------------------------------------------------------------------------


def _ran(settings: Settings, outcome: Outcome, wants_curve: bool) -> Ran:
    trips, traces = list(round_trips(outcome)), _traces(settings, outcome)
    columns = Trips(outcome.trips["entry_ms"], outcome.trips["exit_ms"], outcome.pnl())
    fees = Decimal(repr(outcome.fees_in_quote))
    rows = [trip_row(trip) | traces.of(trip) for trip in trips]
    flags = outcome.trips["flags"].tolist()
    return Ran(
        engine="fast",
        period=(int(outcome.curve_ms[0]), int(outcome.curve_ms[-1])),
        points=thinned(outcome.curve_ms, outcome.curve) if wants_curve else [],
        trips=[row | {"flagged": True} if flag else row for row, flag in zip(rows, flags, strict=True)],
        final_equity=outcome.final_equity,
        open_since_ms=outcome.open_since_ms,
        orders=outcome.orders,
        fills=outcome.fills,
        refusals=outcome.refusals,
        fees=outcome.fees,
        fees_in_quote=outcome.fees_in_quote,
        costs=traces.costs(fees, settings.costs.half_spread_bps, settings.costs.slippage_bps),
        breaker_trips=traces.trips,
        metrics=measure(
            Curve(outcome.curve_ms, outcome.curve),
            columns,
            outcome.fees_in_quote,
            open_since_ms=list(outcome.open_since_ms.values()),
        ),
        digest=_digest(outcome),
        notes=_notes(flags),
    )


def round_trips(outcome: Outcome) -> Iterator[RoundTrip]:
    """The round trips as the exact engine's books have them."""
    rules, symbols = outcome.market.rules, outcome.market.symbols
    for row in outcome.trips.tolist():
        at, entry_ms, exit_ms, entry, sold, bought, received, reason, pnl, _, dust_loss = row
        quantity = (sold or bought) * rules[at].lot_size
        yield RoundTrip(
            symbol=symbols[at],
            side="long",
            entry_ms=entry_ms,
            exit_ms=exit_ms,
            entry_price=entry * rules[at].tick_size,
            exit_price=received * UNIT / quantity if sold else Decimal(0),
            quantity=quantity,
            reason=state.REASONS[reason],
            pnl=pnl * UNIT,
            dust_loss=Decimal(repr(dust_loss)),
        )


def _traces(settings: Settings, outcome: Outcome) -> Traces:
    """Where stops and targets were, and what the breaker did, in the form of the exact engine."""
    traces = Traces(taken=Decimal(repr(outcome.taken)))
    symbols, rules = outcome.market.symbols, outcome.market.rules
    for at, at_ms, stop, target in outcome.levels.tolist():
        traces.stops[symbols[at]].append((at_ms, stop * rules[at].tick_size))
        if target:
            traces.targets[symbols[at]].append((at_ms, target * rules[at].tick_size))
    names = list(RULES)
    breaker = settings.breaker
    limits = (
        breaker.day_loss_max_pct,
        breaker.rolling_loss_max_pct,
        breaker.week_loss_max_pct,
        breaker.drawdown_max_pct,
    )
    tiers = ("warn", "no_entries", "shrink", "flatten")
    for at_ms, rule, tier, value, _ in outcome.alarms.tolist():
        told = {"at_ms": at_ms, "rule": f"{names[rule]}, {RULES[names[rule]]}", "tier": tiers[tier]}
        traces.trips.append(told | {"value": f"{value:.4f}", "limit": f"{limits[rule]:f}"})
    return traces


def _notes(flags: Sequence[int]) -> tuple[str, ...]:
    """What is inherent in the loop and happened in this run."""
    notes = []
    for flag, why in WHY_FLAGGED.items():
        count = sum(1 for each in flags if each & flag)
        if count:
            notes.append(f"{count} round trips {why}: from the first of them on, the exact engine may differ.")
    return tuple(notes)


def _digest(outcome: Outcome) -> str:
    """One fingerprint of round trips, refusals, orders and wallets, all whole numbers."""
    trips = [row[:-1] for row in outcome.trips.tolist()]
    parts = (trips, sorted(outcome.refusals.items()), outcome.orders, outcome.fills, outcome.quote, outcome.base)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# -- both engines ------------------------------------------------------------------------------------------------------


def differences(exact: Mapping[str, Any], fast: Mapping[str, Any]) -> list[str]:
    """What the engines do not agree on, one line each: round trips by time, side and reason, and the final equity.

    Quantities may differ by less than a ten-thousandth, equity by 1e-6; a lot is not known here.
    """
    found = []
    ours, theirs = exact["round_trips"], fast["round_trips"]
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} round trips by the exact engine, {len(theirs)} by the fast one")
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False), start=1):
        if _identity(one) != _identity(other):
            found.append(f"round trip {at}: {_words(one)} by the exact engine, {_words(other)} by the fast one")
            break
    equity, other_equity = Decimal(exact["final_equity"]), Decimal(fast["final_equity"])
    if abs(equity - other_equity) > EQUITY_WITHIN * abs(equity):
        found.append(f"final equity {equity} by the exact engine, {other_equity} by the fast one")
    return found


def _identity(trip: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(trip[name] for name in ("symbol", "side", "entry_ms", "exit_ms", "reason"))


def _words(trip: Mapping[str, Any]) -> str:
    return f"{trip['symbol']} {trip['entry_ms']} to {trip['exit_ms']} {trip['reason']}"
