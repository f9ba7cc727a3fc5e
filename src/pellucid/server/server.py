"""Run the service on a socket until it is asked to stop.

An app and an address enter; nothing leaves. It knows nothing of what is served.
"""

import asyncio
import socket

import uvicorn

from pellucid.server.app import create_app
from pellucid.server.listening import BACKLOG
from pellucid.server.service import Service
from pellucid.server.settings import ServiceSettings
from pellucid.server.timeouts import PunctualProtocol

#: How long requests may go on after the service was asked to stop.
GRACE_S = 5
#: Connections at once; each needs a file descriptor, of which a process commonly has 1024.
MAX_CONNECTIONS = 800


def run(settings: ServiceSettings, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM.

    What is being worked on then has `GRACE_S` seconds to end.

    Raises
    ------
    KeyboardInterrupt
        It was asked to stop, and has stopped.
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
    """A server that tells running requests when its patience is over, instead of cancelling them."""

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
