"""What commands are told: the options that several of them share, the settings they load, and how they refuse.

Secrets are read from the environment, never from arguments, which every user can see. A command that cannot be carried
out raises `CommandError`; `surefoot.cli` turns every error into one line and an exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from surefoot.binance.dialogue import Keys
    from surefoot.config import Loaded, Settings

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_IN_USE, EXIT_VENUE, EXIT_DATA, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

PARENT_LOOK_S = 0.5
PASSPHRASE_VARIABLE = "SUREFOOT_KEYS_PASSPHRASE"

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; wins over file and environment.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", metavar="FILE", help="The journal; default: the newest.")
]
ParentPid = Annotated[int | None, typer.Option("--parent-pid", metavar="PID", help="End when this process is gone.")]
Gaps = Annotated[str, typer.Option(metavar="refuse|keep", help="What to do about missing candles in files.")]


class CommandError(Exception):
    """A command cannot be carried out; the text is one line for a person and says what to do."""

    def __init__(self, text: str, code: int = EXIT_USAGE) -> None:
        super().__init__(text)
        self.code = code


def overrides_of(sets: Sequence[str] | None) -> dict[str, str]:
    """`--set KEY=VALUE` as values by dotted key."""
    overrides = {}
    for text in sets or ():
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise CommandError(f"--set {text}: give it as KEY=VALUE, like risk.risk_pct_of_equity=1")
        overrides[key] = value
    return overrides


def loaded(config: Path | None, overrides: Mapping[str, str], *, keyless: bool = False, guard: bool = False) -> Loaded:
    """The settings in force; `keyless` ones load in every mode without the venue's keys, `guard` ones with those of the
    guardian. Raises ConfigError."""
    from surefoot.config import load

    return load(config, overrides, os.environ, keyless=keyless, guard=guard)


def begin_log(settings: Settings, process: str) -> bool:
    """Let this process log as the settings say; whether it does. Nothing is loaded for it where it does not."""
    if settings.log.level == "off":
        return False
    from surefoot.logs import begin

    return begin(settings.log, process, os.environ)


def ask_for_passphrase(config: Path | None, overrides: Mapping[str, str]) -> None:
    """Where the key is in the key store and nobody gave the passphrase: ask on the terminal, if there is one."""
    import getpass

    from surefoot.config import VENUES
    from surefoot.keystore import keys_path
    from surefoot.supervise import REAL_KEYS

    if any(os.environ.get(name) for name in REAL_KEYS) or not sys.stdin.isatty():
        return
    settings = loaded(config, overrides, keyless=True).settings
    if settings.mode in VENUES and keys_path(settings.store.journal_path).is_file():
        os.environ[PASSPHRASE_VARIABLE] = getpass.getpass("Passphrase of the key store: ")


def keys_of(settings: Settings, env: Mapping[str, str]) -> Keys:
    """The key and secret of the mode. Raises CommandError where paper's are missing."""
    from surefoot.binance.dialogue import Keys
    from surefoot.config import Mode
    from surefoot.supervise import PAPER_KEY, PAPER_SECRET

    if settings.mode is not Mode.PAPER:
        assert settings.api_key is not None, "settings without a key do not load in this mode"
        assert settings.api_secret is not None, "settings without a secret do not load in this mode"
        return Keys(settings.api_key.get_secret_value(), settings.api_secret.get_secret_value())
    missing = [name for name in (PAPER_KEY, PAPER_SECRET) if not env.get(name)]
    if missing:
        raise CommandError(f"{' and '.join(missing)} not set: the exchange prints its demo key when it starts")
    return Keys(env[PAPER_KEY], env[PAPER_SECRET])


def gaps_of(text: str) -> Any:
    """What to do about missing candles."""
    return one_of("--gaps", text, "refuse", "keep")


def one_of(option: str, given: str, *known: str) -> str:
    """What was given, which has to be one of these."""
    if given not in known:
        raise CommandError(f"{option} {given}: give {', '.join(known[:-1])} or {known[-1]}")
    return given


def check_writable(option: str, file: Path | None) -> None:
    """Refuse early a file that could not be written when the work is done."""
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise CommandError(f"{option} {file}: no file can be written there; name one in a folder that exists")


def end_with(parent_pid: int) -> None:
    """Stop, as at a SIGTERM, when the process that started us is gone: nobody would watch us any more."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(PARENT_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()
