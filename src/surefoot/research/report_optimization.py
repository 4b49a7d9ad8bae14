"""One HTML file that tells an optimisation: what was tried, how it held on unseen data, whether there is an edge.

The input is a mapping; every key may be missing, its section then says "not measured". Times are UTC ms.

    "strategy", "symbols", "interval", "period": [from_ms, to_ms], "method": "grid" | "random" | "tpe" | ..., "seed",
    "objective": text                        what a score is, with its basis
    "trials_count": number                   all that were made, also those without a score
    "trials": [{"number", "params": {name: value}, "score", "return_pct", "max_drawdown_pct", "sharpe", "round_trips",
        "exact": {"return_pct", "round_trips", "agrees": bool}}]       best first; "exact" where it was confirmed
    "unscored_count", "refused_count"        of these: too few round trips, settings that cannot be
    "plateau": {"x", "y", "x_values", "y_values", "scores": [[score | None, ...] for each y]}
    "walk_forward": {"folds": [{"train": [from_ms, to_ms], "test": [from_ms, to_ms], "params",
        "in_sample": score, "out_of_sample": score, "return_pct": of the test, after costs, "round_trips"}],
        "return_pct": all tests in a row, after costs, "equity_curve": [[at_ms, equity]]}
    "deflated_sharpe": {"probability": 0 to 1, "sharpe", "expected_max_sharpe", "trials", "basis": text}
    "pbo": {"probability": 0 to 1, "splits": number, "basis": text}
    "looks": number                          how often this period was looked at, by all searches of the study
    "verdict": text                          whether there is an edge, in plain words
    "confirmed": [{"number", "params", "round_trips", "return_pct", "final_equity"}]    by the exact engine
    "monte_carlo": as in a backtest
    "notes": [text], "settings", "settings_digest", "data", "digest", "seconds"    as in a backtest
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from surefoot.research.report_charts import Curve, curve_chart, heat_map
from surefoot.research.report_tables import data_section, monte_carlo_section, notes_section, settings_section
from surefoot.research.report_words import (
    NO_VALUE,
    days,
    note,
    number,
    page,
    period,
    section,
    table,
    tiles,
    unmeasured,
    with_unit,
)

Study = Mapping[str, Any]

TRIALS_SHOWN_MAX = 20
NO_VERDICT = "Whether there is an edge was not measured."


def write_optimization_report(path: str | Path, study: Study) -> Path:
    """Write the page of an optimisation and return where it is."""
    place = Path(path)
    place.write_text(optimization_html(study), encoding="utf-8")
    return place


def optimization_html(study: Study) -> str:
    """The whole page as text."""
    walked = study.get("walk_forward") or {}
    curve: Curve = [(int(at_ms), float(equity)) for at_ms, equity in walked.get("equity_curve") or ()]
    verdict = f'<p class="verdict">{escape(study.get("verdict") or NO_VERDICT)}</p>'
    sections = (
        f"<section>\n{verdict}\n{_headlines(study)}</section>\n",
        notes_section(study.get("notes")),
        _walk_forward(walked),
        curve_chart("Equity of all tests in a row", "equity", curve),
        heat_map("Plateau", study.get("plateau")),
        _trials(study),
        _overfitting(study),
        monte_carlo_section(study.get("monte_carlo")),
        settings_section(study.get("settings")),
        data_section(study),
    )
    symbols = ", ".join(study.get("symbols") or ())
    title = f"Surefoot: optimisation of {study.get('strategy') or NO_VALUE} {symbols} {study.get('interval') or ''}"
    return page(title.strip(), _subtitle(study), sections, "curves.js")


def _subtitle(study: Study) -> str:
    return (
        f"{period(study.get('period'))} · {study.get('method') or NO_VALUE} search,"
        f" seed {study.get('seed', NO_VALUE)} · {number(study.get('seconds'), 0)} s ·"
        f" score: {study.get('objective') or NO_VALUE}"
    )


def _headlines(study: Study) -> str:
    walked = study.get("walk_forward") or {}
    deflated, overfit = study.get("deflated_sharpe") or {}, study.get("pbo") or {}
    return tiles(
        [
            ("Trials", number(study.get("trials_count"), 0)),
            ("Looks at this period", number(study.get("looks"), 0)),
            ("Out of sample, after costs", with_unit(walked.get("return_pct"), "%")),
            ("Deflated Sharpe (chance of skill)", number(deflated.get("probability"))),
            ("Chance of overfitting (PBO)", number(overfit.get("probability"))),
        ]
    )


def _trials(study: Study) -> str:
    trials = study.get("trials")
    if not trials:
        return unmeasured("Trials")
    shown = trials[:TRIALS_SHOWN_MAX]
    names = list(dict.fromkeys(name for trial in shown for name in trial.get("params") or {}))
    rows = [
        [*_trial_row(trial), *(str((trial.get("params") or {}).get(name, NO_VALUE)) for name in names)]
        for trial in shown
    ]
    head = ["Trial", "Score", "Return", "Drawdown", "Sharpe", "Round trips", "Exact engine", *names]
    count = study.get("trials_count")
    unscored = [study[name] for name in ("unscored_count", "refused_count") if study.get(name)]
    others = f" {number(sum(unscored), 0)} of them have no score." if unscored else ""
    told = note(f"The best {len(shown)} of {number(count, 0)}; the best of many is flattered by luck.{others}")
    return section("Trials", table(head, rows) + told, "trials")


def _trial_row(trial: Mapping[str, Any]) -> list[str]:
    exact = trial.get("exact")
    confirmed = (
        NO_VALUE
        if not exact
        else f"{'agrees' if exact.get('agrees') else 'DISAGREES'}, {with_unit(exact.get('return_pct'), '%')}"
    )
    return [
        str(trial.get("number", NO_VALUE)),
        number(trial.get("score"), 3),
        with_unit(trial.get("return_pct"), "%"),
        with_unit(trial.get("max_drawdown_pct"), "%"),
        number(trial.get("sharpe")),
        number(trial.get("round_trips"), 0),
        confirmed,
    ]


def _walk_forward(walked: Mapping[str, Any]) -> str:
    folds: Sequence[Mapping[str, Any]] = walked.get("folds") or ()
    if not folds:
        return unmeasured("Walk-forward")
    rows = [
        [
            str(at),
            days(fold.get("train")),
            days(fold.get("test")),
            number(fold.get("in_sample"), 3),
            number(fold.get("out_of_sample"), 3),
            with_unit(fold.get("return_pct"), "%"),
            number(fold.get("round_trips"), 0),
            ", ".join(f"{name} {value}" for name, value in (fold.get("params") or {}).items()) or NO_VALUE,
        ]
        for at, fold in enumerate(folds, start=1)
    ]
    head = ["Fold", "Trained on", "Tested on", "Score in sample", "Score out of sample", "Return of the test",
            "Round trips", "Parameters"]  # fmt: skip
    return section("Walk-forward: in sample against out of sample", table(head, rows), "walk-forward")


def _overfitting(study: Study) -> str:
    deflated, overfit = study.get("deflated_sharpe"), study.get("pbo")
    if not deflated and not overfit and study.get("looks") is None:
        return unmeasured("Luck and overfitting")
    deflated, overfit = deflated or {}, overfit or {}
    luck = number(deflated.get("expected_max_sharpe"), 3)
    rows = [
        ["Chance that the Sharpe ratio is above 0 (deflated)", number(deflated.get("probability"), 3)],
        ["Sharpe ratio of the best", number(deflated.get("sharpe"), 3)],
        [f"Sharpe ratio that luck gives to the best of {number(deflated.get('trials'), 0)} trials", luck],
        ["Chance that the best in sample is below the middle outside (PBO)", number(overfit.get("probability"), 3)],
        ["Looks at this period, by all searches of this study", number(study.get("looks"), 0)],
    ]
    bases = "".join(note(str(given["basis"])) for given in (deflated, overfit) if given.get("basis"))
    return section("Luck and overfitting", table(["Figure", "Value"], rows) + bases, "overfitting")
