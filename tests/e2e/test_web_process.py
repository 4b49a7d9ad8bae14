"""The web process beside a trader that trades: signed in by the link, killed, started again, left out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from surefoot.api.webstore import FILE_NAME
from surefoot.core.messages import (
    CancelAllRequested,
    CloseRequested,
    FlattenRequested,
    KillRequested,
    PauseRequested,
    ResumeRequested,
)
from surefoot.notify import alerts_path, recent_alerts
from surefoot.store.journal import JournalReader
from tests.e2e.processes import BUSY
from tests.e2e.test_commands import (
    PATIENCE_S,
    child_pids,
    going,
    is_gone,
    journal_of,
    lines_until,
    surefoot,
    wait_for,
)


def signed_in(url: str, token: str) -> httpx2.Client:
    client = httpx2.Client(base_url=f"{url}/api/v1", timeout=PATIENCE_S)
    answer = client.post("/auth/link", json={"token": token})
    assert answer.status_code == 200, answer.text
    client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def told_address(lines: list[str]) -> tuple[str, str]:
    found = re.search(r"dashboard (http://127\.0\.0\.1:\d+)/#link=(\S+)", lines[-1])
    assert found, lines
    return found[1], found[2]


# A candle a second, and nearly every one of them an entry.
SETS = [word for key, value in (BUSY | {"paper.speed": "60"}).items() for word in ("--set", f"{key}={value}")]

# What an operator may ask, in an order that makes sense, and how the journal names it.
DEMANDS = ("cancel-all", "close", "pause", "flatten", "resume", "kill")
ASKED = (CancelAllRequested, CloseRequested, PauseRequested, FlattenRequested, ResumeRequested, KillRequested)


def demanded_by_api(client: httpx2.Client, kind: str) -> tuple[bool, str]:
    body = {"reason": "by API"} | ({"symbol": "BTCUSDT"} if kind == "close" else {})
    answer = client.post(f"/bot/{kind}", json=body)
    return answer.status_code == 200, answer.json()["text" if answer.status_code == 200 else "detail"]


def demanded_by_command(folder: Path, kind: str) -> tuple[bool, str]:
    more = {"close": ["BTCUSDT"], "flatten": ["--yes"], "kill": ["--yes"]}.get(kind, [])
    journal = str(journal_of(folder))
    done = surefoot(kind, *more, "--reason", "by command", "--journal", journal, cwd=folder)
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def timed(demand: Callable[[str], tuple[bool, str]], kind: str, way: str) -> str:
    """What was said and when; what is to be closed may have been sold by itself a moment before, and comes again."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        began_s = time.monotonic()
        is_taken, said = demand(kind)
        ended_s = time.monotonic()
        if is_taken:
            return f"{kind} by {way}: answered after {1_000 * (ended_s - began_s):.0f} ms: {said}"
        assert kind == "close", said
        assert "is held" in said, said
        assert ended_s < deadline_s, "it was never held"
        time.sleep(0.1)


def tried_while_busy(client: httpx2.Client, folder: Path) -> list[str]:
    """Every demand by API and by command, while it trades; how long each took to be answered."""
    ways: dict[str, Callable[[str], tuple[bool, str]]] = {
        "API": lambda kind: demanded_by_api(client, kind),
        "command": lambda kind: demanded_by_command(folder, kind),
    }
    told = []
    for way, demand in ways.items():
        wait_for(lambda: client.get("/positions").json()["items"], "something is held")
        told += [timed(demand, kind, way) for kind in DEMANDS]
        wait_for(lambda: not client.get("/positions").json()["items"], "nothing is held after a kill")
        told.append(timed(demand, "resume", way))
    with JournalReader(journal_of(folder)) as reader:
        kinds = [(type(entry.message), getattr(entry.message, "reason", "")) for entry in reader.read(kinds=ASKED)]
    for cls in ASKED:
        for way in ways:
            assert kinds.count((cls, f"by {way}")) == (2 if cls is ResumeRequested else 1), (cls, way)
    return told


