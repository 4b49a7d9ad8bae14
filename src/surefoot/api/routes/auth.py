"""Signing in and out, and who one is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from surefoot.api.accounts import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, AccountError, User
from surefoot.api.guard import PREFIX, Shared, Viewer, confirmation_needed
from surefoot.api.once import ActOnce
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.reading import Page
from surefoot.api.roles import Person, Role
from surefoot.api.sessions import COOKIE, LINK_CONFIRMED_MS, Grant
from surefoot.api.shield import address_of, is_https

NOT_ENROLLED = "second factor not enrolled"
COOKIE_PATH = f"{PREFIX}/auth"

router = APIRouter(tags=["auth"])
Refresh = Annotated[str | None, Cookie(alias=COOKIE)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


# One that is given for the first time; what is too easy to guess, no schema can say.
FreshPassword = Annotated[str, Field(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Login(Body):
    name: Text
    password: Text
    code: Text | None = None


class Link(Body):
    token: Text
    code: Text | None = None


class Confirmation(Body):
    """The code of the second factor; or the password, for who has no second factor."""

    code: Text | None = None
    password: Text | None = None


class NewPassword(Body):
    """`old` is for who has a password; who has none sets one while confirmed, as after coming by the link."""

    old: Text | None = None
    new: FreshPassword


class Code(Body):
    code: Text


class Confirmed(BaseModel):
    confirmed_until_ms: int


class Enrolled(BaseModel):
    """For the authenticator app: the secret, the same as an address, and that as a picture."""

    secret: str
    uri: str
    svg: str


class RecoveryCodes(BaseModel):
    """Each is good once, in the place of a code; they are not shown again."""

    recovery_codes: list[str]


class SessionShown(BaseModel):
    id: str
    name: str
    way: str
    made_ms: int
    seen_ms: int
    ends_ms: int
    address: str
    agent: str
    is_this: bool


class Signed(BaseModel):
    """What somebody gets who has signed in; the refresh token goes into a cookie that no script can read."""

    access_token: str
    token_type: str = "Bearer"
    expires_ms: int


class Me(BaseModel):
    name: str
    role: str
    session_id: str
    confirmed: bool
    confirmed_until_ms: int
    second_factor: bool
    has_password: bool
    mode: str


@router.post("/auth/login")
async def login(body: Login, request: Request, response: Response, parts: Shared) -> Signed:
    """Sign in with name and password, and the code of the second factor where there is one."""
    address = address_of(request.scope, parts.settings.web)
    parts.throttle.sign_in(address)
    # A name that is nobody's may be a password in the wrong place.
    who = "unknown" if parts.accounts.user(body.name) is None else body.name
    with _failure_told(parts, who, "sign-in failed", address=address):
        user = await parts.accounts.check(body.name, body.password)
        parts.accounts.check_code(user, body.code)
    parts.accounts.clear_failures(user.name)
    grant = parts.sessions.begin(user.name, "password", address, request.headers.get("user-agent", ""))
    return _signed(grant, request, response, parts)


@router.post("/auth/link")
async def link(body: Link, request: Request, response: Response, parts: Shared) -> Signed:
    """Sign in by the link that `surefoot run` printed; once. It is in the place of a password, and of nothing else."""
    address = address_of(request.scope, parts.settings.web)
    parts.throttle.sign_in(address)
    with _failure_told(parts, "unknown", "sign-in failed", address=address):
        parts.sessions.expect_link(body.token)
    user = parts.accounts.ensure_local()
    with _failure_told(parts, user.name, "sign-in failed", address=address):
        if user.second_factor:
            parts.accounts.count_attempt(user.name)
            parts.accounts.check_code(user, body.code)
            parts.accounts.clear_failures(user.name)
        parts.sessions.use_link(body.token)
    agent = request.headers.get("user-agent", "")
    # Who has no second factor yet could not set one up unconfirmed: there is no password to confirm with.
    confirmed_ms = 0 if user.second_factor else LINK_CONFIRMED_MS
    return _signed(parts.sessions.begin(user.name, "link", address, agent, confirmed_ms), request, response, parts)


@router.post("/auth/refresh")
async def refresh(request: Request, response: Response, parts: Shared, token: Refresh = None) -> Signed:
    """New tokens for the cookie's refresh token, which is good once."""
    session_id = parts.sessions.of_refresh(token) if token else None
    parts.throttle.refresh(session_id or address_of(request.scope, parts.settings.web))
    if not token:
        raise Problem(401, "signed_out", "sign in first: there is no refresh token")
    return _signed(parts.sessions.refresh(token), request, response, parts)


@router.post("/auth/logout", status_code=204)
async def logout(person: Viewer, response: Response, parts: Shared) -> None:
    """End this session."""
    parts.sessions.end(person.session_id, person.name)
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")


@router.post("/auth/confirm")
async def confirm(body: Confirmation, person: Viewer, parts: Shared) -> Confirmed:
    """Prove who you are once more; for five minutes you may then do what has to do with money."""
    parts.throttle.sign_in(person.session_id)
    user = _user(parts, person)
    with _failure_told(parts, person.name, "confirmation failed", session=person.session_id):
        await _prove(parts, user, person.session_id, body)
    parts.accounts.guesses.clear(person.session_id)
    parts.trail.try_add(person.name, "confirmed", session=person.session_id)
    return Confirmed(confirmed_until_ms=parts.sessions.confirm(person.session_id))


