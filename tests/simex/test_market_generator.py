"""The generated market: the same for the same seed, and with the habits of a real one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import combinations, pairwise

import pytest

from simex.market import MINUTE_MS, GeneratedMarket
from simex.strip import Strip
from simex.venue import DEFAULT_INSTRUMENTS, Candle

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
START_MS = 1_717_200_000_000
DAYS = 10
SEEDS = (1, 7, 42)


class Prints:
    """Collects public prints."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, Decimal, Decimal, Decimal]] = []

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        self.rows.append((now_ms, symbol, price, volume, liquidity))

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None:
        raise AssertionError("a generated market prints every tick")

    def next_close_ms(self, symbol: str) -> int:
        return 0

    def calm(self, symbol: str) -> None:
        return None

    def is_idle(self, symbol: str) -> bool:
        return True

    def stop_side(self, symbol: str) -> int:
        return 0


@pytest.fixture(scope="module")
def histories() -> dict[int, GeneratedMarket]:
    return {seed: GeneratedMarket(seed, SYMBOLS, START_MS, history_days=DAYS) for seed in SEEDS}


def prints_of(market: GeneratedMarket, seconds: int) -> Prints:
    exchange = Prints()
    for _ in range(seconds):
        market.advance(exchange)
    return exchange


def closes(candles: Sequence[Candle], every: int = 1) -> list[float]:
    return [float(candle.close) for candle in candles[every - 1 :: every]]


def log_returns(prices: Sequence[float]) -> list[float]:
    return [math.log(after / before) for before, after in pairwise(prices)]


def rsi(prices: Sequence[float], length: int = 14) -> list[float]:
    """Wilder's RSI, written down from its definition."""
    moves = [after - before for before, after in pairwise(prices)]
    gain = statistics.fmean(max(move, 0.0) for move in moves[:length])
    loss = statistics.fmean(max(-move, 0.0) for move in moves[:length])
    values = []
    for move in moves[length:]:
        gain = (gain * (length - 1) + max(move, 0.0)) / length
        loss = (loss * (length - 1) + max(-move, 0.0)) / length
        values.append(100 - 100 / (1 + gain / loss))
    return values


def crossings(values: Iterable[float], level: float) -> int:
    return sum((before < level) != (after < level) for before, after in pairwise(values))


@pytest.mark.spec("SIM-3")
def test_the_same_seed_is_the_same_market_print_for_print() -> None:
    one, other = (GeneratedMarket(5, SYMBOLS, START_MS, history_days=1) for _ in range(2))
    assert one.history == other.history
    assert prints_of(one, 180).rows == prints_of(other, 180).rows


def test_another_seed_is_another_market() -> None:
    one, other = (GeneratedMarket(seed, SYMBOLS, START_MS, history_days=1) for seed in (5, 6))
    assert one.history != other.history


def test_history_is_whole_closed_minutes_up_to_the_start(histories: dict[int, GeneratedMarket]) -> None:
    for candles in histories[7].history.values():
        assert [c.open_ms for c in candles] == list(range(START_MS - DAYS * 1_440 * MINUTE_MS, START_MS, MINUTE_MS))
        assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)


def test_prices_lie_on_the_tick_grid_and_volumes_on_the_lot_grid(histories: dict[int, GeneratedMarket]) -> None:
    for spec in DEFAULT_INSTRUMENTS:
        for candle in histories[7].history[spec.symbol]:
            assert not any(price % spec.tick_size for price in (candle.open, candle.high, candle.low, candle.close))
            assert candle.volume > 0
            assert not candle.volume % spec.lot_size


def test_price_levels_are_plausible(histories: dict[int, GeneratedMarket]) -> None:
    levels = {"BTCUSDT": 60_000, "ETHUSDT": 3_000, "BNBUSDT": 600, "SOLUSDT": 150}
    for market in histories.values():
        for symbol, level in levels.items():
            prices = closes(market.history[symbol])
            assert 0.6 * level < min(prices) < max(prices) < 1.6 * level


def test_returns_have_fat_tails_and_clustered_volatility(histories: dict[int, GeneratedMarket]) -> None:
    for seed, market in histories.items():
        for symbol, candles in market.history.items():
            returns = log_returns(closes(candles))
            sizes = [abs(change) for change in returns]
            mean, variance = statistics.fmean(returns), statistics.pvariance(returns)
            kurtosis = statistics.fmean((change - mean) ** 4 for change in returns) / variance**2
            assert kurtosis > 3.5, (seed, symbol)
            assert statistics.correlation(sizes[:-1], sizes[1:]) > 0.1, (seed, symbol)
            assert statistics.correlation(sizes[:-30], sizes[30:]) > 0.03, (seed, symbol)


