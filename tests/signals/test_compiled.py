"""Compiling is for research: what the trader imports and does never loads Numba."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from surefoot.signals import ensemble, kernels
from surefoot.signals.compiled import COMPILED_FROM_CANDLES, compiled, for_length, over_arrays, why_not_compiled
from surefoot.signals.strategy import STRATEGIES, strategy_named

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spec("PERF-6")
def test_a_trader_with_every_strategy_decides_without_loading_numba() -> None:
    script = """
    import sys
    import surefoot.live
    from surefoot.assembly import build_engine
    from surefoot.config import load
    from surefoot.core.model import Candle
    from decimal import Decimal
    members = "rsi,macd,bollinger,volume,stochastic,examples/ma_cross.py"
    flags = {"strategy.name": "ensemble", "ensemble.members": members, "filters.trend": "block"}
    engine = build_engine(load(None, flags, {}).settings)
    source = engine._signals
    for number in range(1_200):
        price, open_ms = Decimal(100 + number % 37), number * 900_000
        signal = source.on_candle(
            Candle("BTCUSDT", "15m", open_ms, open_ms + 899_999, price, price + 1, price, price, Decimal(number % 5))
        )
    assert len(signal.votes) == 6, signal
    assert signal.readiness == "best"
    assert "numba" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=ROOT)


def test_short_arrays_are_left_to_plain_python() -> None:
    assert for_length(kernels.profile_loop, COMPILED_FROM_CANDLES - 1) is kernels.profile_loop
    assert for_length(kernels.profile_loop, COMPILED_FROM_CANDLES) is compiled(kernels.profile_loop)


@pytest.mark.parametrize(
    "function",
    [*(strategy_named(name).rule for name in STRATEGIES), ensemble.combine_loop, kernels.profile_loop],
)
def test_what_is_compiled_calls_functions_of_its_own_file_only(function: FunctionType) -> None:
    # The cache on disk looks at the time of one file: a function of another could change unseen.
    waiting, seen = [function], set()
    while waiting:
        one = waiting.pop()
        seen.add(one)
        tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        for value in (one.__globals__.get(name) for name in called):
            if isinstance(value, FunctionType) and value not in seen:
                assert value.__module__ == function.__module__
                waiting.append(value)


def test_a_rule_that_cannot_be_compiled_is_told_with_the_reason() -> None:
    def rule(value: float) -> int:
        return int(f"{value:.0f}")

    assert why_not_compiled(strategy_named("rsi").rule, 7) is None
    reason = why_not_compiled(rule, 1)
    assert reason
    assert "\n" not in reason


def test_a_compiled_rule_takes_whole_arrays_and_spreads_scalars() -> None:
    rsi = strategy_named("rsi")
    assert over_arrays(rsi.rule)(np.array([20.0, 50.0]), np.array([19.0, 49.0]), 30.0, *rsi.thresholds).tolist() == [
        1,
        0,
    ]
