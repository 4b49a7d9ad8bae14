"""A connection that the venue closed behind frames that we have not read yet, and on which we want to write."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from multiprocessing.connection import Connection

import pytest
import uvloop
from aiohttp import web

from surefoot.binance.dialogue import HttpFailed, LinkDown, LinkUp, OpenLink, SocketRequest
from surefoot.binance.gateway import Addresses, Gateway

PATIENCE_S = 5.0


def _venue(told: Connection) -> None:
    """Two frames for the first that comes, and the connection is closed."""

    async def closes(request: web.BaseRequest) -> web.StreamResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        await link.receive()
        for _ in range(2):
            await link.send_str("x" * 300)
        assert request.transport is not None
        request.transport.abort()
        told.send(None)
        return link

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(closes))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


async def _write_to_what_is_closed(venue: Connection) -> list[object]:
    heard: list[object] = []
    changed = asyncio.Event()

    def deliver(arrival: object) -> None:
        heard.append(arrival)
        changed.set()

    async def wait_for(kind: type[object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(isinstance(each, kind) for each in heard):
                changed.clear()
                await changed.wait()

    gateway = Gateway(Addresses("", f"ws://127.0.0.1:{venue.recv()}/", ""), deliver)
    await gateway.start()
    try:
        gateway.send(OpenLink("account", "/ws-api/v3"))
        await wait_for(LinkUp)
        gateway.send(SocketRequest(1, "account", "{}"))
        venue.recv()  # the loop stands still meanwhile, so that nothing is read
        time.sleep(0.05)
        gateway.send(SocketRequest(2, "account", "{}"))
        await wait_for(LinkDown)
    finally:
        await gateway.close()
    return heard


async def _write_to_what_is_open(venue: Connection) -> list[object]:
    heard: list[object] = []
    up = asyncio.Event()

    def deliver(arrival: object) -> None:
        heard.append(arrival)
        up.set()

    gateway = Gateway(Addresses("", f"ws://127.0.0.1:{venue.recv()}/", ""), deliver)
    await gateway.start()
    try:
        gateway.send(OpenLink("account", "/ws-api/v3"))
        async with asyncio.timeout(PATIENCE_S):
            await up.wait()
        gateway.send(SocketRequest(1, "account", "{}"))
    finally:
        await gateway.close()
    return heard


@pytest.mark.spec("NET-4", "NET-6")
def test_request_on_a_connection_that_was_closed_has_not_left_and_the_link_is_down() -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    venue = multiprocessing.get_context("spawn").Process(target=_venue, args=(theirs,), daemon=True)
    venue.start()
    try:
        heard = uvloop.run(_write_to_what_is_closed(ours))
    finally:
        venue.kill()
        venue.join()
    assert HttpFailed(2, False, "the account link is down") in heard
    assert any(isinstance(each, LinkDown) for each in heard)


def test_where_the_system_does_not_tell_the_state_of_a_connection_it_is_taken_to_be_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "TCP_INFO")
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    venue = multiprocessing.get_context("spawn").Process(target=_venue, args=(theirs,), daemon=True)
    venue.start()
    try:
        heard = uvloop.run(_write_to_what_is_open(ours))
    finally:
        venue.kill()
        venue.join()
    # What the venue says after it is heard or not, by chance; what counts is that the request was not kept back.
    assert isinstance(heard[0], LinkUp)
    assert not any(isinstance(each, HttpFailed) for each in heard)
