"""What the tests of the simulated exchange's spot market share: a market with one price, and its clients."""

from __future__ import annotations

import pytest

from tests.simex.wire import BOB, SHARP, Client, Floor, floor


@pytest.fixture
def at() -> Floor:
    made = floor(model=SHARP)
    made.tick("60000")
    return made


@pytest.fixture
def alice(at: Floor) -> Client:
    return Client(at)


@pytest.fixture
def bob(at: Floor) -> Client:
    return Client(at, BOB)
