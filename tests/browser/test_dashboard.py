"""The dashboard in a real browser, before a real run in paper mode: looked at, steered, cut off and found again."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from surefoot.api.desk import Desk
from surefoot.core.view import PriceView
from tests.api.desks import begun, paper
from tests.browser.stage import (
    AXE,
    PASSWORD,
    PHONE,
    WIDE,
    Bot,
    Seen,
    asked,
    bot,
    enrolled,
    go,
    needed,
    opened,
    proved,
    shown,
)
from tests.e2e.test_commands import child_pids
from tests.views import rich_view

pytestmark = [pytest.mark.timeout(300)]

PAGES = (
    "overview",
    "chart",
    "positions",
    "signals",
    "risk",
    "performance",
    "backtests",
    "connection",
    "journal",
    "alerts",
    "settings",
    "users",
)


@pytest.fixture(scope="module")
def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with bot(tmp_path_factory.mktemp("bot")) as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(browser: Browser, running: Bot) -> Iterator[BrowserContext]:
    """A browser that came by the link: a local admin, whose money actions count as confirmed."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = opened(context, f"{running.url}/#link={running.link}", Seen())
    expect(page.locator("[data-link=live]")).to_be_visible()
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(signed_in: BrowserContext, running: Bot, seen: Seen) -> Iterator[Page]:
    """The overview, live."""
    found = opened(signed_in, running.url, seen)
    expect(found.locator("[data-link=live]")).to_be_visible()
    yield found
    found.close()


@pytest.fixture
def still(page: Page) -> Iterator[Page]:
    """The overview, whose clock stands. It is that of the whole browser, so it is let go afterwards."""
    expect(page.locator("[data-chart=there]")).to_be_visible()
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1_000)
    page.wait_for_timeout(500)  # what was asked for before is there
    yield page
    page.clock.resume()


@pytest.mark.spec("UI-1")
def test_the_first_screen_answers_whether_i_am_safe_and_what_i_hold(page: Page) -> None:
    expect(page.locator("[data-safety]")).to_have_attribute(
        "data-safety", re.compile("protected|flat|unprotected|entries-off")
    )
    for question in ("What do I hold", "What is the bot waiting for", "Distance to the limits"):
        expect(page.get_by_role("heading", name=re.compile(question))).to_be_visible()
    expect(page.locator("[data-chart=there] canvas").first).to_be_visible()
    before = page.locator("time.clock").inner_text()
    expect(page.locator("time.clock")).not_to_have_text(before)
    stays = page.evaluate(  # so that a decision that was opened stays open when the next one comes
        """async () => {
            const list = document.querySelector('section[aria-labelledby=why] ul');
            const row = list.firstElementChild, said = row.innerText;
            while (list.firstElementChild === row && row.innerText === said) await new Promise(requestAnimationFrame);
            return row.isConnected && list.firstElementChild !== row && row.innerText === said;
        }"""
    )
    assert stays


@pytest.mark.spec("UI-1")
def test_a_fill_arrives_while_one_looks(page: Page) -> None:
    go(page, "positions")
    page.get_by_role("button", name="Fills").click()
    fills = page.locator("tr[data-fill]")
    expect(fills.first).to_be_visible()
    newest = fills.first.get_attribute("data-fill")
    page.locator("[data-position]").first.get_by_role("button", name="Close").click()
    asked(page, "Close position", "to see it filled")
    expect(page.get_by_role("region", name="News").get_by_text("Filled:").first).to_be_visible()
    expect(fills.first).not_to_have_attribute("data-fill", newest or "")
    fills.first.get_by_role("button", name="Life line").click()
    expect(page.get_by_text("Written down and sent").first).to_be_visible()
    expect(page.get_by_text("Filled", exact=True).first).to_be_visible()


