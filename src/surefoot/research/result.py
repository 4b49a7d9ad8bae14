"""What a backtest answers, in either engine: one dict that a report or a program can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import fmean
from typing import Any

import numpy as np

from surefoot.config import Settings, settings_digest
from surefoot.core.model import Market, RoundTrip
from surefoot.research.data import CandleFile
from surefoot.research.excursions import EXCURSIONS, with_excursions
from surefoot.research.figures import Metrics
from surefoot.research.metrics import Floats, Times
from surefoot.research.tape import Tape, told_of


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run leaves: the equity at some points of time, round trips as rows, counts, costs and figures.

    `fees` are by asset; `open_since_ms` says since when each position that is still open is held.
    """

    engine: str
    period: tuple[int, int]
    points: list[list[Any]]
    trips: list[dict[str, Any]]
    final_equity: Decimal
    open_since_ms: Mapping[str, int]
    orders: int
    fills: int
    refusals: Mapping[str, int]
    fees: Mapping[str, Decimal]
    fees_in_quote: float
    costs: Mapping[str, str | None]
    breaker_trips: list[dict[str, Any]]
    metrics: Metrics
    digest: str
    notes: tuple[str, ...] = ()


def result_of(
    settings: Settings,
    files: Sequence[CandleFile],
    tapes: Sequence[Tape],
    ran: Ran,
    seconds: float,
    *,
    funding: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result; `files` are all that were given, finer ones too; `funding` says what rates were given, if any."""
    candles = sum(map(len, tapes))
    trips = with_excursions(ran.trips, tapes, stop_comes_first=settings.costs.path == "worst")
    mfe, mae = (fmean(trip[name] for trip in trips) if trips else None for name in EXCURSIONS)
    metrics = replace(ran.metrics, mfe_pct=mfe, mae_pct=mae)
    return {
        "candles": candles,
        "seconds": round(seconds, 3),
        "candles_per_second": round(candles / seconds) if seconds > 0 else None,
        "symbols": list(settings.market.symbols),
        "interval": settings.market.interval,
        "period": list(ran.period),
        "initial_equity": f"{settings.paper.balance_usdt:f}",
        "final_equity": money(ran.final_equity),
        "return_pct": ran.metrics.return_pct,
        "engine": ran.engine,
        "round_trips": trips,
        "open_positions": sorted(ran.open_since_ms),
        "orders": ran.orders,
        "fills": ran.fills,
        "equity_curve": ran.points,
        "refusals": dict(sorted(ran.refusals.items())),
        "exits": dict(sorted(Counter(trip["reason"] for trip in ran.trips).items())),
        "fees": {asset: f"{fee:f}" for asset, fee in sorted(ran.fees.items())},
        "costs": dict(ran.costs),
        "trips": ran.breaker_trips,
        "metrics": metrics.as_dict(),
        "settings": settings.model_dump(mode="json", exclude={"api_key", "api_secret", "live_confirmed"}),
        "settings_digest": settings_digest(settings),
        "data": [
            {
                "file": file.path.name,
                "symbol": file.symbol,
                "interval": file.interval,
                "sha256": file.sha256,
                "rows": len(file),
                "gaps": [[gap.from_ms, gap.to_ms, gap.candles, gap.halt] for gap in file.gaps],
            }
            for file in sorted(files, key=lambda file: settings.market.symbols.index(file.symbol))
        ],
        "detail": told_of(tapes),
        "digest": ran.digest,
        **({"funding": dict(funding)} if funding else {}),
        "fill_model": _fill_model_text(settings, has_rates=bool(funding)),
        **({"notes": list(ran.notes)} if ran.notes else {}),
    }


def trip_row(trip: RoundTrip) -> dict[str, Any]:
    row = {
        "symbol": trip.symbol,
        "side": trip.side,
        "entry_ms": trip.entry_ms,
        "exit_ms": trip.exit_ms,
        "entry_price": money(trip.entry_price),
        "exit_price": money(trip.exit_price),
        "quantity": money(trip.quantity),
        "reason": trip.reason,
        "pnl": money(trip.pnl),
        "dust_loss": money(trip.dust_loss),
    }
    return row | {"funding": money(trip.funding)} if trip.funding else row


def money(value: Decimal) -> str:
    """To the eighth decimal, without zeros at the end."""
    return f"{round(value, 8).normalize():f}"


def thinned(at_ms: Times, equity: Floats) -> list[list[Any]]:
    """(at_ms, equity) only where something changed, and its neighbours."""
    if at_ms.size < 3:
        return [list(point) for point in zip(at_ms.tolist(), equity.tolist(), strict=True)]
    moved = np.concatenate(([True], equity[1:] != equity[:-1], [True]))
    kept = moved[:-1] | moved[1:]
    return [list(point) for point in zip(at_ms[kept].tolist(), equity[kept].tolist(), strict=True)]


def _fill_model_text(settings: Settings, *, has_rates: bool) -> list[str]:
    costs = settings.costs
    return [
        "A candle is four ticks: open, one extreme, the other, close; finer candles take its place where they are given"
        " and agree with it. "
        + (
            "Worst case: with a position open the extreme on the side of its stop comes first."
            if costs.path == "worst"
            else "Best case: with a position open the extreme on the side of its target comes first."
        ),
        f"A decision is made when its candle closes; its order reaches the exchange {costs.latency_ms} ms later.",
        f"Takers pay {costs.half_spread_bps} bps half spread and {costs.slippage_bps} bps slippage, never more than"
        " their limit.",
        "A stop that the market jumps over fills at the tick that jumped it; a target fills only when the price goes"
        " through it by a tick.",
        f"A fill takes at most {costs.volume_share_pct} % of the candle's volume at each tick; the rest waits.",
        *_market_text(settings, has_rates),
    ]


def _market_text(settings: Settings, has_rates: bool) -> list[str]:
    futures = settings.futures
    if settings.market.venue is Market.SPOT:
        return [f"Fees are {settings.paper.fee_bps} bps of what is received."]
    constant = f"every 8 hours longs pay {futures.funding_bps} bps of it to shorts"
    funding = "longs pay shorts the rates that were settled, as the funding files have them" if has_rates else constant
    return [
        f"Futures, {futures.margin_type.lower()}, leverage {futures.leverage}: fees are {futures.fee_bps} bps of the"
        f" notional; {funding}; stop and target are orders of their own, triggered by the last price; the mark price is"
        " the last price, and what comes to its liquidation price is taken by the exchange.",
    ]
