"""`/api/v1/stream`: a snapshot of the wanted topics, then numbered updates, for as long as the token is good.

The client speaks first: {"token": …, "topics": [...], "resume": N, "journal": name}. Then come
{"type": "snapshot", "seq": 1, "data": {topic: value, …}} and {"type": "update", "seq": 2, "topic": …, "data": …} …

Rules. `seq` numbers what a connection was sent, without gaps. A topic's value is always whole, so the newest one is all
that a client needs: each topic comes at most ten times a second, and what a slow client could not take in between is
left out. The topic `records` has each record of the journal once, in its order; `resume` is the last one that the
client has, in `journal` (the newest where it is not named), and those after it come first. Who is further behind than
what is remembered gets a fresh snapshot that says so (`missed`), and reads `GET journal` for the rest. A client may
send a new token at any time; when the last one ends, the stream is closed with 4401.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from surefoot.api.board import Board
from surefoot.api.topics import TOPICS

RECORDS = "records"
HELLO_WAIT_S = 10.0
UPDATES_EVERY_S = 0.1
SEND_WAIT_S = 30.0  # a client that takes nothing for so long is gone
RECORDS_AT_ONCE = 200
TOKEN_LOOK_S = 5.0  # how often it is asked whether the session still lives

CLOSED_BAD_HELLO, CLOSED_UNAUTHORIZED, CLOSED_TOO_SLOW = 4400, 4401, 4408


class Hello(msgspec.Struct):
    """What a client says first; later only `token` counts."""

    token: str
    topics: tuple[str, ...] = (*TOPICS, RECORDS)
    resume: int | None = None
    journal: str | None = None


# Until when (seconds since 1970) a token lets its bearer read; None when it does not, or no longer.
Admit = Callable[[str], Awaitable[float | None]]

_HELLO_DECODER = msgspec.json.Decoder(Hello)


@dataclass(slots=True)
class Listener:
    """What one client was sent, and so what it is to be sent next."""

    board: Board
    hello: Hello
    seq: int = 0
    _sent: dict[str, int] = field(default_factory=dict)
    _life: int = -1
    _cursor: int = 0

    def due(self) -> Iterator[str]:
        """The messages that are due now, one by one: each is made when the one before it was taken."""
        if self._life != self.board.life or self._is_too_far_behind():
            yield self._snapshot()
        for topic in self.hello.topics:
            version = self.board.versions.get(topic, 0)
            if version > self._sent.get(topic, 0):
                self._sent[topic] = version
                yield self._message("update", f',"topic":"{topic}"', self.board.values[topic].decode())
        while RECORDS in self.hello.topics and not self._is_too_far_behind():
            texts, self._cursor = self.board.records_after(self._cursor, RECORDS_AT_ONCE)
            if not texts:
                return
            yield self._message("update", f',"topic":"{RECORDS}"', f"[{','.join(texts)}]")

    def _is_too_far_behind(self) -> bool:
        return RECORDS in self.hello.topics and self._cursor + 1 < self.board.first_seq()

    def _snapshot(self) -> str:
        board, values = self.board, list[str]()
        for topic in self.hello.topics:
            if topic in board.values:
                self._sent[topic] = board.versions[topic]
                values.append(f'"{topic}":{board.values[topic].decode()}')
        if RECORDS in self.hello.topics:
            missed = self._begin_records()
            journal = "null" if board.journal is None else f'"{board.journal}"'
            told = f'{{"journal":{journal},"last_seq":{board.last_seq},"missed":{"true" if missed else "false"}}}'
            values.append(f'"{RECORDS}":{told}')
        self._life = board.life
        return self._message("snapshot", "", f"{{{','.join(values)}}}")

    def _begin_records(self) -> bool:
        """Where to go on in the journal; whether there is something between that and what the client has."""
        board, resume = self.board, self.hello.resume
        fresh = self._life == -1
        self._cursor, missed = board.last_seq, not fresh
        if fresh and resume is not None and self.hello.journal in (None, board.journal):
            is_near = board.first_seq() - 1 <= resume <= board.last_seq
            self._cursor, missed = (resume, False) if is_near else (board.last_seq, resume != board.last_seq)
        return missed

    def _message(self, kind: str, head: str, data: str) -> str:
        self.seq += 1
        return f'{{"type":"{kind}","seq":{self.seq}{head},"data":{data}}}'


async def serve_stream(socket: WebSocket, board: Board, admit: Admit) -> None:
    """One client, from its first word to its end."""
    await socket.accept()
    try:
        async with asyncio.timeout(HELLO_WAIT_S):
            hello = _HELLO_DECODER.decode(await socket.receive_text())
    except WebSocketDisconnect:
        return
    except (TimeoutError, msgspec.DecodeError, KeyError) as problem:
        await _close(socket, CLOSED_BAD_HELLO, f"say a token and topics first: {problem}")
        return
    unknown = [topic for topic in hello.topics if topic not in (*TOPICS, RECORDS)]
    if unknown:
        await _close(socket, CLOSED_BAD_HELLO, f"no such topic: {unknown[0]}")
        return
    if await admit(hello.token) is None:
        await _close(socket, CLOSED_UNAUTHORIZED, "the token is not good")
        return
    await _talk(socket, Listener(board, hello), admit)


async def _talk(socket: WebSocket, listener: Listener, admit: Admit) -> None:
    ends = [
        asyncio.create_task(_send(socket, listener)),
        asyncio.create_task(_listen(socket, listener.hello)),
        asyncio.create_task(_guard(listener.hello, admit)),
    ]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ends:
            task.cancel()
        sent, _, guarded = await asyncio.gather(*ends, return_exceptions=True)
    if isinstance(sent, TimeoutError):
        await _close(socket, CLOSED_TOO_SLOW, "too slow")
    elif not isinstance(guarded, BaseException):
        await _close(socket, CLOSED_UNAUTHORIZED, "the token has ended")


async def _send(socket: WebSocket, listener: Listener) -> None:
    with listener.board.waiting() as wake:
        while True:
            wake.clear()
            for message in listener.due():
                async with asyncio.timeout(SEND_WAIT_S):
                    await socket.send_text(message)
            await asyncio.sleep(UPDATES_EVERY_S)
            await wake.wait()


async def _listen(socket: WebSocket, hello: Hello) -> None:
    """Until the client leaves. A new token takes the place of the old one; anything else is not for us."""
    while True:
        text = await socket.receive_text()
        with suppress(msgspec.DecodeError):
            hello.token = _HELLO_DECODER.decode(text).token


async def _guard(hello: Hello, admit: Admit) -> None:
    """Until the token is good no more."""
    while (until_s := await admit(hello.token)) is not None:
        await asyncio.sleep(min(max(until_s - time.time(), 0.0) + 0.001, TOKEN_LOOK_S))


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # it may be gone already
        await socket.close(code, reason[:120])
