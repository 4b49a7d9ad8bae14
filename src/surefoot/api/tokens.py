"""Access tokens: JWT signed with RS256 by keys that are made at the first start and replaced as they age.

Rules. Only RS256 is accepted, whatever a token says of itself; it must name issuer, audience, times, user and session.
A retired key signs nothing more and goes when the last token it signed has ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from surefoot.api.problems import Problem
from surefoot.api.webstore import WebStore

ISSUER, AUDIENCE, ALGORITHM = "surefoot", "surefoot-api", "RS256"
ACCESS_MS = 15 * 60_000
KEY_AGE_MAX_MS = 30 * 86_400_000
KEY_BITS = 2_048
LOOK_EVERY_S = 60.0
READ_MAX = 1_024  # tokens whose signature is remembered
_REQUIRED = ["iss", "aud", "exp", "iat", "sub", "sid", "jti"]
_log = logging.getLogger("surefoot.web")
_BEARER = {"WWW-Authenticate": "Bearer"}


def new_key() -> RSAPrivateKey:
    """A key to sign with; takes a part of a second."""
    return generate_private_key(65_537, KEY_BITS)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    name: str
    session_id: str
    ends_ms: int


class Tokens:
    """Signs and reads access tokens."""

    def __init__(self, store: WebStore, now_ms: Callable[[], int]) -> None:
        """Makes the first key pair where there is none, and a new one where it is too old."""
        self._store = store
        self._now_ms = now_ms
        self._private: dict[str, RSAPrivateKey] = {}
        self._read: dict[str, Claims] = {}
        if self.is_due:
            self.rotate(new_key())

    @property
    def is_due(self) -> bool:
        """Whether there is no key to sign with, or one that is too old."""
        newest = self._store.row("SELECT made_ms FROM signing_keys WHERE retired_ms IS NULL")
        return newest is None or self._now_ms() - newest[0] >= KEY_AGE_MAX_MS

    def rotate(self, key: RSAPrivateKey) -> str:
        """Sign with another key from now on; its id. Tokens of the old one are read until they end."""
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        kid, now_ms = secrets.token_hex(8), self._now_ms()
        with self._store.change():
            self.forget_retired()
            self._store.run("UPDATE signing_keys SET retired_ms = ? WHERE retired_ms IS NULL", (now_ms,))
            self._store.run("INSERT INTO signing_keys (kid, pem, made_ms) VALUES (?, ?, ?)", (kid, pem, now_ms))
        return kid

    def forget_retired(self) -> None:
        """Let go of keys whose last token has ended."""
        if self._store.run("DELETE FROM signing_keys WHERE retired_ms < ?", (self._now_ms() - ACCESS_MS,)):
            self._private.clear()

    def sign(self, name: str, session_id: str) -> tuple[str, int]:
        """A token for a session, and when it ends."""
        (kid,) = self._store.row("SELECT kid FROM signing_keys WHERE retired_ms IS NULL") or ("",)
        now_ms = self._now_ms()
        ends_ms = now_ms + ACCESS_MS
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now_ms // 1_000,
            "exp": ends_ms // 1_000,
            "sub": name,
            "sid": session_id,
            "jti": secrets.token_hex(8),
        }
        return jwt.encode(claims, self._key(kid), ALGORITHM, {"kid": kid}), ends_ms // 1_000 * 1_000

    def read(self, token: str) -> Claims:
        """What a token says. Raises Problem (401) for one that is not ours, or has ended."""
        claims = self._read.get(token)
        if claims is None:
            claims = self._verified(token)
            if len(self._read) >= READ_MAX:
                self._read.clear()
            self._read[token] = claims
        if claims.ends_ms <= self._now_ms():
            raise Problem(401, "token_expired", "the access token has ended; refresh it", _BEARER)
        return claims

    def session_of(self, token: str) -> str | None:
        """The session that a token of ours is of, even one that has ended; None for any other text."""
        try:
            return (self._read.get(token) or self._verified(token)).session_id
        except Problem:
            return None

    def forget_read(self) -> None:
        """Look at every signature anew, as after a key was taken away."""
        self._read.clear()
        self._private.clear()

    def _verified(self, token: str) -> Claims:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims = jwt.decode(
                token,
                self._public(kid if isinstance(kid, str) else ""),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are compared by `read`, with the clock that we are given.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            return Claims(str(claims["sub"]), str(claims["sid"]), int(claims["exp"]) * 1_000)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Problem(401, "token_invalid", "the access token is not one of ours", _BEARER) from None

    def _public(self, kid: str) -> RSAPublicKey:
        return self._key(kid).public_key()

    def _key(self, kid: str) -> RSAPrivateKey:
        if kid not in self._private:
            found = self._store.row("SELECT pem FROM signing_keys WHERE kid = ?", (kid,))
            if found is None:
                raise ValueError("no such key")
            key = load_pem_private_key(found[0].encode(), None)
            assert isinstance(key, RSAPrivateKey)
            self._private[kid] = key
        return self._private[kid]


@asynccontextmanager
async def rotating(tokens: Tokens) -> AsyncIterator[None]:
    """Replaces keys as they age and lets go of retired ones, for as long as it is entered."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if tokens.is_due:
                    tokens.rotate(await asyncio.to_thread(new_key))
                tokens.forget_retired()
            except Exception:  # such as a full disk: the old key goes on until it is better
                _log.exception("signing keys could not be replaced")

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
