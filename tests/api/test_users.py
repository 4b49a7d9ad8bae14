"""Users and their sessions, as an admin and as they themselves see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from surefoot.api.roles import Role
from tests.api.served import PASSWORD, Place, Visitor, code_of, place


async def confirmed_admin(here: Place) -> Visitor:
    root = await here.signed_in(Role.ADMIN, "root")
    assert (await root.post("/auth/confirm", json={"password": PASSWORD})).status_code == 200
    return root


@pytest.mark.spec("AUTH-1")
async def test_an_admin_makes_changes_and_removes_users_once_confirmed(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root = await here.signed_in(Role.ADMIN, "root")
        new = {"name": "ann", "role": "viewer", "password": PASSWORD}
        assert code_of(await root.post("/users", json=new)) == "confirmation_needed"
        await root.post("/auth/confirm", json={"password": PASSWORD})
        assert (await root.post("/users", json=new)).status_code == 201
        assert code_of(await root.post("/users", json=new)) == "invalid_request"
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert code_of(await ann.get("/users")) == "role_too_low"
        assert [user["name"] for user in (await root.get("/users")).json()] == ["ann", "root"]
        assert (await root.patch("/users/ann", json={"role": "admin"})).json()["role"] == "admin"
        assert (await ann.get("/users")).status_code == 200  # from the next request on
        assert (await root.patch("/users/ann", json={"role": "viewer"})).status_code == 200
        assert code_of(await ann.get("/users")) == "role_too_low"
        assert (await root.delete("/users/ann")).status_code == 204
        assert code_of(await ann.get("/me")) == "session_ended"
        assert code_of(await here.visitor().sign_in("ann")) == "credentials_wrong"


@pytest.mark.spec("AUTH-2")
async def test_a_user_who_is_switched_off_is_out_at_once_and_stays_out(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root, ann = await confirmed_admin(here), await here.signed_in(Role.TRADER, "ann")
        assert (await root.patch("/users/ann", json={"on": False})).status_code == 200
        assert code_of(await ann.get("/me")) == "session_ended"
        assert code_of(await ann.post("/auth/refresh")) == "session_ended"
        assert code_of(await here.visitor().sign_in("ann")) == "credentials_wrong"
        assert (await root.patch("/users/ann", json={"on": True})).status_code == 200
        assert (await here.visitor().sign_in("ann")).status_code == 200


@pytest.mark.spec("AUTH-1")
async def test_nobody_locks_everybody_out(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root = await confirmed_admin(here)
        for body in ({"role": "viewer"}, {"on": False}):
            assert code_of(await root.patch("/users/root", json=body)) == "own_account"
        assert code_of(await root.delete("/users/root")) == "own_account"
        assert code_of(await root.patch("/users/nobody", json={"on": False})) == "not_found"


@pytest.mark.spec("AUTH-2")
async def test_sessions_are_listed_and_ended_by_their_owner_or_an_admin(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        one, two = await here.signed_in(Role.VIEWER, "ann"), await here.signed_in(Role.VIEWER, "ann")
        bob, root = await here.signed_in(Role.TRADER, "bob"), await here.signed_in(Role.ADMIN, "root")
        listed = (await one.get("/sessions")).json()
        assert sorted(each["is_this"] for each in listed) == [False, True]
        assert {each["address"] for each in listed} == {"127.0.0.1"}
        (other,) = [each["id"] for each in listed if not each["is_this"]]
        assert code_of(await bob.delete(f"/sessions/{other}")) == "not_found"
        assert (await one.delete(f"/sessions/{other}")).status_code == 204
        assert code_of(await two.get("/me")) == "session_ended"
        (own,) = [each["id"] for each in listed if each["is_this"]]
        assert (await root.delete(f"/sessions/{own}")).status_code == 204
        assert code_of(await one.get("/me")) == "session_ended"
