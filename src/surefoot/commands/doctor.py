"""`surefoot doctor`: what could keep the bot from its work, and what to do about it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    AsJson,
    ConfigFile,
    JournalFile,
    Sets,
    keys_of,
    loaded,
    overrides_of,
)


def doctor(
    config: ConfigFile = None,
    sets: Sets = None,
    journal: JournalFile = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="REST address (paper only).")] = None,
    as_json: AsJson = False,
) -> int:
    """Look whether all is well: clock, keys, limits, disk, store, settings, gaps, versions.

    Nothing is changed. What is wrong comes with advice; the exit code is 1 when
    a check failed, and 2 when the settings cannot be used at all.

    \b
    examples:
      surefoot doctor
      surefoot doctor --config live.toml --json
    """
    from surefoot.chronicle import AskError, journal_path
    from surefoot.config import VENUES
    from surefoot.doctor import Patient, State, examine

    settings = loaded(config, overrides_of(sets)).settings
    try:
        path = journal_path(journal, settings)
    except AskError:
        path = None
    keys = keys_of(settings, os.environ) if settings.mode in VENUES or rest is not None else None
    findings = examine(Patient(settings, path, os.environ, keys, rest))
    failed = any(finding.state is State.FAILED for finding in findings)
    if as_json:
        print(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            advice = f"\n{'':24}→ {finding.advice}" if finding.advice and finding.state is not State.FINE else ""
            print(f"{finding.check:<10}{finding.state:<13} {finding.text}{advice}")
    return EXIT_FAILED if failed else EXIT_OK
