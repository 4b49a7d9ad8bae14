"""Every recorded message and documented example is read exactly, or stands on the list that says why not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.binance import coverage
from tests.payloads.reading import DATA


@pytest.mark.spec("NET-1")
def test_every_message_is_read_exactly_or_on_the_list() -> None:
    """Of the four long recordings every seventh message here; `python -m tests.binance.coverage` reads all of them."""
    if not DATA.exists():
        pytest.skip(f"no shared data at {DATA}: set SUREFOOT_DATA")
    tallies, left, failures = coverage.count(every=7)
    assert failures == []
    assert sum(tally.read for tally in tallies.values()) > 30_000
    # A reader or a reason of nothing is a mistake in the tables.
    keys = {example.key for example in coverage.examples(every=7)}
    assert set(coverage.READ) - keys == set()
    assert set(coverage.LEFT) - {key for key, _ in left} == set()


def test_number_that_stands_nowhere_in_the_message_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    example = coverage.Example("", "spot GET /api/v3/depth", b'{"price":"1.7"}')
    monkeypatch.setitem(coverage.READ, example.key, lambda body: Decimal("1.70"))
    assert coverage.problem_of(example) is None
    monkeypatch.setitem(coverage.READ, example.key, lambda body: Decimal("1.5"))
    assert coverage.problem_of(example) == "[Decimal('1.5')] stand nowhere in the message"
