"""The service as one ASGI app, and how it is run on a socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from pellucid import __version__
from pellucid.server import routes
from pellucid.server.errors import ProblemError, problem_response
from pellucid.server.metrics import Measured
from pellucid.server.schemas import ProblemBody
from pellucid.server.security import BEARER, AccessControl
from pellucid.server.service import Service
from pellucid.server.settings import BACKLOG, ServiceSettings
from pellucid.server.timeouts import PunctualProtocol, TimeLimits

#: How long running requests may continue after the service was asked to stop.
GRACE_S = 5
#: Connections at once; each needs a file descriptor, of which a process commonly has 1024.
MAX_CONNECTIONS = 800


def create_app(service: Service) -> ASGIApp:
    """Build the app: routes and middleware. The workers run from its startup to its shutdown."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # The documentation pages of FastAPI load scripts from another host.
    app = FastAPI(
        title="pellucid",
        summary="Denoise images.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(routes.api, dependencies=[Security(BEARER)] if service.settings.token else [])
    app.mount("/static", routes.PageFiles(directory=routes.PAGE))
    _add_handlers(app)
    _describe_problems(app)
    guarded = AccessControl(app, service.settings)
    return TimeLimits(Measured(guarded, service.metrics), service.settings.time_limit_s)


def _add_handlers(app: FastAPI) -> None:
    """Answer all errors as problem details (RFC 9457)."""

    @app.exception_handler(ProblemError)
    async def problem_details(_: Request, problem: ProblemError) -> Response:
        return problem_response(problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        return problem_response(ProblemError(422, f"{first['loc'][-1]}: {message[:1].lower()}{message[1:]}"))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        details = {404: "not found; see /openapi.json", 405: "method not allowed; see /openapi.json"}
        detail = f"{request.url.path[:80]!r}: {details.get(error.status_code, error.detail)}"
        return problem_response(ProblemError(error.status_code, detail, error.headers))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        # Nobody sees this; 499 is nginx's status for such requests.
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> Response:
        return problem_response(ProblemError(500, "internal error: see the server's log"))


def _describe_problems(app: FastAPI) -> None:
    """Add the body of errors, which no route returns, to the OpenAPI document."""
    schemas = app.openapi().setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemBody"] = ProblemBody.model_json_schema()


def run(settings: ServiceSettings, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; running requests have `GRACE_S` seconds to end.

    Raises
    ------
    KeyboardInterrupt
        The service was asked to stop, and has stopped.
    """
    service = Service(settings)
    config = uvicorn.Config(
        create_app(service),
        http=PunctualProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=BACKLOG,
        timeout_graceful_shutdown=2 * GRACE_S,
    )
    _Server(config, service).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that answers running requests after the grace period, instead of cancelling them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.ensure_future(self._close_later())
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()

    async def _close_later(self) -> None:
        await asyncio.sleep(GRACE_S)
        await self._service.pool.close()
