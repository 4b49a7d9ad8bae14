"""The browser, and what its pages complain about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.stage import PATIENCE_MS, Seen, chromium

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What the pages of a test complain about: nothing."""
    found = Seen()
    yield found
    assert found.complaints == []
