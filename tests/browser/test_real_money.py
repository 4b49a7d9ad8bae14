"""A run in mode live, before the simulated exchange: real money is switched on and off in the browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from surefoot.api.onetime import LINK_VARIABLE, new_link
from surefoot.api.sessions import LINK_CONFIRMED_MS
from surefoot.api.webstore import FILE_NAME, WebStore
from surefoot.control import CONTROL_KEY
from surefoot.core.messages import LiveSwitched
from tests.browser.stage import PASSWORD, WIDE, Seen, asked, enrolled, go, opened, proved
from tests.e2e.processes import exchange, trader
from tests.e2e.test_commands import going, lines_until, surefoot
from tests.e2e.test_crash import told
from tests.e2e.test_kill import SEED, market_of
from tests.e2e.test_real_money import LIVE, MINUTES, SPEED

KEY = "5f" * 32


@contextmanager
def offered(folder: Path) -> Iterator[str]:
    """A start of the web process in live mode; the address of its sign-in link."""
    sets = {"mode": "live", "live_confirmed": "true", "web.port": "0"}
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    token, link = new_link(time.time_ns() // 1_000_000)
    with going("web", "--json", *words, cwd=folder, **{LINK_VARIABLE: link}) as web:
        url = json.loads(lines_until(web, "listening")[-1])["url"]
        yield f"{url}/#link={token}"


def confirmed_until(folder: Path, at_ms: int) -> None:
    """Until when who is signed in has proved who they are."""
    (path,) = folder.rglob(FILE_NAME)
    with WebStore(path) as store:
        assert store.run("UPDATE sessions SET confirmed_until_ms = ?", (at_ms,)) == 1


@pytest.mark.spec("AUTH-2", "UI-1")
@pytest.mark.timeout(120)
def test_a_sign_in_link_asks_for_the_code_of_the_second_factor(browser: Browser, seen: Seen, tmp_path: Path) -> None:
    seen.expected |= {401, 403, 503}  # and there is no trader
    context = browser.new_context(viewport=WIDE)
    with offered(tmp_path) as link:
        page = opened(context, link, seen)
        expect(page.get_by_role("region", name="News")).to_contain_text("fifteen minutes")
        go(page, "users")
        expect(page.get_by_text("Set a password", exact=True)).to_be_visible()
        confirmed_until(tmp_path, 0)  # as when they are over
        page.get_by_role("button", name="Set up").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("surefoot user password local")
        expect(dialog.get_by_label("Password")).to_have_count(0)
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("With real money a sale asks for a second factor")).to_be_visible()

        def with_password(route: Route) -> None:  # that was set in another tab
            answer = route.fetch()
            route.fulfill(response=answer, json={**answer.json(), "has_password": True})

        page.route("**/api/v1/me", with_password)
        page.get_by_role("button", name="Set up").click()
        expect(dialog.get_by_label("Password")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        page.unroute_all()
        confirmed_until(tmp_path, time.time_ns() // 1_000_000 + LINK_CONFIRMED_MS)
        recovery = enrolled(page, by_link=True)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        page.close()
    with offered(tmp_path) as link:
        page = opened(context, link, seen)
        expect(page.get_by_text("This link is in the place of a password")).to_be_visible()
        expect(page.get_by_label("Password")).to_have_count(0)
        page.get_by_label("Code").fill("no such code")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("code is wrong")
        page.get_by_label("Code").fill(recovery[0])
        page.get_by_role("button", name="Sign in").click()
        go(page, "users")
        expect(page.get_by_role("heading", name="You: local")).to_be_visible()
        context.close()


@pytest.mark.spec("SAFE-6", "AUTH-2", "UI-1")
@pytest.mark.timeout(300)
def test_real_money_is_switched_on_by_its_word_and_a_second_factor(
    browser: Browser, seen: Seen, tmp_path: Path
) -> None:
    seen.expected |= {401, 403}
    journal = tmp_path / "journal.sqlite"
    sets = [f"{key}={value}" for key, value in (LIVE | {"store.journal_path": str(journal), "web.port": "0"}).items()]
    words = [word for each in sets for word in ("--set", each)]
    with (
        exchange(*market_of(tmp_path, SEED, MINUTES, str(SPEED))) as venue,
        trader(venue, journal, LIVE) as bot,
        going("web", "--json", *words, cwd=tmp_path, **{CONTROL_KEY: KEY}) as web,
    ):
        url = json.loads(lines_until(web, "listening")[-1])["url"]
        done = surefoot(
            "user", "add", "ann", "--role", "trader", "--journal", str(journal), cwd=tmp_path, said=f"{PASSWORD}\n"
        )
        assert done.returncode == 0, done.stderr
        bot.keys = {CONTROL_KEY: KEY}
        bot.start()
        bot.wait_for_agreement()

        context = browser.new_context(viewport=WIDE)
        page = opened(context, url, seen)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("[data-safety=entries-off]")).to_contain_text("Real money is not switched on yet")
        recovery = enrolled(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Code").fill(recovery[0])
        page.get_by_role("button", name="Sign in").click()

        go(page, "settings")
        expect(page.locator("[data-money=live]")).to_contain_text("with real money")
        expect(page.locator("[data-live=off]")).to_contain_text("not switched on yet")
        page.get_by_role("button", name="Switch on").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Not met: this version")
        dialog.get_by_label("Reason").fill("books agree")
        expect(dialog.get_by_role("button", name="Switch on")).to_be_disabled()
        asked(page, "Switch on", "books agree", word="REAL MONEY", then_proof=True)
        proved(page, "Code", recovery[1])
        expect(page.locator("[data-live=on]")).to_contain_text("Positions are opened with real money")
        go(page, "overview")
        expect(page.locator("[data-position]").first).to_be_visible()

        go(page, "settings")
        page.get_by_role("button", name="Switch off").click()
        asked(page, "Switch off", "away for a week")
        expect(page.locator("[data-live=off]")).to_contain_text("away for a week")
        expect(page.locator("[data-safety=entries-off]")).to_contain_text(re.compile("switched off by ann"))
        context.close()
        assert [(each.who, each.on) for each in told(bot, LiveSwitched)] == [("ann (web)", True), ("ann (web)", False)]
        assert len(venue.orders()) > 0
