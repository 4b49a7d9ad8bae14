"""What stands before every route: hosts, origins, sizes, rates, headers, and what is said of the unforeseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from surefoot.api.app import create_app
from surefoot.api.roles import Role
from surefoot.api.shield import HEADERS, address_of, masked_json
from surefoot.api.tokens import ACCESS_MS
from tests.api.served import PASSWORD, Clock, code_of, made_parts, place, web_settings


@pytest.mark.spec("AUTH-3")
async def test_every_answer_carries_the_headers_whatever_it_is(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        visitor = here.visitor()
        answers = {
            200: await visitor.get("/health/live"),
            401: await visitor.get("/me"),
            404: await visitor.get("/nothing"),
            405: await visitor.put("/auth/login"),
            400: await visitor.get("/me", headers={"host": "evil.example"}),
            413: await visitor.post("/auth/login", content=b"x" * 300_000),
            422: await visitor.post("/auth/login", json={"name": "ann"}),
        }
        for status, answer in answers.items():
            assert answer.status_code == status
            assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
        policy = HEADERS["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy


@pytest.mark.spec("AUTH-3")
async def test_a_page_elsewhere_cannot_use_the_api_and_one_of_the_list_can(tmp_path: Path) -> None:
    friend = "https://bot.example.com"
    async with place(tmp_path, web__origins=friend) as here:
        visitor = here.visitor()
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "https://bot.example.com.evil.example"):
            answer = await visitor.get("/health/live", headers={"origin": origin})
            assert code_of(answer) == "origin_unknown"
            assert "access-control-allow-origin" not in answer.headers
        answer = await visitor.get("/health/live", headers={"origin": friend})
        assert answer.headers["access-control-allow-origin"] == friend
        assert (await visitor.get("/health/live", headers={"origin": here.url})).status_code == 200
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        answer = await visitor.options("/auth/login", headers={"origin": friend, **asked})
        assert answer.headers["access-control-allow-origin"] == friend
        assert code_of(await visitor.options("/auth/login", headers={"origin": "https://evil.example", **asked}))


@pytest.mark.spec("AUTH-3")
async def test_a_name_that_is_not_ours_is_refused_but_for_probes(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for path, host, status in (
            ("/me", "rebound.example", 400),
            ("/me", "localhost:1234", 401),
            ("/me", "[::1]:1", 401),
            ("/health/live", "10.0.0.7:8650", 200),
        ):
            assert (await here.visitor().get(path, headers={"host": host})).status_code == status


@pytest.mark.spec("AUTH-3")
async def test_a_body_without_a_length_is_cut_off_too(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000
            await asyncio.sleep(0)

    async with place(tmp_path, web__body_max_kib="16") as here:
        assert code_of(await here.visitor().post("/auth/login", content=endless())) == "body_too_large"


@pytest.mark.spec("AUTH-3")
async def test_one_address_is_slowed_down(tmp_path: Path) -> None:
    async with place(tmp_path, web__requests_max_per_s="2") as here:
        visitor = here.visitor()
        answers = [await visitor.get("/health/live") for _ in range(45)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 5 <= len(refused) <= 25  # windows of ten seconds begin when they like
        assert code_of(refused[0]) == "too_many_requests"
        assert refused[0].headers["retry-after"] == "10"


@pytest.mark.spec("AUTH-2")
async def test_attempts_to_get_in_are_slowed_down_by_address(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        answers = [await here.visitor().post("/auth/link", json={"token": f"guess {n}"}) for n in range(21)]
        assert [code_of(answer) for answer in answers] == ["link_used"] * 20 + ["too_many_requests"]


@pytest.mark.spec("API-1")
async def test_what_nobody_foresaw_is_a_problem_without_its_text(tmp_path: Path) -> None:
    parts = made_parts(web_settings(tmp_path), Clock())
    app = create_app(parts, page=tmp_path)  # without a page, whose route takes what no route before it does

    @app.get("/api/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a secret text")

    heard: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        heard.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": "/api/v1/broken",
        "raw_path": b"/api/v1/broken",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert heard[0]["status"] == 500
    assert b"unexpected" in heard[1]["body"]  # type: ignore[operator]
    assert b"a secret text" not in heard[1]["body"]  # type: ignore[operator]
    assert dict(heard[0]["headers"])[b"x-frame-options"] == b"DENY"  # type: ignore[call-overload]
    parts.close()


@pytest.mark.spec("AUTH-3")
def test_behind_a_proxy_only_the_nearest_one_is_believed(tmp_path: Path) -> None:
    headers = [(b"x-forwarded-for", b"1.2.3.4, 203.0.113.9")]
    scope = {"type": "http", "client": ("10.0.0.1", 5), "headers": headers}
    assert address_of(scope, web_settings(tmp_path).web) == "10.0.0.1"
    behind_proxy = web_settings(tmp_path, web__behind_proxy="true").web
    assert address_of(scope, behind_proxy) == "203.0.113.9"
    # Some proxies write a line of their own behind the one that they were sent.
    headers[:] = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-for", b"203.0.113.9")]
    assert address_of(scope, behind_proxy) == "203.0.113.9"


def test_what_may_be_secret_is_masked_for_the_trail() -> None:
    body = b'{"reason": "why", "password": "x", "nested": [{"api_key": "y", "apiSecret": "z", "n": 1}]}'
    assert masked_json(body) == {
        "reason": "why",
        "password": "**********",
        "nested": [{"api_key": "**********", "apiSecret": "**********", "n": 1}],
    }
    assert masked_json(b"not json") == "no JSON"
    assert masked_json(b"") is None
    assert masked_json(b"[" * 4_000) == "no JSON"
    assert masked_json(b"x" * 5_000) == "5000 bytes"


@pytest.mark.spec("SAFE-3", "OPS-1")
async def test_exits_have_a_reserve_that_no_read_and_nobody_else_behind_the_address_can_use_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path) as here:
        monkeypatch.setattr(here.parts.throttle, "_begin_window", lambda: None)  # all of it is in one
        ann, eve, why = await here.signed_in(Role.TRADER, "ann"), here.visitor(), {"reason": "because"}
        here.parts.throttle._requests_max = 0  # as after too many reads by this address
        assert code_of(await ann.get("/me")) == "too_many_requests"
        here.clock.forward(ACCESS_MS / 1_000 + 1)
        assert code_of(await ann.post("/bot/pause", json=why)) == "token_expired"  # which the page mends by itself
        ann.keep(await ann.post("/auth/refresh"))
        assert (await ann.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        leave = ("/bot/pause", "/bot/flatten", "/bot/cancel-all", "/bot/kill", "/bot/live-off", "/breaker/reset")
        for path in leave:  # past the last door before the trader
            assert code_of(await ann.post(path, json=why)) == "cannot_sign", path
        assert code_of(await ann.post("/bot/close", json={**why, "symbol": "BTCUSDT"})) == "cannot_sign"
        assert code_of(await ann.post("/bot/resume", json=why)) == "too_many_requests"
        eve.headers["authorization"] = "Bearer made.up.token"
        eve.cookies.set("surefoot_refresh", "made up", path="/api/v1/auth")
        for path in (*leave, "/auth/confirm", "/auth/refresh"):
            assert code_of(await eve.post(path, json=why)) == "too_many_requests", path
        answers = [await ann.post("/bot/pause", json=why) for _ in range(31)]
        assert code_of(answers[-1]) == "too_many_requests"  # the reserve has an end too