@pytest.mark.spec("UI-1", "SIG-8")
def test_what_never_pauses_is_shown_all_the_same(still: Page) -> None:
    """For the page's clock no 0.6 s pass without a decision: it waits for no longer pause before it reads anew."""
    page = still
    go(page, "signals")
    newest, listed = page.locator(".cards-now time").first, page.get_by_role("region", name="Decisions").locator("time")
    expect(listed.first).to_be_visible()
    before = newest.inner_text(), listed.first.inner_text()
    for _ in range(10):
        page.wait_for_timeout(700)  # in which candles close
        page.clock.run_for(200)
    assert newest.inner_text() != before[0]
    assert listed.first.inner_text() != before[1]


@pytest.mark.spec("UI-1", "PERF-5")
def test_what_the_stream_brings_is_shown_without_asking(page: Page) -> None:
    """What news make the page ask waits until it is let go; pictures come all the time, and ask nothing."""
    expect(page.locator("[data-chart=there]")).to_be_visible()
    page.evaluate(
        "() => { window.waiting = []; window.setInterval = () => 0; window.setTimeout = (does) => waiting.push(does) }"
    )
    asked_for: Counter[str] = Counter()
    page.on("request", lambda request: asked_for.update([urlsplit(request.url).path]))
    for name in ("alerts", "risk", "overview"):
        go(page, name)
        expect(page.locator(".bones")).to_have_count(0)
        asked_for.clear()
        for _ in range(3):
            before = page.locator("time.clock").inner_text()
            expect(page.locator("time.clock")).not_to_have_text(before)
        assert asked_for == {}, name
    minute = page.locator("time.clock b").inner_text()[:5]
    expect(page.locator("time.clock b")).not_to_contain_text(minute)  # a candle has closed, which the chart hears of
    page.wait_for_timeout(700)
    page.evaluate("() => waiting.splice(0).forEach((does) => does())")
    page.wait_for_timeout(100)
    assert asked_for["/api/v1/market/candles"] == max(asked_for.values()) == 1


