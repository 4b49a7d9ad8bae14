"""Reads without the way through the framework: the same route, the same guard, the same answer in a third of the time.

Rules. Quick is what a route can be seen to need nothing else for: a GET at a literal path that takes dependencies and
query parameters, and makes its own response. Query parameters are read by FastAPI's own function; what it would refuse,
and what a page of another site asks, goes the long way. So nothing is refused here but by a guard or a route itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from surefoot.api.queries import query_names

QUERIES_REMEMBERED = 256
QUERY_BYTES_MAX = 256  # of one that is remembered

Queries = list[dict[str, Any]]  # what the query says to each call, in the order of `_Call.all`


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with what it is called with: calls of others, the connection, query parameters."""

    name: str
    call: Callable[..., Awaitable[Any]]
    connection: str | None
    query: Any  # of FastAPI's fields
    parts: tuple[_Call, ...]

    def all(self) -> Iterable[_Call]:
        for part in self.parts:
            yield from part.all()
        yield self


class Quick:
    """Answers quick routes; everything else, `app` does."""

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute], prefix: str) -> None:
        self._app = app
        quick = [route for route in routes if is_quick(route)]
        self._calls = {prefix + route.path: _call(route.dependant) for route in quick}
        self._known = {prefix + route.path: query_names(route.dependant) for route in quick}
        self._queries: dict[tuple[str, bytes], Queries] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        queries = self._queries_of(scope) if scope["type"] == "http" else None
        if queries is None:
            await self._app(scope, receive, send)
            return
        call = self._calls[scope["path"]]
        response: Response = await _answer(call, HTTPConnection(scope), iter(queries))
        await response(scope, receive, send)

    def _queries_of(self, scope: Scope) -> Queries | None:
        """What the query says to each call; None where the request is not quick."""
        if scope["method"] != "GET" or scope["path"] not in self._calls:
            return None
        if any(name == b"origin" for name, _ in scope["headers"]):
            return None
        asked = (scope["path"], scope["query_string"])
        if asked not in self._queries:
            given = QueryParams(asked[1])
            read = [request_params_to_args(call.query, given) for call in self._calls[asked[0]].all()]
            if any(errors for _, errors in read) or not self._known[asked[0]].issuperset(given):
                return None
            queries = [values for values, _ in read]
            if len(asked[1]) > QUERY_BYTES_MAX:
                return queries
            if len(self._queries) >= QUERIES_REMEMBERED:
                self._queries.clear()
            self._queries[asked] = queries
        return self._queries[asked]


def is_quick(route: APIRoute) -> bool:
    """Whether a route can be answered here, see the rules above."""
    makes_response = get_type_hints(route.endpoint).get("return") is Response
    return route.methods == {"GET"} and makes_response and "{" not in route.path and _is_plain(route.dependant)


def _is_plain(dependant: Dependant) -> bool:
    others = (
        dependant.path_params,
        dependant.header_params,
        dependant.cookie_params,
        dependant.body_params,
        dependant.request_param_name,
        dependant.websocket_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    return not any(others) and all(_is_plain(part) for part in dependant.dependencies)


def _call(dependant: Dependant) -> _Call:
    assert dependant.call is not None
    parts = tuple(_call(part) for part in dependant.dependencies)
    return _Call(
        dependant.name or "", dependant.call, dependant.http_connection_param_name, dependant.query_params, parts
    )


async def _answer(call: _Call, connection: HTTPConnection, queries: Any) -> Any:
    values: dict[str, Any] = {part.name: await _answer(part, connection, queries) for part in call.parts}
    if call.connection is not None:
        values[call.connection] = connection
    said: Mapping[str, Any] = next(queries)
    return await call.call(**values, **said)
