"""What the tests of the simulated exchange's futures market share: a market with one price, and its clients."""

from __future__ import annotations

import pytest

from tests.simex.futures.wire import Trader, floor
from tests.simex.wire import BOB, Floor


@pytest.fixture
def at() -> Floor:
    return floor()


@pytest.fixture
def alice(at: Floor) -> Trader:
    return Trader(at)


@pytest.fixture
def bob(at: Floor) -> Trader:
    return Trader(at, BOB)
