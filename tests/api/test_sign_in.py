"""Signing in: by password and by link, staying signed in, and being signed out."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from argon2 import PasswordHasher

from surefoot.api.accounts import Accounts
from surefoot.api.onetime import LINK_MS, fingerprint
from surefoot.api.problems import Problem
from surefoot.api.roles import Role
from surefoot.api.sessions import CONFIRMED_MS, LINK_CONFIRMED_MS
from surefoot.api.tokens import ACCESS_MS
from tests.api.desks import until
from tests.api.served import PASSWORD, QUICK, code_of, place


@pytest.mark.spec("AUTH-1")
async def test_nobody_is_there_at_first_and_nothing_is_open_but_life(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        visitor = here.visitor()
        assert (await visitor.get("/health/live")).json() == {"status": "live"}
        assert code_of(await visitor.get("/me")) == "signed_out"
        for name, password in (("admin", "admin"), ("admin", ""), ("local", PASSWORD), ("admin", "password")):
            assert (await visitor.sign_in(name, password)).status_code in (401, 422)
        assert here.parts.accounts.users() == []


@pytest.mark.spec("AUTH-2")
async def test_a_user_signs_in_and_is_known(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        me = (await ann.get("/me")).json()
        assert (me["name"], me["role"], me["confirmed"], me["second_factor"]) == ("ann", "trader", False, False)
        assert code_of(await here.visitor().sign_in("ann", "not the password")) == "credentials_wrong"
        assert code_of(await here.visitor().sign_in("bob", PASSWORD)) == "credentials_wrong"


@pytest.mark.spec("AUTH-2")
async def test_an_access_token_ends_after_a_quarter_of_an_hour_and_a_refresh_gives_another(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.VIEWER, "ann")
        here.clock.forward(ACCESS_MS / 1_000 + 1)
        assert code_of(await ann.get("/me")) == "token_expired"
        ann.keep(await ann.post("/auth/refresh"))
        assert (await ann.get("/me")).status_code == 200


@pytest.mark.spec("AUTH-2")
async def test_the_refresh_token_is_in_a_cookie_that_no_script_and_no_other_site_can_use(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.accounts.add("ann", Role.VIEWER, PASSWORD, "the test")
        answer = await here.visitor().sign_in("ann")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/api/v1/auth;" in cookie
        assert "refresh" not in answer.text


@pytest.mark.spec("AUTH-2")
async def test_a_refresh_token_that_is_used_twice_ends_the_session_of_both(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann, thief = await here.signed_in(Role.VIEWER, "ann"), here.visitor()
        thief.cookies.update(ann.cookies)
        thief.keep(await thief.post("/auth/refresh"))
        assert (await thief.get("/me")).status_code == 200
        assert code_of(await ann.post("/auth/refresh")) == "refresh_reused"
        assert code_of(await thief.get("/me")) == "session_ended"
        assert code_of(await thief.post("/auth/refresh")) == "session_ended"
        assert code_of(await ann.get("/me")) == "session_ended"


@pytest.mark.spec("AUTH-2")
async def test_who_signs_out_is_out_at_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.VIEWER, "ann")
        cookies = dict(ann.cookies)
        assert (await ann.post("/auth/logout")).status_code == 204
        assert code_of(await ann.get("/me")) == "session_ended"
        ann.cookies.update(cookies)
        assert code_of(await ann.post("/auth/refresh")) == "session_ended"


@pytest.mark.spec("AUTH-1")
async def test_the_link_of_a_start_lets_one_person_in_as_the_confirmed_local_admin(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)
        visitor = here.visitor()
        visitor.keep(await visitor.post("/auth/link", json={"token": "the link"}))
        me = (await visitor.get("/me")).json()
        assert (me["name"], me["role"], me["confirmed"]) == ("local", "admin", True)
        assert code_of(await here.visitor().post("/auth/link", json={"token": "the link"})) == "link_used"
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)  # as after a restart
        assert code_of(await here.visitor().post("/auth/link", json={"token": "the link"})) == "link_used"
        here.clock.forward(15 * 60)
        visitor.keep(await visitor.post("/auth/refresh"))
        assert (await visitor.get("/me")).json()["confirmed"] is False


async def test_a_link_that_nobody_used_in_time_is_no_good(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)
        here.clock.forward(LINK_MS / 1_000)
        assert code_of(await here.visitor().post("/auth/link", json={"token": "the link"})) == "link_used"
        assert code_of(await here.visitor().post("/auth/link", json={"token": "another"})) == "link_used"


@pytest.mark.spec("AUTH-1")
async def test_in_live_mode_the_link_alone_moves_no_money(tmp_path: Path) -> None:
    async with place(tmp_path, mode="live", live_confirmed="true") as here:
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)
        visitor = here.visitor()
        visitor.keep(await visitor.post("/auth/link", json={"token": "the link"}))
        answer = await visitor.post("/bot/flatten", json={"reason": "enough"})
        assert code_of(answer) == "second_factor_missing"


@pytest.mark.spec("AUTH-2")
async def test_five_failures_lock_a_name_whether_it_exists_or_not(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.accounts.add("ann", Role.VIEWER, PASSWORD, "the test")
        for name in ("ann", "nobody"):
            answers = [await here.visitor().sign_in(name, f"guess number {n}") for n in range(6)]
            assert [code_of(answer) for answer in answers] == ["credentials_wrong"] * 5 + ["locked"]
            assert answers[-1].headers["retry-after"] == "60"
        assert code_of(await here.visitor().sign_in("ann")) == "locked"
        here.clock.forward(60)
        assert (await here.visitor().sign_in("ann")).status_code == 200
        assert code_of(await here.visitor().sign_in("ann", "a new guess here")) == "credentials_wrong"


@pytest.mark.spec("SAFE-3", "OPS-1", "AUTH-2")
async def test_nobody_outside_keeps_who_is_signed_in_from_an_exit(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann, eve = await here.signed_in(Role.ADMIN, "ann"), here.visitor()
        for _ in range(6):
            answer = await eve.sign_in("ann", "a guess of eve's")
        assert code_of(answer) == "locked"
        for use_up in (here.parts.throttle.sign_in, here.parts.throttle.refresh):  # what the address may
            with suppress(Problem):
                for _ in range(121):
                    use_up("127.0.0.1")
        assert code_of(await eve.sign_in("ann")) == "too_many_requests"
        assert code_of(await eve.post("/auth/refresh")) == "too_many_requests"
        here.clock.forward(ACCESS_MS / 1_000 + 1)
        ann.keep(await ann.post("/auth/refresh"))
        assert (await ann.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        assert code_of(await ann.post("/bot/flatten", json={"reason": "out"})) == "cannot_sign"  # past every door
        fresh = {"old": PASSWORD, "new": "another good password"}
        assert (await ann.post("/auth/password", json=fresh)).status_code == 204


class SlowAtGuesses(PasswordHasher):
    """Verifies a wrong password when `go_on` is set, and the right one at once."""

    def __init__(self) -> None:
        super().__init__(QUICK.time_cost, QUICK.memory_cost, QUICK.parallelism)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        if password != PASSWORD:
            self.begun.set()
            self.go_on.wait(5)
        return super().verify(hash, password)


@pytest.mark.spec("SAFE-3", "OPS-1", "AUTH-2")
async def test_a_confirmation_does_not_wait_for_those_who_sign_in(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        hasher = SlowAtGuesses()
        here.parts.accounts = Accounts(here.parts.store, here.parts.trail, here.clock, hasher)
        ann = await here.signed_in(Role.TRADER, "ann")
        others = [asyncio.create_task(here.visitor().sign_in(f"nobody{n}", "some guess")) for n in range(3)]
        await until(hasher.begun.is_set)
        assert (await ann.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        assert not any(other.done() for other in others)
        hasher.go_on.set()
        assert [(await other).status_code for other in others] == [401, 401, 401]


@pytest.mark.spec("AUTH-2")
async def test_a_session_that_guesses_is_locked_alone_and_longer_each_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann, thief = await here.signed_in(Role.TRADER, "ann"), await here.signed_in(Role.TRADER, "ann")
        for wait_s in (60, 120):
            codes = [code_of(await thief.post("/auth/confirm", json={"password": f"guess {n}"})) for n in range(6)]
            assert codes[-1] == "locked"
            assert code_of(await thief.post("/auth/password", json={"old": PASSWORD, "new": PASSWORD})) == "locked"
            assert (await thief.post("/auth/confirm", json={"password": PASSWORD})).headers["retry-after"] == str(
                wait_s
            )
            here.clock.forward(wait_s)
        assert (await ann.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        assert (await here.visitor().sign_in("ann")).status_code == 200


@pytest.mark.spec("OPS-1", "AUTH-2")
async def test_who_came_by_the_link_gets_a_password_and_is_told_the_way_once_that_is_too_late(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.sessions.offer_link(fingerprint("the link"), here.clock() + LINK_MS)
        local, fresh = here.visitor(), {"new": "another good password"}
        local.keep(await local.post("/auth/link", json={"token": "the link"}))
        session = (await local.get("/me")).json()
        assert session["has_password"] is False
        here.clock.forward(LINK_CONFIRMED_MS / 1_000)
        local.keep(await local.post("/auth/refresh"))
        assert code_of(await local.post("/auth/password", json=fresh)) == "confirmation_needed"
        answer = await local.post("/auth/confirm", json={"password": "any"})
        assert "surefoot user password local" in answer.json()["detail"]
        here.parts.sessions.confirm(session["session_id"])  # as if it were still time
        assert (await local.post("/auth/password", json=fresh)).status_code == 204
        assert (await local.get("/me")).json()["has_password"] is True
        here.clock.forward(CONFIRMED_MS / 1_000)
        assert code_of(await local.post("/auth/password", json=fresh)) == "password_needed"
        for visitor in (local, here.visitor()):
            if visitor is not local:
                assert (await visitor.sign_in("local", fresh["new"])).status_code == 200
            assert (await visitor.post("/auth/confirm", json={"password": fresh["new"]})).status_code == 200
            assert code_of(await visitor.post("/bot/flatten", json={"reason": "out"})) == "cannot_sign"
