"""The request budget: never beyond the venue's limit, exits last to stop, the venue's word over ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.budget import BAN_MIN_S, BURST_LIMIT, MINUTE_MS, ORDERS, WEIGHT, Budget, Cost, Lane, Usage
from surefoot.binance.calls import counts_in
from surefoot.binance.wire import RateLimit

NOON = 1_790_000_040_000 // MINUTE_MS * MINUTE_MS
LANES = sorted(Lane, reverse=True)
SHARE_PCT = {Lane.EXIT: 100, Lane.PROTECTION: 95, Lane.ENTRY: 85, Lane.DATA: 70}


@pytest.mark.spec("NET-2")
def test_lanes_stop_in_the_order_of_their_urgency() -> None:
    assert LANES == [Lane.EXIT, Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    budget = Budget(100)
    stopped = []
    for _ in range(100):
        stopped.append([lane for lane in LANES if budget.wait_ms(Cost(1), lane, NOON)])
        budget.spend(Cost(1), NOON)
    assert stopped[69] == []
    assert stopped[70] == [Lane.DATA]
    assert stopped[85] == [Lane.ENTRY, Lane.DATA]
    assert stopped[95] == [Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    assert stopped[99] == [Lane.PROTECTION, Lane.ENTRY, Lane.DATA]
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON) == MINUTE_MS


@pytest.mark.spec("NET-2")
def test_window_begins_anew_with_the_venues_minute() -> None:
    budget = Budget(100)
    budget.spend(Cost(100), NOON + 59_000)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON + 59_000) == 1_000
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON + 60_000) == 0
    assert budget.used(WEIGHT, MINUTE_MS, NOON + 59_999) == 100
    assert budget.used(WEIGHT, MINUTE_MS, NOON + 60_000) == 0


@pytest.mark.spec("NET-2")
def test_venues_count_overrules_ours_both_ways() -> None:
    budget = Budget(100)
    budget.spend(Cost(10), NOON)
    budget.correct(WEIGHT, MINUTE_MS, 99, NOON + 5)
    assert budget.wait_ms(Cost(2), Lane.EXIT, NOON + 10) > 0
    budget.correct(WEIGHT, MINUTE_MS, 3, NOON + 15)
    assert budget.used(WEIGHT, MINUTE_MS, NOON + 20) == 3


@pytest.mark.spec("NET-2")
def test_requests_that_the_venue_had_not_seen_stay_counted() -> None:
    budget = Budget(100)
    budget.correct(WEIGHT, MINUTE_MS, 50, NOON, unanswered=20)
    assert budget.used(WEIGHT, MINUTE_MS, NOON) == 70
    assert budget.wait_ms(Cost(1), Lane.DATA, NOON) > 0


@pytest.mark.spec("NET-2")
def test_count_of_a_past_minute_is_not_taken_into_this_one() -> None:
    budget = Budget(100)
    budget.spend(Cost(1), NOON + MINUTE_MS)
    budget.correct(WEIGHT, MINUTE_MS, 100, NOON + 59_999)
    assert budget.used(WEIGHT, MINUTE_MS, NOON + MINUTE_MS) == 1


@pytest.mark.spec("NET-2")
def test_limited_makes_every_lane_wait_as_told() -> None:
    budget = Budget()
    budget.limited(7, NOON)
    assert [budget.wait_ms(Cost(1), lane, NOON + 1_000) for lane in LANES] == [6_000] * 4
    assert [budget.wait_ms(Cost(1), lane, NOON + 7_000) for lane in LANES] == [0] * 4
    assert budget.banned_until_ms is None


@pytest.mark.spec("NET-2")
def test_limited_without_a_time_waits_for_the_next_window() -> None:
    budget = Budget()
    budget.limited(None, NOON + 20_000)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON + 20_000) == 40_000


@pytest.mark.spec("NET-2")
def test_shorter_wait_never_cuts_a_longer_one() -> None:
    budget = Budget()
    budget.limited(30, NOON)
    budget.limited(1, NOON + 1_000)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON + 2_000) == 28_000


@pytest.mark.spec("NET-2")
@pytest.mark.parametrize(("told_s", "waits_s"), [(600, 600), (None, BAN_MIN_S)])
def test_ban_stops_every_lane_and_says_until_when(told_s: int | None, waits_s: int) -> None:
    budget = Budget()
    budget.banned(told_s, NOON)
    assert budget.banned_until_ms == NOON + waits_s * 1000
    assert [budget.wait_ms(Cost(1), lane, NOON) for lane in LANES] == [waits_s * 1000] * 4


@pytest.mark.spec("NET-2")
def test_wait_that_ends_in_a_full_window_goes_on_to_the_next() -> None:
    budget = Budget(100)
    budget.spend(Cost(100), NOON)
    budget.limited(10, NOON)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON) == MINUTE_MS


@pytest.mark.spec("NET-2")
def test_clock_that_is_set_back_frees_nothing() -> None:
    budget = Budget(100)
    budget.spend(Cost(100), NOON)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON - 1_000) == MINUTE_MS + 1_000
    budget.spend(Cost(1), NOON - 1_000)
    assert budget.used(WEIGHT, MINUTE_MS, NOON) == 101


@pytest.mark.spec("NET-2")
def test_request_that_can_never_go_is_an_error_not_an_endless_wait() -> None:
    with pytest.raises(ValueError):
        Budget(100).wait_ms(Cost(71), Lane.DATA, NOON)
    assert Budget(100).wait_ms(Cost(71), Lane.ENTRY, NOON) == 0


@pytest.mark.spec("NET-2")
def test_limit_announced_later_holds_from_then_on() -> None:
    budget = Budget()
    budget.spend(Cost(1_000), NOON)
    budget.announce([RateLimit(WEIGHT, MINUTE_MS, 1_200)])
    assert budget.wait_ms(Cost(1), Lane.DATA, NOON) > 0
    assert budget.wait_ms(Cost(200), Lane.EXIT, NOON) == 0


requests = st.lists(
    st.tuples(st.sampled_from(Lane), st.integers(1, 70), st.integers(0, 20_000)), min_size=1, max_size=200
)


@pytest.mark.spec("NET-2")
@given(requests, st.integers(100, 6000))
def test_flood_never_goes_beyond_the_limit_of_any_window(flood: list[tuple[Lane, int, int]], limit: int) -> None:
    budget, now_ms, sent = Budget(limit), NOON, dict[int, int]()
    for lane, weight, pause_ms in flood:
        now_ms += pause_ms
        if budget.wait_ms(Cost(weight), lane, now_ms):
            continue
        budget.spend(Cost(weight), now_ms)
        window = now_ms // MINUTE_MS
        sent[window] = sent.get(window, 0) + weight
        assert sent[window] <= limit * SHARE_PCT[lane] // 100


@pytest.mark.spec("NET-2")
@given(requests, st.integers(0, 6000), st.integers(1, 70))
def test_more_urgent_lane_never_waits_longer(flood: list[tuple[Lane, int, int]], used: int, weight: int) -> None:
    budget, now_ms = Budget(), NOON
    budget.correct(WEIGHT, MINUTE_MS, used, now_ms)
    for _, spent, pause_ms in flood:
        now_ms += pause_ms
        budget.spend(Cost(spent), now_ms)
        waits = [budget.wait_ms(Cost(weight), lane, now_ms) for lane in LANES]
        assert waits == sorted(waits)


@pytest.mark.spec("NET-2")
@given(requests)
def test_waiting_as_told_always_leads_to_go(flood: list[tuple[Lane, int, int]]) -> None:
    budget, now_ms = Budget(100), NOON
    for lane, weight, pause_ms in flood:
        now_ms += pause_ms
        now_ms += budget.wait_ms(Cost(weight), lane, now_ms)
        assert budget.wait_ms(Cost(weight), lane, now_ms) == 0
        budget.spend(Cost(weight), now_ms)


# ---------------------------------------------------------------------------------------------------------------
# Several limits at once

TEN_S_MS, DAY_MS = 10_000, 86_400_000
ORDER = Cost(1, orders=1)
ANNOUNCED = [RateLimit(ORDERS, TEN_S_MS, 20), RateLimit(ORDERS, DAY_MS, 50), RateLimit("requests", 300_000, 1_000)]


def announced() -> Budget:
    budget = Budget()
    budget.announce([*ANNOUNCED, RateLimit("connections", 300_000, 300)])
    return budget


@pytest.mark.spec("NET-2")
def test_every_announced_limit_counts_what_it_is_about() -> None:
    budget = announced()
    budget.spend(Cost(20), NOON)
    budget.spend(Cost(1, orders=3), NOON)
    assert budget.usage(NOON) == (
        Usage("weight", MINUTE_MS, 6000, 21),
        Usage("requests", 1_000, BURST_LIMIT, 2),
        Usage("orders", TEN_S_MS, 20, 3),
        Usage("orders", DAY_MS, 50, 3),
        Usage("requests", 300_000, 1_000, 2),
    )


@pytest.mark.spec("NET-2", "SAFE-3")
def test_entries_leave_the_last_part_of_each_limit_of_orders_to_exits() -> None:
    budget = announced()
    for _ in range(17):
        assert budget.wait_ms(ORDER, Lane.ENTRY, NOON) == 0
        budget.spend(ORDER, NOON)
    assert budget.wait_ms(ORDER, Lane.ENTRY, NOON) == TEN_S_MS
    assert budget.wait_ms(Cost(1), Lane.ENTRY, NOON) == 0  # a cancel is no order
    assert budget.wait_ms(Cost(1, orders=2), Lane.PROTECTION, NOON) == 0
    assert budget.wait_ms(Cost(1, orders=3), Lane.EXIT, NOON) == 0
    assert budget.wait_ms(Cost(1, orders=4), Lane.EXIT, NOON) == TEN_S_MS


@pytest.mark.spec("NET-2")
def test_longest_wait_of_all_limits_counts() -> None:
    budget = announced()
    budget.correct(ORDERS, DAY_MS, 42, NOON)
    assert budget.wait_ms(ORDER, Lane.ENTRY, NOON) == DAY_MS - NOON % DAY_MS
    assert budget.wait_ms(ORDER, Lane.EXIT, NOON) == 0


@pytest.mark.spec("NET-2")
def test_only_unfilled_orders_count_where_the_venue_says_so() -> None:
    budget = announced()
    for _ in range(3):
        budget.spend(ORDER, NOON)
    budget.filled(NOON)
    assert budget.used(ORDERS, TEN_S_MS, NOON) == budget.used(ORDERS, DAY_MS, NOON) == 2
    for _ in range(9):
        budget.filled(NOON + TEN_S_MS)
    assert budget.used(ORDERS, TEN_S_MS, NOON + TEN_S_MS) == 0  # never below none
    assert budget.used(WEIGHT, MINUTE_MS, NOON) == 3


@pytest.mark.spec("NET-2", "SAFE-3")
def test_too_many_orders_hold_up_entries_only() -> None:
    budget = announced()
    assert budget.orders_limited(7, NOON) == NOON + 7_000
    waits = [budget.wait_ms(ORDER, lane, NOON) for lane in LANES]
    assert waits == [0, 0, 7_000, 7_000]
    assert budget.wait_ms(Cost(1), Lane.ENTRY, NOON) == 0
    assert announced().orders_limited(None, NOON + 1) == NOON + TEN_S_MS
    assert Budget().orders_limited(None, NOON) == NOON


@pytest.mark.spec("NET-2")
def test_burst_ends_where_a_hundred_requests_left_within_a_second() -> None:
    budget = Budget()
    for _ in range(BURST_LIMIT):
        assert budget.wait_ms(Cost(1), Lane.EXIT, NOON) == 0
        budget.spend(Cost(1), NOON)
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON) == 1_000
    assert budget.wait_ms(Cost(1), Lane.EXIT, NOON + 1_000) == 0


@pytest.mark.spec("NET-2")
def test_count_of_a_limit_that_is_not_known_is_passed_over() -> None:
    budget = Budget()
    budget.correct(ORDERS, TEN_S_MS, 5, NOON)
    assert budget.used(ORDERS, TEN_S_MS, NOON) == 0


@pytest.mark.spec("NET-2")
def test_headers_tell_what_the_venue_has_counted() -> None:
    headers = {
        "x-mbx-used-weight": "7",
        "x-mbx-used-weight-1m": "7",
        "x-mbx-order-count-10s": "2",
        "x-mbx-order-count-1d": "40",
        "x-mbx-order-count-1m": "many",
        "date": "1",
    }
    assert list(counts_in(headers)) == [(WEIGHT, MINUTE_MS, 7), (ORDERS, TEN_S_MS, 2), (ORDERS, DAY_MS, 40)]
