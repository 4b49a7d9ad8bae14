"""`surefoot config show`, `set` and `unset`: settings, where they come from, and changes while the trader runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    AsJson,
    CommandError,
    ConfigFile,
    JournalFile,
    Sets,
    loaded,
    overrides_of,
)

if TYPE_CHECKING:
    from surefoot.config import Loaded

config_app = typer.Typer(rich_markup_mode=None, help="Settings: what is in force, where from, and changes.")

Key = Annotated[str, typer.Argument(help="The setting, like risk.positions_max.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the journal with your name.")]
Check = Annotated[bool, typer.Option("--check", help="Only say what would change, or why it cannot.")]


@config_app.command("show")
def show(config: ConfigFile = None, sets: Sets = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Every setting and where it came from.

    What was changed while the trader ran is in it. In paper mode only while
    it runs, since the next run has a journal of its own. Secrets are masked.

    \b
    examples:
      surefoot config show
      surefoot config show --config surefoot.toml --json
      surefoot config show > surefoot.toml
    """
    from surefoot.chronicle import in_force
    from surefoot.config import to_toml

    now = in_force(loaded(config, overrides_of(sets)), journal)
    print(json.dumps(_as_json(now)) if as_json else to_toml(now.settings, now.sources), end="")
    return EXIT_OK


@config_app.command("set")
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(help="Its new value; several words with commas between them.")],
    reason: Why = "",
    check: Check = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Change a setting of the running trader.

    It counts from the next decision on, is kept in the journal with your name
    and the reason, and outlives a restart, over file, environment and flags.
    Risk, exits, breaker limits, numbers of signals and times of orders can be
    changed; what decides where trading happens, and with which key, cannot.

    \b
    examples:
      surefoot config set risk.positions_max 2 --reason "a quiet week"
      surefoot config set rsi.oversold 25 --check
    """
    return _change({key: value}, reason, config, journal, check=check, as_json=as_json)


@config_app.command("unset")
def unset(
    key: Key,
    reason: Why = "",
    check: Check = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Take back what was changed of a setting.

    What file, environment and flags say of it is in force again.

    \b
    examples:
      surefoot config unset risk.positions_max --reason "the week is over"
    """
    return _change({key: None}, reason, config, journal, check=check, as_json=as_json)


def _change(
    changes: Mapping[str, str | None],
    reason: str,
    config: Path | None,
    journal: Path | None,
    *,
    check: bool,
    as_json: bool,
) -> int:
    from surefoot.chronicle import journal_path
    from surefoot.control import Wish, ask_trader, refusal_of, socket_path

    wish = Wish("settings-check" if check else "settings", reason.strip(), settings=changes)
    refusal = refusal_of(wish)
    if refusal is not None:
        raise CommandError(f"--reason: {refusal}")
    answer = ask_trader(socket_path(journal_path(journal, loaded(config, {}).settings)), wish)
    told = {"taken": answer.taken, "text": answer.text, "changes": answer.changes}
    print(json.dumps(told) if as_json else answer.text)
    return EXIT_OK if answer.taken else EXIT_FAILED


def _as_json(in_force: Loaded) -> dict[str, dict[str, object]]:
    values = in_force.settings.model_dump(mode="json")
    answer = {}
    for key, source in in_force.sources.items():
        section, _, name = key.rpartition(".")
        answer[key] = {"value": values[section][name] if section else values[name], "source": source}
    return answer
