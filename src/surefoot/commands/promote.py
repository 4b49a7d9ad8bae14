"""`surefoot promote`: whether the profile in use has earned the next one."""

from __future__ import annotations

import json
from typing import Annotated, Any

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


def promote(
    config: ConfigFile = None,
    sets: Sets = None,
    journal: JournalFile = None,
    all_settings: Annotated[
        bool, typer.Option("--all-settings", help="Count runs of other settings, too, whatever their profile was.")
    ] = False,
    gate_of: Annotated[
        str | None, typer.Option("--gate", metavar="PROFILE", help="The gate of this profile, whichever is in use.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Whether the profile in use has passed its gate to the next one.

    Each condition with what there is and what is wanted, from the journal: by
    default from runs with exactly these settings. Changes nothing: the next
    profile is yours to choose. Exit code 0 when all is met, 1 otherwise.

    \b
    examples:
      surefoot promote --config testnet.toml
      surefoot promote --config conservative.toml --journal var/surefoot.sqlite --json
      surefoot promote --gate testnet
    """
    from surefoot.chronicle import journal_path
    from surefoot.presets import PROFILES
    from surefoot.research.promotion import UNKNOWABLE, conditions_of, evidence_of

    settings = loaded(config, overrides_of(sets), keyless=True).settings
    name = gate_of or settings.profile
    if name not in PROFILES:
        raise CommandError(
            f"--gate {name}: profiles with a gate are {', '.join(each for each in PROFILES if PROFILES[each].gate)}"
        )
    profile = PROFILES[name]
    if profile.gate is None:
        last = "it is the last one" if name != "none" else "choose one of them first"
        raise CommandError(f"profile = {name}: there is no gate to a next profile, {last}")
    path = journal_path(journal, settings)
    found = evidence_of(path, settings, all_settings=all_settings)
    conditions = conditions_of(profile.gate, found)
    passed = all(condition.met for condition in conditions)
    answer: dict[str, Any] = {
        "profile": name,
        "next": profile.next,
        "passed": passed,
        "journal": str(path),
        "since_ms": found.since_ms,
        "runs": found.runs,
        "other_runs": found.other_runs,
        "conditions": [
            {name: getattr(condition, name) for name in ("name", "wanted", "value", "met", "counts")}
            for condition in conditions
        ],
        "unknowable": list(UNKNOWABLE),
    }
    print(json.dumps(answer) if as_json else "\n".join(_lines(answer)))
    return EXIT_OK if passed else EXIT_FAILED


def _lines(answer: dict[str, Any]) -> list[str]:
    from surefoot.terminal import moment_text, plain

    since = "" if answer["since_ms"] is None else f" since {moment_text(answer['since_ms'])} UTC"
    lines = [f"{answer['profile']} to {answer['next']}: {answer['runs']} runs{since} in {answer['journal']}"]
    if answer["other_runs"]:
        lines.append(f"{answer['other_runs']} runs of other settings are left out; --all-settings counts them")
    lines.append("")
    for condition in answer["conditions"]:
        mark = "met    " if condition["met"] else "missing"
        value = plain(condition["value"])
        lines.append(f"{mark}  {condition['name']:<26}{value:<14} wanted: {condition['wanted']}")
        lines.append(f"         {condition['counts']}")
    missing = [condition["name"] for condition in answer["conditions"] if not condition["met"]]
    lines += ["", f"{answer['next']} may be tried" if not missing else f"missing: {', '.join(missing)}"]
    return [*lines, "a journal cannot tell:", *(f"  {text}" for text in answer["unknowable"])]
