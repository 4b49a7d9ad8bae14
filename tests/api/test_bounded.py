"""What comes over a socket before it is a request: its bounds, and what may not become a header."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets
from starlette.types import ASGIApp, Receive, Scope, Send

from surefoot.api import bounded, serving
from surefoot.api.app import create_app
from surefoot.api.bounded import HEAD_BYTES_MAX
from surefoot.api.roles import Role
from tests.api.served import Place, place

PATIENCE_S = 20


class Wire:
    """A connection of loopback, byte by byte."""

    def __init__(self, here: Place) -> None:
        self._address = urlsplit(here.url)

    async def __aenter__(self) -> Wire:
        self._reader, self._writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, *pieces: bytes) -> None:
        """Each on its own."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0.02)

    async def answers(self) -> list[int]:
        """Statuses of all answers until the other side ends the connection."""
        heard = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE_S):
                while more := await self._reader.read(65_536):
                    heard += more
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", heard)]

    async def answer(self) -> int:
        """The status of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            await self._reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1])


def head(*lines: str, asks: str = "GET /api/v1/health/live") -> bytes:
    return "\r\n".join([f"{asks} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


LONG = "x" * HEAD_BYTES_MAX


LONG_HEADS: dict[str, list[bytes]] = {
    "in one": [head(f"X-Long: {LONG}")],
    "without an end": [head(f"X-Long: {LONG}")[:-4]],
    "a long address": [head(asks=f"GET /{LONG}")],
    "a long address without an end": [head(asks=f"GET /{LONG}")[: HEAD_BYTES_MAX + 2]],
    "many fields": [head(*(f"X-{number}: {number}" for number in range(4_000)))],
    "field by field": [head()[:-2], *([b"X-Long: " + b"x" * 4_000 + b"\r\n"] * 10)],
    "a field bit by bit": [head()[:-2], b"X-Long: ", *([b"x" * 4_000] * 10)],
}


@pytest.mark.spec("AUTH-3")
async def test_a_head_that_is_too_long_is_refused_and_ends_the_connection(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for what, pieces in LONG_HEADS.items():
            async with Wire(here) as wire:
                await wire.send(*pieces)
                assert await wire.answers() == [431], what


@pytest.mark.spec("AUTH-3")
async def test_a_long_head_within_the_bound_is_answered_and_so_is_what_follows_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here, Wire(here) as wire:
        for size in (10, 20_000, HEAD_BYTES_MAX - 200, 10):
            sent = head(f"X-Long: {'x' * size}")
            await wire.send(sent[:50], sent[50:])
            assert await wire.answer() == 200
        await wire.send(head() * 3)
        assert [await wire.answer() for _ in range(3)] == [200] * 3


@pytest.mark.spec("AUTH-3")
async def test_a_large_body_is_no_head(tmp_path: Path) -> None:
    body = b"x" * 200_000
    async with place(tmp_path) as here, Wire(here) as wire:
        long = head(f"Content-Length: {len(body)}", asks="POST /api/v1/auth/login")
        await wire.send(long[:40], long[40:] + body + head())
        assert [await wire.answer(), await wire.answer()] == [422, 200]


@pytest.mark.spec("AUTH-3")
async def test_what_follows_a_body_in_chunks_is_no_header(tmp_path: Path) -> None:
    async with place(tmp_path) as here, Wire(here) as wire:
        token = (await here.signed_in(Role.ADMIN)).headers["authorization"]
        asks, chunks = "POST /api/v1/auth/logout", "Transfer-Encoding: chunked"
        trailer = f"0\r\nAuthorization: {token}\r\n\r\n".encode()
        await wire.send(head(chunks, asks=asks), b"1\r\nx\r\n" + trailer)
        assert await wire.answer() == 401
        await wire.send(head(chunks, asks=asks) + b"1\r\nx\r\n" + trailer)
        assert await wire.answer() == 401


@pytest.mark.spec("AUTH-3")
async def test_what_is_no_body_is_not_kept_without_end(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for begin in (b"0\r\nX-Long: ", b"1;name="):  # after the body, and of a chunk
            async with Wire(here) as wire:
                opening = head("Transfer-Encoding: chunked", asks="POST /api/v1/auth/login")
                await wire.send(opening, begin, *([b"x" * 4_000] * 10))
                assert await wire.answers() == [431], begin


@pytest.mark.spec("AUTH-3")
async def test_who_is_refused_before_the_end_of_a_body_has_a_while_to_end_it(tmp_path: Path) -> None:
    too_long = head("Content-Length: 400000", asks="POST /api/v1/auth/login")
    async with place(tmp_path) as here:
        async with Wire(here) as wire:
            await wire.send(too_long)
            assert await wire.answer() == 413
            await wire.send(*[b"x" * 100_000] * 4, head())
            assert await wire.answer() == 200
        async with Wire(here) as wire:
            await wire.send(too_long)
            sending = asyncio.create_task(wire.send(*[b"x"] * 5_000))
            assert await wire.answers() == [413]
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def trickle(begin: bytes, drop: bytes) -> list[bytes]:
    return [begin, *repeat(drop, 5_000)]


SLOW_HEADS: dict[str, tuple[list[bytes], list[int]]] = {
    "nothing at all": ([], []),
    "a head that rests": ([head()[:-4]], [408]),
    "a field byte by byte": (trickle(head()[:-2] + b"X-Slow: ", b"x"), [408]),
    "empty lines before a head": (trickle(b"", b"\r\n"), []),
    "a second head": (trickle(head() + b"GET /", b"x"), [200, 408]),
    "an empty line after an answer": ([head(), b"\r\n"], [200]),
}


@pytest.mark.spec("AUTH-3")
async def test_a_head_that_is_not_ended_in_time_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "HEAD_WAIT_S", 0.3)
    async with place(tmp_path) as here:
        for what, (pieces, answers) in SLOW_HEADS.items():
            async with Wire(here) as wire:
                sending = asyncio.create_task(wire.send(*pieces))
                assert await wire.answers() == answers, what
                sending.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await sending


def slowly(app: ASGIApp) -> ASGIApp:
    """The app, with a download and a WebSocket that take their time."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (said := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": said["text"]})
        elif scope.get("path") == "/download":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20")]})
            for _ in range(20):
                await asyncio.sleep(0.05)
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.body"})
        else:
            await app(scope, receive, send)

    return served


