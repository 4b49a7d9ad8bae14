"""`surefoot book` against a simulated exchange in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.processes import exchange
from tests.e2e.test_commands import surefoot


@pytest.mark.spec("NET-1")
def test_book_is_kept_and_agrees_with_the_best_prices(tmp_path: Path) -> None:
    with exchange("--port", "0", "--seed", "7") as venue:
        told = surefoot("book", "btcusdt", "--rest", venue.rest, "--for", "6", cwd=tmp_path)
        assert told.returncode == 0, told.stdout + told.stderr
        assert re.search(r"BTCUSDT  bid [0-9.]+ at [0-9.]+  ask", told.stdout)
        (counts,) = re.findall(r"([0-9]+) changes, 0 gaps; ([0-9]+) of ([0-9]+)", told.stdout)
        changes, agreed, compared = map(int, counts)
        assert changes > 0
        assert agreed == compared
    wrong = surefoot("book", "BTCUSDT", "--rest", venue.rest, "--notional", "-1", cwd=tmp_path)
    assert wrong.returncode == 2
    assert surefoot("book", "BTCUSDT", "--rest", venue.rest, cwd=tmp_path).returncode == 4
