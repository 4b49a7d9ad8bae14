"""The stream: a snapshot, numbered updates, resumption, and clients that are slow or whose time is over."""

from __future__ import annotations

import asyncio
import json
import time
import types
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from surefoot.api import board as board_module
from surefoot.api import stream as module
from surefoot.api.board import Board
from surefoot.api.desk import Desk
from surefoot.api.stream import serve_stream
from surefoot.assembly import build_engine
from surefoot.core.messages import Event, HistoryLoaded, MarkPriceTold, PriceMarked, RunStarted, Woke
from surefoot.core.view import view_of
from surefoot.store.journal import NOT_JOURNALED, Entry, Journal
from tests.api.desks import FIRST_RUN, paper, trading, until
from tests.store.samples import alarm, closed, started


class Client:
    """The other end of a stream: says what it is told to say, and takes a message only when it has room."""

    def __init__(self, **hello: object) -> None:
        self.heard: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.room = asyncio.Semaphore(1_000_000)
        self._words: asyncio.Queue[str | None] = asyncio.Queue()
        self.say(**hello)

    def say(self, **hello: object) -> None:
        self._words.put_nowait(json.dumps({"token": "good", **hello}))

    def leave(self) -> None:
        self._words.put_nowait(None)

    def of(self, topic: str) -> list[Any]:
        """The updates of a topic that were heard."""
        return [message["data"] for message in self.heard if message.get("topic") == topic]

    def records(self) -> list[Any]:
        return [record for told in self.of("records") for record in told]

    async def accept(self) -> None:
        pass

    async def receive_text(self) -> str:
        text = await self._words.get()
        if text is None:
            raise WebSocketDisconnect(1000)
        return text

    async def send_text(self, text: str) -> None:
        await self.room.acquire()
        self.heard.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason


def has_heard(client: Client, records: int) -> bool:
    return bool(client.heard) and len(client.records()) == records


def has_number(client: Client, number: int) -> bool:
    return client.of("status")[-1:] == [{"number": number}]


async def good_for_ever(token: str) -> float | None:
    return time.time() + 3_600 if token == "good" else None


@asynccontextmanager
async def streaming(board: Board, client: Client, admit: module.Admit = good_for_ever) -> AsyncIterator[None]:
    going = asyncio.create_task(serve_stream(cast(WebSocket, client), board, admit))
    try:
        yield
    finally:
        client.leave()
        await asyncio.wait_for(going, 10)


def entry(seq: int, text: str = "") -> Entry:
    return Entry(seq, "k3f9", 1, "command", alarm(text))


def filled_board() -> Board:
    board = Board()
    board.begin(FIRST_RUN)
    board.read_up_to(10)
    board.put("status", {"equity": Decimal("10.50")})
    board.put("prices", ())
    return board


@pytest.mark.spec("API-2")
async def test_a_snapshot_comes_first_and_numbered_updates_follow() -> None:
    board, client = filled_board(), Client(topics=["status", "records"])
    async with streaming(board, client):
        await until(lambda: client.heard)
        board.put("prices", (1,))  # nobody asked for it
        board.put("status", {"equity": Decimal("1E+1")})
        board.hear(entry(11, "first"))
        await until(lambda: len(client.heard) == 3)
    snapshot = {"status": {"equity": "10.50"}, "records": {"journal": FIRST_RUN, "last_seq": 10, "missed": False}}
    assert client.heard[0] == {"type": "snapshot", "seq": 1, "data": snapshot}
    assert client.heard[1] == {"type": "update", "seq": 2, "topic": "status", "data": {"equity": "10"}}
    body = {"at_ms": alarm("").at_ms, "code": alarm("").code, "text": "first"}
    record = {"seq": 11, "run": "k3f9", "at_ms": 1, "edge": "command", "kind": "RecordAlarm", "body": body}
    assert client.heard[2] == {"type": "update", "seq": 3, "topic": "records", "data": [record]}


