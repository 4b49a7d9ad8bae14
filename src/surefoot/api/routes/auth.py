"""Signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from surefoot.api.guard import PREFIX, Shared, Viewer
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.sessions import LINK_CONFIRMED_MS, Grant
from surefoot.api.shield import address_of, is_https
from surefoot.config import Mode

COOKIE = "surefoot_refresh"
COOKIE_PATH = f"{PREFIX}/auth"

router = APIRouter(tags=["auth"])
Refresh = Annotated[str | None, Cookie(alias=COOKIE)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Login(Body):
    name: Text
    password: Text
    code: Text | None = None


class Link(Body):
    token: Text


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
    second_factor: bool
    mode: str


@router.post("/auth/login")
async def login(body: Login, request: Request, response: Response, parts: Shared) -> Signed:
    """Sign in with name and password, and the code of the second factor where there is one."""
    address = address_of(request.scope, parts.settings.web)
    await parts.throttle.sign_in(address)
    try:
        user = await parts.accounts.check(body.name, body.password)
    except Problem as problem:
        parts.trail.add(body.name[:32], "sign-in failed", code=problem.code, address=address)
        raise
    parts.accounts.clear_failures(user.name)
    grant = parts.sessions.begin(user.name, "password", address, request.headers.get("user-agent", ""))
    return _signed(grant, request, response, parts)


@router.post("/auth/link")
async def link(body: Link, request: Request, response: Response, parts: Shared) -> Signed:
    """Sign in by the link that `surefoot run` printed; once."""
    address = address_of(request.scope, parts.settings.web)
    await parts.throttle.sign_in(address)
    try:
        parts.sessions.use_link(body.token)
    except Problem as problem:
        parts.trail.add("unknown", "sign-in failed", code=problem.code, address=address)
        raise
    user = parts.accounts.ensure_local()
    confirmed_ms = 0 if parts.settings.mode is Mode.LIVE else LINK_CONFIRMED_MS
    grant = parts.sessions.begin(user.name, "link", address, request.headers.get("user-agent", ""), confirmed_ms)
    return _signed(grant, request, response, parts)


@router.post("/auth/refresh")
async def refresh(request: Request, response: Response, parts: Shared, token: Refresh = None) -> Signed:
    """New tokens for the cookie's refresh token, which is good once."""
    await parts.throttle.refresh(address_of(request.scope, parts.settings.web))
    if not token:
        raise Problem(401, "signed_out", "sign in first: there is no refresh token")
    return _signed(parts.sessions.refresh(token), request, response, parts)


@router.post("/auth/logout", status_code=204)
async def logout(person: Viewer, response: Response, parts: Shared) -> None:
    """End this session."""
    parts.sessions.end(person.session_id, person.name)
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")


@router.get("/me")
async def me(person: Viewer, parts: Shared) -> Me:
    """Who is signed in."""
    user = parts.accounts.user(person.name)
    assert user is not None, "a person is a user"
    return Me(
        name=person.name,
        role=person.role,
        session_id=person.session_id,
        confirmed=person.confirmed,
        second_factor=user.second_factor,
        mode=parts.settings.mode,
    )


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
