"""Secrets that are easy to recognise, sent through everything; afterwards all that came out is searched for them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pyotp
import pytest

from surefoot.api.onetime import LINK_MS, fingerprint
from surefoot.api.roles import Role
from surefoot.config import load
from surefoot.control import CONTROL_KEY
from surefoot.keystore import FILE_NAME, KeyStoreError, StoredKey, read_keys
from tests.api.served import code_of, place
from tests.e2e.processes import BUSY
from tests.e2e.test_commands import PATIENCE_S, child_pids, command, environment, going, lines_until
from tests.receivers import web_hooks

MARK = "M4rk3d"
KEY, SECRET, PASSPHRASE = f"{MARK}Key0123456789", f"{MARK}Secret0123456789", f"{MARK}Passphrase0123"
GUARD_KEY, GUARD_SECRET = f"{MARK}GuardKey0123456789", f"{MARK}GuardSecret0123456789"
PASSWORD, TOKEN = f"{MARK}Password-to-use", f"{MARK}Link-token"
METRICS_TOKEN = f"{MARK}Metrics0123456789"
MARKED = (KEY, SECRET, PASSPHRASE, GUARD_KEY, GUARD_SECRET, PASSWORD, TOKEN, METRICS_TOKEN)


def forms_of(*secrets: str) -> Iterator[bytes]:
    """As it is, and as an encoding might hide it."""
    for text in secrets:
        yield from (text.encode(), base64.b64encode(text.encode()).rstrip(b"="), text.encode().hex().encode())


class Search:
    """What was searched, and where a secret was found."""

    def __init__(self, *more: str) -> None:
        """`more` are secrets besides the marked ones."""
        self.secrets = len(MARKED) + len(more)
        self.needles = tuple(forms_of(*MARKED, *more))
        self.outputs = 0
        self.size_bytes = 0
        self.found: list[str] = []

    def text(self, where: str, text: str) -> None:
        self.raw(where, text.encode())

    def raw(self, where: str, raw: bytes) -> None:
        self.outputs += 1
        self.size_bytes += len(raw)
        self.found += [f"{needle!r} in {where}" for needle in self.needles if needle in raw]

    def folder(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.raw(str(path.relative_to(folder)), path.read_bytes())

    def end(self, capsys: pytest.CaptureFixture[str]) -> None:
        with capsys.disabled():
            told = f"{len(self.needles)} forms of {self.secrets} secrets"
            print(f"\n{self.outputs} outputs, {self.size_bytes} bytes, {told}: {self.found}")
        assert self.found == []


@pytest.mark.spec("OBS-2", "CFG-2")
def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    search = Search()
    search.text("a leak", f"key={KEY}")
    search.raw("an encoded leak", base64.b64encode(SECRET.encode()))
    (tmp_path / "leak").write_text(PASSWORD)
    search.folder(tmp_path)
    assert len(search.found) == 3


class Commands:
    """Runs commands in a folder, and searches what they say; each failure shows its traceback."""

    def __init__(self, folder: Path, search: Search) -> None:
        self._folder = folder
        self._search = search

    def __call__(self, *words: str, said: str = "", **env: str) -> int:
        done = subprocess.run(
            command(*words),
            input=said,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=environment(SUREFOOT_DEBUG="1", **env),
            timeout=PATIENCE_S,
        )
        self._search.text(f"stdout of {words}", done.stdout)
        self._search.text(f"stderr of {words}", done.stderr)
        return done.returncode


GUARD = {"SUREFOOT_GUARD_API_KEY": GUARD_KEY, "SUREFOOT_GUARD_API_SECRET": GUARD_SECRET}
GIVEN = {"SUREFOOT_API_KEY": KEY, "SUREFOOT_API_SECRET": SECRET, "SUREFOOT_KEYS_PASSPHRASE": PASSPHRASE} | GUARD
STORED = {"SUREFOOT_KEYS_PASSPHRASE": PASSPHRASE}
LIVE = ("--set", "mode=live", "live_confirmed=true")


@pytest.mark.spec("OBS-2", "CFG-2")
def test_no_secret_comes_out_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search()
    run = Commands(tmp_path, search)
    assert run("config", "show", *LIVE, **GIVEN) == 0
    assert run("config", "show", "--json", *LIVE, **GIVEN) == 0
    assert run("config", "show", *LIVE, "--set", "risk.positions_max=x", **GIVEN) == 2
    assert run("config", "show", "--set", f"api_key={KEY}") == 2
    (tmp_path / "bad.toml").write_text(f'api_secret = "{SECRET}"\n[web]\npassword = "{PASSWORD}"\n')
    assert run("config", "show", "--config", "bad.toml") == 2
    (tmp_path / "bad.toml").unlink()
    given = load(None, {"mode": "live", "live_confirmed": "true"}, GIVEN)
    assert given.settings.api_key is not None
    assert given.settings.api_key.get_secret_value() == KEY
    for name, value in (("settings", given.settings), ("loaded", given), ("key", StoredKey(1, KEY, SECRET))):
        search.text(f"repr of {name}", repr(value))
        search.text(f"str of {name}", str(value))
    search.text("settings as JSON", given.settings.model_dump_json())
    search.folder(tmp_path)
    search.end(capsys)


@pytest.mark.timeout(300)  # each opening of the key store is work on purpose
@pytest.mark.spec("OBS-2", "CFG-1")
def test_no_secret_comes_out_of_the_key_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search()
    run = Commands(tmp_path, search)
    assert run("keys", "add", "live", said=f"{KEY}\n{SECRET}\n", **STORED) == 0
    assert run("keys", "add", "live", said=f"{KEY}\n\n", **STORED) == 2
    assert run("keys", "list", SUREFOOT_KEYS_PASSPHRASE=f"not {PASSPHRASE}") == 2
    assert run("config", "show", *LIVE, **STORED) == 0
    try:
        read_keys(tmp_path / "var" / FILE_NAME, f"not {PASSPHRASE}")
    except KeyStoreError:
        search.text("traceback of the key store", traceback.format_exc())
    search.folder(tmp_path)
    search.end(capsys)


@pytest.mark.spec("OBS-2")
def test_no_secret_comes_out_of_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search()
    run = Commands(tmp_path, search)
    venue = {"SIMEX_API_KEY": KEY, "SIMEX_API_SECRET": SECRET}
    assert run("keys", "check", "--rest", "http://127.0.0.1:9", **venue) == 4
    assert run("trade", "--rest", "http://127.0.0.1:9", **venue) == 4
    (tmp_path / "file").touch()
    assert run("guard", "--journal", "file/j.sqlite", *LIVE, **GIVEN) == 2
    assert run("guard", *LIVE, SUREFOOT_GUARD_API_KEY=GUARD_KEY) == 2
    addresses = f"json://ann:{GUARD_SECRET}@127.0.0.1:9 nonsense://{GUARD_SECRET}"
    assert run("guard", "--journal", "file/j.sqlite", SUREFOOT_GUARD_ALERT_URLS=addresses) == 2
    assert run("user", "add", "ann", said=f"{PASSWORD}\n") == 0
    assert run("user", "add", "ann", said=f"{PASSWORD}\n") == 2
    assert run("audit", "verify") == 0
    search.folder(tmp_path)
    search.end(capsys)


@pytest.mark.spec("OBS-2", "SAFE-6")
def test_no_secret_comes_out_of_a_run_that_was_given_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search()
    with going("run", "--no-terminal", "--set", "guard.enabled=true", cwd=tmp_path, **GIVEN) as run:
        lines = lines_until(run, "dashboard ")
        if not any("guardian: watching " in line for line in lines):
            lines += lines_until(run, "guardian: watching ")
        for pid in children_of(run.pid):
            search.raw(f"environment of {pid}", Path(f"/proc/{pid}/environ").read_bytes())
        run.send_signal(signal.SIGTERM)
        out, complaints = run.communicate(timeout=PATIENCE_S)
    search.text("stdout", "\n".join(lines) + out)
    search.text("stderr", complaints)
    search.folder(tmp_path)
    search.end(capsys)


def children_of(pid: int) -> Iterator[int]:
    yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.mark.spec("OBS-2", "AUTH-4")
async def test_no_secret_comes_out_of_the_api(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    search = Search()
    caplog.set_level(logging.DEBUG)
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        here.parts.accounts.add("ann", Role.ADMIN, PASSWORD, "the test")
        here.parts.sessions.offer_link(fingerprint(TOKEN), here.clock() + LINK_MS)
        ann, other = here.visitor(), here.visitor()
        answers = [
            await ann.sign_in("ann", PASSWORD),
            await other.sign_in("ann", PASSWORD + "!"),
            await other.sign_in(f"x{'y' * 300}", PASSWORD),
            await other.sign_in(PASSWORD, "in the wrong field"),
            await other.post("/auth/login", json={"name": "ann", "password": [PASSWORD], "extra": SECRET}),
            await other.post("/auth/login", content=f'{{"password": "{PASSWORD}'),
            await other.post("/auth/link", json={"token": TOKEN}),
            await other.post("/auth/link", json={"token": TOKEN}),
            await other.get("/me", headers={"authorization": f"Bearer {TOKEN}"}),
            await other.post("/auth/refresh", headers={"cookie": f"surefoot_refresh={TOKEN}"}),
            await ann.post("/auth/confirm", json={"password": PASSWORD + "!"}),
            await ann.post("/auth/confirm", json={"password": PASSWORD}),
            await ann.post("/users", json={"name": "bob", "role": "viewer", "password": PASSWORD}),
            await ann.post("/users", json={"name": "bob", "role": "viewer", "password": PASSWORD}),
            await ann.post("/users", json={"name": "bob", "role": PASSWORD, "password": PASSWORD}),
            await ann.patch("/users/bob", json={"password": PASSWORD + "1"}),
            await ann.patch("/users/bob", json={"api_key": KEY, "apiSecret": SECRET, "passphrase": PASSPHRASE}),
            await ann.post("/auth/password", json={"old": PASSWORD + "!", "new": PASSWORD}),
            await ann.post("/auth/password", json={"old": PASSWORD, "new": PASSWORD + "2"}),
        ]
        refused = [code_of(answer) for answer in answers if answer.status_code >= 400]
        assert len(refused) > 8
        for path in ("/me", "/users", "/sessions", "/audit?limit=500", "/audit/verify", "/openapi.json", "/health"):
            answers.append(await ann.get(path))
        for answer in answers:
            where = f"{answer.request.method} {answer.request.url.path}"
            search.text(f"answer of {where}", answer.text)
            search.text(f"headers of {where}", json.dumps(dict(answer.headers)))
        for name in ("accounts", "sessions", "tokens", "trail", "settings"):
            search.text(f"repr of {name}", repr(getattr(here.parts, name)))
    records = [record for record in caplog.records if not record.name.startswith(("httpx2", "httpcore2"))]
    search.text("logs", "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in records))
    search.folder(tmp_path)
    search.end(capsys)
    assert os.listdir(tmp_path)


@pytest.mark.timeout(200)
@pytest.mark.spec("OBS-2", "AUTH-3")
async def test_no_secret_comes_out_of_a_run_whose_trader_holds_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All processes log all they can while orders fill; spans, alerts and metrics go out; somebody signs in."""
    journal = tmp_path / "j.sqlite"
    with web_hooks() as outside:
        sets = BUSY | {
            "store.journal_path": str(journal), "web.port": "0", "paper.speed": "120", "log.level": "debug",
            "traces.otlp_url": f"http://127.0.0.1:{outside.port}/v1/traces",
        }  # fmt: skip
        words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        given = {
            "SUREFOOT_ALERT_URLS": f"json://ann:{PASSWORD}@127.0.0.1:{outside.port}/hook",
            "SUREFOOT_METRICS_TOKEN": METRICS_TOKEN,
        }
        with going("run", "--no-terminal", *words, cwd=tmp_path, **given) as run:
            complaints = list[str]()  # read all along: a pipe that is full would stop the run
            assert run.stderr is not None
            threading.Thread(target=complaints.extend, args=(run.stderr,), daemon=True).start()
            lines = lines_until(run, "dashboard ")
            found = re.search(r"(http://[0-9.:]+)/#link=(\S+)", lines[-1])
            assert found, lines[-1]
            address, link = found.groups()
            if not any("first fill" in line for line in lines):
                lines += lines_until(run, "first fill")
            keys = held_by(child_pids(run.pid)["trade"])
            async with aiohttp.ClientSession(f"{address}/api/v1/") as client:
                search = Search(link, *keys, *await signed_in(client, link))
                await look_at_all(client, search)
            run.send_signal(signal.SIGTERM)
            lines += await asyncio.to_thread(list, run.stdout or ())
    search.text("stdout", "\n".join(lines).replace(link, ""))  # there it belongs
    search.text("stderr", "".join(complaints))
    assert any('"level"' in line for line in complaints), "nothing was logged"
    for path, body in outside.posts:
        search.text(f"sent to {path}", json.dumps(body))
    assert {path for path, _ in outside.posts} == {"/hook", "/v1/traces"}
    search.folder(tmp_path)
    search.end(capsys)