@pytest.mark.spec("AUTH-3")
async def test_the_bound_of_a_head_ends_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "HEAD_WAIT_S", 0.3)
    monkeypatch.setattr(serving, "create_app", lambda parts: slowly(create_app(parts)))
    async with place(tmp_path) as here:
        async with Wire(here) as wire:
            await wire.send(head(asks="GET /download"), head()[:20])  # the second waits for the first's answer
            assert await wire.answer() == 200
            await wire.send(head()[20:])
            assert await wire.answer() == 200
            await asyncio.sleep(0.6)  # kept alive
            await wire.send(head())
            assert await wire.answer() == 200
        async with websockets.connect(here.url.replace("http", "ws") + "/any") as stream:
            await asyncio.sleep(0.6)
            await stream.send("still here")
            assert await stream.recv() == "still here"


AMBIGUOUS: dict[str, bytes] = {
    "two names of a host": head("Host: evil.example"),
    "no name of a host": b"GET /api/v1/me HTTP/1.1\r\n\r\n",
    "two lengths": head("Content-Length: 3", "Content-Length: 4"),
    "two ways of a length": head("Content-Length: 3", "Transfer-Encoding: chunked"),
    "an unknown encoding": head("Transfer-Encoding: chunked, identity"),
    "a folded field": head("X-Folded: a\r\n b"),
    "a space in a name": head("X Spaced: a"),
    "a nul": head("X-Nul: a\0b"),
    "bare line feeds": head().replace(b"\r\n", b"\n"),
    "a path that is no ASCII": head(asks="GET /\xff"),
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
}


@pytest.mark.spec("AUTH-3")
async def test_what_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for what, sent in AMBIGUOUS.items():
            async with Wire(here) as wire:
                await wire.send(sent + head("Connection: close"))
                assert (await wire.answers())[0] == 400, what
