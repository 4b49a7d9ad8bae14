"""A local server that behaves as Binance's archives and klines do, and misbehaves on demand.

Candles are made from their open time, so that any two places that have one have the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sin

from aiohttp import web

from surefoot.core.model import INTERVAL_MS

MICROSECONDS_SINCE_MS = 1_735_689_600_000  # 2025-01-01: the archives of spot changed their unit
Fault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def utc_ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000  # type: ignore[misc,arg-type]


def candle(open_ms: int, interval_ms: int) -> list[object]:
    """Twelve values, as the venue sends them."""
    at = open_ms // interval_ms
    open_, close = 40_000 + 500 * sin(at / 50), 40_000 + 500 * sin((at + 1) / 50)
    high, low = max(open_, close) + at % 7, min(open_, close) - at % 5
    numbers = [f"{number:.2f}" for number in (open_, high, low, close)]
    volume = f"{1 + at % 90 / 10:.5f}"
    return [open_ms, *numbers, volume, open_ms + interval_ms - 1, "1.0", 10, "0.5", "0.5", "0"]


def archive_of(name: str, open_times: range, interval_ms: int) -> bytes:
    """A zip with one CSV; without a header and, from 2025 on, in µs, as those of spot are."""
    rows = []
    for open_ms in open_times:
        row = candle(open_ms, interval_ms)
        if open_ms >= MICROSECONDS_SINCE_MS:
            row[0], row[6] = open_ms * 1_000, (open_ms + interval_ms) * 1_000 - 1
        rows.append(",".join(map(str, row)))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name.replace(".zip", ".csv")), "\n".join(rows) + "\n")
    return packed.getvalue()


@dataclass
class Venue:
    """`files` by path; `faults` by path, one for each request in turn; `asked` has every request that came."""

    now_ms: int
    listed_ms: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    used_weight: int = 0
    knows_ranges: bool = True
    address: str = ""

    def publish(self, market: str, symbol: str, interval: str, *dates: str) -> list[str]:
        """Archives of months (`2024-01`) or days (`2024-01-31`); their paths."""
        paths = []
        for text in dates:
            year, month, *day = map(int, text.split("-"))
            from_ms = utc_ms(year, month, *(day or [1]))
            to_ms = from_ms + INTERVAL_MS["1d"] if day else utc_ms(year + month // 12, month % 12 + 1, 1)
            name = f"{symbol}-{interval}-{text}.zip"
            path = f"/data/{market}/{'daily' if day else 'monthly'}/klines/{symbol}/{interval}/{name}"
            times = range(max(from_ms, self.listed_ms), to_ms, INTERVAL_MS[interval])
            self.put(path, archive_of(name, times, INTERVAL_MS[interval]))
            paths.append(path)
        return paths

    def put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        name = path.rsplit("/", 1)[1]
        self.files[f"{path}.CHECKSUM"] = f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()

    def fail(self, path: str, *faults: Fault) -> None:
        self.faults[path] = list(faults)

    def requests_of(self, path: str) -> list[str]:
        """The Range header of every request of a path, empty where it had none."""
        return [told for asked, told in self.asked if asked == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Range", "")))
        content = self._content(request)
        faults = self.faults.get(request.path)
        if faults:
            return await faults.pop(0)(request, content or b"")
        if content is None:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        if request.path.endswith("/klines"):
            headers = {"x-mbx-used-weight-1m": str(self.used_weight)}
            return web.Response(body=content, headers=headers, content_type="application/json")
        return self._whole_or_rest(request, content)

    def _content(self, request: web.Request) -> bytes | None:
        if request.path in ("/api/v3/klines", "/fapi/v1/klines"):
            return self._klines(request)
        return self.files.get(request.path)

    def _klines(self, request: web.Request) -> bytes:
        interval_ms = INTERVAL_MS[request.query["interval"]]
        limit = int(request.query["limit"])
        first_ms = -(-max(int(request.query["startTime"]), self.listed_ms) // interval_ms) * interval_ms
        last_ms = min(int(request.query["endTime"]), self.now_ms)
        times = range(first_ms, last_ms + 1, interval_ms)[:limit]
        return json.dumps([candle(open_ms, interval_ms) for open_ms in times]).encode()

    def _whole_or_rest(self, request: web.Request, content: bytes) -> web.Response:
        told = request.headers.get("Range", "")
        if not told or not self.knows_ranges:
            self._count(request, len(content))
            return web.Response(body=content)
        start = int(told.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        self._count(request, len(content) - start)
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return web.Response(status=206, body=content[start:], headers={"Content-Range": where})

    def _count(self, request: web.Request, size: int) -> None:
        self.sent[request.path] = self.sent.get(request.path, 0) + size


@asynccontextmanager
async def serving(venue: Venue) -> AsyncIterator[Venue]:
    app = web.Application()
    app.router.add_get("/{path:.*}", venue.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    venue.address = f"http://{host}:{port}"
    try:
        yield venue
    finally:
        await runner.cleanup()


# -- what may go wrong -------------------------------------------------------------------------------------------------


def broken_after(size: int) -> Fault:
    """The connection ends when so many bytes of the answer have been sent, or of what a range asks for."""

    async def fault(request: web.Request, content: bytes) -> web.StreamResponse:
        response = await _begun(request, content, size)
        assert request.transport is not None
        request.transport.close()
        return response

    return fault


def stalled_after(size: int, seconds: float) -> Fault:
    """Nothing more comes for a while when so many bytes have been sent."""

    async def fault(request: web.Request, content: bytes) -> web.StreamResponse:
        response = await _begun(request, content, size)
        await asyncio.sleep(seconds)
        return response

    return fault


async def _begun(request: web.Request, content: bytes, size: int) -> web.StreamResponse:
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    headers = {"Content-Length": str(len(content) - start)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    response = web.StreamResponse(status=206 if start else 200, headers=headers)
    await response.prepare(request)
    await response.write(content[start : start + size])
    await asyncio.sleep(0.02)  # so that the part arrives before the end does
    return response


def status(code: int, text: str = "", **headers: str) -> Fault:
    async def fault(request: web.Request, content: bytes) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=text, headers=named)

    return fault


def instead(content: bytes) -> Fault:
    async def fault(request: web.Request, _: bytes) -> web.StreamResponse:
        return web.Response(body=content)

    return fault


async def dropped(request: web.Request, content: bytes) -> web.StreamResponse:
    """The connection ends without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()
