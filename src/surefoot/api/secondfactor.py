"""The second factor: one-time codes of an authenticator app (TOTP), and recovery codes for when it is lost.

Rules. A secret counts once a code made from it was shown; it and the recovery codes are told once and never again. A
code is good once: the step it stands for must be later than that of the last one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pyotp
import segno
from pyotp.exceptions import OTPVerificationError

from surefoot.api.audit import Trail
from surefoot.api.onetime import fingerprint
from surefoot.api.problems import Problem
from surefoot.api.webstore import WebStore, WebStoreError

ISSUER = "Surefoot"
STEPS_ASIDE = 1  # that the two clocks may be apart, of 30 seconds each
RECOVERY_CODES = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs: the secret, the same as an address, and that as a picture (SVG)."""

    secret: str
    uri: str
    svg: str


class SecondFactor:
    """The second factors of the users of a web store."""

    def __init__(self, store: WebStore, trail: Trail, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._trail = trail
        self._now_ms = now_ms
        self._unkept: dict[str, int] = {}  # steps of codes that were good while the store could not be written, by name

    def enrol(self, name: str) -> Enrolment:
        """A new secret, to be confirmed by `confirm_enrolment`. Raises Problem (409) where one is in use."""
        secret = pyotp.random_base32()
        sql = "UPDATE users SET totp_secret = ? WHERE name = ? AND totp_since_ms IS NULL"
        if not self._store.run(sql, (secret, name)):
            raise Problem(409, "already_enrolled", "a second factor is in use; an admin can take it off")
        uri = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)
        return Enrolment(
            secret, uri, segno.make(uri, error="m").svg_inline(scale=4, border=4, dark="#000", light="#fff")
        )

    def confirm_enrolment(self, name: str, code: str) -> list[str]:
        """Use the new secret from now on; the recovery codes. Raises Problem (401) for a wrong code."""
        found = self._store.row("SELECT totp_secret FROM users WHERE name = ? AND totp_since_ms IS NULL", (name,))
        if found is None or found[0] is None:
            raise Problem(409, "not_enrolling", "ask for a new secret first")
        step = self._step(found[0], code)
        if step is None:
            raise Problem(401, "credentials_wrong", "the code is wrong")
        codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
        with self._store.change():
            sql = "UPDATE users SET totp_since_ms = ?, totp_step = ? WHERE name = ?"
            self._store.run(sql, (self._now_ms(), step, name))
            self._store.run("DELETE FROM recovery_codes WHERE name = ?", (name,))
            for each in codes:
                sql = "INSERT INTO recovery_codes (name, hash) VALUES (?, ?)"
                self._store.run(sql, (name, fingerprint(_plain(each))))
            self._trail.add(name, "second factor enrolled")
        return codes

    def check(self, name: str, code: str) -> bool:
        """Whether a one-time or recovery code is right, and was not used before; it is used now."""
        sql = "SELECT totp_secret, totp_step FROM users WHERE name = ? AND totp_since_ms IS NOT NULL"
        found = self._store.row(sql, (name,))
        if found is None:
            return False
        step = self._step(found[0], code)
        if step is not None:
            if step <= max(found[1], self._unkept.get(name, 0)):
                return False
            sql = "UPDATE users SET totp_step = ? WHERE name = ? AND totp_step < ?"
            try:
                return self._store.run(sql, (step, name, step)) > 0
            except WebStoreError:  # a full disk keeps nobody from an exit
                self._unkept[name] = step
                return True
        sql = "UPDATE recovery_codes SET used_ms = ? WHERE name = ? AND hash = ? AND used_ms IS NULL"
        with self._store.change():
            is_recovery = self._store.run(sql, (self._now_ms(), name, fingerprint(_plain(code)))) > 0
            if is_recovery:
                self._trail.add(name, "recovery code used")
        return is_recovery

    def remove(self, name: str, by: str) -> None:
        """Ask for no codes any more."""
        with self._store.change():
            sql = "UPDATE users SET totp_secret = NULL, totp_since_ms = NULL, totp_step = 0 WHERE name = ?"
            self._store.run(sql, (name,))
            self._store.run("DELETE FROM recovery_codes WHERE name = ?", (name,))
            self._trail.add(by, "second factor taken off", name=name)

    def _step(self, secret: str, code: str) -> int | None:
        now_s = self._now_ms() // 1_000
        try:
            totp = pyotp.TOTP(secret)
            return totp.verify_and_get_timecode(code.strip(), for_time=now_s, valid_window=STEPS_ASIDE)
        except (OTPVerificationError, ValueError):
            return None


def _recovery_code() -> str:
    """Sixty bits, as one writes them down: abcd-efgh-jkmn."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))


def _plain(code: str) -> str:
    return "".join(code.lower().split()).replace("-", "")
