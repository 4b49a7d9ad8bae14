"""How long the trader itself takes from a market frame to an order, and how much it takes in: PERF-4.

The simulated exchange is a process of its own on the loopback address. It replays generated minutes of four symbols as
fast as the trader digests them, with forming klines and best prices told; the settings are such that there is always
something to buy. The trader is the program's own process with two stamps in it (`live_probe`).

For how much it takes in, its market streams and its account's come from `flood` instead, a process of its own, too.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench.environments import ROOT
from bench.figures import Figure
from bench.live_probe import CURVE_EVERY_S
from bench.starts import starts
from tests.e2e.processes import (
    BUSY,
    SYMBOLS,
    Exchange,
    candle_files,
    environment,
    exchange,
    minutes_before_end,
    settings_of,
)

GROUP = "live"
SEED = 41
MINUTES = 3_000
PATIENCE_S = 600
FLOODED_PER_S = 1_000  # a second with fewer frames is from before or after the flood
DIGEST_S = 2.0


def makers() -> list[Callable[[], list[Figure]]]:
    return [lambda: [order_latency(durable=False), order_latency(durable=True)], lambda: [intake()], starts]


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


def intake(seconds: float = 20.0) -> Figure:
    """Market messages a second taken from real sockets, as many as come, while the account has 200 events a second."""
    what = "market messages a second taken"
    with tempfile.TemporaryDirectory() as folder:
        told = run_flood(Path(folder), seconds, market_per_s=0)
    curve = told["curve"]
    busy = [(one, two) for one, two in pairwise(curve) if two["frames_per_s"] > FLOODED_PER_S]
    if not busy:
        return Figure(GROUP, what, "not measured", remark="the flood did not begin")
    rate = median(two["frames_per_s"] for _, two in busy)
    own_us = median((two["own_s"] - one["own_s"]) * 1e6 / (two["frames_per_s"] * CURVE_EVERY_S) for one, two in busy)
    lost = told["sent"]["account"] - told["account_events"]
    remark = (
        f"{told['frames']:,} frames, {own_us:.2f} µs of processor each (a whole core: {1e6 / own_us:,.0f} a second); "
        f"{told['merged']:,} superseded, not read; {lost} of {told['sent']['account']:,} account events lost; "
        f"worst lag of the loop {max(two['lag_ms'] for _, two in busy):.0f} ms"
    )
    numbers = {"per_s": rate, "own_us": own_us, "account_lost": lost, "merged": told["merged"]}
    return Figure(GROUP, what, f"{rate:,.0f} a second", remark=remark, numbers=numbers)


def percentile(ordered: list[float], share_pct: float) -> float:
    """The value that so many per cent do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share_pct / 100))]


def run_flood(folder: Path, seconds: float, market_per_s: int) -> dict[str, Any]:
    """What the trader counted under a flood of so many messages a second (0: all it takes), and what was sent."""
    with exchange("--symbols", ",".join(SYMBOLS)) as venue:
        command = [sys.executable, "-m", "bench.flood", "--market-per-s", str(market_per_s)]
        flood = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        try:
            assert flood.stdout is not None
            port = json.loads(flood.stdout.readline())["port"]
            settings = settings_of(folder / "journal.sqlite", SYMBOLS, {})
            command = probe_command(venue, settings, "--durable", "--count")
            command += ["--ws-api", f"ws://127.0.0.1:{port}/ws-api/v3", "--streams", f"ws://127.0.0.1:{port}"]
            probe = start_probe(command)
            try:
                time.sleep(seconds)
                flood.terminate()
                sent = json.loads(flood.communicate(timeout=PATIENCE_S)[0].splitlines()[-1])
                time.sleep(DIGEST_S)
                probe.send_signal(signal.SIGTERM)
                out, _ = probe.communicate(timeout=PATIENCE_S)
            finally:
                probe.kill()
        finally:
            flood.kill()
    answer: dict[str, Any] = json.loads(out.splitlines()[-1]) | sent
    return answer


def probe_command(venue: Exchange, settings: Mapping[str, str], *options: str) -> list[str]:
    """A trader on the exchange; options given later overrule those given before."""
    hello = venue.hello
    command = [sys.executable, "-m", "bench.live_probe", "--rest", str(hello["rest"]), "--ws-api", str(hello["ws_api"])]
    command += ["--streams", str(hello["stream"]), "--key", str(hello["api_key"]), "--secret", str(hello["secret"])]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return [*command, *options]


def start_probe(command: list[str]) -> subprocess.Popen[str]:
    """The trader as a process; what it counted is the last line that it prints."""
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def run_probe(folder: Path, *, durable: bool) -> dict[str, Any]:
    """A trader through a replay, to its end."""
    files = candle_files(folder, SEED, SYMBOLS, MINUTES // 1_440 + 2)
    options = ["--speed", "max", "--wait-for-account", "--start-ms", str(minutes_before_end(MINUTES))]
    with exchange(*options, "--replay", *files) as venue:
        settings = settings_of(folder / "journal.sqlite", SYMBOLS, BUSY)
        probe = start_probe(probe_command(venue, settings, "--paced", *(["--durable"] if durable else [])))
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
