"""What may be asked of the trader: pause, resume, flatten, close, cancel, kill, real money on and off, and letting go
of a trip.

Nothing here trades: the trader is asked, and decides. What moves money needs a person who proved who they are again.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from surefoot.api.asking import LESSENING, Taken, demand
from surefoot.api.guard import Money, Shared, Trader
from surefoot.api.once import ActOnce, Once
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.readiness import needs_of
from surefoot.api.roles import Person
from surefoot.api.running import as_backtest, ran
from surefoot.control import REASON_LENGTH_MAX, Wish

router = APIRouter(tags=["actions"])

DRILL_MAX_S = 120.0


def _one_line(text: str) -> str:
    """Characters that cannot be shown become spaces: what a journal says must be readable on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


# A letter or digit of some script. Not the class of word letters, which is ASCII's alone where a schema is read.
LETTER = "[0-9A-Za-z\u00c0-\u024f\u0370-\u052f\u0900-\u0dff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]"
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LENGTH_MAX, pattern=LETTER), AfterValidator(_one_line)]


class Why(BaseModel):
    """The reason is kept in the journal and in the audit trail, with the name of who asks."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class WhyOf(Why):
    """`symbol` is what to leave."""

    symbol: Annotated[str, Field(pattern="^[A-Z0-9_]{2,30}$")]


class WhyLive(Why):
    """`accepts` names each need of `GET /readiness` that is not met and that real money shall go without."""

    accepts: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=20)]


async def _answer(parts: Parts, person: Person, once: Once, wish: Wish) -> Response:
    async def act() -> Taken:
        return Taken((await demand(parts.desk, parts.trail, person, wish)).text)

    return await once.answer(person.name, act, lessens_risk=wish.kind in LESSENING)


@router.post("/bot/pause", response_model=Taken)
async def pause(person: Trader, parts: Shared, once: ActOnce, why: Why) -> Response:
    """No entries until resume. Exits and resting protection go on; a restart does not end a pause."""
    return await _answer(parts, person, once, Wish("pause", why.reason))


@router.post("/bot/resume", response_model=Taken)
async def resume(person: Trader, parts: Shared, once: ActOnce, why: Why) -> Response:
    """Entries again after a pause or a kill. It does not end a trip of the breaker."""
    return await _answer(parts, person, once, Wish("resume", why.reason))


@router.post("/bot/cancel-all", response_model=Taken)
async def cancel_all(person: Trader, parts: Shared, once: ActOnce, why: Why) -> Response:
    """Cancel all entries that are on their way. What protects a position stays."""
    return await _answer(parts, person, once, Wish("cancel-all", why.reason))


@router.post("/bot/flatten", response_model=Taken)
async def flatten(person: Money, parts: Shared, once: ActOnce, why: Why) -> Response:
    """Sell everything that the bot holds, at the market. Entries go on afterwards unless paused."""
    return await _answer(parts, person, once, Wish("flatten", why.reason))


@router.post("/bot/kill", response_model=Taken)
async def kill(person: Money, parts: Shared, once: ActOnce, why: Why) -> Response:
    """The kill switch: a pause and a flatten in one."""
    return await _answer(parts, person, once, Wish("kill", why.reason))


@router.post("/bot/close", response_model=Taken)
async def close(person: Money, parts: Shared, once: ActOnce, why: WhyOf) -> Response:
    """Leave one symbol: what is held of it is sold, an entry on its way is canceled."""
    return await _answer(parts, person, once, Wish("close", why.reason, why.symbol))


@router.post("/breaker/reset", response_model=Taken)
async def breaker_reset(person: Money, parts: Shared, once: ActOnce, why: Why) -> Response:
    """Let go of all trips and of a cool-down; losses are measured from the equity of that moment."""
    return await _answer(parts, person, once, Wish("breaker-reset", why.reason))


@router.post("/bot/live-on", response_model=Taken)
async def live_on(person: Money, parts: Shared, once: ActOnce, why: WhyLive) -> Response:
    """Entries with real money from now on; a live run begins without. What is not met has to be accepted by name."""

    async def act() -> Taken:
        needs = needs_of(parts.desk, parts.accounts.users(), await parts.record.need()).needs
        unmet = [need.name for need in needs if need.standing != "met"]
        if set(unmet) - set(why.accepts):
            missing = ", ".join(name for name in unmet if name not in why.accepts)
            raise Problem(409, "needs_not_met", f"not met, and not accepted by name: {missing}; see GET /readiness")
        parts.trail.add(person.name, "needs not met", accepted=", ".join(unmet) or "none")
        return Taken((await demand(parts.desk, parts.trail, person, Wish("live-on", why.reason))).text)

    return await once.answer(person.name, act)


@router.post("/bot/live-off", response_model=Taken)
async def live_off(person: Trader, parts: Shared, once: ActOnce, why: Why) -> Response:
    """No entries with real money until they are switched on again. Exits and resting protection go on."""
    return await _answer(parts, person, once, Wish("live-off", why.reason))


class Check(BaseModel):
    """What had to hold, whether it did, and what was seen."""

    what: str
    passed: bool
    seen: str


class Scene(BaseModel):
    """What a rule of the breaker did on the simulated exchange; `skipped` says why it was not tried."""

    rule: str
    tier: str
    passed: bool
    skipped: str | None
    limit_pct: str | None
    loss_pct: str | None
    equity_before: str | None
    equity_after: str | None
    held: list[str]
    checks: list[Check]


class DrillBook(BaseModel):
    """The book that the drill began with, and where it is from."""

    source: str
    equity: str
    held: list[str]


class Drill(BaseModel):
    """Whether the breaker would act: `passed` when everything held that was tried, `drilled` rules of them."""

    passed: bool
    drilled: int
    book: DrillBook
    scenes: list[Scene]


@router.post("/breaker/drill", response_model=Drill)
async def breaker_drill(person: Trader, parts: Shared, once: ActOnce) -> Response:
    """Fire drill: prove on a simulated exchange, with the settings and today's book, that the breaker would act.

    Nothing of the bot's is touched. It takes some seconds.
    """

    async def act() -> Any:
        journal = parts.desk.journal()
        words = ["breaker", "drill", "--json", *(() if journal is None else ("--journal", str(journal))), "--config"]
        try:
            done = await ran(words, as_backtest(parts.desk.in_force.settings), DRILL_MAX_S)
        except TimeoutError:
            raise Problem(503, "drill_failed", f"the drill took more than {DRILL_MAX_S:g} s") from None
        if not done.out:
            raise Problem(503, "drill_failed", done.complaint or f"the drill ended with code {done.code}")
        drill = json.loads(done.out)
        parts.trail.add(person.name, "breaker drilled", passed=drill["passed"], drilled=drill["drilled"])
        return drill

    return await once.answer(person.name, act)
