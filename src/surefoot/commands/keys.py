"""`surefoot keys`: whether a bot should hold the API key that it was given."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_VENUE,
    AsJson,
    CommandError,
    ConfigFile,
    Sets,
    keys_of,
    loaded,
    overrides_of,
)

keys_app = typer.Typer(rich_markup_mode=None, help="The API key: what it may do.")


@keys_app.callback()
def _keys() -> None:
    """The API key: what it may do."""


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
