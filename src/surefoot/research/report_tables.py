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
)


def notes_section(lines: Sequence[str] | None) -> str:
    return section("To know when reading this", bullets(lines), "notes") if lines else ""


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