def held_by(pid: int) -> list[str]:
    """The keys that a process was given: the venue's, and that of signed wishes."""
    given = dict(pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in pair)
    return [given[name] for name in ("SIMEX_API_KEY", "SIMEX_API_SECRET", CONTROL_KEY)]


async def signed_in(client: aiohttp.ClientSession, link: str) -> list[str]:
    """Sign in and set a second factor up: the tokens and recovery codes that were told on the way."""
    async with client.post("auth/link", json={"token": link}) as answer:
        token, refresh = (await answer.json())["access_token"], answer.cookies["surefoot_refresh"].value
    client.headers["Authorization"] = f"Bearer {token}"
    async with client.post("auth/totp/enroll") as answer:
        totp = (await answer.json())["secret"]
    async with client.post("auth/totp/verify", json={"code": pyotp.TOTP(totp).now()}) as answer:
        codes = (await answer.json())["recovery_codes"]
    return [token, refresh, *codes]


async def look_at_all(client: aiohttp.ClientSession, search: Search) -> None:
    """Every page that takes no parameter, the metrics, and the stream with all its topics."""
    async with client.get("openapi.json") as answer:
        paths = (await answer.json())["paths"]
    plain = [path.removeprefix("/api/v1/") for path, ways in paths.items() if "get" in ways and "{" not in path]
    assert len(plain) > 20
    for path in plain:
        async with client.get(path) as answer:
            search.text(f"answer of {path}", await answer.text())
    metrics = str(client._base_url).removesuffix("api/v1/") + "metrics"
    async with client.get(metrics, headers={"Authorization": f"Bearer {METRICS_TOKEN}"}) as answer:
        assert answer.status == 200
        search.text("metrics", await answer.text())
    async with client.ws_connect("stream") as stream:
        await stream.send_json({"token": client.headers["Authorization"].split()[1]})
        for _ in range(20):
            search.text("the stream", (await stream.receive(10)).data)
