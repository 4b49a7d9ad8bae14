"""`surefoot keys`: the encrypted key store, and whether a bot should hold the API key that it was given."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_VENUE,
    PASSPHRASE_VARIABLE,
    AsJson,
    CommandError,
    ConfigFile,
    JournalFile,
    Sets,
    keys_of,
    loaded,
    overrides_of,
)

if TYPE_CHECKING:
    from surefoot.keystore import StoredKey

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="testnet, demo or live; -spot or -futures after it for one of them.")
]

keys_app = typer.Typer(rich_markup_mode=None, help="API keys: kept encrypted, and what they may do.")


@keys_app.callback()
def _keys() -> None:
    """API keys: kept encrypted, and what they may do."""


@keys_app.command("check")
def check(
    config: ConfigFile = None,
    sets: Sets = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="REST address (paper only).")] = None,
    as_json: AsJson = False,
) -> int:
    """Ask the venue what the key may do.

    Refused are a key that may withdraw, one that may not trade, and one that has
    expired: the exit code is 1 then. A missing list of IP addresses is a warning.
    The testnets do not tell the rights of a key.

    \b
    examples:
      surefoot keys check --config live.toml
      SIMEX_API_KEY=… SIMEX_API_SECRET=… surefoot keys check --rest http://127.0.0.1:9443
    """
    import asyncio

    from surefoot.config import Mode
    from surefoot.selfcheck import CheckFailed, key_lines, key_verdict

    settings = loaded(config, overrides_of(sets)).settings
    if settings.mode is Mode.PAPER and rest is None:
        raise CommandError("mode = paper: give the exchange's address with --rest")
    keys = keys_of(settings, os.environ)
    try:
        verdict, ahead_ms = asyncio.run(key_verdict(settings, keys, rest))
    except CheckFailed as problem:
        raise CommandError(str(problem), EXIT_VENUE) from problem
    if as_json:
        print(json.dumps(asdict(verdict) | {"clock_ahead_ms": ahead_ms}))
    else:
        print("\n".join(key_lines(verdict, keys.secret, ahead_ms)))
    return EXIT_FAILED if verdict.refused else EXIT_OK


@keys_app.command("add")
def add(name: Name, config: ConfigFile = None, journal: JournalFile = None) -> int:
    """Put a key into the key store, encrypted with a passphrase.

    Key and secret are asked for, or read from stdin as two lines; nothing shows
    them again. The passphrase is asked for too, or comes from
    SUREFOOT_KEYS_PASSPHRASE or the file that SUREFOOT_KEYS_PASSPHRASE_FILE names.
    `surefoot run` and `surefoot trade` take the key of their mode.

    \b
    examples:
      surefoot keys add live
      surefoot keys add testnet-futures < key-and-secret.txt
    """
    from surefoot.keystore import NAMES, StoredKey

    if name not in NAMES:
        raise CommandError(f"{name}: a key is called {', '.join(NAMES)}")

    def put(keys: dict[str, StoredKey]) -> str:
        key, secret = (_asked(what) for what in ("API key", "Secret"))
        told = "key replaced" if name in keys else "key added"
        keys[name] = StoredKey(time.time_ns() // 1_000_000, key, secret)
        return told

    path = _changed(config, journal, name, put)
    print(f"the key {name} is in {path}, encrypted; it is not shown again")
    return EXIT_OK


@keys_app.command("list")
def list_(config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Which keys are in the key store, and since when.

    \b
    examples:
      surefoot keys list
    """
    from surefoot.keystore import read_keys
    from surefoot.terminal import moment_text

    path = _path(config, journal)
    added = (
        {name: key.added_ms for name, key in sorted(read_keys(path, _passphrase(path)).items())}
        if path.is_file()
        else {}
    )
    if as_json:
        print(json.dumps([{"name": name, "added_ms": added_ms} for name, added_ms in added.items()]))
    else:
        lines = [f"{name:<16} since {moment_text(added_ms)} UTC" for name, added_ms in added.items()]
        print("\n".join(lines) or f"no keys in {path}")
    return EXIT_OK


@keys_app.command("remove")
def remove(name: Name, config: ConfigFile = None, journal: JournalFile = None) -> int:
    """Take a key out of the key store.

    \b
    examples:
      surefoot keys remove testnet
    """

    def take(keys: dict[str, StoredKey]) -> str:
        if keys.pop(name, None) is None:
            raise CommandError(f"there is no key {name}")
        return "key removed"

    print(f"the key {name} is no longer in {_changed(config, journal, name, take)}")
    return EXIT_OK


def _changed(
    config: Path | None, journal: Path | None, name: str, change: Callable[[dict[str, StoredKey]], str]
) -> Path:
    """Change the store and say so in the audit trail; `change` names what it did. The path of the store."""
    from surefoot.api.audit import Trail
    from surefoot.api.webstore import WebStore, store_path
    from surefoot.keystore import read_keys, write_keys

    path = _path(config, journal)
    passphrase = _passphrase(path)
    keys = read_keys(path, passphrase)
    told = change(keys)
    with WebStore(store_path(path)) as store:
        write_keys(path, passphrase, keys)
        Trail(store, lambda: time.time_ns() // 1_000_000).add(f"command line: {getpass.getuser()}", told, name=name)
    return path


def _path(config: Path | None, journal: Path | None) -> Path:
    from surefoot.keystore import keys_path

    return keys_path(journal or loaded(config, {}, keyless=True).settings.store.journal_path)


def _passphrase(path: Path) -> str:
    from surefoot.config import passphrase_of

    given = passphrase_of(os.environ)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise CommandError(f"set {PASSPHRASE_VARIABLE} or {PASSPHRASE_VARIABLE}_FILE: nobody is here to ask")
    passphrase = getpass.getpass("Passphrase of the key store: ")
    if not path.exists() and getpass.getpass("The same again: ") != passphrase:
        raise CommandError("the two passphrases differ")
    return passphrase


def _asked(what: str) -> str:
    text = (getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not text or not text.isascii() or not text.isprintable():
        raise CommandError(f"{what}: must be one line of printable ASCII text")
    return text
