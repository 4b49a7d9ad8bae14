"""Users and their sessions, as an admin and as they themselves see them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

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
        assert code_of(await root.post("/users", json=new)) == "user_refused"
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert code_of(await ann.get("/users")) == "role_too_low"
        assert [user["name"] for user in (await root.get("/users")).json()["items"]] == ["ann", "root"]
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


@pytest.mark.spec("API-1")
async def test_the_same_key_changes_users_and_sessions_once_and_is_answered_as_the_first_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        root = await confirmed_admin(here)
        new = {"name": "ann", "role": "viewer", "password": PASSWORD}

        async def twice(method: str, path: str, **more: Any) -> tuple[int, bytes]:
            headers = {"Idempotency-Key": f"{method} {path}".replace(" ", "-")}
            first, again = [await root.request(method, path, headers=headers, **more) for _ in range(2)]
            assert (first.status_code, first.content) == (again.status_code, again.content), again.text
            assert first.headers.get("content-type") == again.headers.get("content-type")
            return first.status_code, first.content

        status, made = await twice("POST", "/users", json=new)
        assert (status, json.loads(made)["name"]) == (201, "ann")
        other = {"Idempotency-Key": "POST-/users"}
        assert code_of(await root.post("/users", json={**new, "role": "admin"}, headers=other)) == "key_reused"
        assert (await twice("PATCH", "/users/ann", json={"role": "trader"}))[0] == 200
        ann = await here.signed_in(Role.TRADER, "ann")
        session = (await ann.get("/me")).json()["session_id"]
        assert await twice("DELETE", f"/sessions/{session}") == (204, b"")
        assert await twice("DELETE", "/users/ann") == (204, b"")
        acts = [row.action for row in here.parts.trail.rows(None, 100)]
        for act in ("user added", "user's role changed", "user removed"):
            assert acts.count(act) == (2 if act == "user added" else 1), act  # and root itself
        assert acts.count("session ended") == 1


@pytest.mark.spec("API-1", "AUTH-2")
async def test_of_a_request_with_a_password_no_fingerprint_is_kept_that_could_be_guessed_quickly(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        root = await confirmed_admin(here)
        new = {"name": "ann", "role": "viewer", "password": PASSWORD}
        answer = await root.post("/users", json=new, headers={"Idempotency-Key": "one"})
        assert answer.status_code == 201
        (kept,) = here.parts.store.rows("SELECT request FROM answers")
        assert hashlib.sha256(answer.request.content).hexdigest() not in kept[0]


@pytest.mark.spec("AUTH-2")
async def test_sessions_are_listed_and_ended_by_their_owner_or_an_admin(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        one, two = await here.signed_in(Role.VIEWER, "ann"), await here.signed_in(Role.VIEWER, "ann")
        bob, root = await here.signed_in(Role.TRADER, "bob"), await here.signed_in(Role.ADMIN, "root")
        listed = (await one.get("/sessions")).json()["items"]
        assert sorted(each["is_this"] for each in listed) == [False, True]
        assert {each["address"] for each in listed} == {"127.0.0.1"}
        (other,) = [each["id"] for each in listed if not each["is_this"]]
        assert code_of(await bob.delete(f"/sessions/{other}")) == "not_found"
        assert (await one.delete(f"/sessions/{other}")).status_code == 204
        assert code_of(await two.get("/me")) == "session_ended"
        (own,) = [each["id"] for each in listed if each["is_this"]]
        assert (await root.delete(f"/sessions/{own}")).status_code == 204
        assert code_of(await one.get("/me")) == "session_ended"
