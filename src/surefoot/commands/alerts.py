"""`surefoot alerts`: whether alerts reach people, which there were, and a watch apart from `surefoot run`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

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

NO_ADDRESS = (
    "no address to send to: set SUREFOOT_ALERT_URLS, or SUREFOOT_ALERT_URLS_FILE with the name of a file that holds "
    "them, one a line, such as slack://…, tgram://…, discord://…, mailtos://…, json://…"
)

alerts_app = typer.Typer(rich_markup_mode=None, help="Alerts: try them, look at them, watch for them.")


@alerts_app.callback()
def _alerts() -> None:
    """Alerts: try them, look at them, watch for them."""


@alerts_app.command("test")
def try_(config: ConfigFile = None, sets: Sets = None, as_json: AsJson = False) -> int:
    """Really send a test to every address.

    Levels and quiet hours do not hold it back. What happened is said of each
    address; the exit code is 1 when any failed.

    \b
    examples:
      SUREFOOT_ALERT_URLS_FILE=alerts.txt surefoot alerts test
    """
    from surefoot.notify import lines_of, send_test

    settings = loaded(config, overrides_of(sets)).settings
    deliveries = send_test(settings, time.time_ns() // 1_000_000, "surefoot alerts test")
    if not deliveries:
        raise CommandError(NO_ADDRESS)
    print(json.dumps([asdict(each) for each in deliveries]) if as_json else "\n".join(lines_of(deliveries)))
    return EXIT_FAILED if any(each.problem is not None for each in deliveries) else EXIT_OK


@alerts_app.command("list")
def list_(
    config: ConfigFile = None,
    journal: JournalFile = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: AsJson = False,
) -> int:
    """The newest alerts, and what became of them.

    \b
    examples:
      surefoot alerts list
      surefoot alerts list --limit 100 --json
    """
    from surefoot.chronicle import journal_path
    from surefoot.notify import all_alerts
    from surefoot.terminal import moment_text, plain

    alerts = all_alerts(journal_path(journal, loaded(config, {}).settings), limit)
    if as_json:
        print(json.dumps(alerts))
        return EXIT_OK
    for alert in reversed(alerts):
        ways = ", ".join(f"{each['service']}: {each['problem'] or 'sent'}" for each in alert["deliveries"])
        told = f"{moment_text(alert['told_ms'])} {alert['level']:<8} {alert['title']}: {alert['text']}"
        print(plain(told + (f" [{ways}]" if ways else "")))
    return EXIT_OK


@alerts_app.command("watch")
def watch(config: ConfigFile = None, sets: Sets = None, journal: JournalFile = None) -> int:
    """Watch a trader that runs by itself, and send alerts.

    `surefoot run` does so of its own accord: this is for a trader that was
    started alone, as in a container.

    \b
    examples:
      surefoot alerts watch --config live.toml
    """
    import asyncio

    from surefoot.chronicle import journal_path
    from surefoot.herald import Herald, watch_alone
    from surefoot.notify import addresses_of

    settings = loaded(config, overrides_of(sets)).settings
    path = journal_path(journal, settings)
    services, problems = addresses_of(settings)
    for problem in problems:
        _note(problem)
    if not services:
        raise CommandError(NO_ADDRESS)
    _note(f"watching {path}, telling {', '.join(service.name for service in services)}")
    with suppress(KeyboardInterrupt):
        asyncio.run(watch_alone(Herald(settings, path, services), path, _note))
    return EXIT_OK


def _note(text: str) -> None:
    print(f"surefoot: {text}", file=sys.stderr, flush=True)
