"""Users, and how they prove who they are: passwords by argon2id, one-time codes, recovery codes, lock-out.

Rules. There is no default user and no default password. An attempt counts as failed before it is looked at, so that
many at once are not more than one after another; a name that does not exist costs as much time as one that does, and is
locked like one. A password is hashed in a thread, one at a time, because more would take the cores from the trader; who
is signed in has a queue of their own, which sign-ins from outside cannot fill.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from surefoot.api.audit import Trail
from surefoot.api.lockout import FAILURES_KEPT_MS, Guesses, expect_open, locked_until_ms
from surefoot.api.onetime import fingerprint
from surefoot.api.problems import Problem
from surefoot.api.roles import Role
from surefoot.api.secondfactor import SecondFactor
from surefoot.api.webstore import WebStore, WebStoreError

# OWASP asks for 19 MiB and two passes at least; 32 MiB are what a small machine can spare beside the trader.
HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1_024, parallelism=1)
PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 12, 200
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
LOCAL = "local"  # who comes by the link that `surefoot run` prints; has no password


class AccountError(Exception):
    """A user cannot be made or changed so; one line for a person."""


@dataclass(frozen=True, slots=True)
class User:
    """What may be shown of a user; `second_factor` is whether one-time codes are asked for."""

    name: str
    role: Role
    made_ms: int
    off_ms: int | None
    has_password: bool
    second_factor: bool


class Accounts:
    """The users of a web store."""

    def __init__(
        self, store: WebStore, trail: Trail, now_ms: Callable[[], int], hasher: PasswordHasher = HASHER
    ) -> None:
        self._store = store
        self._trail = trail
        self._now_ms = now_ms
        self._hasher = hasher
        self.second_factor = SecondFactor(store, trail, now_ms)
        self.guesses = Guesses(now_ms)
        self._signing_in, self._signed_in = asyncio.Semaphore(1), asyncio.Semaphore(1)
        self._nobody = ""

    # -- users --------------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """All users by name."""
        return [_user(row) for row in self._store.rows(f"SELECT {_COLUMNS} FROM users ORDER BY name")]

    def user(self, name: str) -> User | None:
        row = self._store.row(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,))
        return None if row is None else _user(row)

    def add(self, name: str, role: Role, password: str | None, by: str) -> User:
        """Make a user. Raises AccountError for a name or password that will not do."""
        self._check_new(name)
        if password is None and name != LOCAL:
            raise AccountError(f"{name}: a password is needed")
        return self._insert(name, role, None if password is None else self._hashed(name, password), by)

    async def add_aside(self, name: str, role: Role, password: str, by: str) -> User:
        """`add`, hashing in a thread."""
        self._check_new(name)
        return self._insert(name, role, await self._hashed_aside(name, password), by)

    def change_role(self, name: str, role: Role, by: str) -> None:
        with self._store.change():
            self._store.run("UPDATE users SET role = ? WHERE name = ?", (role, name))
            self._trail.add(by, "user's role changed", name=name, role=role)

    def switch(self, name: str, on: bool, by: str) -> None:
        """Let a user sign in, or no longer."""
        with self._store.change():
            self._store.run("UPDATE users SET off_ms = ? WHERE name = ?", (None if on else self._now_ms(), name))
            self._trail.add(by, "user switched on" if on else "user switched off", name=name)

    def set_password(self, name: str, password: str, by: str) -> None:
        """Raises AccountError for a password that will not do."""
        self._set_hash(name, self._hashed(name, password), by)

    async def set_password_aside(self, name: str, password: str, by: str) -> None:
        """`set_password`, hashing in a thread."""
        self._set_hash(name, await self._hashed_aside(name, password), by)

    def remove(self, name: str, by: str) -> None:
        """Forget a user and all sessions; the trail keeps the name."""
        with self._store.change():
            self._store.run("DELETE FROM users WHERE name = ?", (name,))
            self._store.run("DELETE FROM failures WHERE name = ?", (name,))
            self._trail.add(by, "user removed", name=name)

    def ensure_local(self) -> User:
        """The user of the sign-in link, made at its first use."""
        return self.user(LOCAL) or self.add(LOCAL, Role.ADMIN, None, "surefoot run")

    # -- passwords ----------------------------------------------------------------------------------------------------

    async def check(self, name: str, password: str) -> User:
        """The user of a name and password. Raises Problem: 401 for wrong ones, 429 while the name is locked."""
        self.count_attempt(name)
        return await self._checked(name, password, self._signing_in)

    async def check_password(self, name: str, password: str) -> User:
        """`check`, for who is signed in and an attempt that was counted. Raises Problem (401)."""
        return await self._checked(name, password, self._signed_in)

    async def _checked(self, name: str, password: str, queue: asyncio.Semaphore) -> User:
        hashed, user = self._hash_of(name)
        async with queue:
            fits = await asyncio.to_thread(self._fits, hashed, password)
        if user is None or not fits or user.off_ms is not None:
            raise Problem(401, "credentials_wrong", "name, password or code is wrong")
        if self._hasher.check_needs_rehash(hashed):
            async with queue:
                fresh = await asyncio.to_thread(self._hasher.hash, password)
            with suppress(WebStoreError):  # then at the next time
                self._store.run("UPDATE users SET password_hash = ? WHERE name = ?", (fresh, name))
        return user

    def check_code(self, user: User, code: str | None) -> None:
        """Ask for the second factor where there is one. Raises Problem (401); an attempt must have been counted."""
        if not user.second_factor:
            return
        if code is None:
            raise Problem(401, "second_factor_needed", "a code of the second factor is needed as well")
        if not self.second_factor.check(user.name, code):
            raise Problem(401, "credentials_wrong", "name, password or code is wrong")

    def count_attempt(self, name: str) -> None:
        """Count an attempt as failed, until `clear_failures`. Raises Problem (429) while the name is locked."""
        now_ms, name = self._now_ms(), self._counted_as(name)
        with self._store.change():
            self._store.run("DELETE FROM failures WHERE last_ms < ?", (now_ms - FAILURES_KEPT_MS,))
            found = self._store.row("SELECT count, locked_until_ms FROM failures WHERE name = ?", (name,))
            count, until_ms = found or (0, 0)
            expect_open(until_ms, now_ms)
            sql = "INSERT OR REPLACE INTO failures (name, count, last_ms, locked_until_ms) VALUES (?, ?, ?, ?)"
            self._store.run(sql, (name, count + 1, now_ms, locked_until_ms(count + 1, now_ms)))

    def clear_failures(self, name: str) -> None:
        """Forget failed attempts, after one that succeeded in all its parts."""
        self._store.run("DELETE FROM failures WHERE name = ?", (name,))

    def _hash_of(self, name: str) -> tuple[str, User | None]:
        found = self._store.row("SELECT password_hash FROM users WHERE name = ?", (name,))
        if found is None or found[0] is None:
            self._nobody = self._nobody or self._hasher.hash("nobody has this password")
            return self._nobody, None
        return str(found[0]), self.user(name)

    def _fits(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _counted_as(self, name: str) -> str:
        """A name that is nobody's is not kept as it is: it may be a password in the wrong place."""
        return fingerprint(name) if self.user(name) is None else name

    def _check_new(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise AccountError(f"{name!r}: a name is 1 to 32 of a-z, 0-9, dot, hyphen and underscore")
        if self.user(name) is not None:
            raise AccountError(f"there is already a user {name}")

    def _insert(self, name: str, role: Role, hashed: str | None, by: str) -> User:
        with self._store.change():
            columns, values = "name, role, password_hash, made_ms", (name, role, hashed, self._now_ms())
            if not self._store.run(f"INSERT OR IGNORE INTO users ({columns}) VALUES (?, ?, ?, ?)", values):
                raise AccountError(f"there is already a user {name}")
            self._trail.add(by, "user added", name=name, role=role)
        user = self.user(name)
        assert user is not None
        return user

    def _set_hash(self, name: str, hashed: str, by: str) -> None:
        with self._store.change():
            self._store.run("UPDATE users SET password_hash = ? WHERE name = ?", (hashed, name))
            self._trail.add(by, "password changed", name=name)

    def _hashed(self, name: str, password: str) -> str:
        check_password(password, name)
        return self._hasher.hash(password)

    async def _hashed_aside(self, name: str, password: str) -> str:
        check_password(password, name)
        async with self._signed_in:
            return await asyncio.to_thread(self._hasher.hash, password)


_COLUMNS = "name, role, made_ms, off_ms, password_hash IS NOT NULL, totp_since_ms IS NOT NULL"


def _user(row: tuple[object, ...]) -> User:
    name, role, made_ms, off_ms, has_password, second_factor = row
    assert isinstance(made_ms, int)
    assert off_ms is None or isinstance(off_ms, int)
    return User(str(name), Role(str(role)), made_ms, off_ms, bool(has_password), bool(second_factor))


def check_password(password: str, name: str) -> None:
    """Raises AccountError for a password that is too short, too long, or too near to the name."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise AccountError(f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")
    if len(set(password)) < 5 or name in password.lower():
        raise AccountError("this password is too easy to guess: use other characters, and not your name")
