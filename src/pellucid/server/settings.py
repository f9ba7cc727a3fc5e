"""Limits of the service, and the address that it listens on."""

import socket
from dataclasses import dataclass

from pellucid.errors import ParameterError

#: Connections that may wait until they are accepted.
BACKLOG = 1024
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class ServiceSettings:
    """The limits of a service.

    Memory of a worker is in MB of 10^6 bytes. The time limit holds for an upload, for the work on it, and for fetching
    each part of the answer. `hosts` are the names, without ports, that requests may use; None allows any.
    """

    n_workers: int
    n_threads: int
    n_waiting: int
    max_bytes: int
    max_pixels: int
    time_limit_s: float
    memory_limit_mb: float
    token: str | None = None
    hosts: frozenset[str] | None = None


def bind(host: str, port: int) -> socket.socket:
    """Bind an address and a port, 0 for any free one; a ParameterError says why that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Clients that connect before the service runs wait, and are not refused.
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ParameterError(f"{host} port {port}: {reason}; choose another with --host or --port") from None
    return listener
