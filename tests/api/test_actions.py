"""What may be asked of the trader over HTTP: by whom, once, signed, with a trace in the audit trail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pysqlite3.dbapi2 as sqlite
import pytest

from surefoot.alerts import Alert, Level
from surefoot.api import feed
from surefoot.api.audit import Trail
from surefoot.api.roles import Role
from surefoot.api.tokens import ACCESS_MS
from surefoot.api.webstore import WebStore
from surefoot.control import Answer, Wish
from surefoot.core.messages import SettingsChanged
from surefoot.core.view import View
from surefoot.notify import AlertLog, alerts_path, guard_alerts_path
from surefoot.store.journal import Journal
from tests.api.desks import FIRST_RUN, begun, trading, until
from tests.api.served import PASSWORD, Place, Visitor, code_of, place
from tests.store.samples import OPEN_MS, started

KEY = bytes(range(32))
WHY = {"reason": "because"}


class Trader:
    """Takes every wish, or refuses it; remembers who asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[Wish, str]] = []
        self.refusal: str | None = None

    async def __call__(self, wish: Wish, who: str) -> Answer:
        self.asked.append((wish, who))
        if self.refusal is not None:
            return Answer(False, self.refusal)
        changes = {key: ("1", str(text)) for key, text in wish.settings.items()}
        return Answer(True, f"{wish.kind} taken from {who}", changes)


@pytest.fixture
def trader() -> Trader:
    return Trader()


@pytest.fixture
async def here(tmp_path: Path, trader: Trader) -> AsyncIterator[Place]:
    async with trading(begun(tmp_path), ask=trader, key=KEY), place(tmp_path) as served:
        served.parts.desk.control_key = KEY
        await until(lambda: served.parts.desk.running and served.parts.desk.is_ready)
        yield served


async def confirmed(here: Place, role: Role = Role.TRADER) -> Visitor:
    """Somebody of a role who proved who they are again."""
    visitor = await here.signed_in(role)
    session = here.parts.sessions.of(str(role))[0]
    here.parts.sessions.confirm(session.id)
    return visitor


def trail(here: Place) -> list[tuple[str, str]]:
    """Who asked for what, oldest first, and what became of it; without the row of the request itself."""
    rows = here.parts.trail.rows(None, 100)
    own = ("asked", "taken", "refused", "not carried out", "drilled", "sent")
    return [(row.who, row.action) for row in reversed(rows) if any(word in row.action for word in own)]


@pytest.mark.spec("OPS-1", "AUTH-3", "AUTH-4")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/bot/pause", "pause"),
        ("/bot/resume", "resume"),
        ("/bot/cancel-all", "cancel-all"),
        ("/bot/flatten", "flatten"),
        ("/bot/kill", "kill"),
        ("/bot/close", "close"),
        ("/bot/live-off", "live-off"),
        ("/breaker/reset", "breaker-reset"),
    ],
)
async def test_each_wish_reaches_the_trader_signed_by_its_user_and_is_in_the_trail(
    here: Place, trader: Trader, path: str, kind: str
) -> None:
    visitor = await confirmed(here)
    symbol = "BTCUSDT" if kind == "close" else ""
    answer = await visitor.post(path, json=WHY | ({"symbol": symbol} if symbol else {}))
    assert (answer.status_code, answer.json()) == (200, {"text": f"{kind} taken from trader (web)"}), answer.text
    assert trader.asked == [(Wish(kind, "because", symbol), "trader (web)")]
    assert trail(here)[-2:] == [("trader", f"asked for {kind}"), ("trader", f"{kind} taken")]
    assert here.parts.trail.verify().problem is None


@pytest.mark.spec("AUTH-1", "AUTH-2")
@pytest.mark.parametrize(
    ("path", "viewer", "unconfirmed"),
    [
        ("/bot/pause", "role_too_low", None),
        ("/bot/resume", "role_too_low", None),
        ("/bot/cancel-all", "role_too_low", None),
        ("/bot/live-off", "role_too_low", None),
        ("/bot/flatten", "role_too_low", "confirmation_needed"),
        ("/bot/kill", "role_too_low", "confirmation_needed"),
        ("/breaker/reset", "role_too_low", "confirmation_needed"),
    ],
)
async def test_nobody_asks_for_more_than_they_may(
    here: Place, trader: Trader, path: str, viewer: str, unconfirmed: str | None
) -> None:
    assert code_of(await (await here.signed_in(Role.VIEWER)).post(path, json=WHY)) == viewer
    assert trader.asked == []
    answer = await (await here.signed_in(Role.TRADER)).post(path, json=WHY)
    assert (None if answer.status_code == 200 else code_of(answer)) == unconfirmed
    assert len(trader.asked) == (unconfirmed is None)


