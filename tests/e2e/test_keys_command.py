"""`surefoot keys check` against a simulated exchange in a process of its own."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.server import Server
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, KeyRights
from tests.e2e.processes import exchange
from tests.e2e.test_commands import surefoot
from tests.simex.sockets import stopped_market


@pytest.mark.spec("NET-7")
def test_key_is_asked_for_its_rights(tmp_path: Path) -> None:
    with exchange("--port", "0", "--seed", "7") as venue:
        secret = {"SIMEX_API_KEY": str(venue.hello["api_key"]), "SIMEX_API_SECRET": str(venue.hello["secret"])}
        told = surefoot("keys", "check", "--rest", venue.rest, "--json", cwd=tmp_path, **secret)
        assert told.returncode == 0, told.stderr
        answer = json.loads(told.stdout)
        assert answer["refused"] == []
        assert any("IP address" in warning for warning in answer["warnings"])
        wrong = surefoot("keys", "check", "--rest", venue.rest, cwd=tmp_path, **{**secret, "SIMEX_API_SECRET": "x"})
    assert wrong.returncode == 4
    assert "-1022" in wrong.stderr
    gone = surefoot("keys", "check", "--rest", venue.rest, cwd=tmp_path, **secret)
    assert (gone.returncode, "does not answer" in gone.stderr) == (4, True)


@pytest.mark.spec("NET-7")
@pytest.mark.parametrize(
    ("rights", "code", "line"),
    [
        ({"may_withdraw": True}, 1, "REFUSED: the key may withdraw: a bot's key must not; make one without that right"),
        ({"addresses": ()}, 0, "warning: the key works from any IP address: bind it to this machine's"),
    ],
)
async def test_key_that_may_withdraw_is_refused_and_one_that_works_from_anywhere_is_a_warning(
    tmp_path: Path, rights: dict[str, Any], code: int, line: str
) -> None:
    keys = {"SIMEX_API_KEY": "key", "SIMEX_API_SECRET": "secret"}
    given = KeyRights(**({"addresses": ("127.0.0.1",)} | rights))
    account = AccountSpec("key", "secret", {"USDT": Decimal(1)}, rights=given)
    server = Server(Exchange(DEFAULT_INSTRUMENTS, [account]), stopped_market(), speed=60.0)
    port = await server.start()
    try:
        rest = f"http://127.0.0.1:{port}"
        told = await asyncio.to_thread(surefoot, "keys", "check", "--rest", rest, cwd=tmp_path, **keys)
    finally:
        await server.stop()
    assert (told.returncode, told.stdout.splitlines()[0]) == (code, line), told.stderr
