"""`surefoot user`: who may sign in to the dashboard."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from surefoot.commands.options import EXIT_OK, AsJson, CommandError, ConfigFile, JournalFile, loaded, one_of

if TYPE_CHECKING:
    from surefoot.api.accounts import Accounts
    from surefoot.api.sessions import Sessions

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

    one_of("--role", role, *Role)
    with _accounts(config, journal) as parts:
        if parts.accounts.user(name) is not None:
            raise CommandError(f"there is already a user {name}")
        user = parts.accounts.add(name, Role(role), password_asked(), _who())
    print(json.dumps(asdict(user)) if as_json else f"{user.name} may sign in as {user.role}")
    return EXIT_OK


@user_app.command("list")
def list_(config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Who may sign in.

    \b
    examples:
      surefoot user list
    """
    with _accounts(config, journal) as parts:
        users = parts.accounts.users()
    if as_json:
        print(json.dumps([asdict(user) for user in users]))
    else:
        factor = {True: "second factor", False: "no second factor"}
        lines = [f"{user.name:<20} {user.role:<8} {factor[user.second_factor]}" for user in users]
        print("\n".join(lines) or "no users yet: surefoot user add NAME --role admin")
    return EXIT_OK


@user_app.command("password")
def password(
    name: Name,
    no_second_factor: Annotated[
        bool, typer.Option("--no-second-factor", help="Take the second factor off too, as for a lost telephone.")
    ] = False,
    config: ConfigFile = None,
    journal: JournalFile = None,
) -> int:
    """Give a user another password; all sessions of the user end.

    \b
    examples:
      surefoot user password ann
      surefoot user password ann --no-second-factor
    """
    with _accounts(config, journal) as parts:
        _known(parts, name)
        parts.accounts.set_password(name, password_asked(), _who())
        if no_second_factor:
            parts.accounts.second_factor.remove(name, _who())
        parts.accounts.clear_failures(name)
        ended = parts.sessions.end_all(name, _who())
    print(f"{name} has a new password; {ended} sessions have ended")
    return EXIT_OK


@user_app.command("remove")
def remove(name: Name, config: ConfigFile = None, journal: JournalFile = None) -> int:
    """Remove a user, who is signed out at once.

    \b
    examples:
      surefoot user remove ann
    """
    with _accounts(config, journal) as parts:
        _known(parts, name)
        parts.accounts.remove(name, _who())
    print(f"{name} is no longer a user")
    return EXIT_OK


def _known(parts: _Parts, name: str) -> None:
    if parts.accounts.user(name) is None:
        raise CommandError(f"there is no user {name}")


def _who() -> str:
    return f"command line: {getpass.getuser()}"


def password_asked() -> str:
    """A password from the terminal, asked for twice, or the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords differ")
    return password


@dataclass(frozen=True, slots=True)
class _Parts:
    accounts: Accounts
    sessions: Sessions


@contextmanager
def _accounts(config: Path | None, journal: Path | None) -> Iterator[_Parts]:
    from surefoot.api.accounts import AccountError, Accounts
    from surefoot.api.audit import Trail
    from surefoot.api.sessions import Sessions
    from surefoot.api.tokens import Tokens
    from surefoot.api.webstore import WebStore, store_path

    path = journal or loaded(config, {}, keyless=True).settings.store.journal_path

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    with WebStore(store_path(path)) as store:
        trail = Trail(store, now_ms)
        try:
            yield _Parts(Accounts(store, trail, now_ms), Sessions(store, trail, Tokens(store, now_ms), now_ms))
        except AccountError as problem:
            raise CommandError(str(problem)) from None
