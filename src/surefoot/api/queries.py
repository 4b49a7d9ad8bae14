"""Which query parameters a route knows. One that it does not know is refused: what it asks for would not be done."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from surefoot.api.problems import Problem


def query_names(dependant: Dependant) -> frozenset[str]:
    """Names of the query parameters of a route, those of what it depends on too."""
    own = frozenset(field.alias for field in dependant.query_params)
    return own.union(*map(query_names, dependant.dependencies))


def expect_known(connection: HTTPConnection) -> None:
    """Raises Problem (422) for a parameter that the route does not know. The short way (`quick`) has looked itself."""
    route = connection.scope.get("route")
    given: Iterable[str] = connection.query_params
    if isinstance(route, APIRoute) and given:
        known = query_names(route.dependant)
        if not known.issuperset(given):
            names = ", ".join(sorted(known)) or "none"
            raise Problem(422, "invalid_request", f"query: a parameter that is not known here; known: {names}")
