"""The page as files: what a browser may keep, what goes over the wire, and what stands there when it was not built."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from surefoot.api.app import create_app
from surefoot.api.page import page_route
from tests.api.served import Clock, code_of, made_parts, web_settings


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


@pytest.mark.spec("API-1")
def test_the_page_behind_the_api_takes_no_path_that_has_another_method(built: Path) -> None:
    folder = built / "var"
    folder.mkdir()
    visitor = TestClient(create_app(made_parts(web_settings(folder), Clock()), page=built), "http://127.0.0.1")
    answers = {path: visitor.get(f"/api/v1{path}") for path in ("/bot/flatten", "/nothing")}
    assert {path: (answer.status_code, code_of(answer)) for path, answer in answers.items()} == {
        "/bot/flatten": (405, "method_not_allowed"),
        "/nothing": (404, "not_found"),
    }
    assert answers["/bot/flatten"].headers["allow"] == "POST"
    assert visitor.get("/bot/flatten").status_code == 404


@pytest.mark.spec("UI-1")
def test_where_no_page_was_built_it_says_so(tmp_path: Path) -> None:
    answer = client(tmp_path).get("/")
    assert answer.status_code == 503
    assert "not built" in answer.text
