"""`surefoot guard`: the guardian of a trader, as `surefoot run` starts it or beside one that runs alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import (
    EXIT_IN_USE,
    EXIT_OK,
    AsJson,
    CommandError,
    ConfigFile,
    JournalFile,
    ParentPid,
    Sets,
    end_with,
    loaded,
    overrides_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from surefoot.binance.dialogue import Keys
    from surefoot.config import Settings
    from surefoot.guardian import Guardian
    from surefoot.venuedesk import VenueDesk

NOBODY = "nobody will be told: set SUREFOOT_GUARD_ALERT_URLS, or SUREFOOT_GUARD_ALERT_URLS_FILE"
NO_KEY = "it can only tell: SUREFOOT_GUARD_API_KEY and SUREFOOT_GUARD_API_SECRET are not set"


def guard(
    config: ConfigFile = None,
    sets: Sets = None,
    journal: JournalFile = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="REST address (paper only).")] = None,
    as_json: AsJson = False,
    parent_pid: ParentPid = None,
) -> int:
    """Watch a trader from outside, and act alone where it cannot.

    It tells when the trader does not answer or does not work while something is at
    stake. With guard.act = "cancel" or "flatten" and a key of its own, in
    SUREFOOT_GUARD_API_KEY and SUREFOOT_GUARD_API_SECRET or the files that the same
    names with _FILE tell, it cancels the bot's entries, or sells what the bot
    holds, too. Whom it tells stands in SUREFOOT_GUARD_ALERT_URLS. `surefoot run`
    starts it where guard.enabled = true.

    \b
    examples:
      surefoot guard --config live.toml
      surefoot guard --set guard.act=flatten --set guard.act_after_s=300
    """
    import asyncio

    from surefoot.chronicle import journal_path
    from surefoot.guardian import Guardian, GuardianInUse
    from surefoot.notify import services_at

    settings = loaded(config, overrides_of(sets), keyless=True, guard=True).settings
    path = journal_path(journal, settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may be there before the trader is
    except OSError as problem:
        raise CommandError(f"{path}: nothing can be kept beside it: {problem.strerror}") from None
    say = _Said(as_json)
    services, problems = services_at(settings.guard_alert_urls)
    for text in problems:
        say.note(f"alerts: {text}")
    desk, why_none = _desk_of(settings, rest, say.note)
    say.note(_begins(settings, path, [service.name for service in services], why_none))
    if parent_pid is not None:
        end_with(parent_pid)
    guardian = Guardian(settings, path, services, desk, say)
    try:
        asyncio.run(_until_told(guardian))
    except GuardianInUse as problem:
        raise CommandError(str(problem), EXIT_IN_USE) from None
    return EXIT_OK


async def _until_told(guardian: Guardian) -> None:
    import asyncio

    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await guardian.run(stopping)


class _Said:
    """What the guardian prints: lines for a person, or JSON as it is."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def note(self, text: str) -> None:
        self(json.dumps({"event": "note", "text": text}))

    def __call__(self, line: str) -> None:
        if not self._as_json:
            said = json.loads(line)
            if said["event"] == "armed":  # every some seconds: for programs
                return
            title = f"{said['level']}: {said['title']}: " if said["event"] == "told" else ""
            line = f"guardian: {title}{said['text']}"
        print(line, file=sys.stdout, flush=True)


def _begins(settings: Settings, path: Path, addresses: list[str], why_no_desk: str) -> str:
    own = settings.guard
    acts = "" if own.act == "tell" or why_no_desk else f" after {own.act_after_s} s"
    told = f"telling {', '.join(addresses)}" if addresses else NOBODY
    return "; ".join(part for part in (f"watching {path}", f"guard.act = {own.act}{acts}", told, why_no_desk) if part)


def _desk_of(settings: Settings, rest: str | None, note: Callable[[str], None]) -> tuple[VenueDesk | None, str]:
    """What asks the venue, where there is a key for it that may be held; else why there is none."""
    from surefoot.assembly import dialect_of
    from surefoot.binance.signing import sign_rest
    from surefoot.config import venue_for
    from surefoot.venuedesk import VenueDesk

    keys = _keys_of(settings)
    if keys is None:
        return None, NO_KEY
    try:
        sign_rest(keys.secret, b"")
    except ValueError as problem:
        return None, f"it can only tell: the guardian's API secret cannot sign: {problem}"
    refused = _refusal_of(settings, keys, note)
    if refused:
        return None, f"it can only tell: {refused}"
    venue = venue_for(settings.mode, rest, settings.market.venue)
    return VenueDesk(venue, keys, dialect_of(settings), settings.orders.recv_window_ms), ""


def _refusal_of(settings: Settings, keys: Keys, note: Callable[[str], None]) -> str:
    """Why a bot must not hold this key; empty where it may, or where the venue does not tell: the testnets never do."""
    import asyncio

    from surefoot.config import Mode
    from surefoot.selfcheck import CheckFailed, key_verdict

    if settings.mode is Mode.PAPER:
        return ""
    try:
        verdict, _ = asyncio.run(key_verdict(settings, keys, None))
    except CheckFailed as problem:
        note(f"warning: the rights of the guardian's key are not known: {problem}")
        return ""
    for text in verdict.warnings:
        note(f"warning: of the guardian's key: {text}")
    return "; ".join(verdict.refused)


def _keys_of(settings: Settings) -> Keys | None:
    """The guardian's own key; in paper mode that of the simulated account, when it was given."""
    from surefoot.binance.dialogue import Keys
    from surefoot.config import Mode
    from surefoot.supervise import PAPER_KEY, PAPER_SECRET

    if settings.mode is Mode.PAPER:
        key, secret = os.environ.get(PAPER_KEY), os.environ.get(PAPER_SECRET)
        return Keys(key, secret) if key and secret else None
    if settings.guard_api_key is None or settings.guard_api_secret is None:
        return None
    return Keys(settings.guard_api_key.get_secret_value(), settings.guard_api_secret.get_secret_value())
