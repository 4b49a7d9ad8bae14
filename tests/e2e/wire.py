"""A wire between trader and exchange that a test can cut: a TCP relay that moves bytes until it is told not to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
CALL_S = 10.0


class Wire:
    """Listens on a port of its own and relays to `target`; lives in a thread."""

    def __init__(self, target: str) -> None:
        self._port = urlsplit(target).port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.relayed = 0
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = 0
        self.mend()

    @property
    def rest(self) -> str:
        return f"http://{HOST}:{self.port}"

    def mend(self) -> None:
        """Take connections (again), on the same port."""
        self._call(self._listen())

    def cut(self) -> int:
        """Break every connection at once and refuse new ones until it is mended; how many broke."""
        return self._call(self._cut())

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def _call(self, work: object) -> int:
        future: Future[int] = asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]
        return future.result(CALL_S)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._relay, HOST, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def _cut(self) -> int:
        if self._server is not None:
            self._server.close()
        broken = len(self._ends) // 2
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0)
        # Whoever is in the middle of relaying has to see it before the loop may stop.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=1.0) if others else None
        return broken

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, far_writer}
        self.relayed += 1
        try:
            ways = (self._move(reader, far_writer), self._move(far_reader, writer))
            await asyncio.wait([asyncio.ensure_future(way) for way in ways])
        finally:
            self._ends -= {writer, far_writer}

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        writer.close()


@contextmanager
def wire(target: str) -> Iterator[Wire]:
    """A wire to an address like http://127.0.0.1:9443, whole at first."""
    made = Wire(target)
    try:
        yield made
    finally:
        made.close()
