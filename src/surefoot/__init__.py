"""Surefoot: a Binance trading bot that a person can leave alone with real money."""

__version__ = "0.1.0"
