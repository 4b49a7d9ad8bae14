"""How long the trader itself takes from a market frame to an order, and how much it takes in: PERF-4.

The simulated exchange is a process of its own on the loopback address. It replays generated minutes of four symbols as
fast as the trader digests them, with forming klines and best prices told; the settings are such that there is always
something to buy. The trader is the program's own process with two stamps in it (`live_probe`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.environments import ROOT
from bench.figures import Figure
from tests.e2e.processes import BUSY, SYMBOLS, candle_files, environment, exchange, minutes_before_end, settings_of

GROUP = "live"
SEED = 41
MINUTES = 3_000
PATIENCE_S = 600


def makers() -> list[Callable[[], list[Figure]]]:
    return [lambda: [order_latency(durable=False), order_latency(durable=True)]]


def order_latency(*, durable: bool) -> Figure:
    """Frame to order bytes, with the intent on disk first or without the disk."""
    what = "frame to order, intent on disk first" if durable else "frame to order, without the disk"
    with tempfile.TemporaryDirectory() as folder:
        told = run_probe(Path(folder), durable=durable)
    times = sorted(clock / 1e6 for clock, _ in told["from_frame_ns"])
    own = sorted(thread / 1e6 for _, thread in told["from_frame_ns"])
    if not times:
        return Figure(GROUP, what, "not measured", remark="no order was placed")
    p50, p99 = percentile(times, 50), percentile(times, 99)
    on = f"{len(times)} orders, {told['frames']:,} frames; of it on the processor p50 {percentile(own, 50):.3f} ms"
    return Figure(
        GROUP, what, f"p50 {p50:.3f} ms, p99 {p99:.3f} ms", remark=f"{on}, p99 {percentile(own, 99):.3f} ms",
        numbers={"p50_ms": p50, "p99_ms": p99, "worst_ms": times[-1], "orders": len(times)},
    )  # fmt: skip


def percentile(ordered: list[float], share_pct: float) -> float:
    """The value that so many per cent do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share_pct / 100))]


def run_probe(folder: Path, *, durable: bool) -> dict[str, Any]:
    """A trader through a replay, to its end."""
    files = candle_files(folder, SEED, SYMBOLS, MINUTES // 1_440 + 2)
    options = ["--speed", "max", "--wait-for-account", "--start-ms", str(minutes_before_end(MINUTES))]
    with exchange(*options, "--replay", *files) as venue:
        settings = settings_of(folder / "journal.sqlite", SYMBOLS, BUSY)
        command = [sys.executable, "-m", "bench.live_probe", "--paced", *(["--durable"] if durable else [])]
        for name in ("rest", "ws_api"):
            command += [f"--{name.replace('_', '-')}", str(venue.hello[name])]
        command += ["--streams", str(venue.hello["stream"])]
        command += ["--key", str(venue.hello["api_key"]), "--secret", str(venue.hello["secret"])]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        probe = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        stop = threading.Timer(PATIENCE_S, probe.kill)
        stop.start()
        try:
            venue.wait_for_end(PATIENCE_S)
            probe.send_signal(signal.SIGTERM)
            out, _ = probe.communicate()
        finally:
            stop.cancel()
            probe.kill()
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer
