"""The service as one ASGI app.

Settings enter, an app leaves, for uvicorn or another server of HTTP. It knows nothing of addresses.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from pellucid import __version__
from pellucid.server import page, routes
from pellucid.server.answers import problem_response
from pellucid.server.errors import ProblemError
from pellucid.server.metrics import Measured
from pellucid.server.schemas import ProblemBody
from pellucid.server.security import Guard
from pellucid.server.service import Service
from pellucid.server.timeouts import Manners


def create_app(service: Service) -> ASGIApp:
    """Put the routes, and what stands before them, together.

    Parameters
    ----------
    service : Service
        Its workers run from the app's startup to its shutdown.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # The documentation pages of FastAPI load scripts from another host.
    app = FastAPI(
        title="pellucid",
        summary="A noisy image in, a clean image out.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(page.page_routes())
    _add_handlers(app)
    _describe(app, has_token=service.settings.token is not None)
    guarded = Guard(app, service.settings)
    return Manners(Measured(guarded, service.metrics), service.settings.time_limit_s)


def _add_handlers(app: FastAPI) -> None:
    """Answer everything that goes wrong as RFC 9457 has it."""

    @app.exception_handler(ProblemError)
    async def told(_: Request, problem: ProblemError) -> Response:
        return problem_response(problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        return problem_response(ProblemError(422, f"{first['loc'][-1]}: {message[:1].lower()}{message[1:]}"))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        details = {404: "there is nothing here; see /openapi.json", 405: "not this method here; see /openapi.json"}
        detail = f"{request.url.path[:80]!r}: {details.get(error.status_code, error.detail)}"
        return problem_response(ProblemError(error.status_code, detail, error.headers))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        # Nobody sees this; the status is what nginx counts such requests by.
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> Response:
        return problem_response(ProblemError(500, "the service failed; tell its owner"))


def _describe(app: FastAPI, *, has_token: bool) -> None:
    """Complete the OpenAPI document by what is not in a route's signature."""
    document = app.openapi()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemBody"] = ProblemBody.model_json_schema()
    if not has_token:
        return
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        if path.startswith("/v1/") or path == "/metrics":
            for operation in methods.values():
                operation["security"] = [{"token": []}]
