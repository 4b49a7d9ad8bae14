"""A bot that runs in paper mode, and a real browser that looks at it.

Rules: one bot for all tests of a module, on ports of the system's choice; a test takes it as it finds it and leaves it
trading. Nothing on the page may complain: an error in the console, a refused style or an answer that was not expected
fails the test that saw it.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)

from surefoot.api.desk import Desk
from surefoot.api.stream import Hello, Listener
from tests.e2e.processes import BUSY
from tests.e2e.test_commands import going, lines_until, surefoot

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "surefoot" / "dashboard" / "index.html"
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "correct horse battery staple"
PATIENCE_MS = 30_000
WIDE, PHONE = ViewportSize(width=1_440, height=900), ViewportSize(width=390, height=844)

# Two candles a second for each symbol, so that the journal is never silent for long; much of what falls is an entry.
LIVELY = {**BUSY, "paper.speed": "120", "web.port": "0"}


def needed(what: Path | str | None, text: str) -> Path:
    """A thing that these tests need; without it they are skipped, and fail where SUREFOOT_BROWSER=needed."""
    if what is not None and Path(what).exists():
        return Path(what)
    if os.environ.get("SUREFOOT_BROWSER") == "needed":
        pytest.fail(text)
    pytest.skip(text)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, without a window."""
    path = needed(shutil.which("chromium"), "needs chromium: apt-get install chromium")
    needed(PAGE, "needs the built page: make dashboard")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Bot:
    """A running `surefoot run`: where its page is, the link that signs in once, and the folder of its files."""

    run: subprocess.Popen[str]
    url: str
    link: str
    folder: Path

    def add_user(self, name: str, role: str) -> None:
        journal = str(self.folder / "var" / "surefoot.sqlite")
        words = ("user", "add", name, "--role", role, "--journal", journal)
        done = surefoot(*words, cwd=self.folder, said=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr


@contextmanager
def bot(folder: Path) -> Iterator[Bot]:
    (folder / "data").mkdir()
    (folder / "data" / "BTCUSDT-15m.csv").write_text(swinging_candles())
    sets = [word for key, value in LIVELY.items() for word in ("--set", f"{key}={value}")]
    with going("run", "--no-terminal", *sets, cwd=folder) as run:
        told = lines_until(run, "dashboard ")[-1]
        found = re.search(r"dashboard (http://127\.0\.0\.1:\d+)/#link=(\S+)", told)
        assert found, told
        assert run.stdout is not None
        for pipe in (run.stdout, run.stderr):  # a pipe that nobody reads would stop the run when it is full
            threading.Thread(target=deque, args=(pipe, 0), daemon=True).start()
        yield Bot(run, found[1], found[2], folder)


def swinging_candles(count: int = 400) -> str:
    """A market for a backtest in which rules speak, and stops and targets are reached."""
    rows, before, quarter_ms, start_ms = [], 100_000, 900_000, 1_748_736_000_000
    for number in range(count):
        close = round(100_000 + 4_000 * math.sin(number / 9) + 700 * math.sin(number * 1.7))
        high, low, open_ms = max(before, close) + 150, min(before, close) - 150, start_ms + number * quarter_ms
        rows.append(f"{open_ms},{before},{high},{low},{close},500,{open_ms + quarter_ms - 1},0,0,0,0,0")
        before = close
    return "\n".join(rows) + "\n"


@dataclass
class Seen:
    """What a page complained about; answers in `expected` are no complaint."""

    expected: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # What became of a request is told by its answer, and by the page itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"{response.status} {response.url}")


def opened(context: BrowserContext, address: str, seen: Seen) -> Page:
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen.watch(page)
    page.goto(address)
    return page


def shown(context: BrowserContext, url: str, desk: Desk, seen: Seen) -> Page:
    """The overview over a stream that tells what a desk knows, once."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen.watch(page)
    snapshot = next(Listener(desk.board, Hello("")).due())
    page.route_web_socket("**/api/v1/stream", lambda socket: socket.on_message(lambda _: socket.send(snapshot)))
    page.goto(url)
    return page


def asked(page: Page, button: str, reason: str, word: str = "", *, then_proof: bool = False) -> None:
    """Answer the question that stands open, and wait until it is gone, or who one is was asked for instead."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    if word:
        dialog.get_by_label(f"Type {word}").fill(word)
    dialog.get_by_role("button", name=button).click()
    if not then_proof:
        expect(dialog).to_have_count(0)


def proved(page: Page, label: str, proof: str) -> None:
    """Answer who one is, once more."""
    dialog = page.get_by_role("dialog", name="Is it you?")
    dialog.get_by_label(label).fill(proof)
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_have_count(0)


def go(page: Page, name: str) -> None:
    page.evaluate("name => { location.hash = `/${name}` }", name)
    expect(page.locator(f'.rail a[href="#/{name}"]')).to_have_attribute("aria-current", "page")


def enrolled(page: Page, *, by_link: bool = False) -> list[str]:
    """Set up a second factor for who is signed in, with an app's codes; the recovery codes."""
    go(page, "users")
    page.get_by_role("button", name="Set up").click()
    if not by_link:  # which counts as proof until there is a second factor
        proved(page, "Password", PASSWORD)
    expect(page.get_by_role("img", name="Code for your app to scan")).to_be_visible()
    totp = pyotp.TOTP(page.locator("code").first.inner_text())
    page.get_by_label("Code that the app shows").fill(totp.now())
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("Recovery codes")).to_be_visible()
    return page.locator(".codes li").all_inner_texts()
