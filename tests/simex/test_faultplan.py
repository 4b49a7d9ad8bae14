"""Plans of faults: read strictly, struck by seed, count and window."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from simex.faultplan import PlanError, load_plan, parse_fault, read_fault, read_plan
from simex.faults import KINDS, Delay, Fault, FaultPlan

PLAN = """
seed = 11

[[fault]]
kind = "answer-late"
probability = 0.25
delay_ms = { median = 80, p99 = 900 }

[[fault]]
kind = "error-after"
of = "orders"
every = 3
times = 2
windows_s = [[60, 120], [300.5, 400]]
status = 504

[[fault]]
kind = "maintenance"
windows_s = [[600, 660]]
"""


@pytest.mark.spec("SIM-2")
def test_a_plan_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    plan = load_plan(path)
    plan.begin(1_000)
    late, failed, closed = (armed.fault for armed in plan.armed)
    assert (late.kind, late.probability, late.delay_ms) == ("answer-late", 0.25, Delay(median=80, p99=900))
    assert failed == Fault(
        "error-after", "orders", every=3, times=2, windows_ms=((60_000, 120_000), (300_500, 400_000)), status=504
    )
    assert (closed.kind, closed.windows_ms) == ("maintenance", ((600_000, 660_000),))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"kind": "nonsense"}, "kind = 'nonsense': allowed are request-late, "),
        ({"kind": "limited", "every": 0}, "every = 0: allowed is a whole number from 1"),
        ({"kind": "limited", "every": True}, "every = True"),
        ({"kind": "limited", "probability": 1.5}, "probability = 1.5: allowed is a number above 0, at most 1"),
        ({"kind": "limited", "often": 3}, "often: unknown key; allowed are kind, of, every"),
        ({"kind": "limited"}, "it never strikes; give at least one of every, probability, times, windows_s"),
        ({"kind": "limited", "every": 1, "of": "market"}, "of = 'market': allowed are all, orders"),
        ({"kind": "answer-late", "every": 1}, "delay_ms is missing; allowed is 0 to 600000"),
        ({"kind": "answer-late", "every": 1, "delay_ms": [9, 3]}, "delay_ms = [9, 3]"),
        ({"kind": "answer-late", "every": 1, "delay_ms": {"median": 5, "p99": 4}}, "delay_ms = {"),
        ({"kind": "error-after", "every": 1, "status": 404}, "status = 404: allowed is one of 500, 502, 503, 504"),
        ({"kind": "silent", "every": 1, "then": "shout"}, "then = 'shout': allowed are flush, cut"),
        ({"kind": "silent", "windows_s": [[5, 3]]}, "windows_s = [[5, 3]]"),
        ({"kind": "clock-skew", "windows_s": [[0, 3]]}, "skew_ms is missing"),
        ({"kind": "maintenance", "every": 3}, "every: unknown key; allowed are kind, windows_s, for_s"),
        ({"kind": "frame-lost", "every": 3, "of": "account"}, "neither lost nor reordered within one connection"),
        ({"kind": "frame-reordered", "every": 3, "of": "account"}, "neither lost nor reordered within one connection"),
        ({"kind": "close", "every": 3, "code": 1006}, "code = 1006"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(table: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError) as refused:
        read_plan({"fault": [table]})
    assert told in str(refused.value)
    assert str(refused.value).startswith("fault 1")
    assert "\n" not in str(refused.value)


def test_unknown_keys_and_seeds_of_the_plan_are_refused(tmp_path: Path) -> None:
    for table, told in (({"sead": 1}, "sead: unknown key"), ({"seed": -1}, "seed = -1"), ({"fault": {}}, "fault: ")):
        with pytest.raises(PlanError, match=told):
            read_plan(table)
    path = tmp_path / "plan.toml"
    path.write_text("seed = = 1")
    with pytest.raises(PlanError, match=r"plan\.toml: not TOML"):
        load_plan(path)
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan(tmp_path / "none.toml")
    with pytest.raises(PlanError, match="is not KIND=N"):
        parse_fault("error-after")


def test_every_kind_can_be_planned_with_its_defaults() -> None:
    needed = {"delay_ms": 5, "skew_ms": 100, "symbol": "BTCUSDT"}
    for kind, rule in KINDS.items():
        when = {"windows_s": [[0, 1]]} if rule.scene == "venue" else {"every": 2}
        own = {key: value for key, value in needed.items() if key in rule.settings}
        assert read_fault({"kind": kind, **when, **own}).target == rule.targets[0]


# -- when it strikes ---------------------------------------------------------------------------------------------------


def strikes(fault: Fault, times_ms: list[int], seed: int = 7) -> list[int]:
    plan = FaultPlan([fault], seed)
    plan.begin(0)
    return [ms for ms in times_ms if plan.strike("request", ("orders", "all"), False, ms)]


def test_every_third_at_most_twice_and_only_inside_its_windows() -> None:
    fault = Fault("limited", every=3, times=2, windows_ms=((10, 20), (30, 90)))
    assert strikes(fault, list(range(100))) == [12, 15]
    assert strikes(Fault("limited", windows_ms=((10, 12), (30, 31))), list(range(100))) == [10, 11, 30]
    assert strikes(Fault("limited", times=1), [5, 6]) == [5]


@pytest.mark.spec("SIM-2")
def test_chance_comes_from_the_seed() -> None:
    fault = Fault("limited", probability=0.3)
    occasions = list(range(2_000))
    first = strikes(fault, occasions, seed=1)
    assert first == strikes(fault, occasions, seed=1) != strikes(fault, occasions, seed=2)
    assert 480 < len(first) < 720


def test_delays_have_the_stated_distribution() -> None:
    rng = random.Random(1)
    drawn = sorted(Delay(median=80, p99=900).draw(rng) for _ in range(20_000))
    assert 76 < drawn[10_000] < 84
    assert 800 < drawn[19_800] < 1_010
    assert all(3 <= Delay(3, 9).draw(rng) <= 9 for _ in range(100))


def test_a_fault_of_orders_does_not_strike_reads_and_one_after_acceptance_no_refused_order() -> None:
    plan = FaultPlan([Fault("error-after", "orders", every=1)])
    plan.begin(0)
    assert not plan.strike("answer", ("reads", "all"), True, 0)
    assert not plan.strike("answer", ("orders", "all"), False, 0)
    assert plan.strike("answer", ("orders", "all"), True, 0)


def test_the_documentation_has_every_kind_with_its_meaning() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulated-exchange.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert {kind: meaning for kind, meaning in rows if kind in KINDS} == {k: rule.meaning for k, rule in KINDS.items()}


def test_the_plan_of_the_documentation_can_be_carried_out() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulated-exchange.md").read_text()
    (plan,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert [fault.kind for fault in read_plan(tomllib.loads(plan)).planned] == ["answer-late", "error-after", "silent"]
