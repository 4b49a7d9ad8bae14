"""The trader's local socket: whoever may read the journal may look at what the engine knows right now.

Rules. The socket is a file beside the journal, for its owner only, and no network port. A client writes one line:
`view` is answered with one picture, `watch` with one every quarter of a second until the client leaves; each picture is
a line of JSON, decimals as text. Looking costs the trader the making of a picture and nothing else: it never waits for
a client, and one that does not read is dropped.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from surefoot.core.view import View

WATCH_EVERY_S = 0.25
REQUEST_WAIT_S = 5.0
SEND_WAIT_S = 2.0
UNREAD_BYTES_MAX = 1 << 20
CLIENTS_MAX = 16
VIEW_BYTES_MAX = 1 << 24

# What the address of a socket may hold on every system; Linux allows a few more.
ADDRESS_BYTES_MAX = 100

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(View)


class ControlError(Exception):
    """The socket cannot be opened, or what came from it cannot be read; one line for a person."""


def socket_path(journal_path: Path) -> Path:
    """Where the trader that writes this journal listens."""
    return Path(f"{journal_path}.sock")


def encode_view(view: View) -> bytes:
    """One line of JSON, its end included."""
    return _ENCODER.encode(view) + b"\n"


def decode_view(line: bytes) -> View:
    """Raises ControlError for a picture of another program version."""
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as problem:
        raise ControlError(f"the trader's answer cannot be read, it may be of another version: {problem}") from problem


class ControlServer:
    """Hands out pictures from inside the trader's own loop."""

    def __init__(self, path: Path, view: Callable[[], View]) -> None:
        """`path` is that of the socket, see `socket_path`; `view` makes a picture of now."""
        self._path = path
        self._view = view
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that a dead trader left is replaced; raises ControlError when the place cannot be used."""
        try:
            listener = _listener(self._path)
        except OSError as problem:
            raise ControlError(f"{self._path}: no socket can be opened here: {problem.strerror or problem}") from None
        self._server = await asyncio.start_unix_server(self._welcome, sock=listener)

    async def stop(self) -> None:
        """Leave all clients and take the socket away; harmless when it never started."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        with suppress(OSError):
            self._path.unlink()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= CLIENTS_MAX:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.CancelledError):
            pass  # the client's end, not ours: gone, too slow, or it wrote no line
        finally:
            self._clients.discard(task)
            # What the client has not read by now is not worth waiting for.
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            else:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not wait_for, which before Python 3.12 can swallow the cancellation that stop() relies on.
        async with asyncio.timeout(REQUEST_WAIT_S):
            request = (await reader.readline()).strip()
        if request == b"view":
            await self._send(writer)
        elif request == b"watch":
            while not reader.at_eof():
                await self._send(writer)
                with suppress(TimeoutError):
                    async with asyncio.timeout(WATCH_EVERY_S):
                        await reader.read(1)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            raise TimeoutError
        writer.write(encode_view(self._view()))
        async with asyncio.timeout(SEND_WAIT_S):
            await writer.drain()


def read_view(path: Path, timeout_s: float = 2.0) -> View | None:
    """The picture of now from the socket at `path`; None when no trader answers there within `timeout_s`.

    Raises ControlError for an answer of another version.
    """
    line = _ask(path, timeout_s)
    return decode_view(line) if line.endswith(b"\n") else None


async def watch_views(path: Path) -> AsyncIterator[View]:
    """Pictures from the socket at `path` as they come; ends when the trader is not there or leaves."""
    try:
        with _address(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=VIEW_BYTES_MAX)
    except OSError:
        return
    try:
        writer.write(b"watch\n")
        while (line := await reader.readline()).endswith(b"\n"):
            yield decode_view(line)
    except OSError:
        return
    finally:
        writer.close()


def _ask(path: Path, timeout_s: float) -> bytes:
    """The answer to `view`, cut short when there is no whole one in time."""
    answer, deadline = b"", time.monotonic() + timeout_s
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        with _address(path) as address:
            client.connect(address)
        client.sendall(b"view\n")
        while not answer.endswith(b"\n"):
            client.settimeout(max(deadline - time.monotonic(), 0.001))
            part = client.recv(1 << 16)
            if not part:
                break
            answer += part
    return answer


def _listener(path: Path) -> socket.socket:
    # Only the holder of the journal's lock comes here, so that a socket found in this place has no owner any more.
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(0, "there is a file that is no socket")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), 0o600)  # so that it is never open to others, not even until the next line
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """What to call the socket. A long path goes by way of its opened folder, where the system offers that."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
