"""A web process inside a test: the app behind uvicorn on a socket of loopback, and a client that signs in.

Rules: the clock is the test's own and stands still until it is told to go on; passwords are hashed by argon2 with the
least that it takes, because what is tested is not how long that lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import uvicorn
from argon2 import PasswordHasher

from surefoot.api.accounts import Accounts
from surefoot.api.parts import Parts
from surefoot.api.roles import Role
from surefoot.api.serving import listener, server_config, url_of
from surefoot.config import Settings, load

PASSWORD = "correct horse battery"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """UTC ms that change when a test says so."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def forward(self, s: float) -> None:
        self.ms += round(s * 1_000)


def web_settings(folder: Path, **flags: str) -> Settings:
    """Settings of a web process in a folder; `web__port="0"` is web.port = 0."""
    given = {"web.port": "0", "store.journal_path": str(folder / "surefoot.sqlite")}
    return load(
        None, given | {key.replace("__", "."): value for key, value in flags.items()}, {}, keyless=True
    ).settings


def made_parts(settings: Settings, clock: Clock) -> Parts:
    """The parts of a web process, with quick passwords."""
    parts = Parts.made(settings, clock)
    parts.accounts = Accounts(parts.store, parts.trail, clock, QUICK)
    return parts


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they belong to the test run


@asynccontextmanager
async def serving(parts: Parts) -> AsyncIterator[str]:
    """The app of these parts on a free port; its address."""
    bound = listener(parts.settings.web, any_port=False)
    server = _Server(server_config(parts))
    going = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            if going.done():
                going.result()
        yield url_of(bound, parts.settings.web)
    finally:
        server.should_exit = True
        await going
        with contextlib.suppress(OSError):
            bound.close()


class Visitor(httpx2.AsyncClient):
    """Somebody with a browser: keeps cookies, and the access token once signed in."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url + "/api/v1", timeout=10)

    async def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx2.Response:
        answer = await self.post("/auth/login", json={"name": name, "password": password, **more})
        self.keep(answer)
        return answer

    def keep(self, answer: httpx2.Response) -> None:
        if answer.status_code == 200:
            self.headers["authorization"] = f"Bearer {answer.json()['access_token']}"


class Place:
    """A served app, its parts and its clock."""

    def __init__(self, url: str, parts: Parts, clock: Clock) -> None:
        self.url = url
        self.parts = parts
        self.clock = clock
        self._visitors: list[Visitor] = []

    def visitor(self) -> Visitor:
        """Somebody who has not signed in."""
        self._visitors.append(Visitor(self.url))
        return self._visitors[-1]

    async def signed_in(self, role: Role, name: str | None = None) -> Visitor:
        """A user of a role, made and signed in."""
        name = name or str(role)
        if self.parts.accounts.user(name) is None:
            self.parts.accounts.add(name, role, PASSWORD, "the test")
        visitor = self.visitor()
        assert (await visitor.sign_in(name)).status_code == 200
        return visitor

    async def close(self) -> None:
        for visitor in self._visitors:
            await visitor.aclose()


@asynccontextmanager
async def place(folder: Path, **flags: str) -> AsyncIterator[Place]:
    """A web process in a folder, served until the end of the block."""
    clock = Clock()
    parts = made_parts(web_settings(folder, **flags), clock)
    try:
        async with serving(parts) as url:
            here = Place(url, parts, clock)
            try:
                yield here
            finally:
                await here.close()
    finally:
        parts.close()


def code_of(answer: httpx2.Response) -> str:
    """The stable code of a refusal, which must be whole problem+json."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "instance"}
    assert body["status"] == answer.status_code
    assert body["type"] == f"urn:surefoot:problem:{body['code']}"
    return str(body["code"])
