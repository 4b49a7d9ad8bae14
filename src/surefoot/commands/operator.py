"""`surefoot pause`, `resume` and `flatten`: what an operator asks of the running trader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from surefoot.commands.options import EXIT_FAILED, EXIT_OK, AsJson, CommandError, ConfigFile, JournalFile, loaded

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the journal with your user name.")]


def pause(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """No entries until surefoot resume.

    Exits and resting protection go on. A restart does not end a pause.

    \b
    examples:
      surefoot pause --reason "news at 14:00"
    """
    return ask("pause", reason, config, journal, as_json)


def resume(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Entries again, after a pause.

    It does not end a trip of the breaker: surefoot breaker reset does.

    \b
    examples:
      surefoot resume --reason "news are out"
    """
    return ask("resume", reason, config, journal, as_json)


def flatten(
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, sell it all.")] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Sell everything that the bot holds, at the market.

    Entries on their way are canceled. Entries go on afterwards: to keep them
    off, pause first.

    \b
    examples:
      surefoot pause --reason "leaving" && surefoot flatten --reason "leaving" --yes
    """
    if not yes:
        raise CommandError("flatten sells everything that the bot holds, at the market: add --yes to do it")
    return ask("flatten", reason, config, journal, as_json)


def ask(kind: str, reason: str, config: Path | None, journal: Path | None, as_json: bool) -> int:
    """Ask the running trader and say what it answers; the exit code. Raises ControlError when none is running."""
    from surefoot.chronicle import journal_path
    from surefoot.control import Wish, ask_trader, refusal_of, socket_path

    wish = Wish(kind, reason.strip())
    refusal = refusal_of(wish)
    if refusal is not None:
        raise CommandError(f"--reason: {refusal}")
    path = journal_path(journal, loaded(config, {}).settings)
    answer = ask_trader(socket_path(path), wish)
    print(json.dumps({"taken": answer.taken, "text": answer.text}) if as_json else answer.text)
    return EXIT_OK if answer.taken else EXIT_FAILED
