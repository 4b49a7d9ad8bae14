"""Every route and every topic of the stream, tried with every bad token and every role: closed unless it says so.

The routes are those of the app itself, so that a new one is tried without being named here; one without a guard fails.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from surefoot.api import tokens
from surefoot.api.app import create_app
from surefoot.api.guard import GUARDS, METRICS, OPEN, STREAM
from surefoot.api.roles import Role
from surefoot.api.schema import document
from surefoot.api.stream import RECORDS
from surefoot.api.topics import TOPICS
from tests.api.desks import until
from tests.api.served import PASSWORD, Clock, Place, Visitor, code_of, made_parts, place, web_settings

OTHER_KEY = generate_private_key(65_537, 2_048)


@dataclass(frozen=True, slots=True)
class Door:
    """One way into the app; `guards` are those of `GUARDS` that it names."""

    kind: type
    method: str
    path: str
    guards: tuple[tuple[Role, bool], ...]

    @property
    def somewhere(self) -> str:
        """The path with something in the place of its parameters."""
        return re.sub(r"{\w+(:\w+)?}", "something", self.path)


def doors_of(app: FastAPI) -> list[Door]:
    """All of them, the page and the stream too."""
    found = []
    for context in iter_route_contexts(app.routes):
        used = context.dependant.dependencies if isinstance(context.original_route, APIRoute) else ()
        guards = tuple(GUARDS[each.call] for each in used if each.call in GUARDS)
        for method in sorted(context.methods or {""}):
            found.append(Door(type(context.original_route), method, context.path or "", guards))
    return found


def closed_doors(app: FastAPI) -> list[Door]:
    return [door for door in doors_of(app) if door.guards]


# -- tokens that are no good ------------------------------------------------------------------------------------------


class Forger:
    """Makes bad tokens out of what a thief could have: a good token, its key id and the public key."""

    def __init__(self, here: Place) -> None:
        self._here = here
        here.parts.accounts.add("mallory", Role.ADMIN, PASSWORD, "the test")
        self.good = self.session()
        self.header = jwt.get_unverified_header(self.good)
        self.claims: dict[str, Any] = jwt.decode(self.good, options={"verify_signature": False})
        self._private = here.parts.tokens._key(self.header["kid"])

    def session(self) -> str:
        return self._here.parts.sessions.begin("mallory", "password", "127.0.0.1", "test", 10**12).access_token

    def signed(self, key: Any = None, **changes: object) -> str:
        claims = {name: value for name, value in (self.claims | changes).items() if value is not None}
        return jwt.encode(claims, key or self._private, "RS256", {"kid": self.header["kid"]})

    def by_public_key(self) -> str:
        """HS256 with the public key as the secret, for who asks the token which algorithm to use."""
        pem = self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        text = ".".join(_part(part) for part in ({**self.header, "alg": "HS256"}, self.claims))
        mac = HMAC(pem, SHA256())
        mac.update(text.encode())
        return f"{text}.{_text(mac.finalize())}"

    def unsigned(self, alg: str) -> str:
        return ".".join((_part({**self.header, "alg": alg}), _part(self.claims), ""))

    def changed_after_signing(self) -> str:
        head, _, signature = self.good.split(".")
        return f"{head}.{_part({**self.claims, 'sub': 'root'})}.{signature}"

    def revoked(self) -> str:
        token = self.session()
        session_id = jwt.decode(token, options={"verify_signature": False})["sid"]
        self._here.parts.sessions.end(session_id, "the test")
        return token

    def of_a_user_who_is_off(self) -> str:
        self._here.parts.accounts.add("gone", Role.ADMIN, PASSWORD, "the test")
        token = self._here.parts.sessions.begin("gone", "password", "127.0.0.1", "test", 10**12).access_token
        self._here.parts.accounts.switch("gone", on=False, by="the test")
        return token


def _part(value: object) -> str:
    return _text(json.dumps(value).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


BAD: dict[str, tuple[Callable[[Forger], str | None], set[str]]] = {
    "no token": (lambda _: None, {"signed_out"}),
    "an empty token": (lambda _: "", {"signed_out"}),
    "rubbish": (lambda _: "not.a.token", {"token_invalid"}),
    "expired": (lambda forger: forger.signed(exp=int(time.time()) - 60), {"token_expired"}),
    "forged signature": (lambda forger: forger.signed(OTHER_KEY), {"token_invalid"}),
    "changed after signing": (Forger.changed_after_signing, {"token_invalid"}),
    "wrong audience": (lambda forger: forger.signed(aud="another-api"), {"token_invalid"}),
    "wrong issuer": (lambda forger: forger.signed(iss="somebody"), {"token_invalid"}),
    "without a session": (lambda forger: forger.signed(sid=None), {"token_invalid"}),
    "without an end": (lambda forger: forger.signed(exp=None), {"token_invalid"}),
    "of another session": (lambda forger: forger.signed(sid="0" * 24), {"session_ended"}),
    "of another user": (lambda forger: forger.signed(sub="root"), {"session_ended"}),
    "alg none": (lambda forger: forger.unsigned("none"), {"token_invalid"}),
    "alg None": (lambda forger: forger.unsigned("None"), {"token_invalid"}),
    "HS256 with the public key": (Forger.by_public_key, {"token_invalid"}),
    "unknown key": (lambda forger: jwt.encode(forger.claims, OTHER_KEY, "RS256", {"kid": "x"}), {"token_invalid"}),
    "no key named": (lambda forger: jwt.encode(forger.claims, OTHER_KEY, "RS256"), {"token_invalid"}),
    "revoked": (Forger.revoked, {"session_ended"}),
    "of a user who is off": (Forger.of_a_user_who_is_off, {"session_ended"}),
}


def tried(here: Place) -> Iterator[tuple[str, str | None, set[str]]]:
    forger = Forger(here)
    for name, (make, codes) in BAD.items():
        yield name, make(forger), codes


# Writing routes that take no key: signing in and out makes or ends a session each time, and a check changes nothing.
KEYLESS = frozenset(
    f"/api/v1/{path}"
    for path in (
        *("auth/login", "auth/link", "auth/refresh", "auth/logout", "auth/confirm", "auth/password"),
        *("auth/totp/enroll", "auth/totp/verify", "settings/check"),
    )
)


@pytest.mark.spec("API-1")
async def test_every_writing_route_takes_a_key_that_lets_it_act_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        made = document(create_app(here.parts))
    writing = {
        (path, method): {each["name"] for each in operation.get("parameters", ())}
        for path, operations in made["paths"].items()
        for method, operation in operations.items()
        if method != "get"
    }
    assert len(writing) > 20
    assert {path for (path, _), names in writing.items() if "Idempotency-Key" not in names} == KEYLESS


# -- the walk ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTH-1")
def test_every_route_names_one_guard_or_is_in_the_list_of_open_ones(tmp_path: Path) -> None:
    parts = made_parts(web_settings(tmp_path), Clock())
    doors = doors_of(create_app(parts))
    parts.close()
    of_the_api = [door for door in doors if door.kind is APIRoute]
    assert len(of_the_api) > 30
    assert {door.path for door in of_the_api} >= OPEN
    for door in of_the_api:
        assert len(door.guards) == (0 if door.path in OPEN | {METRICS} else 1), door
    # What is no route of the API: the stream, the page, and nothing else.
    others = [door for door in doors if door.kind is not APIRoute]
    assert [door.path for door in others if door.kind is APIWebSocketRoute] == [STREAM]
    assert {door.path for door in others} <= {STREAM, "/", ""}


@pytest.mark.spec("AUTH-1", "AUTH-2")
async def test_no_bad_token_opens_any_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        closed = closed_doors(create_app(here.parts))
        visitor = here.visitor()
        for name, token, codes in tried(here):
            headers = {} if token is None else {"authorization": f"Bearer {token}".strip()}
            for door in closed:
                answer = await visitor.request(door.method, here.url + door.somewhere, headers=headers)
                assert answer.status_code == 401, f"{name}: {door}: {answer.text}"
                assert code_of(answer) in codes, f"{name}: {door}: {answer.text}"
                assert answer.headers["www-authenticate"] == "Bearer"
                count += 1
    with capsys.disabled():
        print(f"\n{len(closed)} routes x {len(BAD)} bad tokens: all {count} refused")
    assert count == len(closed) * len(BAD) > 500


@pytest.mark.spec("AUTH-1")
async def test_no_role_does_what_a_greater_one_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = let_in = 0
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        closed = closed_doors(create_app(here.parts))
        visitor = here.visitor()
        for role in Role:
            for confirmed in (False, True):
                if here.parts.accounts.user(role) is None:
                    here.parts.accounts.add(role, role, PASSWORD, "the test")
                for door in closed:
                    ((least, needs_confirmation),) = door.guards
                    may = role.covers(least) and (confirmed or not needs_confirmation)
                    if may and door.method != "GET":
                        continue  # acts are tried by their own tests
                    # A session for each: some routes end it.
                    grant = here.parts.sessions.begin(role, "password", "127.0.0.1", "test", 10**12 * confirmed)
                    visitor.headers["authorization"] = f"Bearer {grant.access_token}"
                    answer = await visitor.request(door.method, here.url + door.somewhere)
                    what = f"{role}, confirmed: {confirmed}: {door}: {answer.text}"
                    if may:
                        assert answer.status_code not in (401, 403), what
                        let_in += 1
                    else:
                        assert answer.status_code == 403, what
                        expected = "confirmation_needed" if role.covers(least) else "role_too_low"
                        assert code_of(answer) == expected, what
                        refused += 1
    with capsys.disabled():
        print(f"\nroles on {len(closed)} routes: {refused} refused, {let_in} let in")
    assert refused > 20
    assert let_in > 30


@pytest.mark.spec("API-1")
async def test_no_route_takes_a_query_that_it_does_not_know(tmp_path: Path) -> None:
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        closed = closed_doors(create_app(here.parts))
        here.parts.accounts.add("root", Role.ADMIN, PASSWORD, "the test")
        grant = here.parts.sessions.begin("root", "password", "127.0.0.1", "test", 10**12)
        visitor = here.visitor()
        visitor.headers["authorization"] = f"Bearer {grant.access_token}"
        for door in closed:
            answer = await visitor.request(door.method, f"{here.url}{door.somewhere}?colour=red&symbol=BTCUSDT")
            assert (answer.status_code, code_of(answer)) == (422, "invalid_request"), door
            detail = answer.json()["detail"]
            assert detail.startswith("query: a parameter that is not known here; known: "), (door, detail)
            assert "colour" not in detail  # it may be a password in the wrong place
        answer = await visitor.get("/orders?limits=3")
        known = "cursor, limit, open, since_ms, symbol, until_ms"
        assert answer.json()["detail"] == f"query: a parameter that is not known here; known: {known}"


@pytest.mark.spec("AUTH-1", "API-2")
async def test_no_bad_token_opens_any_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    async with place(tmp_path, web__requests_max_per_s="10000") as here:
        address = here.url.replace("http", "ws", 1) + STREAM
        for name, token, _ in tried(here):
            for topic in (*TOPICS, RECORDS):
                hello = {"topics": [topic]} if token is None else {"token": token, "topics": [topic]}
                async with websockets.connect(address) as socket:
                    await socket.send(json.dumps(hello))
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        print(await socket.recv())
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == (4400 if token is None else 4401), f"{name}: {topic}"
                count += 1
    with capsys.disabled():
        print(f"\n{len(TOPICS) + 1} topics x {len(BAD)} bad tokens: all {count} refused")
    assert count == len(BAD) * (len(TOPICS) + 1)


@pytest.mark.spec("AUTH-3")
async def test_a_page_elsewhere_cannot_open_the_stream(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        address = here.url.replace("http", "ws", 1) + STREAM
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(address, origin=websockets.Origin("https://evil.example"))
        assert refused.value.response.status_code == 403
        async with websockets.connect(address, origin=websockets.Origin(here.url)):
            pass


@pytest.mark.spec("AUTH-2")
async def test_a_key_is_replaced_as_it_ages_and_what_the_old_one_signed_is_good_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_EVERY_S", 0.01)
    day_s = 86_400
    async with place(tmp_path) as here:

        def keys() -> list[str]:
            return [kid for (kid,) in here.parts.store.rows("SELECT kid FROM signing_keys ORDER BY made_ms")]

        def signed_by(visitor: Visitor) -> str:
            return str(jwt.get_unverified_header(visitor.headers["authorization"].split()[1])["kid"])

        (first,) = keys()
        here.clock.forward(30 * day_s - 60)
        ann = await here.signed_in(Role.VIEWER, "ann")
        assert (keys(), signed_by(ann)) == ([first], first)
        here.clock.forward(61)  # now the key is thirty days old, and the token a minute
        await until(lambda: len(keys()) == 2)
        second = keys()[1]
        bob = await here.signed_in(Role.VIEWER, "bob")
        assert signed_by(bob) == second
        for somebody in (ann, bob):
            assert (await somebody.get("/me")).status_code == 200
        here.parts.tokens.forget_read()  # from the signature on, as after a restart
        assert (await ann.get("/me")).status_code == 200
        here.clock.forward(14 * 60)  # ann's token ends; of the old key there may still be others
        assert code_of(await ann.get("/me")) == "token_expired"
        assert keys() == [first, second]
        here.clock.forward(61)
        await until(lambda: keys() == [second])
        assert code_of(await ann.get("/me")) == "token_expired"
        here.parts.tokens.forget_read()
        assert code_of(await ann.get("/me")) == "token_invalid"
        ann.keep(await ann.post("/auth/refresh"))
        assert signed_by(ann) == second
        assert (await ann.get("/me")).status_code == 200
