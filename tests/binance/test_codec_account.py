"""Account frames: what the venue says about orders and balances, in the core's words."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.calls import counts_in
from surefoot.binance.codec import (
    AccountPosition,
    BadFrame,
    BalanceUpdate,
    ExecutionReport,
    Ignored,
    ListStatus,
    Shutdown,
    StreamTerminated,
    VenueError,
    WsReply,
    order_events,
    outcome,
    read_account_frame,
    read_cancel,
    read_list,
    read_order,
)
from surefoot.core.messages import (
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
)
from surefoot.core.model import Balance, Fill, Side
from tests.payloads.reading import FOLDER, documented, payload, payload_bytes

NOW = 1790000005000
D = Decimal


def events_of(name: str) -> tuple[OrderEvent, ...]:
    report = read_account_frame(payload_bytes(name))
    assert isinstance(report, ExecutionReport)
    return order_events(report, NOW)


def reply_of(frame: bytes) -> WsReply:
    reply = read_account_frame(frame)
    assert isinstance(reply, WsReply)
    return reply


# ---------------------------------------------------------------------------------------------------------------
# Orders


@pytest.mark.spec("NET-1")
def test_new_order_is_accepted_and_rests() -> None:
    assert events_of("event_new") == (OrderAccepted(NOW, "bot-3", 7003, True, D("0.01"), D(0)),)


@pytest.mark.spec("ORD-6")
def test_untriggered_stop_rests_at_the_venue_though_it_is_off_the_book() -> None:
    assert events_of("event_new_stop") == (OrderAccepted(NOW, "bot-4-sl", 7004, True, D("0.01"), D(0)),)


@pytest.mark.spec("ORD-6", "SAFE-5")
def test_leg_that_waits_for_its_entry_does_not_rest_and_has_no_quantity_yet() -> None:
    assert events_of("event_pending") == (OrderAccepted(NOW, "bot-5-sl", 7005, False, None, D(0)),)


@pytest.mark.spec("NET-1", "SAFE-5")
def test_trade_is_a_fill_with_exact_amounts_and_its_fee() -> None:
    (filled,) = events_of("event_trade")
    fill = Fill(
        "bot-20260922-0002",
        "BTCUSDT",
        81,
        Side.BUY,
        D("60010.00000000"),
        D("0.00400000"),
        D("0.00000400"),
        "BTC",
        False,
        1790000000200,
    )
    assert filled == OrderFilled(NOW, fill, 7002, D("0.01000000"))
    assert isinstance(filled, OrderFilled)
    assert str(filled.fill.quantity) == "0.00400000"


@pytest.mark.spec("NET-1")
def test_cancel_is_told_of_the_order_not_of_the_cancel_and_keeps_what_filled() -> None:
    assert events_of("event_canceled") == (OrderCanceled(NOW, "bot-3", D("0.003")),)


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("event_expired_oco", OrderExpired(NOW, "bot-oco-1-tp", D(0), "OCO_TRIGGER")),
        ("event_expired_market", OrderExpired(NOW, "bot-20260922-0002", D("0.004"), "INSUFFICIENT_LIQUIDITY")),
        ("event_prevented", OrderExpired(NOW, "bot-20260922-0002", D("0.001"), "EXPIRED_IN_MATCH")),
    ],
)
def test_expiry_tells_why_and_how_much_had_filled(name: str, expected: OrderExpired) -> None:
    assert events_of(name) == (expected,)


def test_prevented_match_that_the_order_survives_ends_nothing() -> None:
    assert events_of("event_prevented_alive") == ()


def test_rejection_tells_the_reason() -> None:
    assert events_of("event_rejected") == (OrderRejected(NOW, "bot-9", None, "INSUFFICIENT_BALANCES"),)


def test_amendment_names_the_order_as_it_was_and_as_it_is() -> None:
    (amended,) = events_of("event_replaced")
    assert isinstance(amended, OrderAmended)
    assert (amended.client_order_id, amended.name, amended.quantity) == ("bot-3", "bot-3b", Decimal("0.01"))


def test_documented_report_is_an_accepted_order() -> None:
    (frame,) = documented("user-data-stream.md", "User Data Stream Events > Order Update")[:1]
    report = read_account_frame(json.dumps(frame))
    assert isinstance(report, ExecutionReport)
    expected = OrderAccepted(NOW, "mUvoqJxFIILMdfAW5iGSOW", 4293153, True, D("1.00000000"), D(0))
    assert order_events(report, NOW) == (expected,)


def trade(**change: Any) -> bytes:
    frame = payload("event_trade")
    frame["event"] |= change
    return json.dumps(frame).encode()


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize(
    "change",
    [
        {"L": "NaN"},
        {"q": "Infinity"},
        {"z": "1e99"},
        {"n": None},
        {"l": ""},
        {"x": "CALCULATED"},
        {"S": "HOLD"},
        {"t": "81"},
    ],
)
def test_report_with_an_impossible_value_is_a_bad_frame(change: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_account_frame(trade(**change))


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("change", [{"L": "0"}, {"l": "0"}, {"l": "-1"}, {"t": -1}, {"N": None}])
def test_trade_that_nobody_could_have_made_is_a_bad_frame(change: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_account_frame(trade(**change))


def test_trade_without_a_fee_needs_no_fee_asset() -> None:
    report = read_account_frame(trade(n="0", N=None))
    assert isinstance(report, ExecutionReport)
    (filled,) = order_events(report, NOW)
    assert isinstance(filled, OrderFilled)
    assert (filled.fill.fee, filled.fill.fee_asset) == (D(0), "")


# ---------------------------------------------------------------------------------------------------------------
# The account


@pytest.mark.spec("NET-1")
def test_changed_balances_are_read_exactly() -> None:
    balances = (Balance("BTC", D("0.00999000"), D(0)), Balance("USDT", D("9399.88"), D("12.5")))
    assert read_account_frame(payload_bytes("event_account_position")) == AccountPosition(balances, 1790000000999)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("event_balance_update", BalanceUpdate("USDT", D("-100"), 1790000001990)),
        ("event_list_status", ListStatus("BTCUSDT", "bot-oco-1", "ALL_DONE", "NONE", 1790000000800)),
        ("event_stream_terminated", StreamTerminated(1790000003000)),
        ("event_external_lock", Ignored("externalLockUpdate")),
        ("ws_shutdown", Shutdown(1790000000000)),
    ],
)
def test_other_events_are_told_apart(name: str, expected: object) -> None:
    assert read_account_frame(payload_bytes(name)) == expected


@pytest.mark.spec("NET-1")
def test_documented_events_are_read() -> None:
    kinds = [
        ("Account Update", AccountPosition),
        ("Balance Update", BalanceUpdate),
        ("Order Reject Reas", ListStatus),
        ("Event Stream Terminated", StreamTerminated),
        ("External Lock Update", Ignored),
    ]
    for section, kind in kinds:
        for frame in documented("user-data-stream.md", section):
            assert isinstance(read_account_frame(json.dumps(frame)), kind)
    (shutdown,) = documented("web-socket-api.md", "Server Shutdown")
    assert read_account_frame(json.dumps(shutdown)) == Shutdown(1770123456789)


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("amount", ["NaN", "-Infinity", "1e40", "", "x", None, True])
def test_balance_that_is_no_amount_is_a_bad_frame(amount: object) -> None:
    frame = payload("event_account_position")
    frame["event"]["B"][1]["f"] = amount
    with pytest.raises(BadFrame):
        read_account_frame(json.dumps(frame))


# ---------------------------------------------------------------------------------------------------------------
# Answers


@pytest.mark.spec("NET-2")
def test_answer_carries_its_result_and_the_weight_used() -> None:
    reply = reply_of(payload_bytes("ws_order_ack"))
    assert (reply.id, reply.status, reply.error) == ("req-17", 200, None)
    assert sorted(counts_in(reply.headers)) == [("orders", 10_000, 3), ("weight", 60_000, 38)]
    assert read_order(reply.body, NOW) == (OrderAccepted(NOW, "bot-17", 7010, True, None, None),)


@pytest.mark.spec("NET-2")
def test_refusal_for_haste_tells_when_to_come_back() -> None:
    reply = reply_of(payload_bytes("ws_limited"))
    assert reply.headers["retry-after"] == "19"
    assert reply.error is not None
    assert outcome(reply.status, reply.error) == "limited"


def test_refused_order_tells_code_and_text() -> None:
    reply = reply_of(payload_bytes("ws_order_refused"))
    assert reply.error == VenueError(-2010, "Account has insufficient balance for requested action.")
    assert (reply.id, reply.headers.get("retry-after")) == (18, None)


def test_revoked_key_is_an_answer_to_nobody() -> None:
    reply = reply_of(payload_bytes("ws_key_revoked"))
    assert (reply.id, reply.status) == (None, 401)
    assert reply.error == VenueError(-2015, "Invalid API-key, IP, or permissions for action.")


def test_refusal_without_a_reason_is_still_no_success() -> None:
    assert reply_of(b'{"id":1,"status":503}').error == VenueError(None, "status 503 without a reason")


def test_refusal_with_data_of_another_shape_is_read() -> None:
    frame = b'{"id":1,"status":409,"error":{"code":-2021,"msg":"partly","data":["x"]}}'
    assert reply_of(frame).error == VenueError(-2021, "partly")
    assert "retry-after" not in reply_of(frame).headers


@pytest.mark.spec("NET-1")
def test_documented_answers_are_read() -> None:
    (banned,) = [each for each in documented("web-socket-api.md", "IP limits") if each["status"] == 418]
    reply = reply_of(json.dumps(banned).encode())
    assert reply.error is not None
    assert outcome(reply.status, reply.error) == "banned"
    assert reply.headers == {
        "retry-after": str((1659146400000 - banned["error"]["data"]["serverTime"] + 999) // 1000),
        "x-mbx-used-weight-1m": "2411",
    }
    _, *placed = documented("web-socket-api.md", "Place new order (TRADE)")
    for answer in placed:
        result = reply_of(json.dumps(answer).encode()).body
        assert isinstance(read_order(result, NOW)[0], OrderAccepted)
    _, cancel, list_cancel, *_ = documented("web-socket-api.md", "Trading requests > Cancel order (TRADE)")
    assert len(read_cancel(reply_of(json.dumps(cancel).encode()).body, NOW)) == 1
    assert len(read_cancel(reply_of(json.dumps(list_cancel).encode()).body, NOW)) == 2
    for section, legs in [("OTOCO (TRADE)", 3), ("OPOCO (TRADE)", 3), ("Order list - OCO (TRADE)", 2)]:
        _, answer = documented("web-socket-api.md", section)
        assert len(read_list(reply_of(json.dumps(answer).encode()).body, NOW)) == legs


@pytest.mark.parametrize(
    "junk",
    [b"", b"{}", b"[]", b'{"id":1}', b'{"event":1}', b'{"event":{}}', b'{"event":{"e":"executionReport"}}', b"\xff"],
)
def test_frame_without_the_documented_shape_is_a_bad_frame(junk: bytes) -> None:
    with pytest.raises(BadFrame):
        read_account_frame(junk)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["NaN", "1e999", "-1", "0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
EVENTS = sorted(path.stem for path in FOLDER.glob("event_*.json"))


@st.composite
def damaged_events(draw: st.DrawFn) -> bytes:
    """A good event with one of its values replaced by anything, or taken away."""
    frame = payload(draw(st.sampled_from(EVENTS)))
    key = draw(st.sampled_from(sorted(frame["event"])))
    if draw(st.booleans()):
        frame["event"][key] = draw(json_values)
    else:
        del frame["event"][key]
    return json.dumps(frame).encode()


@pytest.mark.spec("SAFE-5")
@given(st.binary() | st.text() | json_values.map(lambda value: json.dumps(value)) | damaged_events())
def test_junk_raises_bad_frame_or_is_read_soundly(junk: bytes | str) -> None:
    try:
        read = read_account_frame(junk)
    except BadFrame:
        return
    events = order_events(read, NOW) if isinstance(read, ExecutionReport) else ()
    for event in events:
        if isinstance(event, OrderFilled):
            assert event.fill.price > 0
            assert event.fill.quantity > 0
            assert event.fill.fee.is_finite()
