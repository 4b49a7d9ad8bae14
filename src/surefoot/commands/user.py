"""`surefoot user`: who may sign in to the dashboard."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import EXIT_OK, AsJson, CommandError, ConfigFile, JournalFile, loaded

if TYPE_CHECKING:
    from surefoot.api.accounts import Accounts

user_app = typer.Typer(rich_markup_mode=None, help="Users of the dashboard.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, dot, hyphen, underscore.")]


@user_app.callback()
def _user() -> None:
    """Users of the dashboard."""


@user_app.command("add")
def add(
    name: Name,
    role: Annotated[str, typer.Option(metavar="viewer|trader|admin", help="What the user may do.")] = "viewer",
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Make a user; the password is asked for, or read from stdin.

    \b
    examples:
      surefoot user add ann --role admin
      pass show surefoot/ann | surefoot user add ann --role trader
    """
    from surefoot.api.roles import Role

    if role not in list(Role):
        raise CommandError(f"--role {role}: give viewer, trader or admin")
    with _accounts(config, journal) as accounts:
        if accounts.user(name) is not None:
            raise CommandError(f"there is already a user {name}")
        user = accounts.add(name, Role(role), password_asked(), f"command line: {getpass.getuser()}")
    print(json.dumps(asdict(user)) if as_json else f"{user.name} may sign in as {user.role}")
    return EXIT_OK


def password_asked() -> str:
    """A password from the terminal, asked for twice, or the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords differ")
    return password


@contextmanager
def _accounts(config: Path | None, journal: Path | None) -> Iterator[Accounts]:
    from surefoot.api.accounts import AccountError, Accounts
    from surefoot.api.audit import Trail
    from surefoot.api.webstore import WebStore, store_path

    path = journal or loaded(config, {}, keyless=True).settings.store.journal_path

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    with WebStore(store_path(path)) as store:
        try:
            yield Accounts(store, Trail(store, now_ms), now_ms)
        except AccountError as problem:
            raise CommandError(str(problem)) from None