@pytest.mark.spec("SAFE-6", "AUTH-2", "AUTH-4")
async def test_real_money_is_switched_on_only_with_every_unmet_need_named(here: Place, trader: Trader) -> None:
    wish = WHY | {"accepts": list[str]()}
    visitor = await here.signed_in(Role.TRADER)
    assert code_of(await visitor.post("/bot/live-on", json=wish)) == "confirmation_needed"
    here.parts.sessions.confirm(here.parts.sessions.of(str(Role.TRADER))[0].id)
    assert code_of(await visitor.post("/bot/live-on", json=WHY)) == "invalid_request"
    needs = (await visitor.get("/readiness")).json()["needs"]
    unmet = [need["name"] for need in needs if need["standing"] != "met"]
    assert len(unmet) > 2
    answer = await visitor.post("/bot/live-on", json=wish | {"accepts": unmet[1:]})
    assert (answer.status_code, code_of(answer)) == (409, "needs_not_met")
    assert answer.json()["detail"] == f"not met, and not accepted by name: {unmet[0]}; see GET /readiness"
    assert trader.asked == []
    answer = await visitor.post("/bot/live-on", json=wish | {"accepts": unmet})
    assert (answer.status_code, answer.json()) == (200, {"text": "live-on taken from trader (web)"}), answer.text
    assert trader.asked == [(Wish("live-on", "because"), "trader (web)")]
    assert trail(here)[-2:] == [("trader", "asked for live-on"), ("trader", "live-on taken")]
    (accepted,) = [row for row in here.parts.trail.rows(None, 100) if row.action == "needs not met"]
    assert ", ".join(unmet) in str(accepted)


@pytest.mark.spec("API-1")
async def test_the_same_key_acts_once_and_is_answered_as_the_first_time(here: Place, trader: Trader) -> None:
    visitor = await here.signed_in(Role.TRADER)

    async def pause(key: str, reason: str = "because") -> httpx2.Response:
        return await visitor.post("/bot/pause", json={"reason": reason}, headers={"Idempotency-Key": key})

    first, again = await pause("one"), await pause("one")
    assert (again.status_code, again.content) == (200, first.content)
    assert len(trader.asked) == 1
    assert code_of(await pause("one", "another")) == "key_reused"
    await pause("two")
    assert len(trader.asked) == 2
    other = await here.signed_in(Role.ADMIN)  # a key is its sender's own
    await other.post("/bot/pause", json=WHY, headers={"Idempotency-Key": "one"})
    assert len(trader.asked) == 3


@pytest.mark.spec("API-1")
async def test_a_refusal_is_told_and_may_be_tried_again_under_the_same_key(here: Place, trader: Trader) -> None:
    visitor = await here.signed_in(Role.TRADER)
    trader.refusal = "nothing to resume"
    headers = {"Idempotency-Key": "one"}
    answer = await visitor.post("/bot/resume", json=WHY, headers=headers)
    assert (answer.status_code, code_of(answer), answer.json()["detail"]) == (409, "refused", "nothing to resume")
    assert trail(here)[-1] == ("trader", "resume refused")
    trader.refusal = None
    assert (await visitor.post("/bot/resume", json=WHY, headers=headers)).status_code == 200


