"""The trader's local socket: whoever may read the journal may look at what the engine knows, and ask it for something.

Rules. The socket is a file beside the journal, for its owner only, and no network port. A client writes one line:
`view` is answered with one picture, `watch` with one every quarter of a second until the client leaves; each picture is
a line of JSON, decimals as text. Looking costs the trader the making of a picture and nothing else: it never waits for
a client, and one that does not read is dropped.

`request {"kind": "pause", "reason": "..."}` asks for something; `kind` is one of `KINDS`. It is answered with one line
of JSON when the engine has taken it and the journal has it on disk. Who may ask: the file's mode (0600) lets in its
owner, and root; that is the authentication. Who asked: the user of the process at the other end, as the system says.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from surefoot.core.messages import (
    BreakerResetRequested,
    FlattenRequested,
    OperatorEvent,
    PauseRequested,
    ResumeRequested,
)
from surefoot.core.view import View

WATCH_EVERY_S = 0.25
REQUEST_WAIT_S = 5.0
SEND_WAIT_S = 2.0
UNREAD_BYTES_MAX = 1 << 20
CLIENTS_MAX = 16
VIEW_BYTES_MAX = 1 << 24
REASON_LENGTH_MAX = 500
ANSWER_WAIT_S = 10.0

KINDS: Mapping[str, type[OperatorEvent]] = {
    "pause": PauseRequested,
    "resume": ResumeRequested,
    "flatten": FlattenRequested,
    "breaker-reset": BreakerResetRequested,
}
_REQUEST = b"request "
_PEER = struct.Struct("3i")  # of SO_PEERCRED: process, user, group

# What the address of a socket may hold on every system; Linux allows a few more.
ADDRESS_BYTES_MAX = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for; see `KINDS`."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the engine took the wish, and what there is to say about it in one line."""

    taken: bool
    text: str


# What takes a wish, and the name of who has it, to the engine.
Ask = Callable[[Wish, str], Awaitable[Answer]]

_ENCODER = msgspec.json.Encoder()
_WISH_DECODER = msgspec.json.Decoder(Wish)
_ANSWER_DECODER = msgspec.json.Decoder(Answer)
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


def refusal_of(wish: Wish) -> str | None:
    """Why nobody should even be asked; None when the wish makes sense."""
    if wish.kind not in KINDS:
        return f"{wish.kind!r} is nothing that can be asked for: {', '.join(KINDS)}"
    if not wish.reason.strip():
        return "a reason is needed: it is kept in the journal, for whoever looks at it later"
    if len(wish.reason) > REASON_LENGTH_MAX or not wish.reason.isprintable():
        return f"the reason must be one line of at most {REASON_LENGTH_MAX} characters"
    return None


class ControlServer:
    """Hands out pictures and takes wishes from inside the trader's own loop."""

    def __init__(self, path: Path, view: Callable[[], View], ask: Ask) -> None:
        """`path` is that of the socket, see `socket_path`; `view` makes a picture of now; `ask` asks the engine."""
        self._path = path
        self._view = view
        self._ask = ask
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
        elif request.startswith(_REQUEST):
            answer = await self._answer(request.removeprefix(_REQUEST), _peer_name(writer))
            writer.write(_ENCODER.encode(answer) + b"\n")
            async with asyncio.timeout(SEND_WAIT_S):
                await writer.drain()

    async def _answer(self, body: bytes, who: str) -> Answer:
        try:
            wish = _WISH_DECODER.decode(body)
        except msgspec.DecodeError as problem:
            return Answer(False, f"this request cannot be read: {problem}")
        refusal = refusal_of(wish)
        return Answer(False, refusal) if refusal else await self._ask(wish, who)

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
    line = _asked(path, b"view\n", timeout_s)
    return decode_view(line) if line.endswith(b"\n") else None


def ask_trader(path: Path, wish: Wish, timeout_s: float = ANSWER_WAIT_S) -> Answer:
    """What the trader that listens at `path` says to a wish.

    Raises ControlError when none answers: then it is not known to have heard of it.
    """
    line = _asked(path, _REQUEST + _ENCODER.encode(wish) + b"\n", timeout_s)
    if not line:
        raise ControlError(f"no trader answers at {path}: {wish.kind} needs one that is running")
    try:
        return _ANSWER_DECODER.decode(line)
    except msgspec.DecodeError as problem:
        raise ControlError(f"the trader's answer cannot be read, it may be of another version: {problem}") from problem


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


def _asked(path: Path, request: bytes, timeout_s: float) -> bytes:
    """The line that answers a request, cut short when there is no whole one in time."""
    answer, deadline = b"", time.monotonic() + timeout_s
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        with _address(path) as address:
            client.connect(address)
        client.sendall(request)
        while not answer.endswith(b"\n"):
            client.settimeout(max(deadline - time.monotonic(), 0.001))
            part = client.recv(1 << 16)
            if not part:
                break
            answer += part
    return answer


def _peer_name(writer: asyncio.StreamWriter) -> str:
    """The user at the other end; our own where the system does not tell, since nobody else may open the socket."""
    user = os.getuid()
    if hasattr(socket, "SO_PEERCRED"):
        told = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        user = _PEER.unpack(told)[1]
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


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
