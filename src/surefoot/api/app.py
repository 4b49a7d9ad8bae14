"""The app of the web process: its routes, its page, and what stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from surefoot import __version__
from surefoot.api.guard import PREFIX, Viewer
from surefoot.api.page import PAGE, page_route
from surefoot.api.parts import Parts
from surefoot.api.problems import answer_problems
from surefoot.api.quick import Quick
from surefoot.api.routes import (
    actions,
    alerts,
    audit,
    auth,
    backtests,
    health,
    live,
    market,
    now,
    past,
    prometheus,
    readiness,
    settings,
    users,
)
from surefoot.api.schema import document
from surefoot.api.shield import Shield

# What is asked for most stands first: routes are tried in this order.
ROUTERS: tuple[APIRouter, ...] = (
    now.router,
    past.router,
    market.router,
    health.router,
    auth.router,
    users.router,
    audit.router,
    actions.router,
    settings.router,
    readiness.router,
    backtests.router,
    alerts.router,
    live.router,
)


def create_app(parts: Parts, page: Path = PAGE) -> FastAPI:
    """The web app over these parts. `page` is the folder of the built dashboard."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in parts.lasting:
                await stack.enter_async_context(part)
            yield

    # The pages that FastAPI makes of the schema load their scripts from other hosts.
    app = FastAPI(title="Surefoot", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    app.state.parts = parts
    app.state.prefix = PREFIX
    app.state.routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    answer_problems(app)
    for router in (*ROUTERS, _schema_router(app)):
        app.include_router(router, prefix=PREFIX)
    app.include_router(prometheus.router)
    app.router.routes.append(page_route(page))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(parts.settings.web.origins),
        allow_credentials=True,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
        expose_headers=["Retry-After"],
    )
    app.add_middleware(Quick, routes=app.state.routes, prefix=PREFIX)
    app.add_middleware(Shield, parts=parts)
    return app


def _schema_router(app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["schema"])

    @router.get("/openapi.json")
    async def schema(person: Viewer) -> Response:
        """What this API is, as OpenAPI."""
        return JSONResponse(document(app))

    return router