@pytest.mark.spec("OPS-1", "OPS-3", "AUTH-1")
def test_every_demand_is_answered_and_a_killed_web_process_comes_back_without_the_trader_noticing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with going("run", "--no-terminal", *SETS, cwd=tmp_path) as run:
        url, token = told_address(lines_until(run, "dashboard "))
        with closing(signed_in(url, token)) as client:
            assert client.get("/me").json()["name"] == "local"
            told = tried_while_busy(client, tmp_path)
            with capsys.disabled():
                print("\n" + "\n".join(told))
            before = child_pids(run.pid)
            assert set(before) == {"simex", "trade", "web"}
            assert os.getpriority(os.PRIO_PROCESS, before["web"]) > os.getpriority(os.PRIO_PROCESS, before["trade"])
            os.kill(before["web"], signal.SIGKILL)
            lines_until(run, "the web process was ended by SIGKILL; starting it again in 1 s")
            wait_for(lambda: answers(url), "the web process came back")
            assert client.get("/me").json()["name"] == "local"
            again = client.post("/auth/link", json={"token": token})
            assert again.json()["code"] == "link_used"
        after = child_pids(run.pid)
        assert after["trade"] == before["trade"]
        assert after["web"] != before["web"]
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=PATIENCE_S)
    assert told_of_it(tmp_path) == [
        ("warning", "the web process was ended by SIGKILL; starting it again in 1 s"),
    ]
    assert run.returncode == 0
    assert all(is_gone(pid) for pid in (*before.values(), *after.values()))
    assert (tmp_path / "var" / FILE_NAME).stat().st_mode & 0o777 == 0o600


def told_of_it(folder: Path) -> list[tuple[str, str]]:
    """Alerts about the web process: their level and text."""
    alerts = recent_alerts(alerts_path(journal_of(folder)))
    return [(alert["level"], alert["text"]) for alert in alerts if alert["kind"] == "web"]


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v1/health/live").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.spec("OPS-3")
def test_a_web_process_that_cannot_start_is_told_and_trading_goes_on(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with going("run", "--no-terminal", "--set", f"web.port={port}", cwd=tmp_path) as run:
            (told,) = [line for line in lines_until(run, "no dashboard: ") if "no dashboard" in line]
            assert f"web.port = {port} at 127.0.0.1 cannot be used" in told
            assert set(child_pids(run.pid)) == {"simex", "trade"}
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    ((level, text),) = told_of_it(tmp_path)
    assert (level, f"web.port = {port} at 127.0.0.1 cannot be used" in text) == ("warning", True)


@pytest.mark.spec("OPS-3")
def test_no_web_leaves_it_out(tmp_path: Path) -> None:
    with going("run", "--no-terminal", "--no-web", cwd=tmp_path) as run:
        lines = lines_until(run, "first price")
        assert set(child_pids(run.pid)) == {"simex", "trade"}
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert not [line for line in (*lines, *out.splitlines()) if "dashboard" in line]
    assert not (tmp_path / "var" / FILE_NAME).exists()


@pytest.mark.spec("AUTH-1")
def test_the_first_user_is_made_by_a_command_that_asks_for_the_password(tmp_path: Path) -> None:
    def user(*words: str, password: str = "") -> subprocess.CompletedProcess[str]:
        return surefoot("user", *words, cwd=tmp_path, said=f"{password}\n")

    assert (
        user("add", "ann", "--role", "admin", password="correct horse battery").stdout == "ann may sign in as admin\n"
    )
    assert "already a user ann" in user("add", "ann", password="correct horse battery").stderr
    assert "12 to 200 characters" in user("add", "bob", password="short").stderr
    assert (
        "give viewer, trader or admin" in user("add", "bob", "--role", "root", password="correct horse battery").stderr
    )
    assert "a name is 1 to 32" in user("add", "Bob!", password="correct horse battery").stderr
    assert user("list").stdout.split()[:2] == ["ann", "admin"]
    assert user("password", "ann", password="another good one").stdout.startswith("ann has a new password; 0 sessions")
    assert "there is no user bob" in user("remove", "bob").stderr
    kept = (tmp_path / "var" / FILE_NAME).read_bytes()
    assert b"correct horse battery" not in kept
    assert b"$argon2id$" in kept