@pytest.mark.spec("API-2")
async def test_what_was_missed_while_away_comes_first_after_a_resume() -> None:
    board = filled_board()
    for seq in range(11, 16):
        board.hear(entry(seq))
    for hello, missed, seqs in (
        ({"resume": 12}, False, [13, 14, 15]),
        ({"resume": 12, "journal": FIRST_RUN}, False, [13, 14, 15]),
        ({"resume": 10}, False, [11, 12, 13, 14, 15]),
        ({"resume": 9}, True, []),  # before what is remembered
        ({"resume": 99}, True, []),  # of a journal that there is no more
        ({}, False, []),
    ):
        client = Client(topics=["records"], **hello)
        async with streaming(board, client):
            await until(partial(has_heard, client, len(seqs)))
        assert client.heard[0]["data"]["records"]["missed"] is missed, hello
        assert [record["seq"] for record in client.records()] == seqs


@pytest.mark.spec("API-2")
async def test_a_slow_client_gets_the_newest_value_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATES_EVERY_S", 0.0)
    board, slow, quick = filled_board(), Client(topics=["status"]), Client(topics=["status"])
    async with streaming(board, slow), streaming(board, quick):
        await until(lambda: slow.heard and quick.heard)
        slow.room = asyncio.Semaphore(0)
        for number in range(50):
            board.put("status", {"number": number})
            await until(partial(has_number, quick, number))
        assert len(quick.of("status")) == 50
        for _ in range(1_000):
            slow.room.release()
        await until(lambda: slow.of("status")[-1:] == [{"number": 49}])
    assert len(slow.of("status")) <= 2  # the one that it was being sent, and the newest
    assert [message["seq"] for message in slow.heard] == list(range(1, len(slow.heard) + 1))


@pytest.mark.spec("API-2")
async def test_who_falls_behind_what_is_remembered_gets_a_fresh_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "RECORDS_REMEMBERED", 5)
    monkeypatch.setattr(module, "UPDATES_EVERY_S", 0.0)
    board, client = filled_board(), Client(topics=["records"])
    async with streaming(board, client):
        await until(lambda: client.heard)
        client.room = asyncio.Semaphore(0)
        for seq in range(11, 40):
            board.hear(entry(seq))
            await asyncio.sleep(0)
        board.hear(entry(40))
        for _ in range(1_000):
            client.room.release()
        await until(lambda: len([message for message in client.heard if message["type"] == "snapshot"]) == 2)
        told = client.heard[-1]["data"]["records"]
        assert (told["missed"], told["last_seq"]) == (True, 40)
        board.hear(entry(41))
        await until(lambda: [record["seq"] for record in client.records()][-1:] == [41])


@pytest.mark.spec("API-2")
async def test_another_journal_is_told_by_a_snapshot() -> None:
    board, client = filled_board(), Client(topics=["records"])
    async with streaming(board, client):
        await until(lambda: client.heard)
        board.begin("paper-2")
        board.read_up_to(3)
        await until(lambda: client.heard[-1]["data"]["records"]["journal"] == "paper-2")
        assert client.heard[-1]["type"] == "snapshot"
        board.hear(entry(4))
        await until(lambda: [record["seq"] for record in client.records()] == [4])


@pytest.mark.spec("API-2", "AUTH-2")
async def test_the_end_of_the_token_closes_the_stream_unless_a_new_one_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOKEN_LOOK_S", 0.01)
    good = {"good", "better"}

    async def admit(token: str) -> float | None:
        return time.time() + 3_600 if token in good else None

    board = filled_board()
    left, renewed = Client(topics=["status"]), Client(topics=["status"])
    async with streaming(board, left, admit), streaming(board, renewed, admit):
        await until(lambda: left.heard and renewed.heard)
        renewed.say(token="better")
        await asyncio.sleep(0.05)
        good.remove("good")
        await until(lambda: left.closed)
        board.put("status", {"number": 1})
        await until(lambda: renewed.of("status"))
    assert left.closed == (4401, "the token has ended")
    assert renewed.closed is None


