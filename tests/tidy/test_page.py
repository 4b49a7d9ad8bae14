"""The page's sources: nothing comes from another host, neither when it is built nor when it is looked at."""

from __future__ import annotations

import json
import re

import pytest

from tests.tidy.tree import ROOT, kept_files

PAGE = ROOT / "dashboard"
# Names of formats, and where the maker of the chart is named, as its licence asks: none of them is loaded.
NAMED = {"www.w3.org", "www.tradingview.com"}


def addresses(text: str) -> set[str]:
    return set(re.findall(r"(?:https?:|wss?:)?//([a-z0-9-]+(?:\.[a-z0-9-]+)+)", text))


@pytest.mark.spec("UI-1")
def test_no_source_of_the_page_names_another_host() -> None:
    sources = [
        path
        for path in kept_files()
        if path.is_relative_to(PAGE) and path.name != "package-lock.json" and path.suffix != ".png"
    ]
    assert len(sources) > 10
    named = {(path.name, host) for path in sources for host in addresses(path.read_text()) - NAMED}
    assert not {(file, host) for file, host in named if not host.startswith("127.")}


def test_what_the_page_is_built_with_is_locked_by_hashes_and_not_by_addresses() -> None:
    text = (PAGE / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert '"resolved"' not in text
    assert "registry" not in text
    assert len(packages) > 20
    assert not [name for name, package in packages.items() if name and "integrity" not in package]


@pytest.mark.parametrize("text", ["https://cdn.example.org/x.js", "url(//fonts.example.org/a)", "wss://x.example.org"])
def test_the_search_for_hosts_finds_them(text: str) -> None:
    assert addresses(text) - NAMED
