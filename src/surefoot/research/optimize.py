"""The search for settings, and what may be believed of what it found. The result is a mapping, for JSON and the report:

    "kind": "optimisation", "version", "engine": "fast" | "exact", "method", "seed", "objective": text
    "strategy", "symbols", "interval", "period": [from_ms, to_ms], "space": {key: text}
    "trials": [{"number", "params": {key: text}, "score", "return_pct", "max_drawdown_pct", "sharpe", "round_trips",
        "exact": {"return_pct", "round_trips", "agrees": bool}}]     those with a score, best first; "exact" of the best
    "trials_count", "unscored_count" (too few round trips, no defined score), "refused_count" (settings that disagree)
    "plateau": {"dimensions": {key: [{"values", "trials", "median", "best"}]}, "x", "y", "x_values", "y_values",
        "scores": [[middle score | None]], "neighbours": [{"params", "score"}], "kept_pct": worst neighbour's share}
    "walk_forward": {"folds": [{"train": [from_ms, to_ms], "test": [...], "params" | None, "in_sample": score,
        "out_of_sample": score, "return_pct": of the test, "round_trips", "train_looks", "test_looks"}],
        "return_pct": all tests in a row after costs, "sharpe", "max_drawdown_pct", "round_trips",
        "equity_curve": [[at_ms, equity]], "looks": all looks at tests}      None when it was switched off
    "deflated_sharpe": {"probability", "sharpe", "expected_max_sharpe" (both annual), "trials", "basis"} | None
    "pbo": {"probability", "loss_probability", "splits", "trials", "basis"} | None
    "looks": different settings that the whole period was looked at with, by all searches of this study
    "verdict": one sentence, "has_edge": bool, "notes": [text]
    "confirmed": [{"number", "params", "round_trips", "return_pct", "final_equity"}]      by the exact engine
    "monte_carlo": of the best one, as a backtest tells it (`statistics.alternatives`) | None
    "settings", "settings_digest" of the best, "data": [{"file", "symbol", "sha256", "rows"}], "study", "seconds",
    "evaluations", "evaluations_per_second", "reused": answers that the study had already

Rules. The chosen settings come from a search over the whole period; what they are worth, from walk-forward, whose tests
are unknown to the search that chose for them. There is an edge only if the tests in a row earned after costs, the
deflated Sharpe ratio says skill with at least 95 %, and the probability of overfitting is below a half: else the
verdict says that there is none. The best five run again in the exact engine; where it disagrees, the search has failed,
whatever it found, unless the searching engine itself flagged the run as one that may differ: then "notes" say so.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from surefoot import __version__
from surefoot.config import Settings, changed, settings_digest
from surefoot.core.model import INTERVAL_MS
from surefoot.research.confirm import disagreement
from surefoot.research.data import CandleFile, EvaluationError
from surefoot.research.evaluation import (
    Measured,
    Outcome,
    Period,
    Refused,
    Source,
    source_of,
)
from surefoot.research.inputs import settings_for
from surefoot.research.looks import Looks, Progress, Quest, Trial
from surefoot.research.metrics import SHARPE_BASIS, Trips, measure
from surefoot.research.plateau import neighbours, plateau_map
from surefoot.research.samplers import Sampler, sampler_of
from surefoot.research.space import Space
from surefoot.research.statistics import alternatives
from surefoot.research.study import Identity, Study, text_of
from surefoot.research.verdict import deflated, overfit, verdict
from surefoot.research.walkforward import Fold, folds_of, refuse_look_ahead, stitched
from surefoot.research.workers import Executor

ENGINES: Mapping[str, str] = {
    "exact": "surefoot.research.evaluation:ExactEvaluator",
    "fast": "surefoot.research.fastevaluation:FastEvaluator",
}

CONFIRMED = 5


def optimize(
    settings: Settings,
    files: Sequence[CandleFile],
    space: Space,
    quest: Quest,
    executor: Executor,
    study_path: Path,
    progress: Progress | None = None,
    engines: Mapping[str, str] = ENGINES,
) -> dict[str, Any]:
    """Search, and judge what was found. `executor` does the work; the study at `study_path` goes on where it was.

    Raises ConfigError for what cannot be searched, StoreError for a study of something else, and EvaluationError where
    the exact engine disagrees or an evaluation looked ahead.
    """
    began_s = time.perf_counter()
    settings = settings_for(settings, files)
    whole = whole_period(files)
    lead_ms = settings.market.warmup_candles * INTERVAL_MS[settings.market.interval]
    folds = folds_of(whole, lead_ms, quest.walk) if quest.walk else []
    sampler_of(quest.method, space, quest.seed, quest.trials)  # says now, rather than later, what it cannot search
    folder = study_path.with_name(study_path.name + ".candles")
    try:
        with Study.open(study_path, identity(settings, files, space), quest.engine, __version__) as study:
            study.begin(time.time_ns() // 1_000_000, _told(quest))
            source = source_of(engines[quest.engine], settings, files, folder)
            total = _evaluations(quest, space, folds)
            looks = Looks(settings, files, source, study, executor, quest, progress, total)
            walked = _walk(looks, space, quest, folds, study, float(settings.paper.balance_usdt)) if folds else None
            looks.begin("search over the whole period")
            trials = _search(looks, space, quest, whole)
            found = _judge(looks, space, quest, whole, trials, study, engines, source, settings)
    finally:
        rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - began_s
    best = found["trials"][0]["params"] if found["trials"] else {}
    chosen = changed(settings, best)
    edge, sentence = verdict(walked, found["deflated_sharpe"], found["pbo"], found["notes"])
    return {
        "kind": "optimisation",
        "version": __version__,
        **_told(quest),
        "objective": _objective(quest),
        "strategy": chosen.strategy.name,
        "symbols": list(settings.market.symbols),
        "interval": chosen.market.interval,
        "period": [whole.from_ms, whole.to_ms],
        "space": space.told(),
        **found,
        "walk_forward": walked,
        "verdict": sentence,
        "has_edge": edge,
        "settings": chosen.model_dump(mode="json", exclude={"api_key", "api_secret", "live_confirmed"}),
        "settings_digest": settings_digest(chosen),
        "data": [{"file": f.path.name, "symbol": f.symbol, "sha256": f.sha256, "rows": len(f)} for f in files],
        "study": str(study_path),
        "seconds": round(seconds, 3),
        "evaluations": looks.evaluations,
        "evaluations_per_second": round(looks.evaluations / seconds, 2),
        "reused": looks.reused,
    }


def identity(settings: Settings, files: Sequence[CandleFile], space: Space) -> Identity:
    """What a study is about."""
    data = json.dumps(sorted((file.symbol, file.interval, file.sha256) for file in files))
    return Identity(hashlib.sha256(data.encode()).hexdigest(), space.digest, settings_digest(settings))


def whole_period(files: Sequence[CandleFile]) -> Period:
    """From the first candle of any file to the end of the last, as a backtest of these files lives through it."""
    first_ms = min(int(file.columns.open_ms[0]) for file in files)
    end_ms = max(int(file.columns.open_ms[-1]) + INTERVAL_MS[file.interval] for file in files)
    return Period(first_ms, first_ms, end_ms)


# -- searching --------------------------------------------------------------------------------------------------------


def _search(looks: Looks, space: Space, quest: Quest, period: Period) -> list[Trial]:
    sampler: Sampler = sampler_of(quest.method, space, quest.seed, quest.trials)
    trials: list[Trial] = []
    while len(trials) < quest.trials:
        points = sampler.ask(min(quest.batch, quest.trials - len(trials)))
        if not points:
            break
        answers = looks.at(points, period, "search")
        scores = [answer if isinstance(answer, Refused) else looks.score(answer) for answer in answers]
        sampler.tell(scores)
        for point, answer in zip(points, answers, strict=True):
            found = None if isinstance(answer, Refused) else answer
            trials.append(Trial(len(trials) + 1, point, looks.score(found) if found else None, found))
    return trials


def _scored(trials: Sequence[Trial]) -> list[Trial]:
    """Those with a score, best first, the earlier of two equal ones; each choice of settings once."""
    once = {text_of(trial.point): trial for trial in reversed(trials) if trial.score is not None}
    return sorted(once.values(), key=lambda trial: (-(trial.score or 0.0), trial.number))


def _walk(
    looks: Looks, space: Space, quest: Quest, folds: Sequence[Fold], study: Study, equity: float
) -> dict[str, Any]:
    rows, found = [], []
    for number, fold in enumerate(folds, start=1):
        looks.begin(f"walk-forward, fold {number} of {len(folds)}")
        row, measured = _fold(looks, space, quest, number, fold)
        row |= {"train_looks": study.looks(fold.train), "test_looks": study.looks(fold.test)}
        rows.append(row)
        found.append(measured)
    curve = stitched(folds, found, equity)
    none = np.array([], dtype=np.int64)
    figures = measure(curve, Trips(none, none, np.array([])))
    return {
        "folds": rows,
        "return_pct": figures.return_pct,
        "sharpe": figures.sharpe,
        "max_drawdown_pct": figures.max_drawdown_pct,
        "round_trips": sum(row["round_trips"] for row in rows),
        "equity_curve": [list(pair) for pair in zip(curve.at_ms.tolist(), curve.equity.tolist(), strict=True)],
        "looks": sum(row["test_looks"] for row in rows),
    }


def _fold(looks: Looks, space: Space, quest: Quest, number: int, fold: Fold) -> tuple[dict[str, Any], Measured | None]:
    """Choose on the training, judge on the test."""
    row: dict[str, Any] = {
        "train": [fold.train.from_ms, fold.train.to_ms],
        "test": [fold.test.from_ms, fold.test.to_ms],
        "params": None, "in_sample": None, "out_of_sample": None, "return_pct": 0.0, "round_trips": 0,
    }  # fmt: skip
    ranked = _scored(_search(looks, space, quest, fold.train))
    if not ranked:
        looks.advance(2)
        return row, None
    best = ranked[0]
    assert best.found is not None, "a score is that of a run"
    refuse_look_ahead(number, best.found, looks.without_future(best.point, fold.train))
    (judged,) = looks.at([best.point], fold.test, "out of sample")
    assert isinstance(judged, Measured), "settings that agreed in training agree"
    return row | {
        "params": best.point,
        "in_sample": best.score,
        "out_of_sample": looks.score(judged, trades_min=0),
        "return_pct": judged.metrics["return_pct"],
        "round_trips": judged.round_trips,
    }, judged


def _evaluations(quest: Quest, space: Space, folds: Sequence[Fold]) -> int:
    trials = min(quest.trials, space.size) if quest.method == "grid" else quest.trials
    beside = 2 * sum(dimension.is_range for dimension in space.dimensions)
    confirming = CONFIRMED if quest.engine == "exact" else 2 * CONFIRMED
    return (trials + 2) * len(folds) + trials + beside + confirming


# -- judging ----------------------------------------------------------------------------------------------------------


def _judge(
    looks: Looks, space: Space, quest: Quest, whole: Period, trials: Sequence[Trial], study: Study,
    engines: Mapping[str, str], source: Source, settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    ranked = _scored(trials)
    plateau = plateau_map(space, [(trial.point, trial.score or 0.0) for trial in ranked])
    if ranked:
        looks.begin("neighbours of the best")
        plateau |= _neighbourhood(looks, space, whole, ranked[0])
    confirmed, exact, notes = _confirm(looks, ranked[:CONFIRMED], whole, source, engines)
    equity = float(settings.paper.balance_usdt)
    return {
        "trials": [_trial_row(trial) | confirmed.get(trial.number, {}) for trial in ranked],
        "trials_count": len(trials),
        "unscored_count": sum(trial.found is not None and trial.score is None for trial in trials),
        "refused_count": sum(trial.found is None for trial in trials),
        "notes": notes,
        "plateau": plateau,
        "deflated_sharpe": deflated(ranked[0].found if ranked else None, study, whole),
        "pbo": overfit(study, whole, quest.seed),
        "looks": study.looks(whole),
        "confirmed": [_confirmed_row(trial, run) for trial, run in zip(ranked, exact, strict=False)],
        "monte_carlo": alternatives(exact[0].trips.pnl, equity, quest.seed) if exact else None,
    }


def _trial_row(trial: Trial) -> dict[str, Any]:
    assert trial.found is not None, "a score is that of a run"
    figures = {name: trial.found.metrics[name] for name in ("return_pct", "max_drawdown_pct", "sharpe")}
    return {
        "number": trial.number,
        "params": trial.point,
        "score": trial.score,
        **figures,
        "round_trips": trial.found.round_trips,
    }


def _neighbourhood(looks: Looks, space: Space, whole: Period, best: Trial) -> dict[str, Any]:
    """Scores beside the best one, and what share of its own the worst of them keeps."""
    points = neighbours(space, best.point)
    answers = looks.at(points, whole, "neighbour")
    scores = [None if isinstance(answer, Refused) else looks.score(answer) for answer in answers]
    known = [score for score in scores if score is not None]
    kept = 100 * min(known) / best.score if known and best.score is not None and best.score > 0 else None
    rows = [{"params": point, "score": score} for point, score in zip(points, scores, strict=True)]
    return {"neighbours": rows, "kept_pct": kept}


def _confirm(
    looks: Looks, best: Sequence[Trial], whole: Period, source: Source, engines: Mapping[str, str]
) -> tuple[dict[int, dict[str, Any]], list[Outcome], list[str]]:
    """The exact runs of the best, and where they differ for a reason that the searching engine gave itself.

    EvaluationError where they differ without one.
    """
    points = [trial.point for trial in best]
    looks.begin(f"the best {len(points)} by the exact engine")
    exact = looks.exact_runs(replace(source, maker=engines["exact"]), points, whole)
    # What was searched with the exact engine is confirmed already.
    ours = exact if source.maker == engines["exact"] else looks.outcomes(source, points, whole)
    told, notes = {}, []
    for trial, searched, run in zip(best, ours, exact, strict=True):
        problem = disagreement(searched, run)
        if problem is not None and not searched.flagged:
            raise EvaluationError(f"trial {trial.number} {text_of(trial.point)}: the exact engine disagrees: {problem}")
        if problem is not None:
            why = f"as {searched.flagged} round trips were flagged"
            notes.append(f"Trial {trial.number}: the exact engine differs, {why}: {problem}")
        row = _confirmed_row(trial, run)
        figures = {name: row[name] for name in ("return_pct", "round_trips")}
        told[trial.number] = {"exact": figures | {"agrees": problem is None}}
    return told, exact, notes


def _confirmed_row(trial: Trial, run: Outcome) -> dict[str, Any]:
    first, last = float(run.curve.equity[0]), float(run.curve.equity[-1])
    return {
        "number": trial.number,
        "params": trial.point,
        "round_trips": len(run.trips),
        "return_pct": 100 * (last / first - 1),
        "final_equity": last,
    }


def _told(quest: Quest) -> dict[str, Any]:
    return {
        "engine": quest.engine,
        "method": quest.method,
        "seed": quest.seed,
        "batch": quest.batch,
        "trades_min": quest.trades_min,
    }


def _objective(quest: Quest) -> str:
    return f"{quest.score} after costs, {SHARPE_BASIS}; none under {quest.trades_min} round trips"
