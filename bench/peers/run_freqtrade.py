"""The bench's rules in freqtrade: its own backtest over its own files, with the market's rules given instead of asked.

Freqtrade asks the exchange for its markets before it tests anything. Here there may be no network, and a measurement
should not hang on one, so the one market is put in by hand; everything after that is freqtrade's own.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from freqtrade.enums import CandleType, RunMode
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.resolvers import ExchangeResolver
from protocol import Candles, Outcome, Peer, serve

logging.disable(logging.WARNING)

NEVER_MS = 10**12
STRATEGY = """
import talib
from freqtrade.strategy import IStrategy


class Rules(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1m"
    startup_candle_count = 0
    stoploss = -{stop}
    minimal_roi = {{"0": {target}}}

    def populate_indicators(self, dataframe, metadata):
        dataframe["rsi"] = talib.RSI(dataframe["close"], {period})
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        crossed = (dataframe["rsi"] < {low}) & (dataframe["rsi"].shift(1) >= {low})
        dataframe.loc[crossed, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["rsi"] > {high}, "exit_long"] = 1
        return dataframe
"""
MARKET = {
    "id": "BTCUSDT",
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "active": True,
    "type": "spot",
    "spot": True,
    "swap": False,
    "future": False,
    "contract": False,
    "linear": None,
    "inverse": None,
    "contractSize": None,
    "taker": 0.001,
    "maker": 0.001,
    "precision": {"amount": 1e-8, "price": 0.01},
    "limits": {
        "amount": {"min": 1e-5, "max": None},
        "cost": {"min": 5, "max": None},
        "price": {"min": 0.01, "max": None},
        "leverage": {"min": None, "max": None},
    },
    "info": {},
}


def settings(rules: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All of the balance in one trade, of a balance of which one share may be traded: the share of equity."""
    return {
        "runmode": RunMode.BACKTEST,
        "dry_run": True,
        "stake_currency": "USDT",
        "stake_amount": "unlimited",
        "tradable_balance_ratio": rules["share"],
        "max_open_trades": 1,
        "dry_run_wallet": rules["cash"],
        "fee": rules["fee"],
        "timeframe": "1m",
        "strategy": "Rules",
        "strategy_path": str(folder),
        "user_data_dir": folder,
        "datadir": folder,
        "exportdirectory": folder,
        "exportfilename": None,
        "export": "none",
        "backtest_cache": "none",
        "dataformat_ohlcv": "feather",
        "trading_mode": "spot",
        "candle_type_def": CandleType.SPOT,
        "exchange": {"name": "binance", "pair_whitelist": ["BTC/USDT"], "pair_blacklist": []},
        "pairs": ["BTC/USDT"],
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "same", "use_order_book": False},
        "exit_pricing": {"price_side": "same", "use_order_book": False},
        "enable_protections": False,
        "disableparamexport": True,
        "verbosity": 0,
        "original_config": {},
    }


def prepare(candles: Candles, rules: dict[str, Any]) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="freqtrade-"))
    (folder / "rules.py").write_text(STRATEGY.format(**rules))
    dates = pd.to_datetime(candles["open_time"], unit="ms", utc=True)
    columns = {name: candles[name] for name in ("open", "high", "low", "close", "volume")}
    pd.DataFrame({"date": dates.as_unit("ms"), **columns}).to_feather(folder / "BTC_USDT-1m.feather")
    config = settings(rules, folder)
    exchange = ExchangeResolver.load_exchange(config, validate=False)
    exchange._markets = exchange._api.markets = exchange._api_async.markets = {"BTC/USDT": MARKET}
    exchange._last_markets_refresh = int(time.time() * 1_000) + NEVER_MS
    test = Backtesting(config, exchange)
    data, span = test.load_bt_data()
    return {"test": test, "data": data, "span": span, "open_time": candles["open_time"]}


def single(own: dict[str, Any], rules: dict[str, Any]) -> Outcome:
    test = own["test"]
    test.all_bt_content = {}
    test.backtest_one_strategy(test.strategylist[0], own["data"], own["span"])
    (content,) = test.all_bt_content.values()
    trades = content["results"]
    closed = trades[trades["exit_reason"] != "force_exit"]
    opened = pd.DatetimeIndex(closed["open_date"]).as_unit("ms").asi8
    entries = own["open_time"].searchsorted(opened)
    return Outcome(entries, len(trades) - len(closed), content["final_balance"])


if __name__ == "__main__":
    serve(Peer(("freqtrade", "numpy", "pandas", "ta-lib"), prepare, single=single))
