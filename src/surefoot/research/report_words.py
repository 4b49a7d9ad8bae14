"""How a report says things: numbers, dates, tables and sections as escaped HTML, and the page around them.

What is missing is a dash in a figure and the words "not measured" where a section would be; it is never 0. A cell that
is `Markup` is put in as it is; every other text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

NO_VALUE = "–"
NOT_MEASURED = "not measured"

_FIGURE = re.compile(r"[+-]?[\d,]+(\.\d+)?( %)?")
_TAG = re.compile(r"<[^>]*>")
# Nothing may be loaded from anywhere, even if a text should ever slip through as markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Markup(str):
    """HTML of our own making."""


def page(title: str, subtitle: str, sections: Iterable[str], *scripts: str) -> str:
    """The whole document; `scripts` are names of files in the folder `page`."""
    code = "".join(f"<script>\n{_file(name)}</script>\n" for name in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_file('report.css')}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{escape(title)}</h1>\n<p class="note">{escape(subtitle)}</p></header>\n'
        f"{''.join(sections)}</main>\n{code}</body>\n</html>\n"
    )


@cache
def _file(name: str) -> str:
    return (files("surefoot.research") / "page" / name).read_text(encoding="utf-8")


def section(title: str, content: str, name: str = "") -> str:
    at = f' id="{name}"' if name else ""
    return f"<section{at}>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def unmeasured(title: str, why: str = "") -> str:
    """A section whose data the result does not have."""
    return section(title, note(f"{NOT_MEASURED}: {why}" if why else NOT_MEASURED))


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def bullets(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    shown = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in figures)
    return f'<dl class="tiles">{shown}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Wider than the screen, it scrolls in its own frame. Columns of figures stand to the right."""
    cells = [list(row) for row in rows]
    kinds = [' class="figure"' if any(map(_is_figure, column)) else "" for column in zip(*cells, strict=True)]
    kinds = kinds or [""] * len(head)
    titles = "".join(f'<th scope="col"{kind}>{_inner(cell)}</th>' for kind, cell in zip(kinds, head, strict=True))
    lines = ("".join(f"<td{kind}>{_inner(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in cells)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'


def _is_figure(cell: str) -> bool:
    return bool(_FIGURE.fullmatch(_TAG.sub("", cell)))


def _inner(cell: str) -> str:
    return cell if isinstance(cell, Markup) else escape(cell)


def folded(summary: str, content: str, *, is_open: bool) -> str:
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def number(value: object, places: int = 2) -> str:
    """With separated thousands; a dash for what is not there."""
    return NO_VALUE if value is None else f"{float(str(value)):,.{places}f}"


def with_unit(value: object, unit: str) -> str:
    return f"{number(value)} {unit}" if unit and value is not None else number(value)


def date(at_ms: object) -> str:
    if at_ms is None:
        return NO_VALUE
    return datetime.fromtimestamp(int(str(at_ms)) / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")


def period(given: object) -> str:
    if isinstance(given, (list, tuple)) and len(given) == 2:
        return f"{date(given[0])} to {date(given[1])} UTC"
    return str(given or NO_VALUE)


def days(given: object) -> str:
    """A period by its days alone."""
    if isinstance(given, (list, tuple)) and len(given) == 2:
        return f"{date(given[0])[:10]} to {date(given[1])[:10]}"
    return NO_VALUE


def duration(length_ms: object) -> str:
    """Days and hours; under an hour, minutes."""
    if length_ms is None:
        return NO_VALUE
    minutes = int(float(str(length_ms))) // 60_000
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h" if hours else f"{minutes} min"


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as (dotted name, value)."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
