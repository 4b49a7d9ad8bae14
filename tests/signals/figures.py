"""Figures of the signals, measured and printed: `python -m tests.signals.figures` (some minutes).

Indicators against the published tables; streaming against the whole history and truncation, for every strategy, every
ensemble mode and the filters, over long real histories and random ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from surefoot.core.model import Candle
from surefoot.signals.history import decisions_for
from tests.signals.agreement import assert_arrays_equal_signals, replayed, worst_difference
from tests.signals.market import columns_of, random_candles, real_candles
from tests.signals.references import controls, references
from tests.signals.test_agreement import BLOCK, DAMP, DECIDERS, OFF, streamed

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
REAL_CANDLES = 6_000
RANDOM_SEEDS, RANDOM_CANDLES = 12, 1_500
CUTS = 10


def main() -> int:
    print(f"{'indicator':<52}{'table':<34}{'values':>7}{'worst':>10}{'allowed':>9}")
    for kind, rows in (("", references()), ("NOT ", controls())):
        for row in rows:
            count, worst = row.difference()
            print(f"{kind + row.indicator:<52}{row.table:<34}{count:>7}{worst:>10.1e}{row.allowed:>9.0e}")
            assert (worst <= row.allowed) == (kind == ""), row.indicator
    print(f"\n{'strategy':<24}{'filters':<9}{'histories':>10}{'candles':>9}{'fired':>8}{'worst':>10}{'cut off at':>12}")
    for name in DECIDERS:
        filters = {"rsi": BLOCK, "macd": DAMP}.get(name, OFF)
        print(f"{name:<24}{filters.trend:<9}{_agreement(name)}", flush=True)
    return 0


def _agreement(name: str) -> str:
    decider, filters = DECIDERS[name], {"rsi": BLOCK, "macd": DAMP}.get(name, OFF)
    histories = candles = fired = cuts = 0
    worst = 0.0
    for given in _histories():
        ours, columns = streamed(decider, given, filters), columns_of(given)
        whole = replayed(decider, "15m", "1h", given, filters)
        worst = max(worst, worst_difference(ours, whole))
        assert_arrays_equal_signals(decisions_for(decider, "BTCUSDT", "15m", "1h", columns, filters), ours)
        for cut in range(1, len(given), len(given) // CUTS):
            assert replayed(decider, "15m", "1h", given[:cut], filters) == whole[:cut]
            cuts += 1
        histories, candles = histories + 1, candles + len(given)
        fired += sum(signal.target is not None for signal in ours)
    return f"{histories:>10}{candles:>9}{fired:>8}{worst:>10.1e}{cuts:>12}"


def _histories() -> Iterator[list[Candle]]:
    for symbol in SYMBOLS:
        yield real_candles(f"measure/klines/spot_15m/{symbol}.parquet", REAL_CANDLES)
    for seed in range(RANDOM_SEEDS):
        still, missing = (0.0, 0.3, 0.9)[seed % 3], (0.0, 0.05)[seed % 2]
        yield random_candles(1_000 + seed, RANDOM_CANDLES, missing=missing, still=still)


if __name__ == "__main__":
    sys.exit(main())
