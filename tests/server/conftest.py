"""A running service, and images to send to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from tests.conftest import add_noise

COMMAND = Path(sys.executable).with_name("pellucid")
#: What the service that most tests share allows.
MAX_BYTES, MAX_PIXELS = 3_000_000, 1_000_000


@dataclass(frozen=True)
class Server:
    """A service in a process of its own.

    Attributes
    ----------
    process : subprocess.Popen
    url : str
    """

    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def client(self, **options: object) -> httpx.Client:
        options.setdefault("timeout", 60)
        return httpx.Client(base_url=self.url, trust_env=False, **options)  # type: ignore[arg-type]

    def wait_ready(self, limit_s: float = 90) -> None:
        deadline = time.monotonic() + limit_s
        with self.client() as client:
            while time.monotonic() < deadline:
                try:
                    if client.get("/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        raise TimeoutError(f"not ready after {limit_s} s")


def start(*options: object, environment: dict[str, str] | None = None) -> Server:
    """Start the command on a free port; it has printed its address when this returns."""
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    return Server(process, process.stdout.readline().strip())


def stop(server: Server) -> int:
    """Ask a service to stop; give its exit code."""
    server.process.send_signal(signal.SIGTERM)
    try:
        return server.process.wait(20)
    finally:
        server.process.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A service with one worker and tight limits."""
    limits = ("--max-bytes", MAX_BYTES, "--max-pixels", MAX_PIXELS, "--time-limit", 60)
    running = start("--workers", 1, "--threads", 1, *limits)
    running.wait_ready()
    yield running
    assert stop(running) == 0


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


Encode = Callable[[str], bytes]


@pytest.fixture(scope="session")
def noisy(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A noisy colour image, (96, 96, 3)."""
    return add_noise(photo, 20)[100:196, 100:196].copy()


@pytest.fixture(scope="session")
def noisy_file(noisy: NDArray[np.uint8]) -> Encode:
    """Encode the noisy image in a format."""
    picture = io.Image((noisy,), (None,), "png")
    return lambda file_format: io.encode(picture, file_format)
