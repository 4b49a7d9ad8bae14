"""`surefoot optimize`: search for settings, and say what may be believed of what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.commands.options import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    AsJson,
    CommandError,
    ConfigFile,
    Gaps,
    Sets,
    check_writable,
    gaps_of,
    loaded,
    overrides_of,
)
from surefoot.commands.progress import Progress

if TYPE_CHECKING:
    from surefoot.research.looks import Quest

TRIALS_SHOWN = 5
WORKERS_MAX = 1_024


def optimize(
    candles: Annotated[list[str], typer.Option(metavar="FILE…", help="Parquet or Binance CSV, or SYMBOL=FILE.")],
    strategy: Annotated[str | None, typer.Option(help="The strategy to tune.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=RANGE…", help="What to search; or a TOML file with [space]. Default: all of it."),
    ] = None,
    method: Annotated[str, typer.Option(metavar="tpe|cmaes|random|grid", help="How to search.")] = "tpe",
    trials: Annotated[int, typer.Option(min=2, max=100_000, help="Trials of each search.")] = 200,
    score: Annotated[
        str, typer.Option(metavar="sharpe|sortino|calmar|return", help="What is best, after costs.")
    ] = "sharpe",
    trades_min: Annotated[int, typer.Option(min=1, help="Fewer round trips have no score.")] = 30,
    folds: Annotated[int, typer.Option(min=1, max=100, help="Tests of walk-forward.")] = 5,
    train_parts: Annotated[int, typer.Option(min=1, max=100, help="Length of a training, in tests.")] = 3,
    embargo_days: Annotated[int, typer.Option(min=0, max=365, help="Days between training and test.")] = 1,
    anchored: Annotated[bool, typer.Option("--anchored", help="Train from the beginning on.")] = False,
    walk_forward: Annotated[
        bool, typer.Option("--walk-forward/--no-walk-forward", help="Judge on candles not searched on.")
    ] = True,
    engine: Annotated[
        str, typer.Option(metavar="fast|exact", help="The engine of the search; the exact one confirms the best.")
    ] = "fast",
    seed: Annotated[int, typer.Option(min=0, help="The same seed asks for the same trials.")] = 1,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Trials asked for at once.")] = 16,
    workers: Annotated[int | None, typer.Option(min=1, max=WORKERS_MAX, help="Processes; default: all cores.")] = None,
    study: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the search is kept and goes on.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML report.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    gaps: Gaps = "refuse",
    as_json: AsJson = False,
) -> int:
    """Search for better settings.

    Honestly: by walk-forward, with every look counted, and confirmed by the
    exact engine. A range is FROM:TO or FROM:TO:STEP, a list A,B,C. The same
    command again goes on where it was, or finds its answers at once.

    \b
    examples:
      surefoot optimize --candles data/*.parquet
      surefoot optimize --candles data/*.parquet --space rsi.period=5:30:1 exits.stop_pct_of_price=1:5
      surefoot optimize --candles BTCUSDT.parquet --method grid --space rsi.period=10,14,20 --no-walk-forward
      surefoot optimize --candles data/*.parquet --space space.toml --trials 1000 --report study.html --json
    """
    from surefoot.research.inputs import load_files, settings_for
    from surefoot.research.looks import SCORES, Quest
    from surefoot.research.optimize import ENGINES, identity
    from surefoot.research.optimize import optimize as search
    from surefoot.research.samplers import METHODS
    from surefoot.research.space import space_of
    from surefoot.research.walkforward import Plan
    from surefoot.research.workers import all_cores, local_pool

    _one_of("--method", method, METHODS)
    _one_of("--score", score, SCORES)
    _one_of("--engine", engine, ENGINES)
    check_writable("--report", report)
    overrides = overrides_of(sets) | {"mode": "backtest"} | ({} if strategy is None else {"strategy.name": strategy})
    settings = loaded(config, overrides).settings
    searched = space_of(space or (), settings.strategy.name)
    plan = Plan(folds, train_parts, embargo_days, anchored) if walk_forward else None
    quest = Quest(method, trials, seed, score, trades_min, batch, engine, plan)
    files = load_files(candles, gaps_of(gaps))
    settings = settings_for(settings, files)
    if study is None:
        about = identity(settings, files, searched)
        study = (
            settings.store.journal_path.parent / f"study-{about.data[:8]}-{about.space[:8]}-{about.settings[:8]}.sqlite"
        )
    pool = local_pool(workers or all_cores())
    try:
        with Progress("looks") as progress:
            result = search(settings, files, searched, quest, pool, study, progress.show)
    except KeyboardInterrupt:
        kept = f"interrupted; {study} keeps what was found, and the same command goes on from there"
        raise CommandError(kept, EXIT_INTERRUPTED) from None
    finally:
        pool.shutdown(cancel_futures=True)
    if report is not None:
        from surefoot.research.report_optimization import write_optimization_report

        write_optimization_report(report, result)
    print(json.dumps(result) if as_json else "\n".join(_lines(result, quest, report)))
    return EXIT_OK


def _one_of(option: str, value: str, known: Mapping[str, str] | tuple[str, ...]) -> None:
    if value not in known:
        raise CommandError(f"{option} {value}: give one of {', '.join(known)}")


def _lines(result: Mapping[str, Any], quest: Quest, report: Path | None) -> list[str]:
    walked, best = result["walk_forward"], result["trials"][:TRIALS_SHOWN]
    trials = f"{result['trials_count']}, {result['unscored_count']} without a score, {result['refused_count']} refused"
    looks = f"{result['looks']} at the whole period, {walked['looks'] if walked else 0} at tests"
    pace = f"{result['evaluations']} in {result['seconds']:.1f} s, {result['evaluations_per_second']} a second"
    lines = [
        f"{' '.join(result['symbols'])}  {result['interval']}  {result['method']} search, seed {result['seed']}",
        f"trials        {trials}",
        f"looks         {looks}",
        f"evaluations   {pace}; {result['reused']} known before",
        f"walk-forward  {_walked_text(walked)}",
        f"deflated      {_deflated_text(result['deflated_sharpe'])}",
        f"overfitting   {_overfit_text(result['pbo'])}",
        f"study         {result['study']}",
        *([f"report        {report}"] if report else []),
        f"\n{result['verdict']}\n",
    ]
    if not best:
        return [*lines, f"No trial has a score: fewer than {quest.trades_min} round trips, or nothing that varied."]
    lines.append(f"best {len(best)}, confirmed by the exact engine")
    return lines + [_row(trial) for trial in best]


def _walked_text(walked: Mapping[str, Any] | None) -> str:
    return f"{_pct(walked['return_pct'])} after costs in {len(walked['folds'])} tests" if walked else "switched off"


def _deflated_text(deflated: Mapping[str, Any] | None) -> str:
    if deflated is None:
        return "–"
    by_luck = f"Sharpe {deflated['sharpe']:.2f} against {deflated['expected_max_sharpe']:.2f} by luck"
    return f"{by_luck}: skill with {100 * deflated['probability']:.0f} %"


def _overfit_text(overfit: Mapping[str, Any] | None) -> str:
    return "–" if overfit is None else f"{100 * overfit['probability']:.0f} %, {overfit['basis']}"


def _row(trial: Mapping[str, Any]) -> str:
    chosen = " ".join(f"{key}={value}" for key, value in trial["params"].items())
    return f"{trial['score']:>8.3f} {_pct(trial['return_pct']):>10} {trial['round_trips']:>5} round trips  {chosen}"


def _pct(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f} %"
