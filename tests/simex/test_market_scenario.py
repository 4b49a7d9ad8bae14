"""Scenarios: tables over any market, told in a trader's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from simex.market import CandleTape, GeneratedMarket
from simex.scenario import STORIES, ScenarioError, ScriptedMarket, load_scenario, read_scenario
from simex.strip import Strip
from tests.simex.sockets import T0_MS, candles

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TICK = Decimal("0.01")
SECOND = 1_000


@dataclass
class Taker:
    """Keeps what is printed: (symbol, seconds since the start) -> price and liquidity."""

    prints: dict[tuple[str, int], tuple[Decimal, Decimal]] = field(default_factory=dict)
    statuses: list[tuple[str, str]] = field(default_factory=list)

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        self.prints[symbol, (now_ms - T0_MS) // SECOND] = price, liquidity

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None:
        raise AssertionError("a scenario wants every print")

    def next_close_ms(self, symbol: str) -> int:
        return 2**62

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return Decimal(0), Decimal(10**9)

    def is_idle(self, symbol: str) -> bool:
        return True

    def stop_side(self, symbol: str) -> int:
        return 0


def market() -> GeneratedMarket:
    return GeneratedMarket(7, SYMBOLS, T0_MS, history_days=0)


def played(table: str, seconds: int) -> tuple[Taker, Taker]:
    """The prints of the plain market, and those under the scenario."""
    plain, scripted = Taker(), Taker()
    script = ScriptedMarket(
        market(),
        read_scenario(table, "table"),
        dict.fromkeys(SYMBOLS, TICK),
        lambda symbol, status: scripted.statuses.append((symbol, status)),
    )
    below = market()
    for _ in range(seconds):
        below.advance(plain)
        script.advance(scripted)
    return plain, scripted


def ratio(plain: Taker, scripted: Taker, symbol: str, second: int) -> Decimal:
    return (scripted.prints[symbol, second][0] / plain.prints[symbol, second][0]).quantize(Decimal("0.0001"))


@pytest.mark.spec("SIM-3")
def test_a_price_falls_evenly_stays_and_comes_back() -> None:
    table = "wait 10s\nfall BTCUSDT 20% over 10s  # a fifth\nwait 20s\nrecover BTCUSDT over 10s\n"
    plain, scripted = played(table, 60)
    seen = {second: ratio(plain, scripted, "BTCUSDT", second) for second in (9, 10, 15, 20, 29, 30, 35, 40, 59)}
    wanted = {9: "1", 10: "1", 15: "0.9", 20: "0.8", 29: "0.8", 30: "0.8", 35: "0.9", 40: "1", 59: "1"}
    assert seen == {second: Decimal(text).quantize(Decimal("0.0001")) for second, text in wanted.items()}
    assert all(ratio(plain, scripted, "ETHUSDT", second) == 1 for second in range(60))
    assert all(price % TICK == 0 for price, _ in scripted.prints.values())


def test_a_scripted_price_is_met_to_the_tick_and_liquidity_dries_up() -> None:
    plain, scripted = played("wait 5s\nprice ETHUSDT 2000 over 5s\nliquidity ETHUSDT 10% for 3s\n", 20)
    assert abs(scripted.prints["ETHUSDT", 10][0] - 2_000) < 20  # the market's own moves stay in it
    thin = {
        second for second in range(20) if scripted.prints["ETHUSDT", second][1] < plain.prints["ETHUSDT", second][1]
    }
    assert thin == {5, 6, 7}


@pytest.mark.spec("SIM-3")
def test_a_halt_closes_the_symbol_and_silence_only_prints_nothing() -> None:
    _, scripted = played("wait 5s\nhalt BTCUSDT for 10s\nsilence ETHUSDT for 3s\n", 20)
    assert {second for symbol, second in scripted.prints if symbol == "BTCUSDT"} == {*range(5), *range(15, 20)}
    assert {second for symbol, second in scripted.prints if symbol == "ETHUSDT"} == {*range(5), *range(8, 20)}
    assert scripted.statuses == [("BTCUSDT", "HALT"), ("BTCUSDT", "TRADING")]


def test_a_replay_can_be_scripted_and_is_played_print_by_print() -> None:
    tape = CandleTape({"BTCUSDT": candles(3)}, always_tick=False)
    scripted = Taker()
    script = ScriptedMarket(tape, read_scenario("wait 1m\nrise 1%", "table"), {"BTCUSDT": TICK})
    while script.next_ms() is not None:
        script.advance(scripted)
    assert len(scripted.prints) == 12
    assert scripted.prints["BTCUSDT", 0][0] == candles(1)[0].open
    assert scripted.prints["BTCUSDT", 60][0] == candles(2)[1].open * Decimal("1.01")
    assert script.end_ms == T0_MS + 180_000


@pytest.mark.spec("SIM-3")
def test_the_built_in_scenarios_do_what_their_names_say() -> None:
    plain, crashed = played(STORIES["flash-crash"], 1_300)
    lowest = min(ratio(plain, crashed, "BTCUSDT", second) for second in range(1_300))
    assert (lowest, ratio(plain, crashed, "BTCUSDT", 1_299)) == (Decimal("0.8"), Decimal(1))
    plain, gapped = played(STORIES["gap"], 1_000)
    seconds = sorted(second for symbol, second in gapped.prints if symbol == "BTCUSDT")
    assert seconds == [*range(600), *range(900, 1_000)]
    assert ratio(plain, gapped, "BTCUSDT", 900) == Decimal("0.92")
    _, halted = played(STORIES["halt"], 1_600)
    assert halted.statuses == [(symbol, status) for status in ("HALT", "TRADING") for symbol in SYMBOLS]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("jump 5%", "unknown verb jump; known are wait, fall"),
        ("wait", "say wait and how long"),
        ("wait 5", "5 is no duration; give one like 500ms, 30s, 10m or 2h"),
        ("fall over 5s", "say it like fall [SYMBOL] 20% [over 60s]"),
        ("fall 20 over 5s", "say it like fall"),
        ("fall 100%", "leaves no price"),
        ("halt BTCUSDT", "say how long, as in halt for 10m"),
        ("price 5000", "say it like price SYMBOL 58000"),
        ("recover 5%", "say it like recover"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        read_scenario(f"# a title\n{line}\n", "my.txt")
    assert str(refused.value).startswith(f"my.txt:2: {line}: ")
    assert told in str(refused.value)


def test_names_files_and_symbols_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "crash.txt"
    path.write_text("fall NOPEUSDT 5%\n")
    with pytest.raises(ScenarioError, match="NOPEUSDT is not in this market: BTCUSDT, ETHUSDT"):
        ScriptedMarket(market(), load_scenario(str(path)), dict.fromkeys(SYMBOLS, TICK))
    with pytest.raises(ScenarioError, match=r"no scenario of that name \(flash-crash, gap, halt\)"):
        load_scenario("crash")


def test_the_scenario_of_the_documentation_can_be_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulated-exchange.md").read_text()
    table = text[text.index("# a bad quarter") :].partition("```")[0]
    assert [step.verb for step in read_scenario(table, "doc")] == ["liquidity", "fall", "recover", "halt"]
