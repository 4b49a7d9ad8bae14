"""What the API answers when it cannot do as asked: problem+json (RFC 9457) with a code that stays the same.

Rules. A problem never repeats what was sent, which may hold a password.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(Exception):
    """A request that is refused: HTTP status, a stable code, and one line for a person."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def problem_body(problem: Problem, instance: str) -> dict[str, Any]:
    """The members of problem+json; `instance` is the path that was asked for."""
    return {
        "type": f"urn:surefoot:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "instance": instance,
    }


def problem_response(problem: Problem, instance: str) -> Response:
    body = json.dumps(problem_body(problem, instance), ensure_ascii=False)
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Let an app answer what it refuses as problems; what nobody foresaw is answered by the shield."""
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request.url.path)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers, methods = dict(error.headers or {}), _methods_at(request)
    # The files of the page stand behind all paths, and take for theirs what has another method.
    is_the_pages = error.status_code == 404 and methods and request.method not in methods
    if is_the_pages or "allow" in {name.lower() for name in headers}:
        return _other_method(request, methods)
    code = _CODES.get(error.status_code, "refused")
    return problem_response(Problem(error.status_code, code, str(error.detail), headers), request.url.path)


def _other_method(request: Request, methods: Sequence[str]) -> Response:
    headers = {"Allow": ", ".join(methods) or "GET"}
    return problem_response(Problem(405, _CODES[405], HTTPStatus(405).phrase, headers), request.url.path)


def _methods_at(request: Request) -> list[str]:
    """What may be done at a path: Starlette names the methods of the first of its routes alone."""
    prefix, path = request.app.state.prefix, request.url.path
    if not path.startswith(prefix):
        return []
    path = path.removeprefix(prefix)
    routes: Iterable[APIRoute] = request.app.state.routes
    fitting = [route for route in routes if route.path == path] or [
        route for route in routes if route.path_regex.match(path)
    ]
    return sorted({method for route in fitting for method in route.methods or ()})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    methods = _methods_at(request)
    if request.method not in methods:  # a path with a parameter took what is the name of another
        return _other_method(request, methods)
    return problem_response(Problem(422, "invalid_request", what_is_wrong(error.errors())), request.url.path)


def what_is_wrong(errors: Iterable[Mapping[str, Any]]) -> str:
    """Places and reasons of a refused body or query, without the values."""
    return "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in errors)
