"""`surefoot breaker`: how near its limits it is, letting go after a trip, and the fire drill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from surefoot.commands.operator import Reason, ask
from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    AsJson,
    ConfigFile,
    JournalFile,
    Sets,
    loaded,
    overrides_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from surefoot.config import Settings
    from surefoot.core.view import BreakerView, View
    from surefoot.research.drill import Book, Scene

HISTORY_SHOWN = 10
CURVE_CELLS = 60
CELLS = "▁▂▃▄▅▆▇█"

breaker_app = typer.Typer(rich_markup_mode=None, help="The circuit breaker: how it stands, reset, fire drill.")


@breaker_app.command("status")
def status(config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """How near its limits the breaker is, and what holds entries back.

    Each limit with what it measures from, the loss now and how far away it is;
    trips and resets with the equity around them: of the hour before by the
    minute, of the hour after as the journal has it. From the running trader,
    else from its journal.

    \b
    examples:
      surefoot breaker status
      surefoot breaker status --json
    """
    from surefoot.chronicle import journal_path, turns_of, view_from_journal
    from surefoot.control import read_view, socket_path

    settings = loaded(config, {}).settings
    path = journal_path(journal, settings)
    view, running = read_view(socket_path(path)), True
    if view is None:
        view, running = view_from_journal(path, settings), False
    turns = turns_of(path, settings)
    if as_json:
        print(json.dumps({"running": running, "journal": str(path), **_as_json(view), "history": turns}))
        return EXIT_OK
    if not running:
        print(f"The trader is not running. This is how {path} left it:")
    print("\n".join([*_lines(view), *_history_lines(turns)]))
    return EXIT_OK


@breaker_app.command("reset")
def reset(reason: Reason, config: ConfigFile = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Let go of all trips and of a cool-down.

    Nothing else does, neither a restart nor a new day. From then on losses
    are measured from the equity of that moment. The running trader is asked;
    when none is running, start it first: it comes up tripped, and safe.

    \b
    examples:
      surefoot breaker reset --reason "looked at the fills, nothing odd"
    """
    return ask("breaker-reset", reason, config, journal, as_json)


@breaker_app.command("drill")
def drill(config: ConfigFile = None, sets: Sets = None, journal: JournalFile = None, as_json: AsJson = False) -> int:
    """Fire drill: prove on the simulated exchange that the breaker would act.

    With your settings and today's book: worth, prices and positions of the
    running trader, else of its journal, else made ones. Prices fall until each
    rule on equity trips; what it does to positions, that entries are refused,
    that a restart keeps the trip and that a reset lets go is held against the
    rule's tier. In memory, in seconds; nothing of yours is touched. Exit code 0
    only if all held.

    \b
    examples:
      surefoot breaker drill
      surefoot breaker drill --config surefoot.toml --json
      surefoot breaker drill --set breaker.day_loss_tier=flatten
    """
    from surefoot.research.drill import drill as scenes_of

    settings = loaded(config, overrides_of(sets)).settings
    book = _todays_book(settings, journal)
    scenes = []
    if not as_json:
        held = ", ".join(book.held)
        print(f"Today's book is {book.source}: {book.equity:.2f} in all, {held} held.")
    for scene in scenes_of(settings, book):
        scenes.append(scene)
        if not as_json:
            print("\n".join(_scene_lines(scene)), flush=True)
    passed = all(scene.passed for scene in scenes)
    drilled = sum(scene.skipped is None for scene in scenes)
    if as_json:
        book_json = {"source": book.source, "equity": f"{book.equity:f}", "held": list(book.held)}
        print(
            json.dumps(
                {"passed": passed, "drilled": drilled, "book": book_json, "scenes": list(map(_scene_json, scenes))}
            )
        )
    else:
        print(f"\n{drilled} of {len(scenes)} rules drilled: " + ("all held" if passed else "NOT all held"))
    return EXIT_OK if passed and drilled else EXIT_FAILED


def _todays_book(settings: Settings, journal: Path | None) -> Book:
    from surefoot.chronicle import AskError, journal_path, view_from_journal
    from surefoot.control import read_view, socket_path
    from surefoot.research.drill import book_of
    from surefoot.store.journal import StoreError

    source = "made up, there is no journal yet"
    view = None
    try:
        path = journal_path(journal, settings)
        view, source = read_view(socket_path(path)), "the running trader's"
        if view is None:
            view, source = view_from_journal(path, settings), f"as {path} left it"
    except (AskError, StoreError):
        if journal is not None:  # it was named: something else would be no answer
            raise
    if view is None:
        return book_of(settings, None, {}, (), source)
    prices = {each.symbol: each.price for each in view.prices if each.price is not None}
    return book_of(settings, view.equity, prices, [position.symbol for position in view.positions], source)


