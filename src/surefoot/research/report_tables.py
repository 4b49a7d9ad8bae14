"""Sections that the pages of a backtest and of an optimisation both have: notes, settings, data and digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from surefoot.research.report_words import (
    NO_VALUE,
    Markup,
    bullets,
    flat,
    folded,
    note,
    number,
    section,
    table,
    unmeasured,
    with_unit,
)

DRAWN = (("order", "In another order"), ("missed_fills", "Without some"))


def notes_section(lines: Sequence[str] | None) -> str:
    return section("To know when reading this", bullets(lines), "notes") if lines else ""


def monte_carlo_section(given: Mapping[str, Any] | None) -> str:
    """Percentiles of what else could have become of the account, a table for each way of drawing."""
    title, shown = "Monte Carlo: the same round trips, otherwise", []
    for key, name in DRAWN:
        outcomes = (given or {}).get(key)
        if not outcomes:
            continue
        name = f"{name}, {number(outcomes['missed_pct'], 0)} %" if "missed_pct" in outcomes else name
        equity, falls = outcomes["final_equity"], outcomes["max_drawdown_pct"]
        rows = [
            ["Final equity", *map(number, equity.values())],
            ["Largest drawdown", *(with_unit(fall, "%") for fall in falls.values())],
        ]
        head = [name, *(f"{key.removeprefix('p')} % are below" for key in equity)]
        loss = f"{with_unit(outcomes['loss_pct'], '%')} of {number(outcomes['draws'], 0)} draws end with a loss."
        shown.append(table(head, rows) + note(loss))
    return section(title, "".join(shown), "monte-carlo") if shown else unmeasured(title)


def settings_section(settings: Mapping[str, Any] | None) -> str:
    if not settings:
        return unmeasured("Settings")
    rows = [[name, value] for name, value in flat(settings)]
    return section(
        "Settings", folded(f"{len(rows)} settings", table(["Setting", "Value"], rows), is_open=False), "settings"
    )


def data_section(result: Mapping[str, Any]) -> str:
    rows = [
        [
            str(item.get("file", NO_VALUE)),
            number(item.get("rows"), 0),
            _gaps(item.get("gaps")),
            _code(item.get("sha256")),
        ]
        for item in result.get("data") or ()
    ]
    files = table(["File", "Candles", "Gaps", "SHA-256"], rows) if rows else note("the result names no file")
    prints = [["Settings", _code(result.get("settings_digest"))], ["This run", _code(result.get("digest"))]]
    return section("Data and digests", files + table(["Digest of", "SHA-256"], prints), "data")


def _code(text: object) -> Markup:
    return Markup(f"<code>{escape(str(text or NO_VALUE))}</code>")


def _gaps(gaps: object) -> str:
    return str(len(gaps)) if isinstance(gaps, (list, tuple)) else str(NO_VALUE if gaps is None else gaps)
