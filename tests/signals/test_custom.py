"""A strategy of one's own: read from a file, checked before it runs, run by every engine; mistakes have their line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from surefoot.cli import main
from surefoot.config import ConfigError, Settings, bounds_of, load
from surefoot.signals.check import check, sample
from surefoot.signals.decision import Decider
from surefoot.signals.ensemble import Ensemble
from surefoot.signals.history import decisions_for
from surefoot.signals.source import SignalSource
from surefoot.signals.strategy import STRATEGIES, strategy_named
from surefoot.strategies import decider_of, own_strategy
from tests.signals.agreement import assert_arrays_equal_signals, replayed, worst_difference
from tests.signals.market import columns_of, random_candles, real_candles

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
REAL = "measure/klines/spot_15m/BTCUSDT.parquet"

GOOD = """
import numpy as np
from surefoot.signals.custom import Parameter, Rule
PARAMETERS = (Parameter("rise", 1, 0, 5, "quote per base", "what counts"),)
RULES = (Rule("neutral", 0.0, None), Rule("rose", 0.8, 1.0))
def window(p): return 2
def indicators(candles, p): return {"change": np.diff(candles.close, prepend=np.nan)}
def rule(change, rise): return 1 if change > rise else 0
"""


def written(folder: Path, text: str) -> str:
    place = folder / "mine.py"
    place.write_text(text)
    return str(place)


def decider(**flags: str) -> Decider:
    return decider_of(load(None, {key.replace("__", "."): value for key, value in flags.items()}, {}).settings)


@pytest.mark.spec("SIG-7")
@pytest.mark.parametrize("place", EXAMPLES, ids=lambda place: place.stem)
def test_every_example_is_short_and_passes_the_check_and_agrees_with_itself(place: Path) -> None:
    assert len(place.read_text().splitlines()) < 30
    strategy = own_strategy(str(place), {})
    assert all(finding.passed for finding in check(strategy))
    assert main(["strategy", "check", str(place)]) == 0
    given = real_candles(REAL, 900)
    feed = SignalSource(strategy, ("BTCUSDT",), "15m", "1h")
    ours = [feed.on_candle(one) for one in given]
    assert worst_difference(ours, replayed(strategy, "15m", "1h", given)) <= 1e-12
    assert_arrays_equal_signals(decisions_for(strategy, "BTCUSDT", "15m", "1h", columns_of(given)), ours)
    assert {signal.target for signal in ours} == {None, 1.0, -1.0}


@pytest.mark.spec("SIG-7", "SAFE-7")
def test_the_check_shrinks_a_look_ahead_to_the_first_guilty_candle_and_value(tmp_path: Path) -> None:
    late = GOOD.replace('"change": np', '"later": np.roll(candles.close, -1), "change": np')
    late = late.replace("rule(change, rise)", "rule(change, later, rise)")
    (finding, *_) = check(own_strategy(written(tmp_path, late), {}))
    assert not finding.passed
    closes = sample(100).close
    guilty = int(np.flatnonzero(closes[1:] != closes[:-1])[0])
    assert finding.detail.startswith(f"later of candle {guilty} is {closes[guilty]:.10g} when that candle is the last")
    assert f"and {closes[guilty + 1]:.10g} when later ones follow" in finding.detail


@pytest.mark.spec("SIG-7", "SAFE-7")
def test_the_check_finds_a_value_that_was_scaled_by_the_whole_history(tmp_path: Path) -> None:
    scaled = GOOD.replace("np.diff(candles.close, prepend=np.nan)", "candles.close / candles.close.max()")
    (finding, *_) = check(own_strategy(written(tmp_path, scaled), {}))
    assert not finding.passed
    assert "change of candle 0 is 1 when that candle is the last" in finding.detail


@pytest.mark.spec("SIG-7")
def test_the_check_finds_a_window_that_is_too_short(tmp_path: Path) -> None:
    short = (ROOT / "examples" / "rsi_threshold.py").read_text().replace("wilder_window(p.period)", "100")
    findings = {finding.test: finding for finding in check(own_strategy(written(tmp_path, short), {}))}
    assert findings["look-ahead"].passed
    assert not findings["streaming equals batch"].passed
    assert "in a window of 100 candles and" in findings["streaming equals batch"].detail


@pytest.mark.spec("SIG-7")
@pytest.mark.parametrize(
    ("old", "new", "test", "said"),
    [
        ("return 1 if", "return 7 if", "rule", "answers 7, a place from 0 to 1 in RULES is wanted"),
        ("return 1 if", "return -1 if", "rule", "answers -1"),
        ("prepend=np.nan", "prepend=[]", "look-ahead", "ValueError"),
        ('"change":', '"chance":', "look-ahead", "the rule asks for change, indicators gives chance"),
        ("candles.close, prepend", "candles.klose, prepend", "look-ahead", "AttributeError"),
        ("np.diff(candles.close, prepend=np.nan)", "candles.close[1:]", "look-ahead", "change has the shape"),
        ("np.diff(candles.close, prepend=np.nan)", "candles.close * np.random.rand()", "look-ahead", "change"),
    ],
)
def test_a_strategy_that_fails_the_check_must_not_run(tmp_path: Path, old: str, new: str, test: str, said: str) -> None:
    name = written(tmp_path, GOOD.replace(old, new))
    findings = {finding.test: finding for finding in check(own_strategy(name, {}))}
    assert not findings[test].passed
    assert said in findings[test].detail
    with pytest.raises(ConfigError, match=r"mine\.py must not run"):
        decider(strategy__name=name)
    assert main(["strategy", "check", name]) == 1


@pytest.mark.spec("SIG-7")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def window(p): return 2", "", "it lacks window"),
        ("def window(p): return 2", "def window(p): return 0", "window = 0 is not a whole number of candles"),
        ("0.0, None)", "0.0, 0.0)", "the first of its RULES must be the neutral one"),
        ('"rose", 0.8', '"rose", 1.8', "rule 'rose': a score is 0 to 1"),
        ("rule(change, rise)", "rule(rise, change)", "must ask for primary values first"),
        ("rule(change, rise)", "rule(change, confirm_change, rise)", "there is no confirm"),
        ("rule(change, rise)", "rule(rise)", "asks for no value of the primary interval"),
        ("import numpy", "import nunpy", "ModuleNotFoundError"),
        ("import numpy", "import = numpy", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    name = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=said) as caught:
        own_strategy(name, {})
    assert "\n" not in str(caught.value)
    assert "mine.py" in str(caught.value)


@pytest.mark.spec("SIG-7", "CFG-2")
def test_parameters_of_ones_own_come_from_the_settings_within_their_ranges(tmp_path: Path) -> None:
    name = written(tmp_path, GOOD)
    assert decider(strategy__name=name).thresholds == (1.0,)  # type: ignore[union-attr]
    set_to = decider(strategy__name=name, strategy__parameters="rise=2.5")
    assert set_to.thresholds == (2.5,)  # type: ignore[union-attr]
    for given, said in (("rise=6", "rise = 6 is outside 0 to 5 quote per base"), ("rice=1", "has no parameter 'rice'")):
        with pytest.raises(ConfigError, match=said):
            decider(strategy__name=name, strategy__parameters=given)
    with pytest.raises(ConfigError, match=r"its parameters stand in \[rsi\]"):
        decider(strategy__parameters="period=3")
    with pytest.raises(ConfigError, match=r'"luck": not known; known are rsi, macd.* or give the name of a file\.py'):
        decider(strategy__name="luck")
    with pytest.raises(ConfigError, match="there is no such file"):
        decider(strategy__name="nowhere/mine.py")


@pytest.mark.spec("SIG-7")
def test_a_file_that_changed_is_read_and_checked_anew(tmp_path: Path) -> None:
    name = written(tmp_path, GOOD)
    assert decider(strategy__name=name).rules[1].score == 0.8
    written(tmp_path, GOOD.replace("0.8", "0.6"))
    assert decider(strategy__name=name).rules[1].score == 0.6
    written(tmp_path, GOOD.replace("return 1 if", "return 7 if"))
    with pytest.raises(ConfigError, match="must not run"):
        decider(strategy__name=name)


@pytest.mark.spec("SIG-7", "PERF-2")
def test_a_file_that_did_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = written(tmp_path, GOOD)
    first = own_strategy(name, {"rise": 1})
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    again = own_strategy(name, {"rise": 2})
    assert again.thresholds == (2.0,)
    assert again.rule is first.rule


@pytest.mark.spec("SIG-7")
def test_a_strategy_of_ones_own_may_confirm_and_be_a_member_of_an_ensemble(tmp_path: Path) -> None:
    confirming = GOOD.replace("rule(change, rise)", "rule(change, confirm_close, rise)")
    name = written(tmp_path, confirming + "def confirm(candles, p): return {'confirm_close': candles.close}\n")
    own = own_strategy(name, {})
    assert own.confirms
    assert own.values == ("change", "confirm_close")
    both = decider(strategy__name="ensemble", ensemble__members=f"rsi,{name}", ensemble__weights="1,2")
    assert isinstance(both, Ensemble)
    assert [member.name for member in both.members] == ["rsi", "mine"]
    given = random_candles(1, 300)
    feed = SignalSource(both, ("BTCUSDT",), "15m", "1h")
    ours = [feed.on_candle(one) for one in given]
    assert_arrays_equal_signals(decisions_for(both, "BTCUSDT", "15m", "1h", columns_of(given)), ours)


@pytest.mark.spec("SIG-7")
def test_the_commands_answer_for_people_and_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = written(tmp_path, GOOD.replace("if change > rise", "if change > float(f'{rise:.1f}')"))
    assert main(["strategy", "check", name, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["passed"], answer["compiles"]) == (True, False)
    assert answer["why_not"]
    assert {finding["test"] for finding in answer["findings"]} >= {"look-ahead", "streaming equals batch", "parameters"}
    assert main(["strategy", "list", "--json", "--set", f"strategy.name={name}"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(listed) == {*STRATEGIES, "mine"}
    assert listed["mine"]["parameters"][0]["high"] == 5
    assert main(["strategy", "list"]) == 0
    assert "period                14, 2 to 100 candles" in capsys.readouterr().out


@pytest.mark.spec("CFG-3", "SIG-2")
@pytest.mark.parametrize("name", STRATEGIES)
def test_settings_have_the_defaults_and_ranges_of_the_strategies(name: str) -> None:
    parameters = strategy_named(name).parameters
    section = getattr(Settings(), name)
    assert {one.name: one.default for one in parameters} == section.model_dump()
    for one in parameters:
        bounds = bounds_of(f"{name}.{one.name}")
        assert bounds is not None
        assert tuple(map(float, bounds)) == (one.low, one.high)
    assert decider(strategy__name=name) == strategy_named(name)


def test_the_sample_is_always_the_same_and_holds_what_makes_strategies_stumble() -> None:
    one, other = sample(2_000), sample(2_000)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(one.close[:500], sample(2_000).close[:500])
    assert (np.diff(one.open_ms) > 900_000).sum() == 2
    assert (one.volume == 0).any()
    assert (one.low <= np.minimum(one.open, one.close)).all()
    assert (one.high >= np.maximum(one.open, one.close)).all()