def _scene_lines(scene: Scene) -> list[str]:
    lines = ["", f"{scene.rule} of {scene.limit_pct:f} %, {scene.tier}"]
    if scene.skipped is not None:
        return [*lines, f"  not drilled: {scene.skipped}"]
    if scene.loss_pct is not None and scene.equity_before is not None and scene.equity_after is not None:
        equities = f"{scene.equity_before:.2f} before, {scene.equity_after:.2f} after"
        lines.append(f"  tripped at a loss of {scene.loss_pct:.2f} %; equity {equities}")
    lines += [f"  {'held  ' if check.passed else 'FAILED'}  {check.what:<52}{check.seen}" for check in scene.checks]
    return lines


def _scene_json(scene: Scene) -> dict[str, Any]:
    amounts = {
        name: None if (value := getattr(scene, name)) is None else f"{value:f}"
        for name in ("limit_pct", "loss_pct", "equity_before", "equity_after")
    }
    checks = [{"what": check.what, "passed": check.passed, "seen": check.seen} for check in scene.checks]
    told = {"rule": scene.rule, "tier": str(scene.tier), "passed": scene.passed, "skipped": scene.skipped}
    return told | amounts | {"held": list(scene.held), "checks": checks}


def _as_json(view: View) -> dict[str, Any]:
    breaker = view.breaker
    return {
        "at_ms": view.at_ms,
        "equity": None if view.equity is None else f"{view.equity:f}",
        "off": breaker.off,
        "paused": breaker.paused,
        "cooldown_until_ms": breaker.cooldown_until_ms,
        "limits": [
            {
                "rule": limit.rule,
                "tier": str(limit.tier),
                "start": None if limit.start is None else f"{limit.start:f}",
                "loss_pct": None if limit.loss_pct is None else f"{limit.loss_pct:f}",
                "limit_pct": f"{limit.limit_pct:f}",
                "left_pct": None if limit.loss_pct is None else f"{limit.limit_pct - limit.loss_pct:f}",
            }
            for limit in breaker.limits
        ],
    }


def _lines(view: View) -> list[str]:
    from surefoot.terminal import plain

    equity = "not known" if view.equity is None else f"{view.equity:.2f} {view.quote}"
    off = view.breaker.off
    lines = [f"equity    {equity}", f"entries   {'off: ' + plain(off) if off else 'not held back'}"]
    lines += [f"pause     {plain(view.breaker.paused)}"] if view.breaker.paused else []
    lines += [_cooldown_line(view)] if view.breaker.cooldown_until_ms is not None else []
    return [*lines, "", *_limit_lines(view.breaker)]


def _cooldown_line(view: View) -> str:
    from surefoot.terminal import moment_text

    assert view.breaker.cooldown_until_ms is not None
    return f"cool-down until {moment_text(view.breaker.cooldown_until_ms)} UTC"


def _limit_lines(breaker: BreakerView) -> list[str]:
    lines = [f"{'rule':<14}{'from':>14}{'loss':>9}{'limit':>9}{'left':>9}  at the limit"]
    for limit in breaker.limits:
        start = "-" if limit.start is None else f"{limit.start:.2f}"
        loss = "-" if limit.loss_pct is None else f"{limit.loss_pct:.2f} %"
        left = "-" if limit.loss_pct is None else f"{limit.limit_pct - limit.loss_pct:.2f} %"
        lines.append(f"{limit.rule:<14}{start:>14}{loss:>9}{f'{limit.limit_pct:f} %':>9}{left:>9}  {limit.tier}")
    return lines


def _history_lines(turns: list[dict[str, Any]]) -> list[str]:
    from surefoot.terminal import moment_text, plain

    if not turns:
        return ["", "no trip yet"]
    lines = [""]
    for turn in turns[-HISTORY_SHOWN:]:
        mark = "  in force" if turn["in_force"] else ""
        lines.append(f"{moment_text(turn['at_ms'])}  {plain(turn['text'])}{mark}")
        for name in ("before", "after"):
            if len(turn[name]) > 1:
                lines.append(f"  {name:<7}{_drawn([float(equity) for _, equity in turn[name]])}")
    return lines


def _drawn(equities: list[float]) -> str:
    """A curve in one line of text: its lowest and highest value, and what lies between."""
    step = max(1, -(-len(equities) // CURVE_CELLS))
    shown = [*equities[:-1:step], equities[-1]]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    cells = "".join(CELLS[int((equity - low) / span * (len(CELLS) - 1))] for equity in shown)
    return f"{cells}  {low:.2f} to {high:.2f}"
