"""The request budget: never beyond the venue's limit, exits last to stop, the venue's word over ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.budget import BAN_MIN_S, MINUTE_MS, Lane, WeightBudget

NOON = 1_790_000_040_000 // MINUTE_MS * MINUTE_MS
LANES = sorted(Lane, reverse=True)


@pytest.mark.spec("NET-2")
def test_lanes_stop_in_the_order_of_their_urgency() -> None:
    assert LANES == [Lane.EXIT, Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    budget = WeightBudget(limit=100)
    stopped = []
    for _ in range(100):
        stopped.append([lane for lane in LANES if budget.wait_ms(1, lane, NOON)])
        budget.spend(1, NOON)
    assert stopped[69] == []
    assert stopped[70] == [Lane.DATA]
    assert stopped[85] == [Lane.ENTRY, Lane.DATA]
    assert stopped[95] == [Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    assert stopped[99] == [Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    assert budget.wait_ms(1, Lane.EXIT, NOON) == MINUTE_MS


@pytest.mark.spec("NET-2")
def test_window_begins_anew_with_the_venues_minute() -> None:
    budget = WeightBudget(limit=100)
    budget.spend(100, NOON + 59_000)
    assert budget.wait_ms(1, Lane.EXIT, NOON + 59_000) == 1_000
    assert budget.wait_ms(1, Lane.EXIT, NOON + 60_000) == 0
    assert budget.used(NOON + 59_999) == 100
    assert budget.used(NOON + 60_000) == 0


@pytest.mark.spec("NET-2")
def test_venues_count_overrules_ours_both_ways() -> None:
    budget = WeightBudget(limit=100)
    budget.spend(10, NOON)
    budget.correct(99, NOON + 5)
    assert budget.wait_ms(2, Lane.EXIT, NOON + 10) > 0
    budget.correct(3, NOON + 15)
    assert budget.used(NOON + 20) == 3


@pytest.mark.spec("NET-2")
def test_requests_that_the_venue_had_not_seen_stay_counted() -> None:
    budget = WeightBudget(limit=100)
    budget.correct(50, NOON, unanswered=20)
    assert budget.used(NOON) == 70
    assert budget.wait_ms(1, Lane.DATA, NOON) > 0


@pytest.mark.spec("NET-2")
def test_count_of_a_past_minute_is_not_taken_into_this_one() -> None:
    budget = WeightBudget(limit=100)
    budget.spend(1, NOON + MINUTE_MS)
    budget.correct(100, NOON + 59_999)
    assert budget.used(NOON + MINUTE_MS) == 1


@pytest.mark.spec("NET-2")
def test_limited_makes_every_lane_wait_as_told() -> None:
    budget = WeightBudget()
    budget.limited(7, NOON)
    assert [budget.wait_ms(1, lane, NOON + 1_000) for lane in LANES] == [6_000] * 4
    assert [budget.wait_ms(1, lane, NOON + 7_000) for lane in LANES] == [0] * 4
    assert budget.banned_until_ms is None


@pytest.mark.spec("NET-2")
def test_limited_without_a_time_waits_for_the_next_window() -> None:
    budget = WeightBudget()
    budget.limited(None, NOON + 20_000)
    assert budget.wait_ms(1, Lane.EXIT, NOON + 20_000) == 40_000


@pytest.mark.spec("NET-2")
def test_shorter_wait_never_cuts_a_longer_one() -> None:
    budget = WeightBudget()
    budget.limited(30, NOON)
    budget.limited(1, NOON + 1_000)
    assert budget.wait_ms(1, Lane.EXIT, NOON + 2_000) == 28_000


@pytest.mark.spec("NET-2")
@pytest.mark.parametrize(("told_s", "waits_s"), [(600, 600), (None, BAN_MIN_S)])
def test_ban_stops_every_lane_and_says_until_when(told_s: int | None, waits_s: int) -> None:
    budget = WeightBudget()
    budget.banned(told_s, NOON)
    assert budget.banned_until_ms == NOON + waits_s * 1000
    assert [budget.wait_ms(1, lane, NOON) for lane in LANES] == [waits_s * 1000] * 4


@pytest.mark.spec("NET-2")
def test_wait_that_ends_in_a_full_window_goes_on_to_the_next() -> None:
    budget = WeightBudget(limit=100)
    budget.spend(100, NOON)
    budget.limited(10, NOON)
    assert budget.wait_ms(1, Lane.EXIT, NOON) == MINUTE_MS


@pytest.mark.spec("NET-2")
def test_clock_that_is_set_back_frees_nothing() -> None:
    budget = WeightBudget(limit=100)
    budget.spend(100, NOON)
    assert budget.wait_ms(1, Lane.EXIT, NOON - 1_000) == MINUTE_MS + 1_000
    budget.spend(1, NOON - 1_000)
    assert budget.used(NOON) == 101


@pytest.mark.spec("NET-2")
def test_request_that_can_never_go_is_an_error_not_an_endless_wait() -> None:
    with pytest.raises(ValueError):
        WeightBudget(limit=100).wait_ms(71, Lane.DATA, NOON)
    assert WeightBudget(limit=100).wait_ms(71, Lane.ENTRY, NOON) == 0


@pytest.mark.spec("NET-2")
def test_limit_announced_later_holds_from_then_on() -> None:
    budget = WeightBudget()
    budget.spend(1_000, NOON)
    budget.limit = 1_200
    assert budget.wait_ms(1, Lane.DATA, NOON) > 0
    assert budget.wait_ms(200, Lane.EXIT, NOON) == 0


requests = st.lists(
    st.tuples(st.sampled_from(Lane), st.integers(1, 70), st.integers(0, 20_000)), min_size=1, max_size=200
)


@pytest.mark.spec("NET-2")
@given(requests, st.integers(100, 6000))
def test_flood_never_goes_beyond_the_limit_of_any_window(flood: list[tuple[Lane, int, int]], limit: int) -> None:
    budget, now_ms, sent = WeightBudget(limit), NOON, dict[int, int]()
    for lane, weight, pause_ms in flood:
        now_ms += pause_ms
        if budget.wait_ms(weight, lane, now_ms):
            continue
        budget.spend(weight, now_ms)
        window = now_ms // MINUTE_MS
        sent[window] = sent.get(window, 0) + weight
        assert sent[window] <= budget.ceiling(lane) <= limit


@pytest.mark.spec("NET-2")
@given(requests, st.integers(0, 6000), st.integers(1, 70))
def test_more_urgent_lane_never_waits_longer(flood: list[tuple[Lane, int, int]], used: int, weight: int) -> None:
    budget, now_ms = WeightBudget(), NOON
    budget.correct(used, now_ms)
    for _, spent, pause_ms in flood:
        now_ms += pause_ms
        budget.spend(spent, now_ms)
        waits = [budget.wait_ms(weight, lane, now_ms) for lane in LANES]
        assert waits == sorted(waits)


@pytest.mark.spec("NET-2")
@given(requests)
def test_waiting_as_told_always_leads_to_go(flood: list[tuple[Lane, int, int]]) -> None:
    budget, now_ms = WeightBudget(limit=100), NOON
    for lane, weight, pause_ms in flood:
        now_ms += pause_ms
        now_ms += budget.wait_ms(weight, lane, now_ms)
        assert budget.wait_ms(weight, lane, now_ms) == 0
        budget.spend(weight, now_ms)
