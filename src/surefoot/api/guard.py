"""Who may use which route. Closed by default: every route names exactly one guard, or stands in `OPEN`.

`Viewer`, `Trader` and `Admin` ask for a role; `Money` for a trader and `Keeper` for an admin who proved who they are
again within the last minutes (`POST /auth/confirm`), and who has a second factor where the money is real. A test walks
all routes and fails for one without a guard. Whom a guard lets in is then refused a query that the route does not know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.queries import expect_known
from surefoot.api.roles import Person, Role
from surefoot.config import Mode

# Paths that anybody may ask for. What is not under the prefix is the page, which holds no data.
PREFIX = "/api/v1"
OPEN = frozenset(
    PREFIX + path for path in ("/health/live", "/health/ready", "/auth/login", "/auth/refresh", "/auth/link")
)
# Guards itself: a browser cannot send a header with it, so that the first message brings the token.
STREAM = f"{PREFIX}/stream"
# Guards itself too: Prometheus is no user, see `routes.prometheus`.
METRICS = "/metrics"

_BEARER = {"WWW-Authenticate": "Bearer"}
Guard = Callable[[HTTPConnection], Awaitable[Person]]


async def parts_of(connection: HTTPConnection) -> Parts:
    """What the routes share, from inside a request. Not waited for: a plain function would cost a thread's turn."""
    parts: Parts = connection.app.state.parts
    return parts


Shared = Annotated[Parts, Depends(parts_of)]


def person_of(parts: Parts, token: str, least: Role = Role.VIEWER) -> Person:
    """Who has this access token. Raises Problem: 401 for a bad one, 403 for somebody who may not."""
    person = parts.sessions.person(token)
    _expect_role(person, least)
    return person


def _expect_role(person: Person, least: Role) -> None:
    if not person.role.covers(least):
        raise Problem(403, "role_too_low", f"this needs the role {least}; yours is {person.role}")


def _expect_proof(person: Person, mode: Mode) -> None:
    if mode is Mode.LIVE and not person.second_factor:
        text = "with real money this needs a second factor: set one up under Users"
        raise Problem(403, "second_factor_missing", text)
    if not person.confirmed:
        raise confirmation_needed()


def confirmation_needed() -> Problem:
    """What somebody hears who should prove again who they are."""
    return Problem(403, "confirmation_needed", "prove who you are once more: POST /api/v1/auth/confirm")


def _guard(least: Role, *, confirmed: bool = False) -> Guard:
    async def check(connection: HTTPConnection) -> Person:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "signed_out", "sign in first: an access token is needed", _BEARER)
        parts: Parts = connection.app.state.parts
        # Kept before it is looked at further: what somebody tried goes into the audit trail too.
        person = connection.state.person = parts.sessions.person(token.strip())
        _expect_role(person, least)
        if confirmed:
            _expect_proof(person, parts.settings.mode)
        expect_known(connection)
        return person

    return check


viewer, trader, admin = _guard(Role.VIEWER), _guard(Role.TRADER), _guard(Role.ADMIN)
money, keeper = _guard(Role.TRADER, confirmed=True), _guard(Role.ADMIN, confirmed=True)

# What each guard asks for; routes are compared with this in a test.
GUARDS: dict[Guard, tuple[Role, bool]] = {
    viewer: (Role.VIEWER, False),
    trader: (Role.TRADER, False),
    admin: (Role.ADMIN, False),
    money: (Role.TRADER, True),
    keeper: (Role.ADMIN, True),
}

Viewer = Annotated[Person, Depends(viewer)]
Trader = Annotated[Person, Depends(trader)]
Admin = Annotated[Person, Depends(admin)]
Money = Annotated[Person, Depends(money)]
Keeper = Annotated[Person, Depends(keeper)]
