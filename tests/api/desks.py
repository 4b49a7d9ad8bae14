"""Desks for tests: a folder of paper runs, a trader's socket, and waiting for what is to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from surefoot.api.desk import Desk
from surefoot.config import Settings, load
from surefoot.control import Ask, Charts, ControlServer, socket_path
from surefoot.core.view import View
from surefoot.store.journal import Journal
from tests.store.samples import closed, started
from tests.views import no_charts, no_engine, rich_view

FIRST_RUN, SECOND_RUN = "paper-20260101-000000-000.sqlite", "paper-20260102-000000-000.sqlite"


def paper(folder: Path) -> Settings:
    """Settings of paper mode whose runs are in a folder."""
    return load(None, {"store.journal_path": str(folder / "surefoot.sqlite")}, {}).settings


def begun(folder: Path, name: str = FIRST_RUN) -> Path:
    """The journal of a paper run that has begun."""
    with Journal.open(folder / name) as journal:
        journal.append(started(), closed())
    return folder / name


@asynccontextmanager
async def trading(
    journal: Path,
    view: Callable[[], View] = rich_view,
    ask: Ask = no_engine,
    charts: Charts = no_charts,
    key: bytes | None = None,
) -> AsyncIterator[None]:
    """A trader's socket."""
    server = ControlServer(socket_path(journal), view, ask, charts, key)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


async def until(look: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for something to be true; TimeoutError when it does not come."""
    async with asyncio.timeout(within_s):
        while not look():
            await asyncio.sleep(0.01)


def told(desk: Desk, topic: str) -> Any:
    """A topic's value as a client reads it."""
    return msgspec.json.decode(desk.board.values[topic])
