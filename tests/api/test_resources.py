"""Everything that can be read over HTTP: as the schema says, with a trader and its journal, and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from surefoot.api.performance import MONEY
from surefoot.api.roles import Role
from surefoot.config import load
from tests.api.desks import FIRST_RUN, trading, until
from tests.api.served import Place, Visitor, code_of, place
from tests.journals import OFTEN, two_days

READ = (
    "status",
    "portfolio",
    "positions",
    "risk",
    "breaker",
    "breaker/history",
    "connection",
    "health",
    "metrics",
    "signals",
    "market/prices",
    "market/symbols",
    "market/candles?symbol=BTCUSDT",
    "market/indicators?symbol=BTCUSDT&limit=5",
    "decisions?limit=2",
    "decisions?outcome=refused",
    "orders?open=false",
    "fills",
    "round-trips",
    "alarms",
    "equity?points=10",
    "journal?kind=OrderFilled&kind=SubmitList&limit=3",
)


ROWS_ENOUGH = 25  # more than there are orders; of decisions there are many


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resources")
    return two_days(folder, load(None, OFTEN, {}).settings, FIRST_RUN)[0]


@pytest.fixture
async def here(traded: Path) -> AsyncIterator[Place]:
    async with place(traded.parent) as served:
        await until(lambda: served.parts.desk.is_ready)
        yield served


@pytest.fixture
async def viewer(here: Place) -> Visitor:
    return await here.signed_in(Role.VIEWER)


def body_of(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return msgspec.json.decode(answer.content)


@pytest.mark.spec("API-1")
async def test_what_is_read_is_what_the_journal_says_without_a_trader(viewer: Visitor) -> None:
    status = body_of(await viewer.get("/status"))
    assert (status["running"], status["entries_off"]) == (False, "the trader is not running")
    trips = body_of(await viewer.get("/round-trips?limit=500"))["items"]
    metrics = body_of(await viewer.get("/metrics"))
    assert status["round_trip_count"] == len(trips) == metrics["round_trips"] > 0
    order = body_of(await viewer.get("/orders?limit=1"))["items"][0]
    life = body_of(await viewer.get(f"/orders/{order['client_order_id']}"))
    assert life["order"] == order
    assert life["records"][0]["seq"] == order["seq"]
    assert body_of(await viewer.get("/health"))["trader_running"] is False


@pytest.mark.spec("API-1")
async def test_money_among_the_figures_is_decimal_text_and_says_what_the_round_trips_say(
    here: Place, viewer: Visitor
) -> None:
    told = body_of(await viewer.get("/metrics"))
    trips = [Decimal(trip["pnl"]) for trip in body_of(await viewer.get("/round-trips?limit=500"))["items"]]
    fees = [Decimal(fill["fee_in_quote"]) for fill in body_of(await viewer.get("/fills?limit=500"))["items"]]
    assert Decimal(told["fees"]) == sum(fees)
    assert Decimal(told["largest_loss"]) == min(trips) < 0
    assert {name for name in MONEY if not isinstance(told[name], str | None)} == set()
    records = here.parts.desk.records
    assert records is not None
    measured = records.metrics().as_dict()
    assert set(told) == {*measured, "truncated"}
    for name in MONEY - {"slippage"}:
        assert (told[name] is None) == (measured[name] is None), name
        assert float(told[name] or 0) == pytest.approx(measured[name] or 0, abs=1e-8), name


@pytest.mark.spec("API-1")
async def test_pages_follow_each_other_by_their_cursor(viewer: Visitor) -> None:
    whole = body_of(await viewer.get("/fills?limit=500"))
    assert whole["next"] is None
    first = body_of(await viewer.get("/fills?limit=4"))
    second = body_of(await viewer.get(f"/fills?limit=4&cursor={first['next']}"))
    assert first["items"] + second["items"] == whole["items"][:8]
    records = body_of(await viewer.get("/journal?limit=3&kind=RecordDecision"))
    after = body_of(await viewer.get(f"/journal?limit=3&kind=RecordDecision&since_seq={records['next']}"))
    assert records["items"][-1]["seq"] < after["items"][0]["seq"]


@pytest.mark.spec("API-1")
@pytest.mark.parametrize("limit", [1, 4])
@pytest.mark.parametrize("path", ["orders", "orders?open=false", "fills", "round-trips", "decisions", "alarms"])
async def test_pages_leave_nothing_out_and_tell_nothing_twice(viewer: Visitor, path: str, limit: int) -> None:
    asked = f"/{path}{'&' if '?' in path else '?'}limit="
    whole = body_of(await viewer.get(f"{asked}500"))
    assert whole["next"] is None
    rows: list[Any] = []
    following: str | None = ""
    while following is not None:
        page = body_of(await viewer.get(f"{asked}{limit}{following}"))
        rows += page["items"]
        following = None if page["next"] is None else f"&cursor={page['next']}"
        if len(rows) > ROWS_ENOUGH:
            break
    assert rows == whole["items"][: len(rows)]
    assert len(rows) == len(whole["items"]) or len(rows) > ROWS_ENOUGH


@pytest.mark.spec("API-1", "UI-1")
async def test_the_journal_is_read_from_its_end_however_far_back_a_kind_is(viewer: Visitor) -> None:
    asked = "/journal?newest_first=true&kind=OrderFilled&kind=SubmitList"
    whole = body_of(await viewer.get(f"{asked}&limit=500"))
    seqs = [item["seq"] for item in whole["items"]]
    assert whole["next"] is None
    assert seqs == sorted(seqs, reverse=True)
    assert {item["kind"] for item in whole["items"]} == {"OrderFilled", "SubmitList"}
    first = body_of(await viewer.get(f"{asked}&limit=3"))
    second = body_of(await viewer.get(f"{asked}&limit=3&before_seq={first['next']}"))
    assert first["items"] + second["items"] == whole["items"][:6]
    (oldest,) = body_of(await viewer.get("/journal?newest_first=true&kind=RunStarted"))["items"]
    assert oldest["seq"] == 1


@pytest.mark.spec("API-1")
async def test_every_answer_can_be_read_and_money_is_text(viewer: Visitor) -> None:
    for path in READ:
        body = body_of(await viewer.get(f"/{path}"))
        assert body is not None, path
    fill = body_of(await viewer.get("/fills?limit=1"))["items"][0]
    assert {type(fill[name]) for name in ("price", "quantity", "notional", "fee")} == {str}
    lines = body_of(await viewer.get("/market/indicators?symbol=BTCUSDT&limit=5"))
    assert len(lines["open_ms"]) == 5
    assert {len(line["values"]) for line in lines["lines"]} == {5}


@pytest.mark.spec("API-1")
async def test_while_the_trader_runs_its_picture_is_read(here: Place, viewer: Visitor, traded: Path) -> None:
    async with trading(traded):
        await until(lambda: here.parts.desk.running)
        assert body_of(await viewer.get("/status"))["equity"] == "10012.34000000"
        positions = body_of(await viewer.get("/positions"))
        assert [position["symbol"] for position in positions["items"]] == ["BTCUSDT", "ETHUSDT"]
        risk = body_of(await viewer.get("/risk"))
        assert [(each["symbol"], each["to_stop"]) for each in risk["positions"]] == [
            ("BTCUSDT", "39.9188979"),  # (67000.10 - 65660.09) × 0.02979
            ("ETHUSDT", None),
        ]
        assert risk["to_stop_pct"] is None  # one position has no stop: what all may lose is not known
        assert body_of(await viewer.get("/connection"))["links"] == ["account", "market"]


@pytest.mark.spec("API-1")
async def test_a_portfolio_is_what_is_held_and_worth_and_what_protects_it(
    here: Place, viewer: Visitor, traded: Path
) -> None:
    async with trading(traded):
        await until(lambda: here.parts.desk.running)
        told = body_of(await viewer.get("/portfolio"))
    assert told["holdings"] == [
        {"asset": "BTC", "amount": "0.02979", "price": "67511.005", "value": "2011.15283895"},
        {"asset": "USDT", "amount": "8001.10", "price": "1", "value": "8001.10"},
    ]
    assert {name: told[name] for name in ("running", "quote", "equity", "cash", "exposure", "exposure_pct")} == {
        "running": True,
        "quote": "USDT",
        "equity": "10012.34000000",
        "cash": "8001.10",
        "exposure": "4022.30567790",  # twice 0.02979 × 67511.005
        "exposure_pct": "40.1735",
    }
    assert told["open_profit"] == "26.4430"
    safe, bare = told["positions"]
    assert (safe["symbol"], safe["entry_price"], safe["mark"]) == ("BTCUSDT", "67000.10", "67511.005")
    assert (safe["notional"], safe["share_pct"]) == ("2011.15283895", "20.0867")
    assert (safe["open_profit"], safe["open_profit_pct"]) == ("13.2215", "0.6624")  # of 67000.10 × 0.02979
    assert safe["protection"] == {
        "stop_price": "65660.09",
        "stop_distance_pct": "2.7416",  # (67511.005 - 65660.09) / 67511.005
        "target_price": "69680.11",
        "unprotected_ms": None,
        "unprotected_in_all_ms": 400,
        "liquidation_price": None,
    }
    assert (bare["symbol"], bare["protection"]["unprotected_ms"]) == ("ETHUSDT", 4_200)
    assert (bare["protection"]["stop_price"], bare["protection"]["stop_distance_pct"]) == (None, None)


@pytest.mark.spec("API-1")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("orders/sf-nobody-1e", 404, "order_unknown"),
        ("fills?limit=0", 422, "invalid_request"),
        ("fills?symbol=btc", 422, "invalid_request"),
        ("fills?cursor=99999999999999999999", 422, "invalid_request"),
        ("journal?kind=Nonsense", 422, "invalid_request"),
        ("nothing", 404, "not_found"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_stable_code(
    viewer: Visitor, path: str, status: int, code: str
) -> None:
    answer = await viewer.get(f"/{path}")
    assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.spec("API-1")
async def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(viewer: Visitor) -> None:
    for path, methods in (
        ("/settings", "GET, POST"),
        ("/backtests/0123456789abcdef", "DELETE, GET"),
        ("/backtests/files", "GET"),
        ("/fills", "GET"),
    ):
        answer = await viewer.put(path)
        assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
        assert answer.headers["allow"] == methods


@pytest.mark.spec("API-1")
async def test_a_name_is_not_taken_for_a_parameter_and_a_number_has_an_end(here: Place) -> None:
    admin = await here.signed_in(Role.ADMIN)
    answer = await admin.delete("/backtests/files")
    assert (answer.status_code, code_of(answer), answer.headers["allow"]) == (405, "method_not_allowed", "GET")
    assert (await admin.delete("/backtests/nothing")).status_code == 422
    for name in ("cursor", "since_ms", "until_ms"):
        assert code_of(await admin.get(f"/audit?{name}={2**70}")) == "invalid_request"


@pytest.mark.spec("API-1", "SAFE-5")
async def test_without_trader_and_journal_there_is_no_data_and_nothing_breaks(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        viewer = await here.signed_in(Role.VIEWER)
        for path in READ:
            answer = await viewer.get(f"/{path}")
            assert answer.status_code in (200, 503), path
            if answer.status_code == 503:
                assert code_of(answer) in ("no_journal", "not_known"), path
        assert body_of(await viewer.get("/breaker")) is None
        assert code_of(await viewer.get("/positions")) == "not_known"
        assert (await viewer.get("/health/ready")).status_code == 200
