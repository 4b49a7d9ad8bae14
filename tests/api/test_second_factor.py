"""One-time codes at sign-in and for what has to do with money, confirmation, recovery codes."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pyotp
import pytest

from surefoot.api.onetime import LINK_MS, fingerprint
from surefoot.api.roles import Role
from tests.api.served import PASSWORD, Place, Visitor, code_of, place


async def enrolled(here: Place, visitor: Visitor, *, by_link: bool = False) -> tuple[pyotp.TOTP, list[str]]:
    """A second factor, and its recovery codes; the clock goes on, so that the next code is a new one."""
    if not by_link:
        assert (await visitor.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
    offered = (await visitor.post("/auth/totp/enroll")).json()
    assert f"secret={offered['secret']}" in offered["uri"]
    assert offered["svg"].startswith("<svg")
    totp = pyotp.TOTP(offered["secret"])
    answer = await visitor.post("/auth/totp/verify", json={"code": code_now(here, totp)})
    assert answer.status_code == 200, answer.text
    here.clock.forward(60)
    return totp, answer.json()["recovery_codes"]


def code_now(here: Place, totp: pyotp.TOTP) -> str:
    return totp.at(here.clock() // 1_000)


@pytest.mark.spec("AUTH-2")
async def test_a_code_is_asked_for_at_sign_in_and_good_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        totp, _ = await enrolled(here, ann)
        assert code_of(await here.visitor().sign_in("ann")) == "second_factor_needed"
        assert code_of(await here.visitor().sign_in("ann", code="000000")) == "credentials_wrong"
        code = code_now(here, totp)
        assert (await here.visitor().sign_in("ann", code=code)).status_code == 200
        assert code_of(await here.visitor().sign_in("ann", code=code)) == "credentials_wrong"
        here.clock.forward(30)
        assert (await here.visitor().sign_in("ann", code=code_now(here, totp))).status_code == 200


@pytest.mark.spec("AUTH-2")
async def test_an_older_code_is_no_good_after_a_newer_one(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        totp, _ = await enrolled(here, ann)
        older = totp.at(here.clock() // 1_000 - 30)
        assert (await here.visitor().sign_in("ann", code=code_now(here, totp))).status_code == 200
        assert code_of(await here.visitor().sign_in("ann", code=older)) == "credentials_wrong"


@pytest.mark.spec("AUTH-2")
async def test_each_recovery_code_replaces_one_code(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        _, codes = await enrolled(here, ann)
        assert len(set(codes)) == 10
        assert (await here.visitor().sign_in("ann", code=codes[3].upper())).status_code == 200
        assert code_of(await here.visitor().sign_in("ann", code=codes[3])) == "credentials_wrong"
        assert (await here.visitor().sign_in("ann", code=codes[4])).status_code == 200
        kept = (tmp_path / "web.sqlite").read_bytes() + (tmp_path / "web.sqlite-wal").read_bytes()
        assert not [code for code in codes if code.encode() in kept or code.replace("-", "").encode() in kept]


@pytest.mark.spec("AUTH-2")
async def test_a_confirmation_asks_for_the_second_factor_and_lasts_five_minutes(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        totp, _ = await enrolled(here, ann)
        here.clock.forward(300)
        assert (await ann.get("/me")).json()["confirmed"] is False
        assert code_of(await ann.post("/auth/confirm", json={"password": PASSWORD})) == "second_factor_needed"
        assert code_of(await ann.post("/auth/confirm", json={"code": "123456"})) == "credentials_wrong"
        answer = await ann.post("/auth/confirm", json={"code": code_now(here, totp)})
        assert answer.json() == {"confirmed_until_ms": here.clock() + 300_000}
        assert (await ann.get("/me")).json()["confirmed"] is True
        here.clock.forward(300)
        assert (await ann.get("/me")).json()["confirmed"] is False


@pytest.mark.spec("AUTH-2")
async def test_guesses_of_a_confirmation_lock_like_guesses_of_a_password(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        await enrolled(here, ann)
        answers = [await ann.post("/auth/confirm", json={"code": f"00000{n}"}) for n in range(6)]
        assert [code_of(answer) for answer in answers] == ["credentials_wrong"] * 5 + ["locked"]


@pytest.mark.spec("AUTH-2")
async def test_in_live_mode_money_needs_a_second_factor_and_no_password_will_do(tmp_path: Path) -> None:
    async with place(tmp_path, mode="live", live_confirmed="true") as here:
        ann, sale = await here.signed_in(Role.TRADER, "ann"), ("/bot/flatten", {"reason": "enough"})
        assert (await ann.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        assert code_of(await ann.post(sale[0], json=sale[1])) == "second_factor_missing"
        here.parts.sessions.offer_link(fingerprint("link"), here.clock() + LINK_MS)
        local = here.visitor()
        local.keep(await local.post("/auth/link", json={"token": "link"}))
        assert code_of(await local.post(sale[0], json=sale[1])) == "second_factor_missing"
        # To set one up takes the password, or the link; then its codes are what counts.
        await enrolled(here, local, by_link=True)
        totp, _ = await enrolled(here, ann)
        here.clock.forward(300)
        assert code_of(await ann.post(sale[0], json=sale[1])) == "confirmation_needed"
        assert code_of(await ann.post("/auth/confirm", json={"password": PASSWORD})) == "second_factor_needed"
        assert (await ann.post("/auth/confirm", json={"code": code_now(here, totp)})).status_code == 200
        for visitor in (ann, local):  # past the last door before the trader
            assert code_of(await visitor.post(sale[0], json=sale[1])) == "cannot_sign"


@pytest.mark.spec("AUTH-2")
async def test_what_a_password_confirmed_elsewhere_ends_with_a_new_second_factor(tmp_path: Path) -> None:
    async with place(tmp_path, mode="live", live_confirmed="true") as here:
        one, other = await here.signed_in(Role.TRADER, "ann"), await here.signed_in(Role.TRADER, "ann")
        assert (await other.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
        await enrolled(here, one)
        assert code_of(await other.post("/bot/flatten", json={"reason": "enough"})) == "confirmation_needed"
        assert code_of(await one.post("/bot/flatten", json={"reason": "enough"})) == "cannot_sign"


async def by_link(here: Place, token: str, **more: str) -> tuple[Visitor, httpx2.Response]:
    """Somebody who came by a new sign-in link, or tried to."""
    here.parts.sessions.offer_link(fingerprint(token), here.clock() + LINK_MS)
    visitor = here.visitor()
    answer = await visitor.post("/auth/link", json={"token": token, **more})
    visitor.keep(answer)
    return visitor, answer


@pytest.mark.spec("AUTH-2")
@pytest.mark.parametrize("flags", [{}, {"mode": "live", "live_confirmed": "true"}], ids=["paper", "live"])
async def test_the_link_is_in_the_place_of_a_password_and_of_no_second_factor(
    tmp_path: Path, flags: dict[str, str]
) -> None:
    async with place(tmp_path, **flags) as here:
        local, _ = await by_link(here, "one")
        totp, _ = await enrolled(here, local, by_link=True)
        thief, answer = await by_link(here, "two")
        assert code_of(answer) == "second_factor_needed"
        assert code_of(await thief.get("/me")) == "signed_out"
        for _ in range(2):  # the first wrong code does not use the link up
            answer = await thief.post("/auth/link", json={"token": "two", "code": "000000"})
            assert code_of(answer) == "credentials_wrong"
        owner, answer = await by_link(here, "two", code=code_now(here, totp))
        assert answer.status_code == 200
        assert code_of(await thief.post("/auth/link", json={"token": "two", "code": "000000"})) == "link_used"
        here.clock.forward(60)
        assert (await owner.get("/me")).json()["confirmed"] is False
        doors = (
            ("POST", "/bot/flatten", {"reason": "enough"}),
            ("POST", "/bot/live-on", {"reason": "enough", "accepts": []}),
            ("POST", "/breaker/reset", {"reason": "enough"}),
            ("POST", "/settings", {"reason": "enough", "changes": {"breaker.drawdown_max_pct": "99"}}),
            ("POST", "/users", {"name": "eve", "role": "admin", "password": PASSWORD}),
        )
        for method, path, body in doors:
            assert code_of(await owner.request(method, path, json=body)) == "confirmation_needed", path
        assert (await owner.post("/auth/confirm", json={"code": code_now(here, totp)})).status_code == 200
        assert code_of(await owner.post("/bot/flatten", json={"reason": "enough"})) == "cannot_sign"


@pytest.mark.spec("AUTH-2")
async def test_guesses_at_a_link_lock_like_guesses_of_a_password_and_only_who_has_a_link_can_guess(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        local, _ = await by_link(here, "one")
        await enrolled(here, local, by_link=True)
        for n in range(6):
            answer = await here.visitor().post("/auth/link", json={"token": f"a guess {n}", "code": "000000"})
            assert code_of(answer) == "link_used"
        answers = [(await by_link(here, "two", code=f"00000{n}"))[1] for n in range(6)]
        assert [code_of(answer) for answer in answers] == ["credentials_wrong"] * 5 + ["locked"]


@pytest.mark.spec("AUTH-2")
async def test_a_stolen_access_token_binds_no_telephone_and_replaces_none(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        assert code_of(await ann.post("/auth/totp/enroll")) == "confirmation_needed"
        assert code_of(await ann.post("/auth/totp/verify", json={"code": "123456"})) == "confirmation_needed"
        totp, _ = await enrolled(here, ann)
        await ann.post("/auth/confirm", json={"code": code_now(here, totp)})
        assert code_of(await ann.post("/auth/totp/enroll")) == "already_enrolled"


@pytest.mark.spec("AUTH-2")
async def test_a_new_password_ends_the_other_sessions(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here_now, elsewhere = await here.signed_in(Role.VIEWER, "ann"), await here.signed_in(Role.VIEWER, "ann")
        assert len((await here_now.get("/sessions")).json()["items"]) == 2
        answer = await here_now.post("/auth/password", json={"old": "not it", "new": "another good password"})
        assert code_of(answer) == "credentials_wrong"
        answer = await here_now.post("/auth/password", json={"old": PASSWORD, "new": "short"})
        assert code_of(answer) == "invalid_request"
        answer = await here_now.post("/auth/password", json={"old": PASSWORD, "new": "another good password"})
        assert answer.status_code == 204
        assert (await here_now.get("/me")).status_code == 200
        assert code_of(await elsewhere.get("/me")) == "session_ended"
        assert code_of(await here.visitor().sign_in("ann", PASSWORD)) == "credentials_wrong"
        assert (await here.visitor().sign_in("ann", "another good password")).status_code == 200


@pytest.mark.spec("SAFE-3", "DB-2", "AUTH-2")
async def test_a_code_is_good_once_and_a_recovery_code_not_at_all_where_nothing_can_be_written(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        ann = await here.signed_in(Role.TRADER, "ann")
        totp, recovery = await enrolled(here, ann)
        here.clock.forward(300)
        here.parts.store.row("PRAGMA query_only = ON")
        code = code_now(here, totp)
        assert code_of(await ann.post("/auth/confirm", json={"code": recovery[0]})) == "store_failed"
        assert (await ann.post("/auth/confirm", json={"code": code})).status_code == 200
        assert code_of(await ann.post("/auth/confirm", json={"code": code})) == "credentials_wrong"
        assert code_of(await ann.post("/bot/flatten", json={"reason": "out"})) == "cannot_sign"  # past every door
        here.parts.store.row("PRAGMA query_only = OFF")
        assert code_of(await ann.post("/auth/confirm", json={"code": code})) == "credentials_wrong"
        here.clock.forward(30)
        assert (await ann.post("/auth/confirm", json={"code": code_now(here, totp)})).status_code == 200
