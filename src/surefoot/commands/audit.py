"""`surefoot audit`: whether the trail of who did what still says what was written."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from surefoot.commands.options import EXIT_FAILED, EXIT_OK, AsJson, ConfigFile, JournalFile, loaded

audit_app = typer.Typer(rich_markup_mode=None, help="The audit trail.")


@audit_app.callback()
def _audit() -> None:
    """The audit trail."""


@audit_app.command("verify")
def verify(
    noted: Annotated[str | None, typer.Option("--noted", metavar="HASH", help="A hash that you noted earlier.")] = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Read the trail and the journals that it tells of again.

    A row or record that was changed, taken away or moved is named, and the exit
    code is 1. Somebody who can write the file could write a whole new trail: note
    the hash that this prints in another place, and give it with --noted later.

    \b
    examples:
      surefoot audit verify
      surefoot audit verify --noted 5f2c…
    """
    from surefoot.api.anchors import check_all

    path = journal or loaded(config, {}, keyless=True).settings.store.journal_path
    checked = check_all(path, noted)
    gone = f"; {len(checked.gone)} paper journals have made room since" if checked.gone else ""
    old = f"; {checked.not_compared} records not compared (written by an older version)" if checked.not_compared else ""
    fits = f"{checked.trail.rows} rows and {checked.records} records of journals are as they were written{old}{gone}"
    if as_json:
        told = {"rows": checked.trail.rows, "head": checked.trail.head, "records": checked.records}
        told |= {"records_not_compared": checked.not_compared}
        print(json.dumps({**told, "journals_gone": checked.gone, "problem": checked.problem}))
    else:
        print(f"{fits}\nhash of the last row: {checked.trail.head}" if checked.problem is None else checked.problem)
    return EXIT_OK if checked.problem is None else EXIT_FAILED
