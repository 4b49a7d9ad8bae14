"""The page as files: what a browser may keep, what goes over the wire, and what stands there when it was not built."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from surefoot.api.page import page_route


def client(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=[page_route(folder)]))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Surefoot</title>")
    (tmp_path / "assets" / "index-1a2b.js").write_text("console.log(1);" * 1_000)
    return tmp_path


@pytest.mark.spec("UI-1")
def test_the_page_is_asked_for_anew_and_what_bears_a_digest_is_kept(built: Path) -> None:
    visitor = client(built)
    page = visitor.get("/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    script = visitor.get("/assets/index-1a2b.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-encoding"] == "gzip"
    assert int(script.headers.get("content-length", 0)) < 1_000
    assert script.text == "console.log(1);" * 1_000


@pytest.mark.spec("UI-1")
def test_a_page_that_is_not_known_is_not_found_and_nothing_outside_is_read(built: Path) -> None:
    (built.parent / "secret").write_text("no")
    for path in ("/nothing", "/../secret", "/%2e%2e/secret"):
        assert client(built).get(path).status_code == 404


@pytest.mark.spec("UI-1")
def test_where_no_page_was_built_it_says_so(tmp_path: Path) -> None:
    answer = client(tmp_path).get("/")
    assert answer.status_code == 503
    assert "not built" in answer.text
