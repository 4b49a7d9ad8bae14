"""For the program that tries the API against its schema: a user of its own for every request about signing in, so that
one that signs itself out, changes its password or locks itself does not spoil the next.

That program loads it; it writes into the web store of the served app (`SUREFOOT_TRIED_JOURNAL`), as commands do.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import schemathesis

from surefoot.api.accounts import Accounts
from surefoot.api.audit import Trail
from surefoot.api.roles import Role
from surefoot.api.sessions import COOKIE, Grant, Sessions
from surefoot.api.tokens import Tokens
from surefoot.api.webstore import WebStore, store_path
from tests.api.served import PASSWORD, QUICK

JOURNAL = "SUREFOOT_TRIED_JOURNAL"
CONFIRMED_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Throwaways:
    """Makes users with a session each: an admin who is confirmed, and signed in from an address of its own."""

    def __init__(self, journal: Path) -> None:
        self._store = WebStore(store_path(journal))
        trail = Trail(self._store, now_ms)
        self._accounts = Accounts(self._store, trail, now_ms, QUICK)
        self._sessions = Sessions(self._store, trail, Tokens(self._store, now_ms), now_ms)
        self._numbers = itertools.count()

    def user(self) -> str:
        name = f"thrown{next(self._numbers)}"
        self._accounts.add(name, Role.ADMIN, PASSWORD, "the test")
        return name

    def address(self) -> str:
        number = next(self._numbers)
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def session(self) -> Grant:
        """A new session of somebody new."""
        return self._sessions.begin(self.user(), "password", "127.0.0.1", "test", CONFIRMED_MS)


_made: list[Throwaways] = []


def throwaways() -> Throwaways:
    if not _made:
        _made.append(Throwaways(Path(os.environ[JOURNAL])))
    return _made[0]


@schemathesis.auth(refresh_interval=None)
class SomebodyNew:
    """Signs every request in anew."""

    def get(self, case: Any, context: Any) -> str:
        return throwaways().session().access_token

    def set(self, case: Any, token: str, context: Any) -> None:
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {token}"


def is_one_of_two(text: object) -> bool:
    """Of what is made up, one half: the other half stays, and is refused."""
    return len(str(text)) % 2 == 1


@schemathesis.hook
def map_path_parameters(context: Any, values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Names of nobody and numbers of no session find nothing: one of two becomes that of somebody."""
    for name in ("name", "session_id"):
        if values and name in values and is_one_of_two(values[name]):
            return {**values, name: throwaways().user() if name == "name" else throwaways().session().session_id}
    return values


@schemathesis.hook
def map_cookies(context: Any, values: dict[str, Any] | None) -> dict[str, Any] | None:
    """A refresh token that is made up refreshes nothing: one of two becomes that of a session."""
    if values and COOKIE in values and is_one_of_two(values[COOKIE]):
        return {**values, COOKIE: throwaways().session().refresh_token}
    return values


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Passwords that are made up open nothing: one of two good bodies becomes one with the right words."""
    path = context.operation.path
    right = {
        "/api/v1/auth/login": lambda: {"name": throwaways().user(), "password": PASSWORD},
        "/api/v1/auth/confirm": lambda: {"password": PASSWORD},
        "/api/v1/auth/password": lambda: {"old": PASSWORD, "new": "another good password"},
    }
    if path not in right or not isinstance(body, dict) or not body:
        return body
    is_good = all(isinstance(word, str) and 0 < len(word) <= 200 for word in body.values())
    knows = {"name", "password", "code", "old", "new"}.issuperset(body)
    return right[path]() if is_good and knows and is_one_of_two(body) else body


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """The limit for an address is not what is tried here."""
    case.headers["X-Forwarded-For"] = throwaways().address()
