"""How quickly the API answers at a thousand requests a second while the bot trades: PERF-5.

`surefoot run` in paper mode, its own processes and sockets; the requests come from this process over kept connections,
each at its own time whether the one before was answered or not. Latency counts from when a request was due. A dashboard
is open meanwhile: one stream with all topics, as the page has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import websockets

from bench.environments import ROOT
from bench.figures import Figure
from bench.live import percentile
from tests.e2e.processes import BUSY

GROUP = "api"
PER_S = 1_000
SECONDS = 8.0
CONNECTIONS = 50
BEGIN_WAIT_S = 60.0
TRADE_FIRST_S = 15.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# What a page and a program ask for most: what is true now, and the newest rows.
PATHS = (
    "status", "positions", "market/prices", "breaker", "connection", "status", "positions", "market/prices",
    "orders?limit=20", "fills?limit=20",
)  # fmt: skip


def makers() -> list[Callable[[], list[Figure]]]:
    return [lambda: [answers()]]


def answers() -> Figure:
    """Times to an answer at a steady rate."""
    what = f"answer at {PER_S:,} requests a second while trading, with a dashboard open"
    with tempfile.TemporaryDirectory() as folder:
        told = measured(Path(folder))
    times = sorted(told["times_ms"])
    p50, p95, p99 = (percentile(times, share) for share in (50, 95, 99))
    remark = (
        f"{len(times):,} answers in {told['seconds']:.1f} s, {told['failed']} failed, {told['updates']:,} messages of"
        f" the stream; the web process used {told['cpu_us']:.0f} us of processor time for each answer; resident are web"
        f" process {told['web_mib']:.0f} MiB and trader {told['trader_mib']:.0f} MiB"
    )
    numbers = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
    numbers |= {name: told[name] for name in ("cpu_us", "failed", "updates", "web_mib", "trader_mib")}
    return Figure(GROUP, what, f"p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms", remark=remark, numbers=numbers)


def measured(folder: Path) -> dict[str, Any]:
    """Start the bot, sign in by its link, ask, and end it."""
    sets = {**BUSY, "store.journal_path": str(folder / "surefoot.sqlite"), "web.requests_max_per_s": "100000"}
    command = [sys.executable, "-m", "surefoot", "run", "--no-terminal", "--seed", "41", "--speed", "60"]
    command += [word for name, text in sets.items() for word in ("--set", f"{name}={text}")]
    with (folder / "said.txt").open("wb") as said:
        bot = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    try:
        host, port, link = _link(folder / "said.txt")
        token = _signed_in(f"http://{host}:{port}", link)
        time.sleep(TRADE_FIRST_S)
        web, trader = _process(bot.pid, b"web"), _process(bot.pid, b"trade")
        before = _cpu_s(web)
        began_s = time.monotonic()
        times_ms, failed, updates = asyncio.run(_load(host, port, token))
        seconds = time.monotonic() - began_s
        cpu_us = (_cpu_s(web) - before) / max(len(times_ms), 1) * 1e6
        sizes = {"web_mib": _rss_mib(web), "trader_mib": _rss_mib(trader)}
        return {
            "times_ms": times_ms,
            "failed": failed,
            "updates": updates,
            "seconds": seconds,
            "cpu_us": cpu_us,
            **sizes,
        }
    finally:
        bot.send_signal(signal.SIGTERM)
        bot.wait(30)


def _link(said: Path) -> tuple[str, int, str]:
    until_s = time.monotonic() + BEGIN_WAIT_S
    while time.monotonic() < until_s:
        found = re.search(r"http://([0-9.]+):(\d+)/#link=(\S+)", said.read_text("utf-8", "replace"))
        if found:
            return found[1], int(found[2]), found[3]
        time.sleep(0.1)
    raise RuntimeError(f"no link was printed: {said.read_text('utf-8', 'replace')[-500:]}")


def _signed_in(url: str, link: str) -> str:
    body = json.dumps({"token": link}).encode()
    request = urllib.request.Request(f"{url}/api/v1/auth/link", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


async def _load(host: str, port: int, token: str) -> tuple[list[float], int, int]:
    """Every connection asks at its own times, all of them together `PER_S` a second, while a stream is open. Times,
    failures, and what the stream sent meanwhile."""
    each = round(PER_S * SECONDS / CONNECTIONS)
    heard = list[None]()
    async with websockets.connect(f"ws://{host}:{port}/api/v1/stream", max_size=None) as stream:
        await stream.send(json.dumps({"token": token}))  # all topics, where none are named
        await stream.recv()
        dashboard = asyncio.create_task(_hear(stream, heard))
        start_s = time.monotonic() + 0.5
        told = await asyncio.gather(
            *(_visitor(host, port, token, start_s + number / PER_S, each) for number in range(CONNECTIONS))
        )
        updates = len(heard)
        if dashboard.done():
            raise RuntimeError(f"the stream has ended: {dashboard.exception()!r}")
        dashboard.cancel()
    return [ms for times, _ in told for ms in times], sum(failed for _, failed in told), updates


async def _hear(stream: websockets.ClientConnection, heard: list[None]) -> None:
    """As a page does: whole messages, and their JSON."""
    async for message in stream:
        json.loads(message)
        heard.append(None)


async def _visitor(host: str, port: int, token: str, first_s: float, count: int) -> tuple[list[float], int]:
    reader, writer = await asyncio.open_connection(host, port)
    head = f" HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    requests = [f"GET /api/v1/{path}{head}".encode() for path in PATHS]
    times_ms, failed = list[float](), 0
    for number in range(count):
        due_s = first_s + number * CONNECTIONS / PER_S
        await asyncio.sleep(max(due_s - time.monotonic(), 0))
        writer.write(requests[number % len(requests)])
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length[1]) if length else 0)
        failed += not answer.startswith(b"HTTP/1.1 200")
        times_ms.append((time.monotonic() - due_s) * 1e3)
    writer.close()
    return times_ms, failed


def _process(parent: int, command: bytes) -> int:
    """The child of the run that carries out a command."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if b"\0%b\0" % command in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise RuntimeError(f"no process runs {command.decode()}")


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _rss_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1_024 if found else 0.0
