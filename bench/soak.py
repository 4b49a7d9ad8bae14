"""What `make soak` runs: the trader under a steady stream for long, its memory and the lag of its loop as curves.

SECONDS=600 shortens it. The curves are printed as rows of bars and written beside the numbers to `.bench/soak.svg`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.environments import ROOT
from bench.live import FLOODED_PER_S, percentile, run_flood

MARKET_PER_S = 20_000
BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 72
WIDTH, HEIGHT, MARGIN = 900, 160, 50
CURVES = (
    ("memory", "rss_mib", "MiB"),
    ("worst lag of the loop", "lag_ms", "ms"),
    ("frames", "frames_per_s", "a second"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--market-per-s", type=int, default=MARKET_PER_S)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = run_flood(Path(folder), asked.seconds, asked.market_per_s)
    curve = [each for each in told["curve"] if each["frames_per_s"] > FLOODED_PER_S]
    if not curve:
        print("the stream did not begin", file=sys.stderr)
        return 1
    for line in summary(told, curve):
        print(line)
    path = ROOT / ".bench" / "soak.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(drawing(curve))
    path.with_suffix(".json").write_text(json.dumps(told))
    print(f"curves: {path.relative_to(ROOT)}")
    return 0


def summary(told: dict[str, Any], curve: Sequence[dict[str, float]]) -> list[str]:
    """What happened, in words, and each curve as bars."""
    sent, heard = told["sent"], told["account_events"]
    lines = [
        f"{len(curve)} s of stream, {told['frames']:,} frames taken of {sent['market'] + sent['account']:,} sent, "
        f"{told['merged']:,} superseded ones not read",
        f"{sent['account'] - heard} of {sent['account']:,} account events lost",
    ]
    for name, key, unit in CURVES:
        values = [each[key] for each in curve]
        ordered = sorted(values)
        middle, high = percentile(ordered, 50), percentile(ordered, 99)
        tail = f"first {values[0]:,.1f}, median {middle:,.1f}, p99 {high:,.1f}, most {ordered[-1]:,.1f}"
        tail += f", last {values[-1]:,.1f}"
        lines += [f"{name}, {unit}: {tail}", f"  {bars(values)}"]
    return lines


def bars(values: Sequence[float]) -> str:
    """The greatest of each stretch, from 0 to the greatest of all."""
    step = max(1, -(-len(values) // COLUMNS))
    tops = [max(values[at : at + step]) for at in range(0, len(values), step)]
    most = max(tops) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int(top / most * len(BARS)))] for top in tops)


def drawing(curve: Sequence[dict[str, float]]) -> str:
    """The curves over time, as SVG."""
    parts = []
    for at, (name, key, unit) in enumerate(CURVES):
        values = [each[key] for each in curve]
        most, base = max(values) or 1.0, (at + 1) * (HEIGHT + MARGIN)
        xs = (MARGIN + place * WIDTH / max(1, len(values) - 1) for place in range(len(values)))
        points = " ".join(f"{x:.1f},{base - value / most * HEIGHT:.1f}" for x, value in zip(xs, values, strict=True))
        parts += [
            f'<text x="{MARGIN}" y="{base - HEIGHT - 8}">{name}, {unit}: 0 to {most:,.1f} in {len(values)} s</text>',
            f'<line x1="{MARGIN}" x2="{MARGIN + WIDTH}" y1="{base}" y2="{base}" stroke="#999"/>',
            f'<polyline points="{points}" fill="none" stroke="#036"/>',
        ]
    size = f'width="{WIDTH + 2 * MARGIN}" height="{len(CURVES) * (HEIGHT + MARGIN) + MARGIN}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "".join((head, *parts, "</svg>\n"))


if __name__ == "__main__":
    sys.exit(main())