@pytest.mark.spec("OPS-3")
async def test_without_a_trader_or_a_key_it_is_said_that_nobody_was_asked(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        visitor = await here.signed_in(Role.TRADER)
        assert code_of(await visitor.post("/bot/pause", json=WHY)) == "cannot_sign"
        here.parts.desk.control_key = KEY
        assert code_of(await visitor.post("/bot/pause", json=WHY)) == "trader_away"
        begun(tmp_path)  # and left: there is a journal, and nobody at its socket
        assert code_of(await visitor.post("/bot/pause", json=WHY)) == "trader_away"
        assert trail(here)[-1] == ("trader", "pause not carried out")


@contextmanager
def unwritable(store: WebStore, how: str) -> Iterator[None]:
    """A store that cannot be written for a while: its disk is full, or another program holds it."""
    if how == "full":
        (pages,) = store.row("PRAGMA page_count") or (0,)
        store.row(f"PRAGMA max_page_count = {pages}")
        while Trail(store, lambda: 0).try_add("somebody", "filled what is left", of="much " * 50) is not None:
            pass
        yield
        store.row("PRAGMA max_page_count = 1000000")
        return
    (_, _, path) = store.row("PRAGMA database_list") or ("", "", "")
    with closing(sqlite.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.spec("SAFE-3", "DB-2", "OPS-1")
@pytest.mark.parametrize("how", ["full", "locked"])
async def test_exits_go_on_where_the_web_process_cannot_write(here: Place, trader: Trader, how: str) -> None:
    visitor = await here.signed_in(Role.TRADER)
    assert here.parts.store.row("PRAGMA busy_timeout") == (200,)  # nothing else happens in this process meanwhile
    here.parts.store.row("PRAGMA busy_timeout = 10")
    with unwritable(here.parts.store, how):
        here.clock.forward(ACCESS_MS / 1_000 + 1)
        for _ in range(2):  # it is not replaced, so it is good again
            answer = await visitor.post("/auth/refresh")
            assert answer.status_code == 200, answer.text
            visitor.keep(answer)
        assert code_of(await visitor.post("/auth/confirm", json={"password": "a wrong one"})) == "credentials_wrong"
        assert (await visitor.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        kinds = ["pause", "cancel-all", "flatten", "kill", "live-off", "close"]
        for kind in kinds:
            body = WHY | ({"symbol": "BTCUSDT"} if kind == "close" else {})
            answer = await visitor.post(f"/bot/{kind}", json=body, headers={"Idempotency-Key": kind})
            assert (answer.status_code, answer.json()) == (200, {"text": f"{kind} taken from trader (web)"})
        trader.refusal = "not now"
        assert code_of(await visitor.post("/bot/pause", json=WHY)) == "refused"
        asked = len(trader.asked)
        # What could raise risk leaves a trace, or is not done.
        for path in ("/bot/resume", "/breaker/reset"):
            for headers in ({}, {"Idempotency-Key": path}):
                assert code_of(await visitor.post(path, json=WHY, headers=headers)) == "store_failed"
        answer = await visitor.post("/settings", json=WHY | {"changes": {"risk.positions_max": "2"}})
        assert code_of(answer) == "store_failed"
        assert len(trader.asked) == asked
        for n in range(5):
            answer = await visitor.post("/auth/confirm", json={"password": f"guess {n} at it"})
        answer = await visitor.post("/auth/confirm", json={"password": PASSWORD})
        assert code_of(answer) == "locked"
    assert [wish.kind for wish, _ in trader.asked] == [*kinds, "pause"]
    trader.refusal = None
    assert (await visitor.post("/bot/resume", json=WHY)).status_code == 200
    visitor.keep(await visitor.post("/auth/refresh"))
    assert trail(here)[-1] == ("trader", "resume taken")
    assert here.parts.trail.verify().problem is None


@pytest.mark.spec("SAFE-3", "OPS-1")
async def test_a_trader_whose_pictures_do_not_come_is_asked_all_the_same(
    tmp_path: Path, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_come(path: Path) -> AsyncIterator[View]:
        for view in tuple[View, ...]():
            yield view

    monkeypatch.setattr(feed, "watch_views", none_come)
    async with trading(begun(tmp_path), ask=trader, key=KEY), place(tmp_path) as here:
        here.parts.desk.control_key = KEY
        visitor = await confirmed(here)
        answer = await visitor.post("/bot/flatten", json=WHY)
        assert not here.parts.desk.running
        assert (answer.status_code, answer.json()) == (200, {"text": "flatten taken from trader (web)"}), answer.text


@pytest.mark.spec("AUTH-3")
async def test_a_trader_with_another_key_does_not_listen(here: Place, trader: Trader) -> None:
    here.parts.desk.control_key = bytes(32)
    answer = await (await here.signed_in(Role.TRADER)).post("/bot/pause", json=WHY)
    assert (code_of(answer), answer.json()["detail"]) == ("refused", "the signature is wrong")
    assert trader.asked == []


@pytest.mark.spec("API-1")
@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {**WHY, "more": 1}])
async def test_a_wish_without_a_good_reason_is_refused(here: Place, trader: Trader, body: dict[str, Any]) -> None:
    answer = await (await here.signed_in(Role.TRADER)).post("/bot/pause", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert trader.asked == []


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("CFG-2", "CFG-4")
async def test_settings_are_told_checked_and_changed(here: Place, trader: Trader) -> None:
    visitor = await confirmed(here)
    settings = {each["key"]: each for each in (await visitor.get("/settings")).json()["items"]}
    assert settings["risk.positions_max"] | {"description": ""} == {
        "key": "risk.positions_max",
        "value": "3",
        "default": "3",
        "source": "not known",
        "description": "",
        "allowed": "a whole number from 1 to 20",
        "changeable": True,
    }
    assert not settings["mode"]["changeable"]
    assert not {"api_key", "api_secret", "alert_urls"} & set(settings)
    changes = {"changes": {"risk.positions_max": "2", "rsi.period": None}}
    checked = (await visitor.post("/settings/check", json=changes)).json()
    assert checked["changes"][0] == {"key": "risk.positions_max", "from": "1", "to": "2"}
    assert checked["problems"] == []
    changed = await visitor.post("/settings", json=changes | WHY)
    assert changed.status_code == 200, changed.text
    assert [wish.kind for wish, _ in trader.asked] == ["settings-check", "settings"]
    assert trader.asked[1][0].settings == changes["changes"]
    assert ("trader", "settings taken") in trail(here)


@pytest.mark.spec("CFG-4", "UI-1", "SAFE-2")
async def test_risk_is_told_against_the_limits_in_force(here: Place, tmp_path: Path) -> None:
    visitor = await here.signed_in(Role.VIEWER)
    assert (await visitor.get("/risk")).json()["positions_max"] == 3
    less = {"risk.positions_max": "1", "risk.portfolio_risk_max_pct": "3", "risk.loss_streak_max": "2"}
    with Journal.open(tmp_path / FIRST_RUN) as journal:
        journal.append(started("next"), SettingsChanged(OPEN_MS, "ada", "less", less))
    await until(lambda: here.parts.desk.records is not None and bool(here.parts.desk.records.changes))
    risk = (await visitor.get("/risk")).json()
    told = {each["key"]: each["value"] for each in (await visitor.get("/settings")).json()["items"]}
    assert less == {key: str(risk[key.removeprefix("risk.")]) for key in less} == {key: told[key] for key in less}


@pytest.mark.spec("CFG-4", "AUTH-1")
async def test_what_the_trader_says_against_a_change_is_told(here: Place, trader: Trader) -> None:
    visitor = await confirmed(here)
    trader.refusal = "risk.positions_max = 99: allowed is a whole number from 1 to 20"
    changes = {"changes": {"risk.positions_max": "99"}}
    checked = (await visitor.post("/settings/check", json=changes)).json()
    assert checked["problems"] == [trader.refusal]
    assert code_of(await visitor.post("/settings", json=changes | WHY)) == "refused"
    unconfirmed = await here.signed_in(Role.ADMIN)
    assert code_of(await unconfirmed.post("/settings", json=changes | WHY)) == "confirmation_needed"


# -- drill and alerts -------------------------------------------------------------------------------------------------


@pytest.mark.spec("BRK-6")
async def test_the_fire_drill_runs_beside_the_web_process(here: Place) -> None:
    visitor = await here.signed_in(Role.TRADER)
    answer = await visitor.post("/breaker/drill", timeout=110)
    assert answer.status_code == 200, answer.text
    drill = answer.json()
    assert drill["passed"]
    assert drill["drilled"] > 0
    assert drill["book"]["source"] == "the running trader's"
    assert ("trader", "breaker drilled") in trail(here)


@pytest.mark.spec("NOTE-1")
async def test_without_an_address_no_test_is_said_to_be_sent(here: Place) -> None:
    visitor = await here.signed_in(Role.TRADER)
    assert code_of(await visitor.post("/notifications/test")) == "no_address"
    assert (await visitor.get("/notifications")).json() == {"items": [], "next": None, "from_ms": None}


@pytest.mark.spec("API-1", "NOTE-1")
async def test_alerts_are_read_page_by_page_and_by_level_and_kind(here: Place) -> None:
    visitor, path = await here.signed_in(Role.VIEWER), here.parts.desk.journal()
    assert path is not None
    logs = {"run": AlertLog(alerts_path(path)), "guardian": AlertLog(guard_alerts_path(path))}
    written = []  # two in each millisecond
    for n in range(11):
        by = "guardian" if n % 4 == 1 else "run"
        level, kind = (Level.CRITICAL, "trip") if n % 3 == 0 else (Level.INFO, "fill")
        logs[by].add(Alert(n, level, kind, f"title {n}", "text"), 1_000 + n // 2)
        written.append((by, f"title {n}", level, kind))

    async def read(query: str) -> list[tuple[str, str, str, str]]:
        found: list[tuple[str, str, str, str]] = []
        cursor = ""
        while True:
            page = (await visitor.get(f"/notifications?{query}{cursor}")).json()
            assert page["items"]
            found += [(each["by"], each["title"], each["level"], each["kind"]) for each in page["items"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    for limit in (1, 2, 3, 50):
        read_back = await read(f"limit={limit}")
        assert len(read_back) == len(written)
        assert set(read_back) == set(written)
    assert set(await read("limit=2&level=critical")) == {each for each in written if each[2] == "critical"}
    assert set(await read("limit=2&kind=fill")) == {each for each in written if each[3] == "fill"}
    assert code_of(await visitor.get("/notifications?level=loud")) == "invalid_request"
