"""One HTML file that tells a backtest, for people: on a phone or a wide screen, light or dark, without any other file.

The input is the mapping that `surefoot backtest --json` prints, and candles for the chart. Every key may be missing:
its section then says "not measured". Times are UTC ms, money is text or a number in the quote asset.

Always there in a result of `run_backtest`: candles, seconds, symbols, interval, period, initial_equity, final_equity,
round_trips, equity_curve, refusals, exits, fees, metrics, settings, data, digest, fill_model. Optional:

    "engine": "exact" | "fast"
    "notes": [text]                          differences between the engines that are inherent, flags, warnings
    "round_trips": [{...,
        "stops": [[at_ms, price], ...],      the resting stop, each price from that time on; the first at the entry
        "target": price,                     the last one
        "path_dependent": bool,              it is another one on the other path inside the candles
        "mfe_pct": number, "mae_pct": number largest move for and against it, in % of the entry price
    }]
    "band": {"worst": SIDE, "best": SIDE, "dependent": [places in round_trips]}
        SIDE: {"final_equity", "return_pct", "max_drawdown_pct", "round_trips": number,
            "equity_curve": [[at_ms, equity], ...]}
    "costs": {"fees", "spread", "slippage", "funding"}      paid, in quote; None is not measured
    "trips": [{"at_ms", "rule", "tier", "value", "limit"}]  of the breaker
    "monte_carlo": {"order": OUTCOMES, "missed_fills": OUTCOMES and "missed_pct", "seed": number}
        OUTCOMES: see `statistics.Outcomes.as_dict`, all made by `statistics.alternatives`
    "detail": {"candles_replaced", "share_pct", "candles_disagreeing"}  of finer candles; see `tape.told_of`
    "metrics": {...; "NAME_basis": text tells how NAME is defined}

An optimisation has a page of its own: `report_optimization`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.research.metrics import drawdown_curve
from surefoot.research.report_candles import candle_section
from surefoot.research.report_charts import bars, curve_chart, months
from surefoot.research.report_tables import data_section, monte_carlo_section, notes_section, settings_section
from surefoot.research.report_words import (
    NO_VALUE,
    Markup,
    bullets,
    date,
    duration,
    folded,
    note,
    number,
    page,
    period,
    section,
    table,
    tiles,
    unmeasured,
    with_unit,
)
from surefoot.signals.window import Columns

Result = Mapping[str, Any]
Trips = Sequence[Mapping[str, Any]]

ROUND_TRIPS_SHOWN_MAX = 2_000
ROUND_TRIPS_OPEN_MAX = 50
DEPENDENT_SHOWN_MAX = 200
BAND_FIGURES = (("final_equity", "Final equity", 2), ("return_pct", "Return in %", 2),
                ("max_drawdown_pct", "Largest drawdown in %", 2), ("round_trips", "Round trips", 0))  # fmt: skip

HEADLINES = (
    ("return_pct", "Return", "%"),
    ("max_drawdown_pct", "Largest drawdown", "%"),
    ("sharpe", "Sharpe ratio", ""),
    ("win_rate_pct", "Won", "%"),
    ("profit_factor", "Profit factor", ""),
    ("expectancy", "Expectancy a round trip", ""),
    ("fees", "Fees", ""),
)
# How a figure is defined, where the metrics do not say it themselves.
MEANINGS = {
    "return_pct": "from the first to the last equity, marked, after costs",
    "cagr_pct": "growth a year that makes the same return",
    "volatility_pct": "deviation of daily returns, times √365",
    "max_drawdown_pct": "deepest fall of marked equity from its peak so far",
    "max_drawdown_ms": "from that peak until it was reached again, or to the end",
    "sortino": "as the Sharpe ratio, but only falls count as risk",
    "calmar": "growth a year ÷ largest drawdown",
    "exposure_pct": "part of the time in which a position was open",
    "round_trips": "from flat to flat",
    "win_rate_pct": "round trips that earned more than 0 after fees, of all",
    "profit_factor": "gross profit ÷ gross loss of the round trips; undefined without a loss",
    "payoff_ratio": "average win ÷ average loss",
    "expectancy": "mean result of a round trip in quote, after fees",
    "sqn": "√n × mean ÷ deviation of the results, n at most 100",
    "average_win": "mean of the round trips that won, in quote",
    "average_loss": "mean of the round trips that lost, in quote",
    "longest_wins": "round trips in a row that won",
    "longest_losses": "round trips in a row that lost",
    "mfe_pct": "mean of the largest moves in favour, in % of the entry price",
    "mae_pct": "mean of the largest moves against, in % of the entry price",
    "fees": "in quote; fees taken in base at the price of their fill",
    "slippage": "in quote",
    "funding": "in quote",
}
SHORT_FOR = ("cagr", "mae", "mfe", "sqn")
MOMENTS = ("from_ms", "to_ms")
UNITS = ("_pct", "_ms", "_s", "_days", "_basis")


def write_report(path: str | Path, result: Result, candles: Mapping[str, Columns] | None = None) -> Path:
    """Write the report of a result and return where it is. `candles` are those of each symbol, for the chart."""
    place = Path(path)
    place.write_text(report_html(result, candles), encoding="utf-8")
    return place


def report_html(result: Result, candles: Mapping[str, Columns] | None = None) -> str:
    """The whole page as text."""
    curve = _curve(result.get("equity_curve"))
    trips = result.get("round_trips") or ()
    sections = (
        _headlines(result),
        notes_section(result.get("notes")),
        curve_chart(
            "Equity", "equity", curve, trips, _curve((result.get("band") or {}).get("best", {}).get("equity_curve"))
        ),
        curve_chart("Drawdown in %", "drawdown", drawdown_curve(curve)),
        months(curve),
        candle_section(candles, trips),
        _band(result.get("band"), trips),
        bars("Exits by kind", "exits", result.get("exits")),
        bars("Refusals by rule", "refusals", result.get("refusals")),
        _costs(result),
        _breaker(result.get("trips")),
        monte_carlo_section(result.get("monte_carlo")),
        _metrics(result.get("metrics")),
        _round_trips(result.get("round_trips")),
        _fill_model(result),
        settings_section(result.get("settings")),
        data_section(result),
    )
    title = f"Surefoot: {', '.join(result.get('symbols') or ())} {result.get('interval') or ''}".strip()
    return page(title, _subtitle(result), sections, "curves.js", "candles.js")


def _curve(points: Any) -> list[tuple[int, float]]:
    return [(int(at_ms), float(equity)) for at_ms, equity in points or ()]


# ---------------------------------------------------------------------------------------------------------------
# How it went


def _subtitle(result: Result) -> str:
    engine = result.get("engine")
    return (
        f"{period(result.get('period'))} · {number(result.get('candles'), 0)} candles in"
        f" {number(result.get('seconds'))} s · {f'{engine} engine' if engine else f'engine {NO_VALUE}'} · "
        f"equity {number(result.get('initial_equity'))} → {number(result.get('final_equity'))}"
    )


def _headlines(result: Result) -> str:
    metrics = result.get("metrics") or {}
    known = [(label, with_unit(metrics.get(key), unit)) for key, label, unit in HEADLINES]
    known.append(("Drawdown lasted", duration(metrics.get("max_drawdown_ms"))))
    trips = result.get("round_trips")
    known.append(("Round trips", NO_VALUE if trips is None else number(len(trips), 0)))
    return f"<section>\n{tiles(known)}</section>\n"


def _band(band: Mapping[str, Any] | None, trips: Trips) -> str:
    title = "Band: the path inside the candles"
    if not band:
        return unmeasured(title, "the run was not repeated on the other path")
    worst, best = band.get("worst") or {}, band.get("best") or {}
    rows = [
        [
            label,
            number(worst.get(key), places),
            number(best.get(key), places),
            _between(worst.get(key), best.get(key), places),
        ]
        for key, label, places in BAND_FIGURES
    ]
    places = [at for at in band.get("dependent") or () if at < len(trips)]
    words = (
        f"{len(places)} of {len(trips)} round trips depend on the path: on the other path they ended otherwise or were"
        " not made. After the first of them the two runs may differ for that reason alone."
        if places
        else f"None of {len(trips)} round trips depends on the path."
    )
    rows_of_trips = [_trip_row(at, trips[at]) for at in places[:DEPENDENT_SHOWN_MAX]]
    listed = folded("Round trips that depend on the path", table(_TRIP_HEAD, rows_of_trips), is_open=len(places) <= 12)
    more = note(f"The first {DEPENDENT_SHOWN_MAX} of {len(places)}.") if len(places) > DEPENDENT_SHOWN_MAX else ""
    figures = table(["", "Worst path", "Best path", "Difference"], rows)
    return section(title, f"{figures}{note(words)}{listed + more if places else ''}", "band")


def _between(worst: object, best: object, places: int) -> str:
    return NO_VALUE if worst is None or best is None else f"{float(str(best)) - float(str(worst)):+,.{places}f}"


def _costs(result: Result) -> str:
    costs = dict(result.get("costs") or {})
    if not costs:
        paid = result.get("fees")
        if not paid:
            return unmeasured("Costs")
        rows = [[f"Fees in {asset}", str(fee), "paid"] for asset, fee in paid.items()]
        return section(
            "Costs", table(["", "Amount", ""], rows) + note("Spread, slippage, funding: not measured."), "costs"
        )
    told = {
        "fees": ("Fees", "paid to the venue"),
        "spread": ("Spread", "estimate: half of it for each taker fill, as the fill model charges it"),
        "slippage": ("Slippage", "estimate: as the fill model charges it; a limit may have made it less"),
        "funding": ("Funding", "of perpetuals; below 0 is received"),
    }
    start = result.get("initial_equity")
    rows = []
    for key, (label, how) in told.items():
        amount = costs.get(key)
        share = NO_VALUE if amount is None or not start else f"{100 * float(str(amount)) / float(str(start)):.3f} %"
        rows.append([label, "not measured" if amount is None else number(amount), share, how])
    known = [float(str(costs[key])) for key in told if costs.get(key) is not None]
    total = f"{100 * sum(known) / float(str(start)):.3f} %" if start else NO_VALUE
    rows.append(["Together", number(sum(known)) if known else "not measured", total, "of what was measured"])
    return section("Costs", table(["", "In quote", "Of the first equity", ""], rows), "costs")


def _breaker(trips: Trips | None) -> str:
    if trips is None:
        return unmeasured("Trips of the breaker")
    if not trips:
        return section("Trips of the breaker", note("none"), "breaker")
    rows = [
        [date(trip.get("at_ms")), *(str(trip.get(key, NO_VALUE)) for key in ("rule", "tier", "value", "limit"))]
        for trip in trips
    ]
    return section("Trips of the breaker", table(["When (UTC)", "Rule", "Tier", "Value", "Limit"], rows), "breaker")


def _metrics(metrics: Mapping[str, Any] | None) -> str:
    if not metrics:
        return unmeasured("All figures")
    rows = [
        [_label(key), _figure(key, value), str(metrics.get(f"{_stem(key)}_basis") or MEANINGS.get(key, ""))]
        for key, value in metrics.items()
        if not key.endswith("_basis")
    ]
    return section("All figures", table(["Figure", "Value", "Basis"], rows), "metrics")


def _stem(key: str) -> str:
    return next((key.removesuffix(unit) for unit in UNITS if key.endswith(unit)), key)


def _label(key: str) -> str:
    words = _stem(key).replace("_", " ")
    words = words.upper() if words in SHORT_FOR else words.capitalize()
    return f"{words}, duration" if key == "max_drawdown_ms" else words


def _figure(key: str, value: object) -> str:
    if value is None or isinstance(value, (dict, list)):
        return NO_VALUE if value is None else str(value)
    if key in MOMENTS:
        return date(value)
    if key.endswith("_ms"):
        return duration(value)
    if isinstance(value, int):
        return number(value, 0)
    try:
        return with_unit(value, "%" if key.endswith("_pct") else "")
    except ValueError:  # a figure that is a word
        return str(value)


# ---------------------------------------------------------------------------------------------------------------
# What was done, with what


_TRIP_HEAD = ["#", "Symbol", "Side", "Entry (UTC)", "Exit (UTC)", "Entry price", "Exit price", "Quantity", "Exit by",
              "Result", "Best", "Worst", "Path"]  # fmt: skip


def _trip_row(at: int, trip: Mapping[str, Any]) -> list[str]:
    won = float(str(trip.get("pnl") or 0)) > 0
    return [
        Markup(f'<button data-trip="{at + 1}">{at + 1}</button>'),
        str(trip.get("symbol", NO_VALUE)),
        str(trip.get("side", NO_VALUE)),
        date(trip.get("entry_ms")),
        date(trip.get("exit_ms")),
        str(trip.get("entry_price", NO_VALUE)),
        str(trip.get("exit_price", NO_VALUE)),
        str(trip.get("quantity", NO_VALUE)),
        str(trip.get("reason", NO_VALUE)),
        Markup(f'<span class="{"gain" if won else "loss"}">{number(trip.get("pnl"))}</span>'),
        with_unit(trip.get("mfe_pct"), "%"),
        with_unit(trip.get("mae_pct"), "%"),
        NO_VALUE if trip.get("path_dependent") is None else ("depends" if trip["path_dependent"] else "either"),
    ]


def _round_trips(trips: Trips | None) -> str:
    if trips is None:
        return unmeasured("Round trips")
    if not trips:
        return section("Round trips", note("none"), "round-trips")
    shown = trips[:ROUND_TRIPS_SHOWN_MAX]
    rows = table(_TRIP_HEAD, [_trip_row(at, trip) for at, trip in enumerate(shown)])
    listed = folded(f"{len(trips)} round trips", rows, is_open=len(trips) <= ROUND_TRIPS_OPEN_MAX)
    more = note(f"The first {len(shown)} of {len(trips)}; the JSON output has all.") if len(trips) > len(shown) else ""
    told = note("Best and worst: the largest move for and against it. A number shows it on the candles.")
    return section("Round trips", listed + more + told, "round-trips")


def _fill_model(result: Result) -> str:
    lines = result.get("fill_model")
    told = [lines] if isinstance(lines, str) else list(lines or ())
    engine = f"Engine: {result['engine']}." if result.get("engine") else "Engine: the result does not state it."
    if not told:
        return unmeasured("Fill model", f"{NO_VALUE} the result does not state it")
    return section("Fill model", bullets([engine, *told, *_detail(result.get("detail"))]), "fill-model")


def _detail(detail: Mapping[str, Any] | None) -> list[str]:
    if not detail or not (detail.get("candles_replaced") or detail.get("candles_disagreeing")):
        return []
    line = f"Finer candles decided what happened inside {number(detail.get('candles_replaced'), 0)} candles"
    doubted = number(detail.get("candles_disagreeing"), 0)
    return [
        f"{line} ({with_unit(detail.get('share_pct'), '%')}); {doubted} others disagreed with theirs and were kept."
    ]
