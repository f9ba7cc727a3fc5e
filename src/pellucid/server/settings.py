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

    Attributes
    ----------
    n_workers : int
        Processes that denoise; as many requests are worked on at once.
    n_threads : int
        Processors that each of them uses.
    n_waiting : int
        Requests that may wait for a worker; further ones are refused with Retry-After.
    max_bytes : int
        Largest upload.
    max_pixels : int
        Largest image, as its header says; of many channels, as `images.read` counts them.
    time_limit_s : float
        How long an upload may take; how long the work on it may take; how long a client may take to fetch a part of
        the answer.
    memory_limit_mb : float
        Resident memory of a worker, in MB of 10^6 bytes.
    token : str, optional
        What a request must bring as its bearer token.
    hosts : frozenset of str, optional
        Names, without ports, under which the service may be called; None allows any.
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
    """Bind a host name or address and a port; port 0 takes any free one.

    Raises
    ------
    ParameterError
        It is in use, not this machine's, or not allowed.
    """
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
