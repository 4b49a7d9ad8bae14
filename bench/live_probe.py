"""A trader that keeps time: run by `bench.live` as a process, the program's own trader with two stamps added.

The first stamp is taken when a frame's last byte has been read and its bytes are handed on; the second when the socket
has taken the bytes of an order that the frame led to. In between lie inbox, codec, session, journal, engine and
signing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import surefoot.live as live
from surefoot.binance.dialogue import Frame, HttpRequest, Keys, SendText
from surefoot.binance.gateway import Gateway
from surefoot.config import Venue, load
from surefoot.store.journal import Journal

PLACING = ("order.place", "orderList.place", "order.cancelReplace", "algoOrder.place")
LAG_EVERY_S = 0.1
CURVE_EVERY_S = 1.0


def stamp() -> tuple[int, int]:
    """Nanoseconds now: by the clock, and of this thread's own time on a processor."""
    return time.perf_counter_ns(), time.thread_time_ns()


class Stopwatch:
    """Nanoseconds from frame to order, and how many frames there were."""

    def __init__(self) -> None:
        self.frame: tuple[int, int] | None = None
        self.from_frame_ns: list[tuple[int, int]] = []
        self.frames = 0
        self.curve: list[dict[str, float]] = []
        self._lag_worst_s = 0.0
        self._stamps: dict[int, tuple[int, int]] = {}

    def arrived(self, frame: Frame) -> None:
        self.frames += 1
        self._stamps[id(frame)] = stamp()

    def taken(self, arrival: object) -> None:
        """The driver takes this up now; whatever leaves before it takes the next is due to it."""
        self.frame = self._stamps.pop(id(arrival), None)

    def left(self, request: object) -> None:
        if isinstance(request, SendText):
            places = any(method in request.text[:200] for method in PLACING)
        else:
            places = isinstance(request, HttpRequest) and request.method == "POST"
        if places and self.frame is not None:  # its first order counts
            clock, own = stamp()
            self.from_frame_ns.append((clock - self.frame[0], own - self.frame[1]))
            self.frame = None

    async def keep_curve(self) -> None:
        """Memory, the worst lag of the loop and frames a second, once a second."""
        last_frames, last_s = 0, time.perf_counter()
        while True:
            due_s = time.perf_counter() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            now_s = time.perf_counter()
            self._lag_worst_s = max(self._lag_worst_s, now_s - due_s)
            if now_s - last_s >= CURVE_EVERY_S:
                rate = (self.frames - last_frames) / (now_s - last_s)
                self.curve.append({"rss_mib": rss_mib(), "lag_ms": self._lag_worst_s * 1e3, "frames_per_s": rate})
                last_frames, last_s, self._lag_worst_s = self.frames, now_s, 0.0


def rss_mib() -> float:
    """Memory held now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    asked = _arguments()
    given = dict(item.split("=", 1) for item in asked.set)
    settings = load(None, given, {}).settings
    watch = Stopwatch()

    class Timed(Gateway):
        def received(self, link: str, transport: Any, arrival: Any) -> None:
            if isinstance(arrival, Frame):
                watch.arrived(arrival)
            super().received(link, transport, arrival)

        def send(self, request: Any) -> None:
            super().send(request)
            watch.left(request)

    class Watched(live.Trader):
        def _take(self, arrival: Any) -> None:
            watch.taken(arrival)
            super()._take(arrival)

        async def drive(self, *arguments: Any) -> None:
            keeping = asyncio.ensure_future(watch.keep_curve())
            try:
                await super().drive(*arguments)
            finally:
                keeping.cancel()

    live.Gateway, live.Trader = Timed, Watched  # type: ignore[misc]
    if not asked.durable:
        Journal.flush = lambda _: None  # type: ignore[method-assign]
    venue = Venue(asked.rest, asked.ws_api, asked.streams)
    code = live.run_trader(settings, venue, Keys(asked.key, asked.secret), paced=asked.paced, say=_say)
    print(json.dumps({"from_frame_ns": watch.from_frame_ns, "frames": watch.frames, "curve": watch.curve}))
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("rest", "ws-api", "streams", "key", "secret"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--paced", action="store_true")
    parser.add_argument("--durable", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
