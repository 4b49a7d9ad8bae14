"""`surefoot strategy`: which strategies there are, and whether one of your own may run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surefoot.commands.options import EXIT_FAILED, EXIT_OK, AsJson, ConfigFile, Sets, loaded, overrides_of

if TYPE_CHECKING:
    from surefoot.signals.check import Finding
    from surefoot.signals.strategy import Strategy

strategy_app = typer.Typer(rich_markup_mode=None, help="Strategies: which there are, and whether yours may run.")


@strategy_app.command("list")
def list_strategies(config: ConfigFile = None, sets: Sets = None, as_json: AsJson = False) -> int:
    """The strategies that are known, with their parameters.

    Built-in ones, those that installed packages bring along (entry points
    "surefoot.strategies"), and the file that strategy.name names.

    \b
    examples:
      surefoot strategy list
      surefoot strategy list --set strategy.name=examples/ma_cross.py --json
    """
    from surefoot.signals.strategy import STRATEGIES, strategy_named
    from surefoot.strategies import ENSEMBLE, installed_names, own_strategy

    named = loaded(config, overrides_of(sets)).settings.strategy.name
    own = {*installed_names(), named} - {*STRATEGIES, ENSEMBLE}
    strategies: list[Strategy] = [strategy_named(name) for name in STRATEGIES]
    strategies += [own_strategy(name, {}) for name in sorted(own)]
    if as_json:
        print(json.dumps([_described(strategy) for strategy in strategies]))
        return EXIT_OK
    for strategy in strategies:
        warmup = strategy.warmup
        print(f"{strategy.name}: {warmup.minimum} candles at least, {warmup.best} for its best")
        for parameter in strategy.parameters:
            bounds = f"{parameter.default:g}, {parameter.low:g} to {parameter.high:g} {parameter.unit}"
            print(f"  {parameter.name:<22}{bounds:<44}{parameter.meaning}")
    print(f"{ENSEMBLE}: several of these, heard together; see [ensemble] in surefoot config show")
    return EXIT_OK


@strategy_app.command("check")
def check_strategy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file, or the name of an installed strategy.")],
    candles: Annotated[
        str | None, typer.Option(metavar="FILE", help="Candles to check on; else on a built-in sample.")
    ] = None,
    parameters: Annotated[
        str, typer.Option(metavar="NAME=NUMBER,…", help="Parameters that differ from its defaults.")
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Whether a strategy of your own may run.

    It must not see the future: no value may change when later candles are cut
    off. Its window must be long enough: live it sees no more. Its rule must
    answer within its table, and every parameter must work at both ends of its
    range. Says besides whether the rule can be compiled; one that cannot runs
    as it is, slower. The same tests run on the sample at every start.

    \b
    examples:
      surefoot strategy check examples/ma_cross.py
      surefoot strategy check mine.py --candles BTCUSDT-15m.parquet --json
    """
    from surefoot.research.data import load_candles
    from surefoot.signals.check import check
    from surefoot.signals.compiled import why_not_compiled
    from surefoot.strategies import own_strategy

    columns = None if candles is None else load_candles(candles, gaps="keep").columns
    strategy = own_strategy(file, _numbers(parameters))
    findings = [*check(strategy, columns), _ends(file, strategy)]
    problem = why_not_compiled(strategy.rule, len(strategy.values) + len(strategy.thresholds))
    passed = all(finding.passed for finding in findings)
    if as_json:
        answer = {"strategy": strategy.name, "passed": passed, "compiles": problem is None, "why_not": problem}
        print(json.dumps(answer | {"findings": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            print(f"{'passed' if finding.passed else 'FAILED'}  {finding.test}: {finding.detail}")
        print("passed  compiles: its rule does" if problem is None else f"note    runs as plain Python: {problem}")
    return EXIT_OK if passed else EXIT_FAILED


def _ends(file: str, strategy: Strategy) -> Finding:
    """Every parameter at both ends of its range, the others as they are."""
    from surefoot.config import ConfigError
    from surefoot.signals.check import Finding, sample
    from surefoot.strategies import own_strategy

    tried = 0
    for parameter in strategy.parameters:
        if not parameter.low <= parameter.default <= parameter.high:
            return Finding("parameters", False, f"{parameter.name}: its default lies outside its range")
        for value in (parameter.low, parameter.high):
            try:
                own = own_strategy(file, {parameter.name: value})
                own.primary(sample(own.window + 1))
                own.confirm(sample(own.window + 1))
            except ConfigError as error:
                return Finding("parameters", False, f"{parameter.name} = {value:g}: {error}")
            except Exception as error:
                return Finding("parameters", False, f"{parameter.name} = {value:g}: {type(error).__name__}: {error}")
            tried += 1
    return Finding("parameters", True, f"{tried} ends of {len(strategy.parameters)} ranges work")


def _numbers(text: str) -> dict[str, float]:
    from surefoot.commands.options import CommandError

    numbers = {}
    for word in text.replace(",", " ").split():
        name, _, number = word.partition("=")
        try:
            numbers[name] = float(number)
        except ValueError:
            raise CommandError(f"--parameters {word}: give it as NAME=NUMBER") from None
    return numbers


def _described(strategy: Strategy) -> dict[str, Any]:
    return {
        "name": strategy.name,
        "parameters": [
            {name: getattr(parameter, name) for name in ("name", "default", "low", "high", "unit", "meaning", "whole")}
            for parameter in strategy.parameters
        ],
        "rules": [{"name": rule.name, "score": rule.score, "target": rule.target} for rule in strategy.rules],
    }
