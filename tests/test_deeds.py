"""What the guardian leaves for the trader to read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.core.messages import VenueTraded
from surefoot.core.model import Fill, Side
from surefoot.deeds import WHY, Deeds, add_deed, deeds_path


def deed(trade_id: int) -> VenueTraded:
    fill = Fill("sfg-BTCUSDT-1-1", "BTCUSDT", trade_id, Side.SELL, Decimal("70000.10"), Decimal("0.0300"),
                Decimal("2.1"), "USDT", False, 7)  # fmt: skip
    return VenueTraded(8, fill, WHY, 12, Decimal("0.0300"))


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_deeds_are_read_as_they_were_written_and_only_their_owner_may(tmp_path: Path) -> None:
    path = deeds_path(tmp_path / "j.sqlite")
    deeds = Deeds(path)
    assert deeds.read() == []
    add_deed(path, deed(1))
    assert deeds.read() == [deed(1)]
    add_deed(path, deed(2))
    assert deeds.read() == [deed(1), deed(2)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_a_line_that_a_crash_cut_short_hides_no_other(tmp_path: Path) -> None:
    path = deeds_path(tmp_path / "j.sqlite")
    add_deed(path, deed(1))
    path.write_bytes(path.read_bytes() + b'{"at_ms":8,"fil\n')
    add_deed(path, deed(2))
    assert Deeds(path).read() == [deed(1), deed(2)]
