"""Sessions: who is signed in, from where, until when; refresh tokens that change at each use.

Rules. A refresh token is good once. One that comes a second time was stolen, from us or from its owner: then the whole
session ends. What a request may do is read from the store each time, so that a session that was ended, a user who was
taken off and a role that was lowered count from the next request on. Where the store cannot be written, who is signed
in stays so: a refresh token is not replaced then, and a confirmation is kept in memory.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from surefoot.api.audit import Trail
from surefoot.api.onetime import LINK_MS, fingerprint, random_text
from surefoot.api.problems import Problem
from surefoot.api.roles import Person, Role
from surefoot.api.tokens import Tokens
from surefoot.api.webstore import WebStore, WebStoreError

REFRESH_MS = 7 * 86_400_000
SESSION_MS = 30 * 86_400_000
CONFIRMED_MS = 5 * 60_000
LINK_CONFIRMED_MS = 15 * 60_000
AGENT_LENGTH_MAX = 200
COOKIE = "surefoot_refresh"
_log = logging.getLogger("surefoot.web")
_BEARER = {"WWW-Authenticate": "Bearer"}

Way = Literal["password", "link"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody gets who has signed in; both tokens are secret."""

    name: str
    session_id: str
    access_token: str
    access_ends_ms: int
    refresh_token: str
    refresh_ends_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    name: str
    way: str
    made_ms: int
    seen_ms: int
    ends_ms: int
    confirmed_until_ms: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class _Refresh:
    """What is kept of a refresh token. `is_good` is one that may be used."""

    session_id: str
    name: str
    ends_ms: int
    session_ends_ms: int
    is_used: bool
    is_revoked: bool
    is_good: bool


