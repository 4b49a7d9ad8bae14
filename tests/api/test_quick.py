"""Reads that go the short way say what the long way says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from fastapi.routing import APIRoute

from surefoot.api.app import create_app
from surefoot.api.guard import PREFIX
from surefoot.api.plain import encoded, plain
from surefoot.api.quick import is_quick
from surefoot.api.roles import Role
from surefoot.config import load
from tests.api.desks import FIRST_RUN, until
from tests.api.served import Clock, Visitor, made_parts, place, web_settings
from tests.journals import OFTEN, two_days

QUERIES = (
    "",
    "limit=2&symbol=BTCUSDT",
    "symbol=BTCUSDT&symbol=ETHUSDT&limit=1",
    "open=true&outcome=refused&kind=OrderFilled&kind=RecordDecision&limit=1",
    "limit=many&points=0&symbol=btc",
    f"symbol={'A' * 500}&limit=1",
    "colour=red",
)
MOVING = ("/health",)  # tells how long ago something was


def quick_paths(folder: Path) -> list[str]:
    parts = made_parts(web_settings(folder), Clock())
    routes: list[APIRoute] = create_app(parts).state.routes
    parts.close()
    return [route.path for route in routes if is_quick(route)]


@pytest.mark.spec("API-1", "PERF-5")
async def test_the_short_way_says_what_the_long_way_says_to_whoever_asks(tmp_path: Path) -> None:
    two_days(tmp_path, load(None, OFTEN, {}).settings, FIRST_RUN)
    paths = quick_paths(tmp_path / "routes")
    assert {"/status", "/positions", "/market/prices", "/orders", "/fills", "/equity"} <= set(paths)
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        await until(lambda: here.parts.desk.is_ready)
        viewer, nobody = await here.signed_in(Role.VIEWER), here.visitor()
        long_way = {"origin": here.url}  # what names a page is not for the short way
        statuses = set[int]()
        for asked in [f"{path}?{query}" for path in paths for query in QUERIES]:
            for who in (viewer, nobody):
                short, long = await who.get(asked), await who.get(asked, headers=long_way)
                assert (short.status_code, short.headers["content-type"]) == (
                    long.status_code,
                    long.headers["content-type"],
                ), asked
                if not asked.startswith(MOVING):
                    assert short.content == long.content, asked
                statuses.add(short.status_code)
        assert statuses == {200, 401, 403, 422}


@pytest.mark.spec("AUTH-2")
async def test_whoever_is_signed_out_is_out_at_once_on_the_short_way_too(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert await statuses(ann) == [200, 200]
        (session,) = here.parts.sessions.of("ann")
        here.parts.sessions.end(session.id, "the test")
        assert await statuses(ann) == [401, 401]
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert await statuses(ann) == [200, 200]
        here.clock.forward(16 * 60)
        assert await statuses(ann) == [401, 401]


async def statuses(visitor: Visitor) -> list[int]:
    return [(await visitor.get(path)).status_code for path in ("/status", "/risk")]


@pytest.mark.spec("API-1")
async def test_a_page_of_records_is_told_anew_when_there_is_a_new_one(tmp_path: Path) -> None:
    two_days(tmp_path, load(None, OFTEN, {}).settings, FIRST_RUN)
    async with place(tmp_path) as here:
        await until(lambda: here.parts.desk.is_ready)
        viewer, records = await here.signed_in(Role.VIEWER), here.parts.desk.records
        assert records is not None
        before = (await viewer.get("/fills?limit=3")).json()["items"]
        records.fills.pop()
        assert (await viewer.get("/fills?limit=3")).json()["items"] == before  # kept: nothing was said to be new
        (entry,) = records._reader.read(limit=1)
        records.take(entry)
        assert (await viewer.get("/fills?limit=3")).json()["items"] != before


def test_every_quick_route_is_one_of_the_api(tmp_path: Path) -> None:
    paths = quick_paths(tmp_path)
    assert len(paths) == len(set(paths)) > 15
    assert not [path for path in paths if path.startswith(PREFIX) or "{" in path]


@pytest.mark.spec("API-1")
@pytest.mark.parametrize("digits", ["0E-8", "1E-7", "-2.5E-9", "1E+5", "0.00001", "-0", "12.50", "1e-30"])
def test_a_decimal_never_has_an_exponent_and_a_text_that_looks_like_one_stays(digits: str) -> None:
    for value in ({"a": Decimal(digits), "b": digits}, [Decimal(digits)], (Decimal(digits), "1E+5", 2.5e-9)):
        assert msgspec.json.decode(encoded(value)) == plain(value)
    assert "E" not in encoded([Decimal(digits)]).decode()
