"""What `surefoot guard` makes of its key, and what it says at its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from surefoot import selfcheck
from surefoot.binance.dialogue import Keys
from surefoot.binance.keys import Verdict
from surefoot.commands import guard
from surefoot.config import Settings, load
from surefoot.selfcheck import CheckFailed

KEYS = {"SUREFOOT_GUARD_API_KEY": "key", "SUREFOOT_GUARD_API_SECRET": "secret"}


def live(env: Mapping[str, str] = KEYS, **flags: str) -> Settings:
    values = {"mode": "live", "live_confirmed": "true"} | {k.replace("__", "."): v for k, v in flags.items()}
    return load(None, values, env, keyless=True, guard=True).settings


def told_by(monkeypatch: pytest.MonkeyPatch, verdict: Verdict | CheckFailed) -> None:
    async def verdict_of(settings: Settings, keys: Keys, base: str | None) -> tuple[Verdict, int]:
        assert (keys.api_key, keys.secret) == ("key", "secret"), "its own, not the trader's"
        if isinstance(verdict, CheckFailed):
            raise verdict
        return verdict, 0

    monkeypatch.setattr(selfcheck, "key_verdict", verdict_of)


@pytest.mark.spec("OPS-2")
def test_a_key_that_may_withdraw_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told_by(monkeypatch, Verdict(("the key may withdraw",), ("the key works from any IP address",), ()))
    notes: list[str] = []
    assert guard._desk_of(live(), None, notes.append) == (None, "it can only tell: the key may withdraw")
    assert notes == ["warning: of the guardian's key: the key works from any IP address"]


@pytest.mark.spec("OPS-2")
def test_a_key_whose_rights_are_not_told_is_used_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told_by(monkeypatch, CheckFailed("this venue does not tell"))
    notes: list[str] = []
    desk, why_none = guard._desk_of(live(), None, notes.append)
    assert desk is not None
    assert why_none == ""
    assert notes == ["warning: the rights of the guardian's key are not known: this venue does not tell"]


@pytest.mark.spec("OPS-2")
def test_what_it_cannot_do_is_said_at_its_start() -> None:
    assert guard._desk_of(live({}), None, print) == (None, guard.NO_KEY)
    cannot_sign = live({**KEYS, "SUREFOOT_GUARD_API_SECRET": "-----BEGIN nothing"})
    desk, why_none = guard._desk_of(cannot_sign, None, print)
    assert desk is None
    assert "cannot sign" in why_none
    said = guard._begins(live(guard__act="flatten"), Path("j.sqlite"), [], guard.NO_KEY)
    assert said == f"watching j.sqlite; guard.act = flatten; {guard.NOBODY}; {guard.NO_KEY}"
    said = guard._begins(live(guard__act="flatten"), Path("j.sqlite"), ["Slack (1)"], "")
    assert said == "watching j.sqlite; guard.act = flatten after 120 s; telling Slack (1)"
