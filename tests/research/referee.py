"""The figures of an independent library (quantstats), for `test_metrics_referee.py`; runs in an environment of its own.

Cases come as JSON on stdin: daily equity, which begins at a midnight, and the results of round trips as small shares.
Its answers go to stdout. It imports nothing of the project: what judges shares no code with what is judged.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")  # of a library that is only asked for numbers

import pandas as pd  # noqa: E402
import quantstats.stats as qs  # noqa: E402

DAYS_PER_YEAR = 365


def answer(case: dict[str, list[float]]) -> dict[str, Any]:
    equity = pd.Series(case["equity"], index=pd.date_range("2024-01-01", periods=len(case["equity"])))
    returns = equity.pct_change().dropna()
    results = pd.Series(case["results"], index=pd.date_range("2024-01-01", periods=len(case["results"])))
    return {
        "return_pct": 100 * qs.comp(returns),
        "cagr_pct": 100 * qs.cagr(returns, periods=DAYS_PER_YEAR),
        "volatility_pct": 100 * qs.volatility(returns, periods=DAYS_PER_YEAR),
        "max_drawdown_pct": -100 * qs.max_drawdown(returns),
        "sharpe": qs.sharpe(returns, periods=DAYS_PER_YEAR),
        "sortino": qs.sortino(returns, periods=DAYS_PER_YEAR),
        "calmar": qs.calmar(returns, periods=DAYS_PER_YEAR),
        "win_rate_pct": 100 * qs.win_rate(results),
        "profit_factor": qs.profit_factor(results),
        "payoff_ratio": qs.payoff_ratio(results),
        "expectancy": qs.avg_return(results),
        "average_win": qs.avg_win(results),
        "average_loss": qs.avg_loss(results),
        "largest_win": qs.best(results),
        "largest_loss": qs.worst(results),
        "longest_wins": qs.consecutive_wins(results),
        "longest_losses": qs.consecutive_losses(results),
        # Its shape of the returns is corrected for bias, ours is not: it is told, so that the formula is compared.
        "skewness": qs.skew(returns),
        "kurtosis": qs.kurtosis(returns) + 3,
        "probabilistic_sharpe": qs.probabilistic_sharpe_ratio(returns),
    }


if __name__ == "__main__":
    answers = [{name: float(value) for name, value in answer(case).items()} for case in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
