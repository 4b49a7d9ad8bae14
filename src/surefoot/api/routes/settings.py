"""Settings: what is in force and where from, what a change would do, and changes while the trader runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from surefoot.api.asking import ask, demand
from surefoot.api.guard import Money, Shared, Trader, Viewer
from surefoot.api.once import ActOnce
from surefoot.api.reading import Page, TheDesk, told, told_page
from surefoot.api.routes.actions import Reason
from surefoot.changes import CHANGEABLE, KEYS_MAX, TEXT_LENGTH_MAX
from surefoot.config import described, value_of, value_text
from surefoot.control import Answer, Wish

router = APIRouter(tags=["settings"])

Key = Annotated[str, Field(max_length=100)]
Text = Annotated[str, Field(max_length=TEXT_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class Setting:
    """`value` and `default` are as the file would say them; `changeable` while the trader runs."""

    key: str
    value: str
    default: str
    source: str
    description: str
    allowed: str
    changeable: bool


class Change(BaseModel):
    """A setting that differs by a change, or would; as the file would say it."""

    key: str
    before: Annotated[str, Field(alias="from")]
    to: str


class Checked(BaseModel):
    """What a change does, or why it cannot be."""

    changes: list[Change]
    problems: list[str]
    text: str


class Changes(BaseModel):
    """Texts by dotted key, as a flag gives them; null takes back what was changed of a key."""

    model_config = ConfigDict(extra="forbid")

    changes: Annotated[dict[Key, Text | None], Field(min_length=1, max_length=KEYS_MAX)]


class ChangesWhy(Changes):
    """The reason is kept in the journal and in the audit trail."""

    reason: Reason


@router.get("/settings", response_model=Page[Setting])
async def settings(person: Viewer, desk: TheDesk) -> Response:
    """Every setting but secrets: its value in force, and where that is from."""
    now = desk.in_force
    return told_page(
        [
            Setting(
                key=key,
                value=value_text(value_of(now.settings, key)),
                default=value_text(default),
                source=now.sources.get(key, "not known"),
                description=description,
                allowed=allowed,
                changeable=key in CHANGEABLE,
            )
            for key, default, description, allowed in described()
        ]
    )


@router.post("/settings/check", response_model=Checked)
async def check(person: Trader, parts: Shared, changes: Changes) -> Response:
    """What a change would do, asked of the running trader; nothing is changed."""
    answer = await ask(parts.desk, person, Wish("settings-check", "", settings=changes.changes))
    return told(_checked(answer))


@router.post("/settings", response_model=Checked)
async def change(person: Money, parts: Shared, once: ActOnce, changes: ChangesWhy) -> Response:
    """Change settings of the running trader; they count from the next decision on, and outlive a restart."""

    async def act() -> dict[str, object]:
        wish = Wish("settings", changes.reason, settings=changes.changes)
        return _checked(await demand(parts.desk, parts.trail, person, wish))

    return await once.answer(person.name, act)


def _checked(answer: Answer) -> dict[str, object]:
    changes = [{"key": key, "from": old, "to": new} for key, (old, new) in sorted(answer.changes.items())]
    return {"changes": changes, "problems": [] if answer.taken else answer.text.splitlines(), "text": answer.text}
