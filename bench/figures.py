"""What was measured, as one table for people or as JSON, with the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from surefoot import __version__

NOTE = (
    "Ratios are medians of pairs of runs, ours and the other in turn. Times of a program on one core are its processor"
    " time; of several cores, of commands and of starts the wall clock's. See bench/README.md."
)
WIDTH_WITHOUT_TERMINAL = 170


@dataclass(frozen=True)
class Figure:
    """One line of the table: times are seconds of single runs, `ratios` the peer's time over ours, pair by pair."""

    group: str
    who: str
    figure: str  # in words and units; why there is none, when there is none
    seconds: Sequence[float] = ()
    cold_s: float | None = None
    ratios: Sequence[float] = ()
    remark: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


def show(figures: Sequence[Figure], *, as_json: bool) -> None:
    """Print all figures, on stdout."""
    if as_json:
        told = {"version": __version__, "machine": machine(), "figures": [asdict(figure) for figure in figures]}
        print(json.dumps(told, indent=1, default=float))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    table = Table(
        "who", "figure", "cold start", "minimum", "median", "ours, times as fast", "what came out, what differs",
        title=f"Surefoot {__version__}: speed",
    )  # fmt: skip
    for group in dict.fromkeys(figure.group for figure in figures):
        table.add_section()
        table.add_row(f"[bold]{group}[/bold]")
        for figure in figures:
            if figure.group == group:
                table.add_row(*_cells(figure))
    console.print(table)
    console.print(" · ".join(f"{name} {value}" for name, value in machine().items()))
    console.print(NOTE)


def machine() -> dict[str, str]:
    """Processor, cores and system."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "Python": platform.python_version(),
    }


def spoken(seconds: float) -> str:
    """A time as a person reads it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _cells(figure: Figure) -> list[str]:
    return [
        figure.who,
        figure.figure,
        "" if figure.cold_s is None else spoken(figure.cold_s),
        spoken(min(figure.seconds)) if figure.seconds else "",
        spoken(median(figure.seconds)) if figure.seconds else "",
        f"{median(figure.ratios):.3g}" if figure.ratios else "",
        figure.remark,
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
