"""How the bench talks with a peer: one JSON line asks for one run, one JSON line answers it.

Runs in the peer's own environment, with numpy and the standard library. A peer gives functions for the kinds of work it
can do; this module reads the candles, times exactly the call that does the work, and tells what came out. Candles are
brought into the peer's own form beforehand and once, outside of the timed part: to the peer's advantage.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = ("open_time", "open", "high", "low", "close", "volume")
SHOWN = 5

Candles = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the candle of the entry of each round trip, how many positions are left open, final equity.

    `engine_s` is the part of the time that a compiled core took, where it can be told apart.
    """

    entries: Any
    still_open: int
    final_equity: float
    engine_s: float | None = None


@dataclass(frozen=True)
class Peer:
    """What a peer can do; None is a kind of work it has no way to do.

    `prepare` makes the candles the peer's own; `single` runs the rules once; `strategy` runs them as a strategy of a
    user, in plain Python, candle by candle; `exact` in an engine that lives through a venue's messages, where that is
    another one; `sweep` runs many combinations and gives trades and equity of each.
    """

    packages: tuple[str, ...]
    prepare: Callable[[Candles, dict[str, Any]], Any]
    single: Callable[[Any, dict[str, Any]], Outcome] | None = None
    strategy: Callable[[Any, dict[str, Any]], Outcome] | None = None
    exact: Callable[[Any, dict[str, Any]], Outcome] | None = None
    sweep: Callable[[Any, dict[str, Any], list[list[float]]], tuple[list[int], list[float]]] | None = None


def serve(peer: Peer) -> None:
    """Answer requests until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the peer prints is not an answer
    prepared: dict[str, tuple[Candles, Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        folder, rules = request["candles"], request["rules"]
        if folder not in prepared:
            candles = _candles(Path(folder))
            prepared[folder] = (candles, peer.prepare(candles, rules))
        candles, own = prepared[folder]
        answer = _sweep(peer, own, request) if request["work"] == "sweep" else _single(peer, candles, own, request)
        answer["candles"] = len(candles["close"])
        answer["versions"] = {name: version(name) for name in peer.packages}
        answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)


def crossings(rsi: Any, low: float) -> Any:
    """True on candles that close with the RSI below `low` after one with it at or above."""
    entries = np.zeros(len(rsi), dtype=bool)
    entries[1:] = (rsi[1:] < low) & (rsi[:-1] >= low)
    return entries


def _candles(folder: Path) -> Candles:
    return {field: np.load(folder / f"{field}.npy") for field in FIELDS} | {"folder": folder}


def _single(peer: Peer, candles: Candles, own: Any, request: dict[str, Any]) -> dict[str, Any]:
    work = getattr(peer, request["work"])
    began, began_cpu = time.perf_counter(), time.process_time()
    outcome = work(own, request["rules"])
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    times = [int(candles["open_time"][at]) for at in outcome.entries]
    shown = {"first": times[:SHOWN], "last": times[-SHOWN:]}
    return {
        "seconds": seconds,
        "cpu_s": cpu,
        "trades": len(times) + outcome.still_open,
        "final_equity": float(outcome.final_equity),
        "engine_s": outcome.engine_s,
        **shown,
    }


def _sweep(peer: Peer, own: Any, request: dict[str, Any]) -> dict[str, Any]:
    began, began_cpu = time.perf_counter(), time.process_time()
    trades, equities = peer.sweep(own, request["rules"], request["combinations"])
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return {
        "seconds": seconds,
        "cpu_s": cpu,
        "trades": [int(n) for n in trades],
        "equities": [float(e) for e in equities],
    }
