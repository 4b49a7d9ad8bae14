"""The trader's local socket, with real sockets on both ends."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from surefoot import control
from surefoot.control import (
    KINDS,
    Answer,
    Ask,
    ControlError,
    ControlServer,
    Wish,
    ask_trader,
    read_view,
    socket_path,
    watch_views,
)
from surefoot.core.view import View
from tests.views import no_engine, rich_view


@asynccontextmanager
async def serving(
    path: Path, view: Callable[[], View] = rich_view, ask: Ask = no_engine
) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, view, ask)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def look(path: Path, timeout_s: float = 2.0) -> View | None:
    return await asyncio.to_thread(read_view, path, timeout_s)


async def test_a_view_comes_back_as_it_was_made_with_every_decimal_digit(tmp_path: Path) -> None:
    path = socket_path(tmp_path / "j.sqlite")
    async with serving(path):
        assert await look(path) == rich_view()
    assert path.name == "j.sqlite.sock"


async def test_decimals_travel_as_text_and_one_view_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"view\n")
        lines = (await reader.read()).split(b"\n")
        writer.close()
    assert len(lines) == 2
    assert lines[1] == b""
    assert b'"equity":"10012.34000000"' in lines[0]


async def test_a_watcher_gets_what_changes_until_it_leaves(tmp_path: Path) -> None:
    path, equities = tmp_path / "s", iter(range(1_000))
    async with serving(path, lambda: replace(rich_view(), equity=Decimal(next(equities)))):
        started, seen = time.monotonic(), []
        async for view in watch_views(path):
            seen.append(view.equity)
            if len(seen) == 3:
                break
        assert seen == [0, 1, 2]
        assert time.monotonic() - started >= 2 * control.WATCH_EVERY_S * 0.9


async def test_a_watcher_ends_when_the_trader_leaves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path) as server:
        views = watch_views(path)
        await anext(views)
        await server.stop()
        async with asyncio.timeout(3):
            assert [view async for view in views] == []
    assert not path.exists()


async def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path):
        mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_the_socket_of_a_dead_trader_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    assert path.exists()
    assert await look(path) is None
    async with serving(path):
        assert await look(path) is not None


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(ControlError, match="no socket"):
        await ControlServer(path, rich_view, no_engine).start()
    assert path.read_text() == "mine"


async def test_a_path_that_is_too_long_for_a_socket_works_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    async with serving(folder / "s"):
        assert await look(folder / "s") == rich_view()
        assert await anext(watch_views(folder / "s")) == rich_view()


def test_where_nobody_listens_there_is_no_view_and_no_wait(tmp_path: Path) -> None:
    started = time.monotonic()
    assert read_view(tmp_path / "nobody", 5.0) is None
    assert time.monotonic() - started < 1


def test_a_trader_that_hangs_is_given_up_after_the_time_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "s"))
        hanging.listen()
        started = time.monotonic()
        assert read_view(tmp_path / "s", 0.2) is None
        assert time.monotonic() - started < 2


async def test_a_picture_of_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"at_ms": "noon"}\n')
        writer.close()

    async with await asyncio.start_unix_server(strange, tmp_path / "s"):
        with pytest.raises(ControlError, match="another version"):
            await look(tmp_path / "s")


@pytest.mark.spec("SAFE-5")
async def test_a_client_that_never_reads_is_dropped_and_delays_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(control, "SEND_WAIT_S", 0.2)
    large = replace(rich_view(), alarms=rich_view().alarms * 2_000)
    path, longest_s = tmp_path / "s", 0.0
    async with serving(path, lambda: large):
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(path))
            deaf.sendall(b"watch\n")
            before = time.monotonic()
            for _ in range(100):
                await asyncio.sleep(0.01)
                longest_s, before = max(longest_s, time.monotonic() - before), time.monotonic()
            assert await look(path) == large
            deaf.settimeout(2)
            while deaf.recv(1 << 20):  # what was sent before it was dropped, then the end
                pass
    assert longest_s < 0.5


async def test_more_clients_than_allowed_are_turned_away_and_the_rest_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CLIENTS_MAX", 2)
    path = tmp_path / "s"
    async with serving(path):
        one, two = watch_views(path), watch_views(path)
        await anext(one)
        await anext(two)
        assert await look(path) is None
        assert await anext(one) == rich_view()


@pytest.mark.parametrize("request_line", [b"sell everything\n", b"\n", b"x" * 100_000])
async def test_what_is_no_request_gets_no_answer_and_harms_nobody(tmp_path: Path, request_line: bytes) -> None:
    path = tmp_path / "s"
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request_line)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 3)
        writer.close()
        assert await look(path) == rich_view()


# -- what an operator asks for ----------------------------------------------------------------------------------------


@pytest.mark.spec("BRK-5", "OPS-1")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_wish_reaches_the_engine_with_the_name_of_who_has_it(tmp_path: Path, kind: str) -> None:
    heard: list[tuple[Wish, str]] = []

    async def engine(wish: Wish, who: str) -> Answer:
        heard.append((wish, who))
        return Answer(True, "taken")

    wish = Wish(kind, "so that nothing happens tonight")
    async with serving(tmp_path / "s", ask=engine):
        assert await asyncio.to_thread(ask_trader, tmp_path / "s", wish) == Answer(True, "taken")
    assert heard == [(wish, getpass.getuser())]


@pytest.mark.spec("BRK-5")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"kind": "breaker-reset", "reason": ""}', "a reason is needed"),
        (b'{"kind": "breaker-reset", "reason": "  "}', "a reason is needed"),
        (b'{"kind": "breaker-reset"}', "cannot be read"),
        (b'{"kind": "buy", "reason": "I like it"}', "nothing that can be asked for"),
        (b'{"kind": "pause", "reason": "' + b"x" * 501 + b'"}', "at most 500"),
        (b'{"kind": "pause", "reason": "two\\nlines"}', "one line"),
        (b"pause", "cannot be read"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_before_the_engine_hears_of_it(
    tmp_path: Path, body: bytes, told: str
) -> None:
    async with serving(tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"request " + body + b"\n")
        answer = json.loads(await asyncio.wait_for(reader.readline(), 3))
        writer.close()
    assert answer["taken"] is False
    assert told in answer["text"]


def test_where_no_trader_answers_a_wish_says_so(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no trader answers"):
        ask_trader(tmp_path / "nobody", Wish("pause", "nobody is there"), 0.5)


async def test_a_trader_that_leaves_does_not_keep_an_operator_waiting(tmp_path: Path) -> None:
    async def busy(wish: Wish, who: str) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError("it left before")

    async with serving(tmp_path / "s", ask=busy) as server:
        asked = asyncio.create_task(asyncio.to_thread(ask_trader, tmp_path / "s", Wish("pause", "why not")))
        await asyncio.sleep(0.1)
        await server.stop()
        with pytest.raises(ControlError, match="no trader answers"):
            await asyncio.wait_for(asked, 3)
