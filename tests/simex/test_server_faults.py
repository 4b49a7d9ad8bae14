"""Each fault of a plan, made to happen on real sockets and seen by a plain client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from simex.faultplan import read_fault
from simex.faults import FaultPlan
from simex.market import GeneratedMarket
from tests.simex.sockets import (
    KEY,
    PATIENCE_S,
    T0_MS,
    Venue,
    eventually,
    listening,
    opened,
    playing,
    stopped_market,
    ws_request,
)

pytestmark = pytest.mark.spec("SIM-2")

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001"}
TRADES = "/ws/btcusdt@trade"


@asynccontextmanager
async def faulty(**fault: Any) -> AsyncIterator[Venue]:
    """A market that stands still, and one fault."""
    async with opened() as venue:
        venue.server.faults.arm(read_fault(fault))
        yield venue


@asynccontextmanager
async def moving(*faults: dict[str, Any], speed: float = 40.0) -> AsyncIterator[Venue]:
    """A market that prints once a second of its time, and faults planned from its start."""
    market = GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=1)
    plan = FaultPlan([read_fault(fault) for fault in faults])
    async with listening(market, speed=speed, faults=plan, barrier_timeout_s=0.5) as venue:
        yield venue


async def executed(venue: Venue, name: str) -> bool:
    status, order = await venue.get(f"/api/v3/order?{venue.signed(f'symbol=BTCUSDT&origClientOrderId={name}')}")
    assert status == 200 or order["code"] == -2013, order
    return status == 200


def done(venue: Venue) -> dict[str, int]:
    return {str(kind): count for kind, count in venue.server.faults.plan.done.items()}


async def trade_ids(link: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
    return [json.loads((await link.receive(PATIENCE_S)).data)["t"] for _ in range(count)]


# -- requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        ({"status": 500}, 500, -1000),
        ({"status": 503}, 503, -1007),
        ({"status": 503, "says": "busy"}, 503, -1008),
    ],
)
async def test_an_error_before_acceptance_executes_nothing(settings: dict[str, Any], status: int, code: int) -> None:
    async with faulty(kind="error-before", every=1, times=1, **settings) as venue:
        told, body = await venue.buy(newClientOrderId="one")
        assert (told, body["code"]) == (status, code)
        assert not await executed(venue, "one")
        assert (await venue.buy(newClientOrderId="two"))[0] == 200
        assert done(venue) == {"error-before": 1}


async def test_gateways_answer_with_a_page_and_the_order_is_executed() -> None:
    async with faulty(kind="error-after", every=1, times=1, status=502) as venue:
        query = venue.signed("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newClientOrderId=one")
        async with venue.http.post(venue.url(f"/api/v3/order?{query}"), headers={"X-MBX-APIKEY": KEY}) as answer:
            assert (answer.status, answer.content_type) == (502, "text/html")
            assert "502 Bad Gateway" in await answer.text()
        assert await executed(venue, "one")


@pytest.mark.parametrize(("kind", "is_executed"), [("timeout-before", False), ("timeout-after", True)])
async def test_a_timeout_is_told_late_with_its_code(kind: str, is_executed: bool) -> None:
    async with faulty(kind=kind, every=1, times=1, after_ms=20) as venue:
        status, body = await venue.buy(newClientOrderId="one")
        assert (status, body["code"]) == (400, -1007)
        assert await executed(venue, "one") == is_executed


@pytest.mark.parametrize(("kind", "is_executed"), [("timeout-before", False), ("timeout-after", True)])
async def test_nobody_answers_until_the_client_gives_up(kind: str, is_executed: bool) -> None:
    async with faulty(kind=kind, every=1, times=1, after_ms=0, then="hang") as venue:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(venue.buy(newClientOrderId="one"), 0.5)
        assert await executed(venue, "one") == is_executed


@pytest.mark.parametrize(("kind", "is_executed"), [("reset-before", False), ("reset-after", True)])
async def test_the_connection_breaks_before_or_after_acceptance(kind: str, is_executed: bool) -> None:
    async with faulty(kind=kind, every=1, times=1) as venue:
        with pytest.raises(aiohttp.ClientError):
            await venue.buy(newClientOrderId="one")
        assert await executed(venue, "one") == is_executed


async def test_too_many_requests_and_bans_say_how_long_to_wait() -> None:
    async with faulty(kind="limited", times=1, retry_after_s=7) as venue:
        async with venue.http.get(venue.url("/api/v3/time")) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
            assert (await answer.json())["code"] == -1003
        venue.server.faults.arm(read_fault({"kind": "banned", "times": 1}))
        async with venue.http.get(venue.url("/api/v3/time")) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (418, "120")
            assert f"IP banned until {venue.server.now_ms() + 120_000}" in (await answer.json())["msg"]
        assert (await venue.get("/api/v3/time"))[0] == 200


async def test_a_ban_closes_the_connections_to_the_websocket_api_and_no_streams() -> None:
    async with opened() as venue:
        api, stream = await venue.link("/ws-api/v3"), await venue.link(TRADES)
        statuses = [0]
        while statuses[-1] != 418:
            statuses.append((await venue.get("/api/v3/ticker/24hr"))[0])
        assert 429 in statuses
        assert (await api.receive(PATIENCE_S)).type is aiohttp.WSMsgType.CLOSE
        assert not stream.closed
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await venue.link("/ws-api/v3")
        assert refused.value.status == 418


@pytest.mark.parametrize("asks", ["rest", "socket"])
async def test_an_injected_ban_closes_them_too(asks: str) -> None:
    async with opened() as venue:
        api = await venue.link("/ws-api/v3")
        venue.server.faults.arm(read_fault({"kind": "banned", "times": 1}))
        if asks == "rest":
            assert (await venue.get("/api/v3/time"))[0] == 418
        else:
            await api.send_json({"id": 1, "method": "time"})
            assert json.loads((await api.receive(PATIENCE_S)).data)["status"] == 418
        assert (await api.receive(PATIENCE_S)).type is aiohttp.WSMsgType.CLOSE
        link = await venue.link("/ws-api/v3")
        await link.send_json({"id": 1, "method": "time"})
        assert json.loads((await link.receive(PATIENCE_S)).data)["status"] == 200


async def test_late_requests_and_answers_come_at_last() -> None:
    async with faulty(kind="request-late", every=1, times=1, delay_ms=[10, 20]) as venue:
        assert (await venue.buy())[0] == 200
        venue.server.faults.arm(read_fault({"kind": "answer-late", "every": 1, "times": 1, "delay_ms": 400}))
        asked = asyncio.create_task(venue.buy(newClientOrderId="slow"))
        await eventually(lambda: done(venue) == {"request-late": 1, "answer-late": 1})
        assert await executed(venue, "slow")
        assert not asked.done()
        assert (await asked)[0] == 200


async def test_a_cancel_can_be_lost_while_orders_and_reads_are_not() -> None:
    async with faulty(kind="reset-after", of="cancels", every=1) as venue:
        resting = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=40000.00"
        status, order = await venue.post("/api/v3/order", resting)
        assert (status, order["status"]) == (200, "NEW")
        query = venue.signed(f"symbol=BTCUSDT&orderId={order['orderId']}")
        # When the connection breaks, this client tries a DELETE again by itself, and finds the order gone.
        async with venue.http.delete(venue.url(f"/api/v3/order?{query}"), headers={"X-MBX-APIKEY": KEY}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, -2011)
        assert done(venue) == {"reset-after": 1}
        query = venue.signed(f"symbol=BTCUSDT&orderId={order['orderId']}")
        assert (await venue.get(f"/api/v3/order?{query}"))[1]["status"] == "CANCELED"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "error-before", "status": 503, "says": "busy"}, 503, -1008),
        ({"kind": "error-after"}, 503, -1007),
        ({"kind": "timeout-after", "after_ms": 10}, 400, -1007),
        ({"kind": "limited", "of": "orders"}, 429, -1003),
    ],
)
async def test_faults_strike_requests_over_the_websocket_api(fault: dict[str, Any], status: int, code: int) -> None:
    async with faulty(**fault, every=1, times=1) as venue:
        link = await venue.link("/ws-api/v3")
        name = {"newClientOrderId": "one"}
        await link.send_json(ws_request("order.place", ORDER | name, venue.server.now_ms()))
        answer = json.loads((await link.receive(PATIENCE_S)).data)
        assert (answer["id"], answer["status"], answer["error"]["code"]) == ("order.place", status, code)
        assert await executed(venue, "one") == fault["kind"].endswith("after")
        if status == 429:
            assert answer["error"]["data"]["retryAfter"] == venue.server.now_ms() + 1_000


async def test_an_events_news_overtakes_a_late_answer() -> None:
    async with faulty(kind="answer-late", of="orders", every=1, times=1, delay_ms=30) as venue:
        link = await venue.account_link()
        await link.send_json(ws_request("order.place", ORDER, venue.server.now_ms()))
        frames = [json.loads((await link.receive(PATIENCE_S)).data) for _ in range(4)]
        assert ["event" in frame for frame in frames] == [True, True, True, False]
        assert frames[-1]["result"]["status"] == "FILLED"


async def test_a_skewed_server_tells_another_time_for_a_while() -> None:
    async with faulty(kind="clock-skew", skew_ms=-2_500) as venue:
        assert (await venue.get("/api/v3/time"))[1]["serverTime"] == venue.server.now_ms() - 2_500
        link = await venue.link("/ws-api/v3")
        await link.send_json({"id": 1, "method": "time"})
        answer = json.loads((await link.receive(PATIENCE_S)).data)
        assert answer["result"]["serverTime"] == venue.server.now_ms() - 2_500
        venue.server.faults.clear()
        assert (await venue.get("/api/v3/time"))[1]["serverTime"] == venue.server.now_ms()


async def test_a_skewed_server_judges_time_stamps_and_dates_events_by_the_time_that_it_tells() -> None:
    async with faulty(kind="clock-skew", skew_ms=6_000) as venue:
        account = await venue.account_link(skew_ms=6_000)
        told_ms = (await venue.get("/api/v3/time"))[1]["serverTime"]
        query = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001"
        status, answer = await venue.post("/api/v3/order", query)
        assert (status, answer["code"]) == (400, -1021)
        assert "recvWindow" in answer["msg"]
        assert (await venue.post("/api/v3/order", query, told_ms))[0] == 200
        assert json.loads((await account.receive(PATIENCE_S)).data)["event"]["E"] == told_ms
        venue.server.faults.clear()
        status, answer = await venue.post("/api/v3/order", query, told_ms)
        assert (status, answer["code"]) == (400, -1021)
        assert "1000ms ahead" in answer["msg"]


# -- frames ------------------------------------------------------------------------------------------------------------


async def test_market_events_are_lost_repeated_and_out_of_order() -> None:
    expected = {
        "frame-lost": [1, 2, 4, 5, 7],
        "frame-repeated": [1, 2, 3, 3, 4],
        "frame-reordered": [1, 2, 4, 3, 5],
    }
    for kind, steps in expected.items():
        async with moving({"kind": kind, "every": 3}) as venue:
            link = await venue.link(TRADES)
            async with playing(venue.server):
                ids = await trade_ids(link, 5)
        assert [number - ids[0] + 1 for number in ids] == steps, kind


async def test_what_accounts_are_told_may_come_twice_but_stays_in_order() -> None:
    async with faulty(kind="frame-repeated", of="account", every=2) as venue:
        link = await venue.account_link()
        await venue.buy()
        events = [json.loads((await link.receive(PATIENCE_S)).data)["event"] for _ in range(4)]
        assert events[1] == events[2]
        assert [event.get("X") for event in events if event["e"] == "executionReport"] in (
            ["NEW", "FILLED", "FILLED"],
            ["NEW", "NEW", "FILLED"],
        )


async def test_a_late_event_holds_up_its_own_connection_only() -> None:
    async with faulty(kind="frame-late", of="account", every=1, times=1, delay_ms=700) as venue:
        late, prompt = await venue.account_link(), await venue.link("/ws-api/v3")
        heard = asyncio.create_task(late.receive(PATIENCE_S))
        assert (await venue.buy())[0] == 200
        await prompt.send_json({"id": 1, "method": "time"})
        assert json.loads((await prompt.receive(PATIENCE_S)).data)["id"] == 1
        assert not heard.done()
        events = [json.loads((await heard).data)["event"], json.loads((await late.receive(PATIENCE_S)).data)["event"]]
        assert [event.get("X") for event in events if event["e"] == "executionReport"] == ["NEW", "FILLED"]


# -- links -------------------------------------------------------------------------------------------------------------


async def test_a_silent_connection_stays_open_and_tells_all_at_once_afterwards() -> None:
    async with moving({"kind": "silent", "of": "market", "windows_s": [[3, 90_000]]}) as venue:
        link = await venue.link(TRADES)
        async with playing(venue.server):
            ids = await trade_ids(link, 3)
            loud = await venue.link("/ws-api/v3")
            await eventually(lambda: venue.server.now_ms() >= T0_MS + 8_000)
            late = asyncio.create_task(link.receive())
            await loud.send_json({"id": 1, "method": "time"})
            await loud.receive(PATIENCE_S)
            assert (late.done(), link.closed) == (False, False)
            venue.server.faults.clear()
            ids += [json.loads((await late).data)["t"], *(await trade_ids(link, 5))]
        assert ids == list(range(ids[0], ids[0] + 9))


async def test_a_silent_connection_may_be_cut_and_what_it_held_is_lost() -> None:
    fault = {"kind": "silent", "of": "account", "every": 2, "for_s": 2, "then": "cut"}
    async with moving(fault) as venue:
        link = await venue.account_link()
        async with playing(venue.server):
            await eventually(lambda: venue.server.now_ms() > T0_MS)
            await venue.buy()
            assert "event" in json.loads((await link.receive(PATIENCE_S)).data)
            await link.receive(PATIENCE_S)
        assert link.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE


async def test_disconnects_come_with_and_without_a_close_frame() -> None:
    for fault, code in (({"kind": "disconnect"}, 1006), ({"kind": "close", "code": 1008}, 1008)):
        async with moving(fault | {"of": "market", "every": 3}) as venue:
            link, account = await venue.link(TRADES), await venue.account_link()
            async with playing(venue.server):
                while (await link.receive(PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert (link.close_code, account.closed) == (code, False)


async def test_a_disconnect_by_command_strikes_at_once() -> None:
    async with opened() as venue:
        link = await venue.link(TRADES)
        venue.server.faults.arm(read_fault({"kind": "disconnect", "times": 1}))
        await link.receive(PATIENCE_S)
        assert link.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert not venue.server.faults.plan.armed


async def test_a_shutdown_is_announced_and_then_carried_out() -> None:
    async with moving({"kind": "shutdown-notice", "windows_s": [[2, 10]]}) as venue:
        link = await venue.link("/ws")
        async with playing(venue.server):
            assert json.loads((await link.receive(PATIENCE_S)).data)["e"] == "serverShutdown"
            await link.receive(PATIENCE_S)
            assert link.close_code == aiohttp.WSCloseCode.GOING_AWAY
            assert (await venue.get("/api/v3/ping"))[0] == 200


async def test_maintenance_closes_everything_for_a_while() -> None:
    async with moving({"kind": "maintenance", "windows_s": [[2, 60]]}) as venue:
        link = await venue.link(TRADES)
        async with playing(venue.server):
            while (await link.receive(PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert link.close_code == aiohttp.WSCloseCode.GOING_AWAY
            async with venue.http.get(venue.url("/api/v3/time")) as answer:
                assert answer.status == 503
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await venue.link(TRADES)
            assert refused.value.status == 503
            await eventually(lambda: venue.server.now_ms() >= T0_MS + 61_000)
            assert (await venue.get("/api/v3/time"))[0] == 200


async def test_a_symbol_takes_cancels_only_halts_and_is_delisted() -> None:
    async with opened() as venue:
        resting = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=40000.00&newClientOrderId="
        assert [(await venue.post("/api/v3/order", f"{resting}{name}"))[0] for name in "ab"] == [200, 200]
        for kind in ("cancel-only", "halt"):
            venue.server.faults.arm(read_fault({"kind": kind, "symbol": "BTCUSDT"}))
            assert (await venue.buy())[0] == 400
            venue.server.faults.clear()
            assert (await venue.buy())[0] == 200
        venue.server.faults.arm(read_fault({"kind": "cancel-only", "symbol": "BTCUSDT"}))
        query = venue.signed("symbol=BTCUSDT&origClientOrderId=a")
        async with venue.http.delete(venue.url(f"/api/v3/order?{query}"), headers={"X-MBX-APIKEY": KEY}) as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "CANCELED")
        venue.server.faults.clear()
        venue.server.faults.arm(read_fault({"kind": "delist", "symbol": "BTCUSDT"}))
        query = venue.signed("symbol=BTCUSDT&origClientOrderId=b")
        assert (await venue.get(f"/api/v3/order?{query}"))[1]["status"] == "EXPIRED"
        assert (await venue.buy())[0] == 400


async def test_what_strikes_is_told_and_counted_but_delays_only_counted() -> None:
    lines: list[Any] = []
    async with faulty(kind="answer-late", every=1, delay_ms=1) as venue:
        venue.server.faults.say = lines.append
        venue.server.faults.arm(read_fault({"kind": "limited", "times": 1}))
        assert (await venue.get("/api/v3/time"))[0] == 429
        assert (await venue.get("/api/v3/time"))[0] == 200
        told = {"event": "fault", "kind": "limited", "at_ms": venue.server.now_ms(), "what": "GET /api/v3/time"}
        assert lines == [told]
        assert venue.server.faults.state()["done"] == {"answer-late": 1, "limited": 1}


async def test_a_full_queue_of_a_silent_link_ends_it() -> None:
    market = stopped_market()
    async with listening(market, speed=200.0, max_queued_frames=5) as venue:
        venue.server.faults.arm(read_fault({"kind": "silent", "times": 1}))
        link = await venue.link(TRADES)
        async with playing(venue.server):
            await link.receive(PATIENCE_S)
        assert link.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
