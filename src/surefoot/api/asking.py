"""What a signed-in user asks of the trader: signed with the run's key, and written in the audit trail.

Rules. A wish that can only lessen risk is passed on even where the trail cannot be written, as on a full disk: the
journal has who asked and why. Any other is not, because it could not be traced.
"""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.api.audit import Trail
from surefoot.api.desk import Desk
from surefoot.api.problems import Problem
from surefoot.api.roles import Person
from surefoot.control import Answer, ControlError, Signer, TraderAway, Wish, ask_trader_async, refusal_of, socket_path

LESSENING = frozenset({"pause", "flatten", "close", "cancel-all", "kill", "live-off"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What the trader said: it has the wish, and its journal has it on disk."""

    text: str


async def ask(desk: Desk, person: Person, wish: Wish) -> Answer:
    """What the running trader says to a wish. Raises Problem where there is none to ask, or none that answers."""
    if desk.control_key is None:
        text = (
            "this web process has no key to sign requests with: use surefoot run, or set SUREFOOT_CONTROL_KEY for both"
        )
        raise Problem(503, "cannot_sign", text)
    refusal = refusal_of(wish)
    if refusal is not None:
        raise Problem(422, "invalid_request", refusal)
    path = desk.journal()
    away = Problem(503, "trader_away", "the trader is not running: there is nobody to ask")
    if path is None:
        raise away
    try:  # even where the desk misses it: its pictures may be late while it is well
        return await ask_trader_async(socket_path(path), wish, signer=Signer(desk.control_key, person.name))
    except TraderAway:
        raise away from None
    except ControlError as problem:
        raise Problem(503, "no_answer", f"{problem}; it is not known whether it was heard") from None


async def demand(desk: Desk, trail: Trail, person: Person, wish: Wish) -> Answer:
    """`ask` for something that changes what the bot does: both the demand and what became of it are in the trail.

    Raises Problem (409) where the trader refuses.
    """
    told = {"reason": wish.reason}
    told |= {"symbol": wish.symbol} if wish.symbol else {}
    what = f"asked for {wish.kind}"
    if wish.kind in LESSENING:
        asked = trail.try_add(person.name, what, **told, settings=dict(wish.settings))
    else:
        asked = trail.add(person.name, what, **told, settings=dict(wish.settings))
    try:
        answer = await ask(desk, person, wish)
    except Problem as problem:
        became = f"{wish.kind} not carried out"
        trail.try_add(person.name, became, asked=asked, problem=problem.detail)
        raise
    became = f"{wish.kind} {'taken' if answer.taken else 'refused'}"
    trail.try_add(person.name, became, asked=asked, answer=answer.text)
    if not answer.taken:
        raise Problem(409, "refused", answer.text)
    return answer