async def _prove(parts: Parts, user: User, session_id: str, given: Confirmation) -> None:
    """Raises Problem for who does not prove to be this user."""
    if user.second_factor:
        if given.code is None:
            raise Problem(401, "second_factor_needed", "give a code of the second factor")
        parts.accounts.guesses.count(session_id)
        parts.accounts.check_code(user, given.code)
        return
    if not user.has_password:
        way = f"surefoot user password {user.name}"
        text = f"there is nothing to ask you for: give yourself a password in a terminal ({way}) and sign in with it"
        raise Problem(403, "second_factor_missing", text)
    if given.password is None:
        raise Problem(401, "password_needed", "give the password")
    parts.accounts.guesses.count(session_id)
    await parts.accounts.check_password(user.name, given.password)


@router.post("/auth/password", status_code=204)
async def password(body: NewPassword, person: Viewer, parts: Shared) -> None:
    """Change or set your password; all your other sessions end."""
    parts.throttle.sign_in(person.session_id)
    user = _user(parts, person)
    with _failure_told(parts, person.name, "password not changed", session=person.session_id):
        if user.has_password:
            if body.old is None:
                raise Problem(401, "password_needed", "give the old password too")
            parts.accounts.guesses.count(person.session_id)
            await parts.accounts.check_password(user.name, body.old)
        else:
            _must_be_confirmed(person)
        try:
            await parts.accounts.set_password_aside(user.name, body.new, person.name)
        except AccountError as problem:
            raise Problem(409, "user_refused", str(problem)) from None
    parts.accounts.guesses.clear(person.session_id)
    parts.sessions.end_all(user.name, person.name, but=person.session_id)


@router.post("/auth/totp/enroll")
async def enroll(person: Viewer, parts: Shared) -> Enrolled:
    """A secret for an authenticator app; it counts once `totp/verify` has heard a code of it."""
    with _failure_told(parts, person.name, NOT_ENROLLED, session=person.session_id):
        _must_be_confirmed(person)
        made = parts.accounts.second_factor.enrol(person.name)
    return Enrolled(secret=made.secret, uri=made.uri, svg=made.svg)


@router.post("/auth/totp/verify")
async def verify(body: Code, person: Viewer, parts: Shared) -> RecoveryCodes:
    """Ask for codes of the new secret from now on; the recovery codes are shown once."""
    parts.throttle.sign_in(person.session_id)
    with _failure_told(parts, person.name, NOT_ENROLLED, session=person.session_id):
        _must_be_confirmed(person)
        codes = parts.accounts.second_factor.confirm_enrolment(person.name, body.code)
    # What a password or a link confirmed elsewhere, a code has to confirm from now on.
    parts.sessions.unconfirm_all(person.name, but=person.session_id)
    return RecoveryCodes(recovery_codes=codes)


@router.get("/sessions")
async def sessions(person: Viewer, parts: Shared) -> Page[SessionShown]:
    """Where you are signed in, the newest first; on one page."""
    shown = [
        SessionShown(
            id=each.id,
            name=each.name,
            way=each.way,
            made_ms=each.made_ms,
            seen_ms=each.seen_ms,
            ends_ms=each.ends_ms,
            address=each.address,
            agent=each.agent,
            is_this=each.id == person.session_id,
        )
        for each in parts.sessions.of(person.name)
    ]
    return Page(items=shown, next=None)


@router.delete("/sessions/{session_id}", status_code=204, response_class=Response)
async def end_session(session_id: str, person: Viewer, parts: Shared, once: ActOnce) -> Response:
    """Sign out somewhere else; an admin may sign out anybody."""

    async def act() -> None:
        owner = parts.sessions.owner(session_id)
        if owner is None or (owner != person.name and person.role is not Role.ADMIN):
            raise Problem(404, "not_found", "there is no such session")
        parts.sessions.end(session_id, person.name)

    return await once.answer(person.name, act, 204)


@router.get("/me")
async def me(person: Viewer, parts: Shared) -> Me:
    """Who is signed in."""
    user = _user(parts, person)
    return Me(
        name=person.name,
        role=person.role,
        session_id=person.session_id,
        confirmed=person.confirmed,
        confirmed_until_ms=person.confirmed_until_ms,
        second_factor=user.second_factor,
        has_password=user.has_password,
        mode=parts.settings.mode,
    )


@contextmanager
def _failure_told(parts: Parts, who: str, what: str, **detail: Any) -> Iterator[None]:
    """Write in the audit trail what is refused: these routes' bodies are secrets, and the shield leaves them to us."""
    try:
        yield
    except Problem as problem:
        parts.trail.try_add(who, what, code=problem.code, **detail)
        raise


def _user(parts: Parts, person: Person) -> User:
    user = parts.accounts.user(person.name)
    assert user is not None, "a person is a user"
    return user


def _must_be_confirmed(person: Person) -> None:
    # Or a stolen access token could bind the account to the thief's telephone, or to a password.
    if not person.confirmed:
        raise confirmation_needed()


def _signed(grant: Grant, request: Request, response: Response, parts: Parts) -> Signed:
    kept: dict[str, Any] = {"httponly": True, "samesite": "strict", "path": COOKIE_PATH}
    response.set_cookie(
        COOKIE,
        grant.refresh_token,
        max_age=(grant.refresh_ends_ms - parts.now_ms()) // 1_000,
        secure=is_https(request.scope, parts.settings.web),
        **kept,
    )
    return Signed(access_token=grant.access_token, expires_ms=grant.access_ends_ms)
