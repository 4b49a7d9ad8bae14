"""A trader that keeps time: run by `bench.live` as a process, the program's own trader with two stamps added.

The first stamp is taken when a frame's last byte has been read and its bytes are handed on; the second when the bytes
of an order that the frame led to have been given to the socket. In between lie inbox, codec, session, journal, engine,
signing and the HTTP client. With `--count` there are no stamps: frames and events of the account are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import aiohttp.client_reqrep
from aiohttp.http import StreamWriter

import surefoot.binance.session
import surefoot.live as live
from surefoot.binance.dialogue import Frame, HttpRequest, Keys, SocketRequest
from surefoot.binance.gateway import Gateway
from surefoot.binance.session import Session
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
        self.trader: live.Trader | None = None
        self.curve: list[dict[str, float]] = []
        self._lag_worst_s = 0.0
        self._stamps: dict[int, tuple[int, int]] = {}
        self._leaving: deque[tuple[int, int]] = deque()
        self.account_events = 0

    def arrived(self, frame: Frame) -> None:
        self.frames += 1
        self._stamps[id(frame)] = stamp()

    def taken(self, arrival: object) -> None:
        """The driver takes this up now; whatever leaves before it takes the next is due to it."""
        self.frame = self._stamps.pop(id(arrival), None)

    def leaves(self, request: object) -> None:
        """The gateway is given a request."""
        if isinstance(request, HttpRequest) and request.method == "POST" and self.frame is not None:
            self._leaving.append(self.frame)  # its bytes are written by a task of its own
            self.frame = None  # its first order counts

    def left(self, request: object) -> None:
        """The gateway has dealt with a request: the bytes of one that goes by socket have been given to it."""
        if isinstance(request, SocketRequest) and any(method in request.text for method in PLACING):
            self._placed(self.frame)

    def written(self, data: bytes) -> None:
        """The HTTP client has given bytes to the socket."""
        if data.startswith(b"POST ") and self._leaving:
            self._placed(self._leaving.popleft())

    def _placed(self, frame: tuple[int, int] | None) -> None:
        if frame is not None:
            clock, own = stamp()
            self.from_frame_ns.append((clock - frame[0], own - frame[1]))
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
                self.curve.append({
                    "rss_mib": rss_mib(), "lag_ms": self._lag_worst_s * 1e3, "frames_per_s": rate,
                    "own_s": time.process_time(),
                })  # fmt: skip
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
            watch.leaves(request)
            super().send(request)
            watch.left(request)

    class Counted(Gateway):
        def received(self, link: str, transport: Any, arrival: Any) -> None:
            watch.frames += 1
            super().received(link, transport, arrival)

    class CountedSession(Session):
        def _on_account_frame(self, frame: Frame, now_ms: int) -> Any:
            watch.account_events += b'"executionReport"' in frame.data  # type: ignore[operator]
            return super()._on_account_frame(frame, now_ms)

    class TimedWriter(StreamWriter):
        def _write(self, chunk: Any) -> None:
            super()._write(chunk)
            watch.written(chunk)

    class Watched(live.Trader):
        def _take(self, arrival: Any) -> None:
            if not asked.count:
                watch.taken(arrival)
            super()._take(arrival)

        async def drive(self, *arguments: Any) -> None:
            watch.trader = self
            keeping = asyncio.ensure_future(watch.keep_curve())
            try:
                await super().drive(*arguments)
            finally:
                keeping.cancel()

    live.Gateway, live.Trader = Counted if asked.count else Timed, Watched  # type: ignore[misc]
    if asked.count:
        surefoot.binance.session.Session = CountedSession  # type: ignore[misc]
    else:
        aiohttp.client_reqrep.StreamWriter = TimedWriter  # type: ignore[misc]
    if not asked.durable:
        Journal.flush = lambda _: None  # type: ignore[method-assign]
    venue = Venue(asked.rest, asked.ws_api, asked.streams)
    code = live.run_trader(settings, venue, Keys(asked.key, asked.secret), paced=asked.paced, say=_say)
    told = {
        "from_frame_ns": watch.from_frame_ns,
        "frames": watch.frames,
        "account_events": watch.account_events,
        "merged": watch.trader.inbox.merged if watch.trader else 0,
        "curve": watch.curve,
    }
    print(json.dumps(told))
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
    parser.add_argument("--count", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
