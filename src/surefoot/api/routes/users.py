"""Users: made, changed and removed by an admin, who cannot do it to themselves and so never locks everybody out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from surefoot.api.accounts import NAME, AccountError, User
from surefoot.api.guard import Admin, Keeper, Shared
from surefoot.api.once import ActOnce
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.reading import Page
from surefoot.api.roles import Person, Role
from surefoot.api.routes.auth import Body, FreshPassword

router = APIRouter(tags=["users"])


class UserShown(BaseModel):
    name: str
    role: Role
    made_ms: int
    off_ms: int | None
    has_password: bool
    second_factor: bool


class NewUser(Body):
    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    role: Role
    password: FreshPassword


class Change(Body):
    """What shall be otherwise. `second_factor` can only be taken off: only its user can enrol one."""

    role: Role | None = None
    on: bool | None = None
    password: FreshPassword | None = None
    second_factor: Annotated[Literal[False] | None, Field(description="false takes it off")] = None


@router.get("/users")
async def users(person: Admin, parts: Shared) -> Page[UserShown]:
    """Everybody who may sign in, and who no longer may, by name; on one page."""
    return Page(items=[_shown(user) for user in parts.accounts.users()], next=None)


@router.post("/users", status_code=201, response_model=UserShown)
async def add(body: NewUser, person: Keeper, parts: Shared, once: ActOnce) -> Response:
    """Make a user."""

    async def act() -> User:
        try:
            return await parts.accounts.add_aside(body.name, body.role, body.password, person.name)
        except AccountError as problem:
            raise Problem(409, "user_refused", str(problem)) from None

    return await once.answer(person.name, act, 201)


@router.patch("/users/{name}", response_model=UserShown)
async def change(name: str, body: Change, person: Keeper, parts: Shared, once: ActOnce) -> Response:
    """Another role, password, or no second factor; off: no signing in. Sessions end where that matters."""
    return await once.answer(person.name, lambda: _changed(name, body, person, parts))


async def _changed(name: str, body: Change, person: Person, parts: Parts) -> User:
    _another(parts, name, person.name)
    if body.password is not None:
        try:
            await parts.accounts.set_password_aside(name, body.password, person.name)
        except AccountError as problem:
            raise Problem(409, "user_refused", str(problem)) from None
    if body.role is not None:
        parts.accounts.change_role(name, body.role, person.name)
    if body.on is not None:
        parts.accounts.switch(name, body.on, person.name)
    if body.second_factor is False:
        parts.accounts.second_factor.remove(name, person.name)
    if body.password is not None or body.on is False:
        parts.sessions.end_all(name, person.name)
    return _another(parts, name, person.name)


@router.delete("/users/{name}", status_code=204, response_class=Response)
async def remove(name: str, person: Keeper, parts: Shared, once: ActOnce) -> Response:
    """Forget a user, who is signed out everywhere at once."""

    async def act() -> None:
        _another(parts, name, person.name)
        parts.accounts.remove(name, person.name)

    return await once.answer(person.name, act, 204)


def _another(parts: Parts, name: str, own: str) -> User:
    user = parts.accounts.user(name)
    if user is None:
        raise Problem(404, "not_found", "there is no such user")
    if name == own:
        raise Problem(409, "own_account", "another admin must do that: you could lock yourself out")
    return user


def _shown(user: User) -> UserShown:
    return UserShown(**asdict(user))
