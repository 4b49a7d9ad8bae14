"""The bench's rules in backtesting.py, whose strategies are plain Python."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import talib
from backtesting import Strategy
from backtesting.lib import FractionalBacktest
from protocol import Candles, Outcome, Peer, serve

warnings.simplefilter("ignore")  # about a position that is open at the end, which the bench wants

LOT = 1e-8


class Rules(Strategy):
    """Stop and target are set with the order, hence from the close it is decided on: the fill is not known yet."""

    rules: dict[str, Any]

    def init(self) -> None:
        self.rsi = self.I(talib.RSI, np.asarray(self.data.Close, dtype=float), self.rules["period"])

    def next(self) -> None:
        rules = self.rules
        if self.position:
            if self.rsi[-1] > rules["high"]:
                self.position.close()
        elif self.rsi[-1] < rules["low"] <= self.rsi[-2]:
            price = self.data.Close[-1]
            self.buy(size=rules["share"], sl=price * (1 - rules["stop"]), tp=price * (1 + rules["target"]))


def prepare(candles: Candles, rules: dict[str, Any]) -> pd.DataFrame:
    index = pd.to_datetime(candles["open_time"], unit="ms")
    columns = ("open", "high", "low", "close", "volume")
    return pd.DataFrame({name.capitalize(): candles[name] for name in columns}, index=index)


def single(own: pd.DataFrame, rules: dict[str, Any]) -> Outcome:
    class Chosen(Rules):
        pass

    Chosen.rules = rules
    test = FractionalBacktest(own, Chosen, cash=rules["cash"], commission=rules["fee"], fractional_unit=LOT)
    stats = test.run()
    return Outcome(stats["_trades"]["EntryBar"], len(stats["_strategy"].trades), stats["Equity Final [$]"])


def sweep(own: pd.DataFrame, rules: dict[str, Any], combinations: list[list[float]]) -> tuple[list[int], list[float]]:
    names = ("period", "low", "high", "stop", "target")
    outcomes = [single(own, rules | dict(zip(names, each, strict=True))) for each in combinations]
    return [len(outcome.entries) + outcome.still_open for outcome in outcomes], [
        outcome.final_equity for outcome in outcomes
    ]


if __name__ == "__main__":
    serve(Peer(("backtesting", "numpy", "pandas", "ta-lib"), prepare, single=single, strategy=single, sweep=sweep))
