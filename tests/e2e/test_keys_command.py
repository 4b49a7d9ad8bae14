"""`surefoot keys check` against a simulated exchange in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.processes import exchange
from tests.e2e.test_commands import surefoot


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
