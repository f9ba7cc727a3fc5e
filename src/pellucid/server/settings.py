"""What the service allows: how many, how large, how long, and who.

Plain numbers and names enter from the command; every other part of the service reads them. It knows nothing of HTTP.
"""

from dataclasses import dataclass

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
        Requests that may wait for a worker; the next is told to come back later.
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