def test_symbols_move_together_but_not_as_one(histories: dict[int, GeneratedMarket]) -> None:
    for market in histories.values():
        returns = [log_returns(closes(market.history[symbol], every=5)) for symbol in SYMBOLS]
        for one, other in combinations(returns, 2):
            assert 0.3 < statistics.correlation(one, other) < 0.95


def test_volume_rises_with_volatility(histories: dict[int, GeneratedMarket]) -> None:
    for candles in histories[7].history.values():
        ranges = [math.log(float(candle.high / candle.low)) for candle in candles]
        assert statistics.correlation(ranges, [float(candle.volume) for candle in candles]) > 0.3


def test_rsi_on_quarter_hours_crosses_its_thresholds_several_times_a_day() -> None:
    for seed in range(5):
        market = GeneratedMarket(seed, SYMBOLS, START_MS, history_days=DAYS)
        values = [rsi(closes(market.history[symbol], every=15)) for symbol in SYMBOLS]
        a_day = [(crossings(v, 30) + crossings(v, 70)) / DAYS for v in values]
        assert min(a_day) > 1.5, (seed, a_day)
        assert all(crossings(v, 30) >= DAYS / 2 and crossings(v, 70) >= DAYS / 2 for v in values), seed


@pytest.mark.spec("MODE-2", "SIM-3")
def test_the_past_of_the_market_pays_nobody() -> None:
    """No swing that comes back by itself: returns do not follow from returns before, and variance grows with time."""
    quarter_hours: list[list[float]] = []
    for seed in range(12):
        market = GeneratedMarket(seed, ("BTCUSDT", "SOLUSDT"), START_MS, history_days=DAYS)
        quarter_hours += [log_returns(closes(candles, every=15)) for candles in market.history.values()]
    for lag in (1, 4, 16):
        together = statistics.fmean(statistics.correlation(r[:-lag], r[lag:]) for r in quarter_hours)
        assert abs(together) < 0.03, lag
    four_hours = [[sum(r[at : at + 16]) for at in range(0, len(r) - 15, 16)] for r in quarter_hours]
    short = statistics.fmean(statistics.fmean(change**2 for change in r) for r in quarter_hours)
    long = statistics.fmean(statistics.fmean(change**2 for change in r) for r in four_hours)
    assert 0.85 < long / (16 * short) < 1.15


def test_live_prints_come_at_the_given_step_for_every_symbol_and_go_on_from_history() -> None:
    market = GeneratedMarket(9, SYMBOLS, START_MS, history_days=1)
    exchange = prints_of(market, 120)
    assert [(at - START_MS, symbol) for at, symbol, *_ in exchange.rows] == [
        (second * 1_000, symbol) for second in range(120) for symbol in SYMBOLS
    ]
    for symbol in SYMBOLS:
        first = next(price for _, name, price, *_ in exchange.rows if name == symbol)
        assert abs(first / market.history[symbol][-1].close - 1) < Decimal("0.005")
    assert all(volume > 0 and liquidity > 0 for *_, volume, liquidity in exchange.rows)


def test_live_prints_vary_as_much_as_history() -> None:
    market = GeneratedMarket(11, ("BTCUSDT",), START_MS, history_days=5, print_every_ms=15_000)
    past = statistics.pstdev(log_returns(closes(market.history["BTCUSDT"])))
    live = [float(price) for _, _, price, *_ in prints_of(market, 2 * 1_440 * 4).rows][::4]
    assert 0.4 < statistics.pstdev(log_returns(live)) / past < 2.5


def test_a_coarser_step_prints_less_often() -> None:
    market = GeneratedMarket(9, ("BTCUSDT",), START_MS, print_every_ms=15_000, history_days=0)
    assert [at - START_MS for at, *_ in prints_of(market, 5).rows] == [0, 15_000, 30_000, 45_000, 60_000]


@pytest.mark.parametrize(
    ("symbols", "start_ms", "print_every_ms"),
    [
        (("BTCUSDT",), START_MS + 1, 1_000),
        (("BTCUSDT",), START_MS, 7_001),
        (("BTCUSDT",), START_MS, 0),
        ((), START_MS, 1_000),
        (("NOPEUSDT",), START_MS, 1_000),
    ],
)
def test_a_market_that_cannot_be_is_refused(symbols: tuple[str, ...], start_ms: int, print_every_ms: int) -> None:
    with pytest.raises(ValueError):
        GeneratedMarket(1, symbols, start_ms, print_every_ms=print_every_ms, history_days=0)
