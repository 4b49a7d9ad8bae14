"""What the page says is missing before real money."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from surefoot.api.roles import Role
from surefoot.config import Settings, settings_digest
from surefoot.core.messages import LinkRestored, RecordAlarm, RunStarted
from surefoot.core.model import MS_PER_DAY
from surefoot.core.view import View
from surefoot.store.journal import Journal
from tests.api.desks import FIRST_RUN, begun, trading, until
from tests.api.served import Place, place
from tests.api.test_second_factor import enrolled
from tests.views import rich_view

ROOT = Path(__file__).parents[2]


async def needs(here: Place, role: Role = Role.TRADER) -> dict[str, dict[str, Any]]:
    visitor = await here.signed_in(role)
    answer = await visitor.get("/readiness")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["ready"] == all(need["standing"] == "met" for need in told["needs"])
    assert all(bool(need["advice"]) != (need["standing"] == "met") for need in told["needs"])
    return {need["name"]: need for need in told["needs"]}


def standing(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: need["standing"] for name, need in found.items()}


@pytest.mark.spec("SAFE-6", "SAFE-5")
async def test_without_a_trader_nothing_is_known_of_it_and_that_is_not_enough(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        found = await needs(here)
    assert standing(found) == {
        "this version": "missing",
        "capital": "missing",
        "losses": "met",
        "breaker": "not known",
        "books": "not known",
        "protection": "not known",
        "record": "missing",
        "key": "not known",
        "second factor": "missing",
        "alerts": "missing",
    }


def trip() -> View:
    view = rich_view()
    bare = (replace(view.positions[0], unprotected_ms=4_000),)
    breaker = replace(view.breaker, off="loss of the day")
    return replace(view, positions=bare, breaker=breaker, differences=("BTC differs by 1",))


@pytest.mark.spec("SAFE-6", "BRK-3")
async def test_what_is_wrong_with_the_run_is_said_in_its_own_words(tmp_path: Path) -> None:
    async with trading(begun(tmp_path), view=trip), place(tmp_path, breaker__day_loss_tier="warn") as here:
        await until(lambda: here.parts.desk.running)
        found = await needs(here)
    assert {name for name, what in standing(found).items() if what != "missing"} == {"key"}
    assert found["breaker"]["found"] == "loss of the day"
    assert found["books"]["found"] == "BTC differs by 1"
    assert found["losses"]["found"] == "only a warning: breaker.day_loss_tier"
    assert found["protection"]["found"] == f"no stop rests for {rich_view().positions[0].symbol}"


def calm() -> View:
    view = rich_view()
    covered = tuple(replace(position, unprotected_ms=None) for position in view.positions)
    return replace(view, positions=covered, breaker=replace(view.breaker, off=None), books="agree", differences=())


def ran_for(journal: Path, settings: Settings, days: int) -> None:
    """A run of these settings whose streams were up all the time."""
    now_ms = 1_790_000_000_000
    placed = settings.model_copy(update={"store": settings.store.model_copy(update={"journal_path": journal})})
    run = RunStarted(now_ms, "r1", settings.mode, settings.market.symbols, settings_digest(placed), "0.1.0")
    ended = RecordAlarm(now_ms + days * MS_PER_DAY, "price-dropped", "the last word of it")
    with Journal.open(journal) as kept:
        kept.append(run, LinkRestored(now_ms, "market"), LinkRestored(now_ms, "account"), ended)


@pytest.mark.spec("SAFE-6", "MODE-4")
@pytest.mark.parametrize(("days", "record"), [(6, "missing"), (8, "met")])
async def test_a_run_that_shows_everything_lacks_what_cannot_be_known_from_here(
    tmp_path: Path, days: int, record: str
) -> None:
    journal, flags = tmp_path / FIRST_RUN, {"paper__market": "relay", "risk__capital_max_quote": "1000"}
    async with place(tmp_path, **flags) as here:
        desk = here.parts.desk
        ran_for(journal, desk.settings, days)
        desk.settings = desk.settings.model_copy(update={"alert_urls": SecretStr("json://127.0.0.1/")})
        async with trading(journal, view=calm):
            await until(lambda: desk.running)
            await enrolled(here, await here.signed_in(Role.ADMIN))
            found = await needs(here)
    other = {name: what for name, what in standing(found).items() if what != "met"}
    assert other == {"this version": "missing", "key": "not known"} | ({"record": record} if record != "met" else {})
    assert ("days of running: 6.00, wanted at least 7" in found["record"]["found"]) == (days == 6)


@pytest.mark.spec("SAFE-6")
async def test_a_run_with_real_money_says_so_and_that_its_key_was_asked(tmp_path: Path) -> None:
    journal = tmp_path / "surefoot.sqlite"
    async with place(tmp_path, mode="live", live_confirmed="true") as here:
        ran_for(journal, here.parts.settings, 1)
        async with trading(journal, view=calm):
            await until(lambda: here.parts.desk.running)
            visitor = await here.signed_in(Role.TRADER)
            told = (await visitor.get("/readiness")).json()
            found = await needs(here)
    assert (told["mode"], told["in_use"], told["ready"]) == ("live", True, False)
    assert found["key"]["standing"] == "met"


@pytest.mark.spec("SAFE-9")
async def test_page_and_readme_say_the_same_of_this_version(tmp_path: Path) -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    async with place(tmp_path) as here:
        found = await needs(here)
    assert ("have not been proven against Binance itself" in readme) == (found["this version"]["standing"] == "missing")