@pytest.mark.spec("UI-1")
def test_a_pause_is_asked_back_takes_hold_and_ends(page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    asked(page, "Pause", "lunch")
    expect(page.locator("[data-safety=entries-off]")).to_contain_text("lunch")
    page.get_by_role("button", name="Resume").click()
    asked(page, "Resume", "back")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    go(page, "journal")
    page.get_by_role("button", name="People").click()
    expect(page.get_by_text(re.compile("lunch")).first).to_be_visible()


@pytest.mark.spec("UI-1")
def test_the_journal_is_read_from_its_end_and_back_without_a_hole(page: Page, seen: Seen) -> None:
    seen.expected |= {503}
    records = page.locator("section[aria-labelledby=records]")
    listed = records.locator("summary .mono")

    def fat(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        items = [{**told["items"][0], "seq": -number} for number in range(1_100)]
        route.fulfill(response=answer, json={**told, "items": items, "next": items[-1]["seq"]})

    page.route("**/api/v1/journal?*", lambda route: route.fulfill(status=503, json={"detail": "busy"}))
    go(page, "journal")
    expect(listed.first).to_be_visible()  # by the stream
    expect(records.get_by_role("alert")).to_be_visible()
    page.unroute_all()
    page.route("**/api/v1/journal?*", fat)
    records.get_by_role("button", name="Try again").click()
    expect(listed).to_have_count(1_000)
    expect(records.get_by_role("button", name="Older")).to_be_visible()
    expect(records.get_by_role("alert")).to_have_count(0)
    page.unroute_all()
    page.reload()

    def seqs() -> list[int]:
        return [int(text) for text in listed.all_inner_texts()]

    expect(listed.first).to_be_visible()
    while seqs()[0] < 500:
        page.wait_for_timeout(200)
    page.reload()
    expect(listed.nth(199)).to_be_visible()
    page.get_by_role("button", name="Hold").click()
    held = len(seqs())
    page.get_by_role("button", name="Older").click()
    expect(listed).to_have_count(held + 200)
    assert seqs() == list(range(seqs()[0], seqs()[0] - held - 200, -1))
    page.get_by_role("button", name="Follow").click()
    followed = seqs()
    assert followed == list(range(followed[0], followed[-1] - 1, -1))


@pytest.mark.spec("UI-1")
def test_flatten_wants_its_word_and_leaves_nothing_held(page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    asked(page, "Pause", "to see it flat")
    page.get_by_role("button", name="Flatten").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Flatten")).to_be_disabled()
    asked(page, "Flatten", "the test wants it flat", word="FLATTEN")
    expect(page.locator("[data-position]")).to_have_count(0)
    expect(page.locator("[data-safety]")).to_contain_text("Nothing is held")
    page.get_by_role("button", name="Resume").click()
    asked(page, "Resume", "seen")
    expect(page.locator("[data-position]").first).to_be_visible()


@pytest.mark.spec("UI-1", "OPS-1")
def test_close_cancel_entries_and_kill_are_asked_back_and_taken(page: Page) -> None:
    go(page, "positions")
    page.locator("[data-position]").first.get_by_role("button", name="Close").click()
    asked(page, "Close position", "enough of this one")
    page.get_by_role("button", name="Cancel entries").click()
    asked(page, "Cancel entries", "spreads are odd")
    go(page, "risk")
    page.get_by_role("button", name="Kill").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Kill")).to_be_disabled()
    asked(page, "Kill", "something is wrong", word="KILL")
    expect(page.locator("[data-safety=entries-off]")).to_contain_text("something is wrong")
    go(page, "positions")
    expect(page.locator("[data-position]")).to_have_count(0)
    go(page, "journal")
    page.get_by_role("button", name="People").click()
    for reason in ("enough of this one", "spreads are odd", "something is wrong"):
        expect(page.get_by_text(re.compile(reason)).first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    asked(page, "Resume", "it was nothing")
    go(page, "overview")
    expect(page.locator("[data-position]").first).to_be_visible()


@pytest.mark.spec("UI-1", "BRK-6", "CFG-4")
def test_a_setting_is_changed_which_trips_the_breaker_and_the_breaker_is_reset(page: Page) -> None:
    go(page, "settings")
    page.get_by_label("Find a setting").fill("breaker.drawdown_max_pct")
    field = page.get_by_label(re.compile("breaker.drawdown_max_pct"))
    field.fill("a lot")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert").filter(has_text="drawdown_max_pct")).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    field.fill("0.1")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("these settings are possible")).to_be_visible()
    expect(page.locator(".diff")).to_contain_text("100")
    expect(page.locator(".diff ins")).to_have_text("0.1")
    page.get_by_role("button", name="Apply").click()
    asked(page, "Apply", "the test wants a trip")
    expect(page.locator(".diff")).to_have_count(0)
    expect(page.get_by_label(re.compile("breaker.drawdown_max_pct"))).to_have_value("0.1")

    go(page, "risk")
    expect(page.locator("[data-breaker=tripped]")).to_be_visible()
    expect(page.locator("[data-safety=entries-off]")).to_contain_text("Drawdown")
    expect(page.locator(".turns li").first).to_contain_text("in force")

    go(page, "settings")
    page.get_by_label("Find a setting").fill("breaker.drawdown_max_pct")
    page.get_by_label(re.compile("breaker.drawdown_max_pct")).fill("100")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name="Apply").click()
    asked(page, "Apply", "as it was")
    go(page, "risk")
    page.get_by_role("button", name="Reset").click()
    asked(page, "Reset", "it was a test")
    expect(page.locator("[data-breaker=armed]")).to_be_visible()
    expect(page.locator(".turns li").first).to_contain_text("it was a test")
    expect(page.locator(".turns li").nth(1)).to_contain_text(re.compile(r"· \d[\d hmins]+ later [+−\d]"))


@pytest.mark.spec("UI-1", "SAFE-6")
def test_the_page_says_which_money_it_is_and_what_is_missing_before_it_may_be_real(page: Page) -> None:
    page.get_by_role("link", name="paper").click()
    expect(page.locator("[data-money=paper]")).to_contain_text("No real money can move")
    for need, standing in (("this version", "missing"), ("losses", "met"), ("key", "not known"), ("record", "missing")):
        expect(page.locator(f"[data-need='{need}'] .tag")).to_have_text(standing)


@pytest.mark.spec("UI-1", "BRK-5")
def test_a_drill_shows_that_the_breaker_would_act(page: Page) -> None:
    go(page, "risk")
    page.get_by_role("button", name="Drill").click()
    expect(page.get_by_text("The breaker would act")).to_be_visible(timeout=120_000)


@pytest.mark.spec("UI-1")
def test_a_backtest_is_started_watched_and_read(page: Page) -> None:
    go(page, "backtests")
    page.get_by_label(re.compile("BTCUSDT-15m.csv")).check()
    page.get_by_label("Engine").select_option("exact")
    page.get_by_label("Other settings").fill("market.interval = 15m\nmarket.confirm_interval = 1h")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("[data-job=done]").first).to_be_visible(timeout=120_000)
    expect(page.locator("[data-result]").get_by_text("Final equity")).to_be_visible()
    with page.expect_download() as download:
        page.locator("[data-result]").get_by_role("button", name="Full report").click()
    assert "<!doctype html>" in Path(download.value.path()).read_text().lower()


@pytest.mark.spec("UI-1", "API-2")
def test_a_lost_stream_is_told_and_found_again(page: Page, running: Bot, seen: Seen) -> None:
    seen.expected |= {502, 503}
    run = running.run
    os.kill(child_pids(run.pid)["web"], signal.SIGKILL)
    expect(page.locator("[data-safety=stale]")).to_contain_text("Out of touch")
    expect(page.locator("[data-link=live]")).to_be_visible()
    expect(page.locator("[data-safety=stale]")).to_have_count(0)
    seen.complaints = [text for text in seen.complaints if "WebSocket" not in text and "ERR_" not in text]


@pytest.mark.spec("UI-1", "AUTH-3")
def test_one_signs_in_with_a_second_factor(browser: Browser, running: Bot, seen: Seen) -> None:
    running.add_user("ann", "trader")
    seen.expected |= {401, 403}
    context = browser.new_context(viewport=WIDE)
    page = opened(context, running.url, seen)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-link=live]")).to_be_visible()
    recovery = enrolled(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("second factor")
    page.get_by_label("Code").fill(recovery[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-link=live]")).to_be_visible()
    go(page, "positions")
    page.get_by_role("button", name="Flatten").click()
    asked(page, "Flatten", "with proof", word="FLATTEN", then_proof=True)
    proved(page, "Code", recovery[1])
    expect(page.get_by_role("region", name="News")).to_contain_text(re.compile("sell|flat|close", re.IGNORECASE))
    context.close()


@pytest.mark.spec("UI-1")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(page: Page, scheme: str) -> None:
    axe = needed(AXE, "needs axe-core, which make dashboard brings along").read_text()
    broken: list[str] = []
    page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)
        for name in PAGES:
            page.evaluate("name => { location.hash = `/${name}` }", name)
            expect(page.locator(".bones")).to_have_count(0)
            page.evaluate(axe)
            found = page.evaluate("axe.run({resultTypes: ['violations']})")
            for each in found["violations"]:
                nodes = [node["html"][:120] for node in each["nodes"][:2]]
                broken.append(f"{name} {size['width']} {each['id']}: {nodes}")
    assert broken == []


@pytest.mark.spec("UI-1")
def test_the_page_can_be_used_with_keys_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Risk & breaker")).to_be_visible()
    expect(page.locator("#main")).to_be_focused()


@pytest.mark.spec("UI-1")
def test_a_phone_shows_it_all_without_moving_sideways(page: Page) -> None:
    page.set_viewport_size(PHONE)
    for name in PAGES:
        page.evaluate("name => { location.hash = `/${name}` }", name)
        expect(page.locator(".bones")).to_have_count(0)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], name
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Flatten")).to_be_visible()
    page.get_by_role("button", name="More").click()
    page.get_by_role("dialog").get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", name="Settings").first).to_be_visible()


@pytest.mark.spec("UI-1")
def test_a_page_without_news_of_the_bot_says_so(signed_in: BrowserContext, running: Bot, seen: Seen) -> None:
    page = signed_in.new_page()
    seen.watch(page)
    page.route_web_socket("**/api/v1/stream", lambda socket: None)  # it opens, and says nothing
    page.goto(running.url)
    expect(page.locator("[data-safety=unknown]")).to_contain_text("Nothing is known yet")
    expect(page.locator("[data-position]")).to_have_count(0)
    page.close()


@pytest.mark.spec("UI-1", "SAFE-5")
def test_what_is_not_known_is_never_said_to_be_nothing(
    signed_in: BrowserContext, running: Bot, seen: Seen, tmp_path: Path
) -> None:
    desk = Desk(paper(begun(tmp_path).parent))
    desk.problem = "the journal cannot be opened: file is not a database"
    page = shown(signed_in, running.url, desk, seen)
    expect(page.locator("[data-safety=not-running]")).to_contain_text("What it holds is not known. The journal cannot")
    for name, held in (("overview", "What do I hold"), ("positions", "Positions"), ("chart", "Position")):
        go(page, name)
        panel = page.get_by_role("region", name=re.compile(f"^{held}"))
        expect(panel.locator("[data-unknown]").first).to_contain_text("file is not a database")
    expect(page.get_by_text(re.compile("Nothing (of it )?is held|All equity"))).to_have_count(0)
    page.get_by_role("button", name="Flatten").click()
    expect(page.get_by_role("dialog")).to_contain_text("What is held is not known here")
    page.close()


@pytest.mark.spec("UI-1", "SAFE-5", "DATA-3")
def test_a_short_has_its_own_sign_and_a_price_counts_as_fresh_only_while_one_may_buy(
    signed_in: BrowserContext, running: Bot, seen: Seen, tmp_path: Path
) -> None:
    view, price = rich_view(), Decimal(100_000)
    short = replace(
        view.positions[0],
        quantity=Decimal("-0.5"),
        entry_price=price,
        mark=Decimal(98_000),
        profit=Decimal(1_000),
        stop_price=Decimal(102_000),
    )
    prices = (PriceView("BTCUSDT", None, None), PriceView("ETHUSDT", Decimal(2_500), view.at_ms - 6_000))
    desk = Desk(paper(begun(tmp_path).parent))
    desk._see(replace(view, positions=(short,), prices=prices))
    page = shown(signed_in, running.url, desk, seen)
    row = page.locator("[data-position=BTCUSDT]")
    expect(row.locator("[data-label=Profit]")).to_have_text(re.compile(r"\+1,000\.00\s+\+2\.00 %"))
    expect(row.locator("[data-label='At the stop']")).to_have_text(re.compile(r"−1,000\.00\s*−2\.00 %"))
    expect(page.get_by_role("region", name="Connection")).to_contain_text("oldest 6 s, none of BTCUSDT")
    go(page, "connection")
    ages = page.get_by_role("region", name="Ages of prices").get_by_role("row")
    expect(ages.filter(has_text="BTCUSDT")).to_contain_text("no data")
    expect(ages.filter(has_text="ETHUSDT")).to_contain_text("too old to buy")
    page.close()


def test_the_built_page_is_light(tmp_path: Path) -> None:
    folder = needed(Path(__file__).parents[2] / "src/surefoot/dashboard/assets", "needs the built page: make dashboard")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 500_000