class Sessions:
    """The sessions of a web store."""

    def __init__(self, store: WebStore, trail: Trail, tokens: Tokens, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._trail = trail
        self._tokens = tokens
        self._now_ms = now_ms
        self._unkept: dict[str, int] = {}  # until when a session is confirmed, while that could not be written

    def begin(self, name: str, way: Way, address: str, agent: str, confirmed_ms: int = 0) -> Grant:
        """A new session; confirmed for so long."""
        session_id, now_ms = secrets.token_hex(12), self._now_ms()
        confirmed_until_ms = now_ms + confirmed_ms if confirmed_ms else 0
        values = (session_id, name, way, now_ms, now_ms, now_ms + SESSION_MS, confirmed_until_ms)
        columns = "id, name, way, made_ms, seen_ms, ends_ms, confirmed_until_ms, address, agent"
        with self._store.change():
            self._store.run("DELETE FROM sessions WHERE ends_ms < ?", (now_ms - SESSION_MS,))
            sql = f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            self._store.run(sql, (*values, address, agent[:AGENT_LENGTH_MAX]))
            self._trail.add(name, "signed in", way=way, session=session_id, address=address)
            return self._grant(name, session_id, now_ms + SESSION_MS)

    def refresh(self, token: str) -> Grant:
        """New tokens for an unused refresh token. Raises Problem (401); a used one ends its session."""
        try:
            return self._refreshed(token)
        except WebStoreError as problem:
            _log.error("a refresh token is not replaced, because web.sqlite cannot be written: %s", problem)
        found = self._of_refresh(token)
        if not found.is_good:
            raise _ended()
        access_token, access_ends_ms = self._tokens.sign(found.name, found.session_id)
        return Grant(found.name, found.session_id, access_token, access_ends_ms, token, found.ends_ms)

    def _refreshed(self, token: str) -> Grant:
        now_ms = self._now_ms()
        with self._store.change():
            found = self._of_refresh(token)
            if found.is_used and not found.is_revoked:
                self._revoke(found.session_id)
                self._trail.add(found.name, "refresh token used twice", session=found.session_id)
            elif found.is_good:
                self._store.run("UPDATE refresh_tokens SET used_ms = ? WHERE hash = ?", (now_ms, fingerprint(token)))
                self._store.run("UPDATE sessions SET seen_ms = ? WHERE id = ?", (now_ms, found.session_id))
                return self._grant(found.name, found.session_id, found.session_ends_ms)
        if found.is_used and not found.is_revoked:
            raise Problem(401, "refresh_reused", "this sign-in was used from two places and has been ended", _BEARER)
        raise _ended()

    def _of_refresh(self, token: str) -> _Refresh:
        """Raises Problem (401) for a text that is none."""
        sql = (
            "SELECT r.session, r.ends_ms, r.used_ms, s.name, s.ends_ms, s.revoked_ms, u.off_ms "
            "FROM refresh_tokens r JOIN sessions s ON s.id = r.session JOIN users u ON u.name = s.name "
            "WHERE r.hash = ?"
        )
        found = self._store.row(sql, (fingerprint(token),))
        if found is None:
            raise _ended()
        session_id, ends_ms, used_ms, name, session_ends_ms, revoked_ms, off_ms = found
        is_used, is_revoked = used_ms is not None, revoked_ms is not None
        goes_on = min(ends_ms, session_ends_ms) > self._now_ms() and off_ms is None
        is_good = goes_on and not is_used and not is_revoked
        return _Refresh(session_id, name, ends_ms, session_ends_ms, is_used, is_revoked, is_good)

    def of_refresh(self, token: str) -> str | None:
        """The session that a refresh token is of, even one that was used or has ended; None for one that is none."""
        found = self._store.row("SELECT session FROM refresh_tokens WHERE hash = ?", (fingerprint(token),))
        return None if found is None else str(found[0])

    def person(self, access_token: str) -> Person:
        """Who an access token belongs to. Raises Problem (401)."""
        claims = self._tokens.read(access_token)
        sql = (
            "SELECT u.role, s.confirmed_until_ms, u.totp_since_ms FROM sessions s JOIN users u ON u.name = s.name "
            "WHERE s.id = ? AND s.name = ? AND s.revoked_ms IS NULL AND u.off_ms IS NULL AND s.ends_ms > ?"
        )
        now_ms = self._now_ms()
        found = self._store.row(sql, (claims.session_id, claims.name, now_ms))
        if found is None:
            raise _ended()
        until_ms = max(found[1], self._unkept.get(claims.session_id, 0))
        return Person(claims.name, Role(found[0]), claims.session_id, until_ms > now_ms, until_ms, found[2] is not None)

    def owner(self, session_id: str) -> str | None:
        """Whose session it is."""
        found = self._store.row("SELECT name FROM sessions WHERE id = ?", (session_id,))
        return None if found is None else str(found[0])

    def of(self, name: str) -> list[Session]:
        """Sessions of a user that have not ended, the newest first."""
        columns = "id, name, way, made_ms, seen_ms, ends_ms, confirmed_until_ms, address, agent"
        where = "name = ? AND revoked_ms IS NULL AND ends_ms > ?"
        sql = f"SELECT {columns} FROM sessions WHERE {where} ORDER BY made_ms DESC, id"
        return [Session(*row) for row in self._store.rows(sql, (name, self._now_ms()))]

    def confirm(self, session_id: str, for_ms: int = CONFIRMED_MS) -> int:
        """Let a session do what has to do with money, for a while; until when."""
        until_ms = self._now_ms() + for_ms
        try:
            self._store.run("UPDATE sessions SET confirmed_until_ms = ? WHERE id = ?", (until_ms, session_id))
        except WebStoreError as problem:
            _log.error("a confirmation is not kept, because web.sqlite cannot be written: %s", problem)
            self._unkept[session_id] = until_ms
        return until_ms

    def unconfirm_all(self, name: str, but: str) -> None:
        """Let no other session of a user do what has to do with money before it proves anew who it is."""
        self._unkept.clear()
        sql = "UPDATE sessions SET confirmed_until_ms = 0 WHERE name = ? AND id != ?"
        self._store.run(sql, (name, but))

    def end(self, session_id: str, by: str) -> bool:
        """End a session; whether it was one that went on."""
        with self._store.change():
            ended = self._revoke(session_id)
            if ended:
                self._trail.add(by, "session ended", session=session_id)
        return ended

    def end_all(self, name: str, by: str, but: str = "") -> int:
        """End all sessions of a user except one; how many."""
        return sum(self.end(session.id, by) for session in self.of(name) if session.id != but)

    def offer_link(self, hashed: str, ends_ms: int) -> None:
        """Let a link in once; `hashed` is its fingerprint. One that was used already stays used."""
        sql = "INSERT OR IGNORE INTO links (hash, ends_ms) VALUES (?, ?)"
        with self._store.change():
            self._store.run("DELETE FROM links WHERE ends_ms < ?", (self._now_ms() - LINK_MS,))
            self._store.run(sql, (hashed, ends_ms))

    def expect_link(self, token: str) -> None:
        """Raises Problem (401) for a link that was not offered, was used before, or has ended."""
        sql = "SELECT 1 FROM links WHERE hash = ? AND used_ms IS NULL AND ends_ms > ?"
        if self._store.row(sql, (fingerprint(token), self._now_ms())) is None:
            raise _link_used()

    def use_link(self, token: str) -> None:
        """Let nobody in by it any more. Raises Problem (401) as `expect_link` does."""
        now_ms = self._now_ms()
        sql = "UPDATE links SET used_ms = ? WHERE hash = ? AND used_ms IS NULL AND ends_ms > ?"
        if not self._store.run(sql, (now_ms, fingerprint(token), now_ms)):
            raise _link_used()

    def _grant(self, name: str, session_id: str, session_ends_ms: int) -> Grant:
        now_ms, refresh_token = self._now_ms(), random_text()
        ends_ms = min(now_ms + REFRESH_MS, session_ends_ms)
        self._store.run("DELETE FROM refresh_tokens WHERE ends_ms < ?", (now_ms,))
        columns, values = "hash, session, made_ms, ends_ms", (fingerprint(refresh_token), session_id, now_ms, ends_ms)
        self._store.run(f"INSERT INTO refresh_tokens ({columns}) VALUES (?, ?, ?, ?)", values)
        access_token, access_ends_ms = self._tokens.sign(name, session_id)
        return Grant(name, session_id, access_token, access_ends_ms, refresh_token, ends_ms)

    def _revoke(self, session_id: str) -> bool:
        sql = "UPDATE sessions SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL"
        return self._store.run(sql, (self._now_ms(), session_id)) > 0


def _link_used() -> Problem:
    return Problem(401, "link_used", "this link was used before, or has ended; start again for a new one")


def _ended() -> Problem:
    return Problem(401, "session_ended", "this sign-in has ended; sign in again", _BEARER)
