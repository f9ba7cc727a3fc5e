"""Take the address that the service is to be called at.

A host and a port enter, a socket leaves. It knows nothing of HTTP, and loads nothing: what is wrong with an address
shows before anything is started.
"""

import socket

from pellucid.errors import ParameterError

#: Calls that may wait until they are taken.
BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """Take an address.

    Parameters
    ----------
    host : str
        A name or an IPv4 or IPv6 address.
    port : int
        0 takes any that is free.

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
            # Whoever calls before the service runs waits, and is not refused.
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ParameterError(f"{host} port {port}: {reason}; choose another with --host or --port") from None
    return listener
