"""`keys.age`, beside the journal: the venue's API keys, encrypted with a passphrase (age format, scrypt).

Rules. A key goes in once and comes out for the trader alone: no command, answer or error shows it again. The passphrase
comes from a variable, a mounted file or a terminal, never from an argument. The file is replaced whole, so that a crash
leaves the old or the new one.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE_NAME = "keys.age"
NAMES = tuple(f"{mode}{end}" for mode in ("testnet", "demo", "live") for end in ("", "-spot", "-futures"))
PASSPHRASE_LENGTH_MIN = 12
TRIES, TRY_AGAIN_S = 50, 0.1


class KeyStoreError(Exception):
    """The key store cannot be used so; one line for a person."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key and its secret, which no `repr` shows; `added_ms` is UTC."""

    added_ms: int
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


def keys_path(journal_path: Path) -> Path:
    """Where the keys of the trader that writes this journal are."""
    return journal_path.parent / FILE_NAME


def read_keys(path: Path, passphrase: str) -> dict[str, StoredKey]:
    """All keys by name, none where there is no file. Raises KeyStoreError; takes about a second."""
    try:
        sealed = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise KeyStoreError(f"{path} cannot be read: {problem.strerror}") from None
    try:
        entries = json.loads(_opened(path, sealed, passphrase))
        return {name: StoredKey(**entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError):
        raise KeyStoreError(f"{path} was not written by this program") from None


def _opened(path: Path, sealed: bytes, passphrase: str) -> bytes:
    import pyrage

    for _ in range(TRIES):
        try:
            return bytes(pyrage.passphrase.decrypt(sealed, passphrase))
        except pyrage.DecryptError as problem:
            # age refuses work that would take this machine far too long, by a measurement of some milliseconds: one
            # that falls into a busy moment tells of a far slower machine than this is.
            if "Excessive work" not in str(problem):
                raise KeyStoreError(f"{path}: the passphrase is wrong, or the file is damaged") from None
        time.sleep(TRY_AGAIN_S)
    raise KeyStoreError(f"{path}: this machine is too busy, or far slower than the one that wrote it")


def write_keys(path: Path, passphrase: str, keys: Mapping[str, StoredKey]) -> None:
    """Replace the file (mode 0600, its folder 0700). Raises KeyStoreError."""
    import pyrage

    if len(passphrase) < PASSPHRASE_LENGTH_MIN:
        raise KeyStoreError(f"a passphrase has at least {PASSPHRASE_LENGTH_MIN} characters")
    entries = {
        name: {"added_ms": key.added_ms, "api_key": key.api_key, "api_secret": key.api_secret}
        for name, key in keys.items()
    }
    sealed = pyrage.passphrase.encrypt(json.dumps(entries).encode(), passphrase)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        Path(fresh).replace(path)
    except OSError as problem:
        raise KeyStoreError(f"{path} cannot be written: {problem.strerror}") from None


def key_for(keys: Mapping[str, StoredKey], mode: str, venue: str) -> tuple[str, StoredKey] | None:
    """The key of a mode and a market, and its name: that of just this market, or else of the mode."""
    names = [name for name in (f"{mode}-{venue}", mode) if name in keys]
    return (names[0], keys[names[0]]) if names else None
