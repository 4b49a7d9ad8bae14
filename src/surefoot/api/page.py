"""The dashboard as files: what was built from `dashboard/` when the package was made."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parents[1] / "dashboard"
NO_PAGE = """The dashboard is not built here.

The API is at /api/v1. A checkout builds the page with `make dashboard`; an installed package brings it along.
"""

# The names of these files bear a digest of what is in them.
ASSETS, ASSETS_KEPT = "assets", "public, max-age=31536000, immutable"
ZIPPED_BYTES_MIN = 1_000


def page_route(folder: Path = PAGE) -> Mount | Route:
    """Serves the page at /; where it was not built, says so (503)."""
    if (folder / "index.html").is_file():
        return Mount("/", GZipMiddleware(_Files(directory=folder, html=True), ZIPPED_BYTES_MIN, 6), name="page")
    return Route("/", _no_page, name="page")


async def _no_page(_: Request) -> Response:
    return PlainTextResponse(NO_PAGE, 503)


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["cache-control"] = ASSETS_KEPT if Path(full_path).parent.name == ASSETS else "no-cache"
        return answer
