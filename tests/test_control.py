"""The trader's local socket, with real sockets on both ends."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import hmac
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
    ADOPT_KINDS,
    KINDS,
    LIVE_KINDS,
    SETTINGS_KINDS,
    Answer,
    Ask,
    Charts,
    ControlError,
    ControlServer,
    Seals,
    Signer,
    Wish,
    ask_trader,
    ask_trader_async,
    control_key,
    event_of,
    new_control_key,
    read_candles,
    read_view,
    socket_path,
    watch_views,
)
from surefoot.core.model import Candle
from surefoot.core.view import View
from tests.views import no_charts, no_engine, rich_view


@asynccontextmanager
async def serving(
    path: Path,
    view: Callable[[], View] = rich_view,
    ask: Ask = no_engine,
    key: bytes | None = None,
    charts: Charts = no_charts,
) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, view, ask, charts, key)
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
        await ControlServer(path, rich_view, no_engine, no_charts).start()
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


@pytest.mark.spec("OPS-1")
async def test_an_operator_is_heard_though_as_many_look_as_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def engine(wish: Wish, who: str) -> Answer:
        return Answer(True, f"{wish.kind} taken")

    monkeypatch.setattr(control, "CLIENTS_MAX", 1)
    path = tmp_path / "s"
    async with serving(path, ask=engine):
        watching = watch_views(path)
        await anext(watching)
        assert await look(path) is None
        assert await ask_trader_async(path, Wish("kill", "something is wrong")) == Answer(True, "kill taken")


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


# -- candles ----------------------------------------------------------------------------------------------------------


def candle(number: int) -> Candle:
    open_ms = 1_790_000_100_000 + number * 900_000
    prices = (Decimal("67511.01"), Decimal("67512.5"), Decimal("0.00000123"), Decimal(67511))
    return Candle("BTCUSDT", "15m", open_ms, open_ms + 899_999, *prices, Decimal("12.34567"))


async def test_candles_come_back_with_every_digit_and_never_more_than_the_bound(tmp_path: Path) -> None:
    asked: list[tuple[str, str, int]] = []

    def charts(symbol: str, interval: str, limit: int) -> list[Candle] | None:
        asked.append((symbol, interval, limit))
        return [candle(number) for number in range(3)] if interval == "15m" else None

    path = tmp_path / "s"
    async with serving(path, charts=charts):
        held = await read_candles(path, "BTCUSDT", "15m", 3)
        assert held.candles == tuple(candle(number) for number in range(3))
        assert (await read_candles(path, "BTCUSDT", "5m", 9_999)).problem == "no candles of BTCUSDT 5m are held"
        await read_candles(path, "BTCUSDT", "15m")
        assert asked == [("BTCUSDT", "15m", 3), ("BTCUSDT", "5m", 500), ("BTCUSDT", "15m", 500)]
        for words in (b"BTCUSDT", b"BTCUSDT 15m x", b"BTCUSDT 15m -1", b"BTCUSDT 15m 0", b"BTCUSDT 15m 1 2"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"candles " + words + b"\n")
            answer = json.loads(await asyncio.wait_for(reader.readline(), 3))
            writer.close()
            assert answer["problem"].startswith("ask for candles SYMBOL INTERVAL")
            assert answer["candles"] == []
    with pytest.raises(ControlError, match="no trader answers"):
        await read_candles(tmp_path / "nobody", "BTCUSDT", "15m", timeout_s=0.2)


# -- what an operator asks for ----------------------------------------------------------------------------------------


@pytest.mark.spec("BRK-5", "OPS-1")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_wish_reaches_the_engine_with_the_name_of_who_has_it(tmp_path: Path, kind: str) -> None:
    heard: list[tuple[Wish, str]] = []

    async def engine(wish: Wish, who: str) -> Answer:
        heard.append((wish, who))
        return Answer(True, "taken")

    settings = {"risk.positions_max": "2", "rsi.period": None} if kind in SETTINGS_KINDS else {}
    symbol = "BTCUSDT" if kind == "close" or kind in ADOPT_KINDS else ""
    amount = Decimal("0.01") if kind in ADOPT_KINDS else None
    wish = Wish(kind, "so that nothing happens tonight", symbol, settings, amount)
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
        (b'{"kind": "close", "reason": "enough"}', "close needs a symbol"),
        (b'{"kind": "adopt-gone", "reason": "why not"}', "adopt-gone needs a symbol"),
        (b'{"kind": "adopt-transfer", "reason": "why not", "symbol": "USDT"}', "needs an amount"),
        (b'{"kind": "adopt-transfer", "reason": "why", "symbol": "USDT", "amount": "NaN"}', "are numbers, and not 0"),
        (b'{"kind": "adopt-transfer", "reason": "why", "symbol": "USDT", "amount": "0"}', "are numbers, and not 0"),
        (b'{"kind": "adopt-gone", "reason": "why", "symbol": "BTCUSDT", "price": "-1"}', "below 0"),
        (b'{"kind": "settings", "reason": "why not"}', "settings needs settings"),
        (b'{"kind": "settings", "reason": "", "settings": {"rsi.period": "9"}}', "a reason is needed"),
        (b'{"kind": "settings", "reason": "why not", "settings": {"rsi.period": 9}}', "cannot be read"),
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


@pytest.mark.spec("OPS-1")
@pytest.mark.parametrize("kind", sorted({*KINDS} - {*SETTINGS_KINDS, *ADOPT_KINDS}))
def test_each_wish_is_an_event_of_its_own_that_says_when_who_and_why(kind: str) -> None:
    event = event_of(Wish(kind, "a drill", "BTCUSDT"), "ada", 17)
    assert (event.at_ms, event.who, event.reason) == (17, "ada", "a drill")
    said = type(event).__name__.removesuffix("Requested").lower()
    assert said == ("liveswitched" if kind in LIVE_KINDS else kind.replace("-", ""))
    assert getattr(event, "on", kind == "live-on") == (kind == "live-on")
    assert getattr(event, "symbol", "BTCUSDT") == "BTCUSDT"


# -- what a signed-in user asks for -----------------------------------------------------------------------------------

KEY = bytes(range(32))
SIGNED_MS = 1_790_000_000_000
KILL = Wish("kill", "something is wrong")


@pytest.mark.spec("OPS-1")
async def test_a_signed_wish_is_that_of_the_user_whom_it_names(tmp_path: Path) -> None:
    heard: list[tuple[Wish, str]] = []

    async def engine(wish: Wish, who: str) -> Answer:
        heard.append((wish, who))
        return Answer(True, "taken")

    signer, wish = Signer(KEY, "ada"), Wish("close", "enough of it", "BTCUSDT")
    async with serving(tmp_path / "s", ask=engine, key=KEY):
        assert await ask_trader_async(tmp_path / "s", wish, signer=signer) == Answer(True, "taken")
        assert await asyncio.to_thread(ask_trader, tmp_path / "s", wish, signer=signer) == Answer(True, "taken")
        assert await ask_trader_async(tmp_path / "s", wish) == Answer(True, "taken")
    assert heard == [(wish, "ada (web)"), (wish, "ada (web)"), (wish, getpass.getuser())]


@pytest.mark.spec("OPS-1")
async def test_a_signed_wish_with_another_key_or_without_one_is_refused_before_the_engine_hears_of_it(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "s", key=KEY):
        answer = await ask_trader_async(tmp_path / "s", KILL, signer=Signer(bytes(32), "ada"))
        assert answer == Answer(False, "the signature is wrong")
        unknown = await ask_trader_async(tmp_path / "s", Wish("buy", "I like it"), signer=Signer(KEY, "ada"))
        assert "nothing that can be asked for" in unknown.text
    async with serving(tmp_path / "t"):
        answer = await ask_trader_async(tmp_path / "t", KILL, signer=Signer(KEY, "ada"))
        assert (answer.taken, "takes no signed requests" in answer.text) == (False, True)


def sealed(at_ms: int = SIGNED_MS, by: str = "ada", nonce: str = "n1") -> bytes:
    body = b'{"by":"%b","at_ms":%d,"nonce":"%b","wish":{"kind":"kill","reason":"something is wrong"}}'
    return with_mac(body % (by.encode(), at_ms, nonce.encode()))


def with_mac(body: bytes) -> bytes:
    return hmac.new(KEY, body, hashlib.sha256).hexdigest().encode() + b" " + body


@pytest.mark.spec("OPS-1")
def test_a_mac_made_elsewhere_over_the_same_bytes_opens_and_one_byte_that_differs_does_not() -> None:
    request = sealed()
    assert Seals(KEY, SIGNED_MS).opened(request, SIGNED_MS).wish == KILL
    for at in range(len(request)):
        forged = request[:at] + bytes([request[at] ^ 1]) + request[at + 1 :]
        with pytest.raises(ControlError):
            Seals(KEY, SIGNED_MS).opened(forged, SIGNED_MS)


@pytest.mark.spec("OPS-1")
def test_a_wish_that_is_repeated_old_or_from_before_the_trader_is_refused() -> None:
    begun_ms = SIGNED_MS - 100_000
    seals = Seals(KEY, begun_ms)
    seals.opened(sealed(), SIGNED_MS)
    with pytest.raises(ControlError, match="heard before"):
        seals.opened(sealed(), SIGNED_MS + 30_000)
    for at_ms in (SIGNED_MS - 30_001, SIGNED_MS + 30_001):
        with pytest.raises(ControlError, match="too long ago"):
            seals.opened(sealed(at_ms, nonce="n2"), SIGNED_MS)
    with pytest.raises(ControlError, match="too long ago"):
        seals.opened(sealed(), SIGNED_MS + 60_000)
    with pytest.raises(ControlError, match="before the trader began"):
        Seals(KEY, SIGNED_MS + 1).opened(sealed(), SIGNED_MS + 2)
    for at_ms in (SIGNED_MS - 30_000, SIGNED_MS + 30_000):
        assert seals.opened(sealed(at_ms, nonce=f"n{at_ms}"), SIGNED_MS).by == "ada"


@pytest.mark.spec("OPS-1")
def test_what_is_signed_and_makes_no_sense_is_refused_and_what_is_remembered_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seals = Seals(KEY, SIGNED_MS)
    for request in (
        sealed(by=" "),
        sealed(by="x" * 65),
        sealed(nonce=""),
        sealed(nonce="x" * 65),
        with_mac(b"{}"),
        b"",
    ):
        with pytest.raises(ControlError):
            seals.opened(request, SIGNED_MS)
    monkeypatch.setattr(control, "NONCES_MAX", 2)
    for nonce in ("a", "b"):
        seals.opened(sealed(nonce=nonce), SIGNED_MS)
    with pytest.raises(ControlError, match="too many"):
        seals.opened(sealed(nonce="c"), SIGNED_MS)
    seals.opened(sealed(SIGNED_MS + 40_000, nonce="c"), SIGNED_MS + 40_000)


def test_the_key_comes_from_the_environment_and_from_nowhere_else() -> None:
    key = new_control_key()
    assert control_key({"SUREFOOT_CONTROL_KEY": key}) == bytes.fromhex(key)
    assert len(bytes.fromhex(key)) == 32
    assert key != new_control_key()
    assert control_key({}) is None
    for text in ("secret", "00ff", "zz" * 32):
        with pytest.raises(ControlError, match="SUREFOOT_CONTROL_KEY") as refused:
            control_key({"SUREFOOT_CONTROL_KEY": text})
        assert text not in str(refused.value)