@pytest.mark.spec("AUTH-1")
@pytest.mark.parametrize(
    ("hello", "code"),
    [({"token": "bad"}, 4401), ({"topics": ["keys"]}, 4400), ({"token": 7}, 4400), ({"topics": "status"}, 4400)],
)
async def test_a_stream_without_a_good_beginning_tells_nothing(hello: dict[str, Any], code: int) -> None:
    client = Client(**hello)
    async with streaming(filled_board(), client):
        await until(lambda: client.closed)
    assert client.closed is not None
    assert client.closed[0] == code
    assert client.heard == []


@pytest.mark.spec("API-2")
async def test_a_client_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_WAIT_S", 0.05)
    client = Client(topics=["status"])
    client.room = asyncio.Semaphore(0)
    async with streaming(filled_board(), client):
        await until(lambda: client.closed)
    assert client.closed == (4408, "too slow")


# -- every event ------------------------------------------------------------------------------------------------------


def made(hint: Any) -> Any:
    """Some value of a type, down to its last field."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        return (made(inner[0]),) if inner[1:] == (...,) else tuple(map(made, inner))
    if origin is Mapping:
        return {made(inner[0]): made(inner[1])}
    if origin in (Union, types.UnionType):
        return made(next(each for each in inner if each is not type(None)))
    if origin is Mapping:
        return {made(inner[0]): made(inner[1])}
    if origin is Literal:
        return inner[0]
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(**{each.name: made(hints[each.name]) for each in fields(hint)})
    if issubclass(hint, Enum):
        return next(iter(hint))
    return {int: 7, float: 0.5, bool: True, str: "some", Decimal: Decimal("1.50")}[hint]


@pytest.mark.spec("API-2")
async def test_every_event_of_the_catalogue_reaches_a_client(tmp_path: Path) -> None:
    """Those that the journal keeps, as records; prices and history as prices, since only the newest matters; a mark
    price by the position that it is about; a wake-up by the time of what it led to."""
    catalogue: set[type[Any]] = set(get_args(Event))
    engine, now_ms = build_engine(paper(tmp_path)), [1]
    with Journal.open(tmp_path / FIRST_RUN) as journal:
        journal.append(started())
        journal.flush()
        async with trading(tmp_path / FIRST_RUN, lambda: view_of(engine, now_ms[0])), Desk(paper(tmp_path)) as desk:
            await until(lambda: desk.running and desk.is_ready)
            client = Client()
            async with streaming(desk.board, client):
                await until(lambda: client.heard)
                journaled = sorted(catalogue - NOT_JOURNALED - {RunStarted}, key=lambda kind: kind.__name__)
                events = [started("next"), *(made(kind) for kind in journaled)]
                journal.append(*events)
                journal.flush()
                await until(lambda: len(client.records()) == len(events))
                engine.step(HistoryLoaded(1, (replace(closed().candle, close=Decimal("30001")),)))
                await until(lambda: _prices(client).get("BTCUSDT") == "30001")
                engine.step(PriceMarked(1, "BTCUSDT", Decimal(40_000), Decimal(40_001), closed().candle.close_ms + 1))
                await until(lambda: _prices(client).get("BTCUSDT") == "40000.5")
                engine.step(MarkPriceTold(1, "BTCUSDT", Decimal(40_002), 1))
                now_ms[0] = 2
                engine.step(Woke(2))
                await until(lambda: [status["at_ms"] for status in client.of("status")][-1:] == [2])
    assert [record["kind"] for record in client.records()] == [type(event).__name__ for event in events]
    heard = {record["kind"] for record in client.records()} | {
        "HistoryLoaded", "MarkPriceTold", "PriceMarked", "Woke",
    }  # fmt: skip
    assert heard == {kind.__name__ for kind in catalogue}


def _prices(client: Client) -> dict[str, str | None]:
    told = client.of("prices")
    return {} if not told else {price["symbol"]: price["price"] for price in told[-1]}
