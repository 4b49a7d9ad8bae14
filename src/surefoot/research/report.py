"""One HTML file that tells a backtest: figures, curves, months, round trips, refusals, settings, data and digest.

The file stands alone: styles, script and drawings are inside, no other host is named, nothing is loaded. Every text
from the result is escaped. What the result does not have is shown as a dash, never as 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from surefoot.research.metrics import drawdown_curve

Result = Mapping[str, Any]
Curve = Sequence[tuple[int, float]]

CURVE_POINTS_MAX = 1_200
ROUND_TRIPS_SHOWN_MAX = 2_000
CHART_WIDTH, CHART_HEIGHT = 1_000, 240
NO_VALUE = "–"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

HEADLINES = (
    ("return_pct", "Return", "%"),
    ("max_drawdown_pct", "Largest drawdown", "%"),
    ("sharpe", "Sharpe ratio", ""),
    ("win_rate_pct", "Won", "%"),
    ("profit_factor", "Profit factor", ""),
    ("expectancy", "Expectancy a round trip", ""),
    ("average_win", "Average win", ""),
    ("average_loss", "Average loss", ""),
    ("fees", "Fees", ""),
)


def write_report(path: str | Path, result: Result) -> Path:
    """Write the report of a result (the mapping that the JSON output has) and return where it is."""
    place = Path(path)
    place.write_text(report_html(result), encoding="utf-8")
    return place


def report_html(result: Result) -> str:
    """The whole page as text."""
    curve = [(int(at_ms), float(equity)) for at_ms, equity in result.get("equity_curve") or ()]
    sections = (
        _headlines(result),
        _chart("Equity", "equity", curve, result.get("round_trips") or ()),
        _chart("Drawdown in %", "drawdown", drawdown_curve(curve), ()),
        _months(curve),
        _counts("Exits by kind", result.get("exits")),
        _counts("Refusals by rule", result.get("refusals")),
        _round_trips(result.get("round_trips") or ()),
        _fill_model(result.get("fill_model")),
        _settings(result.get("settings") or {}),
        _data(result),
    )
    title = f"Surefoot: {', '.join(result.get('symbols') or ())} {result.get('interval') or ''}".strip()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(_subtitle(result))}</p>\n"
        f"{''.join(sections)}</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------------------------------------------------
# Sections


def _subtitle(result: Result) -> str:
    candles, seconds = result.get("candles"), result.get("seconds")
    return (
        f"{_period(result.get('period'))} · {_number(candles, 0)} candles in {_number(seconds, 2)} s · "
        f"equity {_number(result.get('initial_equity'))} → {_number(result.get('final_equity'))}"
    )


def _headlines(result: Result) -> str:
    metrics = result.get("metrics") or {}
    known = [(label, _with_unit(metrics.get(key), unit)) for key, label, unit in HEADLINES]
    known.append(("Drawdown lasted", _duration(metrics.get("max_drawdown_ms"))))
    known.append(("Round trips", _number(len(result.get("round_trips") or ()), 0)))
    tiles = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in known)
    basis = metrics.get("sharpe_basis")
    note = f'<p class="note">Sharpe ratio: {escape(str(basis))}.</p>' if basis else ""
    return f'<section>\n<dl class="tiles">{tiles}</dl>{note}</section>\n'


def _chart(title: str, name: str, curve: Curve, round_trips: Sequence[Mapping[str, Any]]) -> str:
    if len(curve) < 2:
        return _section(title, f'<p class="note">{NO_VALUE} too few points to draw</p>')
    points = thinned(curve, CURVE_POINTS_MAX)
    low, high = min(value for _, value in points), max(value for _, value in points)
    first_ms, last_ms = points[0][0], points[-1][0]
    # Text beside the drawing, not in it: so the drawing may stretch to a phone or a wide screen.
    marks = "".join(_mark(trip, first_ms, last_ms) for trip in round_trips[:ROUND_TRIPS_SHOWN_MAX])
    line = " ".join(
        f"{_share(at_ms, first_ms, last_ms) * CHART_WIDTH:.1f},{(1 - _share(value, low, high)) * CHART_HEIGHT:.1f}"
        for at_ms, value in points
    )
    # A closed script tag inside the numbers is impossible; keys are ours.
    numbers = json.dumps(points)
    legend = " · ticks below: round trips won (upper) and lost (lower)" if marks else ""
    return _section(
        title,
        f'<figure class="chart" data-name="{name}"><div class="scale"><span>{_number(high)}</span>'
        f"<output>{_date(first_ms)} to {_date(last_ms)} UTC{legend}</output></div>"
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT + 24}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}"><polyline class="{name}" points="{line}"/>{marks}</svg>'
        f'<div class="scale"><span>{_number(low)}</span></div>'
        f'<script type="application/json">{numbers}</script></figure>',
    )


def _mark(trip: Mapping[str, Any], first_ms: int, last_ms: int) -> str:
    at = _share(float(trip["exit_ms"]), first_ms, last_ms)
    if not 0 <= at <= 1:
        return ""
    won = float(trip["pnl"]) > 0
    top = CHART_HEIGHT + (2 if won else 13)
    x = f"{at * CHART_WIDTH:.1f}"
    return f'<line class="{"won" if won else "lost"}" x1="{x}" x2="{x}" y1="{top}" y2="{top + 9}"/>'


def _months(curve: Curve) -> str:
    returns = monthly_returns(curve)
    years = sorted({year for year, _ in returns})
    if not years:
        return _section("Months", f'<p class="note">{NO_VALUE}</p>')
    rows = []
    for year in years:
        months = [returns.get((year, month)) for month in range(1, 13)]
        whole = 1.0
        for value in months:
            whole *= 1 + (value or 0.0) / 100
        rows.append([str(year), *(_with_unit(value, "%") for value in months), _with_unit(100 * (whole - 1), "%")])
    return _section("Months", _table(["Year", *MONTHS, "Year as a whole"], rows))


def _counts(title: str, counts: Mapping[str, int] | None) -> str:
    if not counts:
        return _section(title, '<p class="note">none</p>')
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _section(title, _table(["", "Number"], [[name, _number(number, 0)] for name, number in ordered]))


def _round_trips(trips: Sequence[Mapping[str, Any]]) -> str:
    if not trips:
        return _section("Round trips", '<p class="note">none</p>')
    shown = trips[:ROUND_TRIPS_SHOWN_MAX]
    head = ["Symbol", "Side", "Entry (UTC)", "Exit (UTC)", "Entry price", "Exit price", "Quantity", "Exit by", "Result"]
    rows = [
        [
            str(trip.get("symbol", NO_VALUE)),
            str(trip.get("side", NO_VALUE)),
            _date(trip.get("entry_ms")),
            _date(trip.get("exit_ms")),
            str(trip.get("entry_price", NO_VALUE)),
            str(trip.get("exit_price", NO_VALUE)),
            str(trip.get("quantity", NO_VALUE)),
            str(trip.get("reason", NO_VALUE)),
            _number(trip.get("pnl")),
        ]
        for trip in shown
    ]
    more = f'<p class="note">The first {len(shown)} of {len(trips)}; the JSON output has all.</p>'
    table = f"<details{' open' if len(trips) <= 50 else ''}><summary>{len(trips)} round trips</summary>"
    return _section("Round trips", f"{table}{_table(head, rows)}{more if len(trips) > len(shown) else ''}</details>")


def _fill_model(lines: str | Sequence[str] | None) -> str:
    told = [lines] if isinstance(lines, str) else list(lines or ())
    if not told:
        return _section("Fill model", f'<p class="note">{NO_VALUE} the result does not state it</p>')
    return _section("Fill model", f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in told)}</ul>")


def _settings(settings: Mapping[str, Any]) -> str:
    rows = [[name, value] for name, value in _flat("", settings)]
    return _section("Settings", _table(["Setting", "Value"], rows) if rows else f'<p class="note">{NO_VALUE}</p>')


def _data(result: Result) -> str:
    rows = [
        [
            str(item.get("file", NO_VALUE)),
            _number(item.get("rows"), 0),
            _gaps(item.get("gaps")),
            str(item.get("sha256", NO_VALUE)),
        ]
        for item in result.get("data") or ()
    ]
    digest = f"<p>Digest of this run: <code>{escape(str(result.get('digest') or NO_VALUE))}</code></p>"
    return _section("Data", _table(["File", "Candles", "Gaps", "SHA-256"], rows) + digest)


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def monthly_returns(curve: Curve) -> dict[tuple[int, int], float]:
    """Percent gained in each (year, month) of the curve, from the last equity before the month to its last one."""
    ends: dict[tuple[int, int], float] = {}
    for at_ms, equity in curve:
        moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
        ends[moment.year, moment.month] = equity
    marks = [(None, curve[0][1]) if curve else (None, 0.0), *ends.items()]
    return {
        month: 100 * (equity / before - 1) for (_, before), (month, equity) in pairwise(marks) if month and before > 0
    }


def thinned(curve: Curve, points_max: int) -> list[tuple[int, float]]:
    """At most `points_max` points that keep the first, the last, and every stretch's lowest and highest."""
    if len(curve) <= points_max:
        return list(curve)
    stretches = points_max // 2 - 1
    kept = {0, len(curve) - 1}
    for stretch in range(stretches):
        places = range(stretch * len(curve) // stretches, (stretch + 1) * len(curve) // stretches)
        kept.add(min(places, key=lambda at: curve[at][1]))
        kept.add(max(places, key=lambda at: curve[at][1]))
    return [curve[at] for at in sorted(kept)]


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two bounds; in the middle where they are one."""
    return (value - low) / (high - low) if high > low else 0.5


# ---------------------------------------------------------------------------------------------------------------
# Words


def _number(value: object, places: int = 2) -> str:
    """With separated thousands; a dash for what is not there."""
    if value is None:
        return NO_VALUE
    return f"{float(str(value)):,.{places}f}"


def _with_unit(value: object, unit: str) -> str:
    text = _number(value)
    return f"{text} {unit}" if unit and value is not None else text


def _date(at_ms: object) -> str:
    if at_ms is None:
        return NO_VALUE
    return datetime.fromtimestamp(int(str(at_ms)) / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")


def _period(period: object) -> str:
    if isinstance(period, (list, tuple)) and len(period) == 2:
        return f"{_date(period[0])} to {_date(period[1])} UTC"
    return str(period or NO_VALUE)


def _duration(length_ms: object) -> str:
    if length_ms is None:
        return NO_VALUE
    hours = int(str(length_ms)) // 3_600_000
    return f"{hours // 24} d {hours % 24} h"


def _gaps(gaps: object) -> str:
    return str(len(gaps)) if isinstance(gaps, (list, tuple)) else str(NO_VALUE if gaps is None else gaps)


def _flat(prefix: str, settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #ffffff; --soft: #5b6675; --line: #d8dde4; --tile: #f4f6f8;
  --curve: #1f5fbf; --fall: #b3261e; --won: #1b7f4d; --lost: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #12161c; --soft: #9aa5b4; --line: #2c343f;
  --tile: #1b212a; --curve: #7db1ff; --fall: #ff8a80; --won: #5fd39a; --lost: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: .5rem 0 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
.note, .scale { color: var(--soft); font-size: .85rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .5rem; }
.tiles { margin: 1rem 0 .5rem; }
.tiles div { background: var(--tile); border-radius: .5rem; padding: .6rem .75rem; }
.tiles dt { color: var(--soft); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.chart { margin: 0; } .scale { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .25rem 1rem; }
svg { display: block; width: 100%; height: 14rem; border-block: 1px solid var(--line); touch-action: pan-y; }
polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
.equity { stroke: var(--curve); } .drawdown { stroke: var(--fall); }
line { stroke-width: 1.4; vector-effect: non-scaling-stroke; }
.won { stroke: var(--won); } .lost { stroke: var(--lost); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } summary { cursor: pointer; padding: .3rem 0; }
code { overflow-wrap: anywhere; }
"""

_SCRIPT = """
for (const chart of document.querySelectorAll('.chart')) {
  const points = JSON.parse(chart.querySelector('script').textContent);
  const drawing = chart.querySelector('svg'), told = chart.querySelector('output'), rest = told.textContent;
  const first = points[0][0], last = points[points.length - 1][0];
  drawing.addEventListener('pointermove', (event) => {
    const box = drawing.getBoundingClientRect();
    const wanted = first + (event.clientX - box.left) / box.width * (last - first);
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < wanted) low = middle + 1; else high = middle;
    }
    const time = new Date(points[low][0]).toISOString().slice(0, 16).replace('T', ' ');
    told.textContent = time + ' UTC: ' + points[low][1].toLocaleString('en', { maximumFractionDigits: 2 });
  });
  drawing.addEventListener('pointerleave', () => { told.textContent = rest; });
}
"""
