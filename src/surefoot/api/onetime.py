"""Random texts that are good once: refresh tokens, sign-in links, recovery codes. Only their fingerprints are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

# Fingerprint of a sign-in link and when it ends, UTC ms: from who starts the web process to the web process.
LINK_VARIABLE = "SUREFOOT_WEB_LINK"
LINK_MS = 10 * 60_000


def random_text(size: int = 32) -> str:
    """So many bytes that nobody guesses, as text for an address or a cookie."""
    return secrets.token_urlsafe(size)


def fingerprint(text: str) -> str:
    """What is kept of a random text."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_link(now_ms: int) -> tuple[str, str]:
    """The token of a sign-in link, and the value of `LINK_VARIABLE` that lets it in."""
    token = random_text(16)  # short, because it is read off a terminal; it lives for minutes
    return token, f"{fingerprint(token)}:{now_ms + LINK_MS}"


def offered_link(env: Mapping[str, str]) -> tuple[str, int] | None:
    """Fingerprint and end of the link in an environment."""
    hashed, _, ends_ms = env.get(LINK_VARIABLE, "").partition(":")
    return (hashed, int(ends_ms)) if ends_ms.isdecimal() else None
