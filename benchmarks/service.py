"""Load test of the server: ``python benchmarks/service.py``.

Starts ``pellucid serve``, sends photographs of one megapixel from several clients, and prints responses by status,
wrong responses, throughput, latency, and the memory of the server with its workers over time. For comparison, the
library denoises the same file in a loop with as many threads before.
"""

import argparse
import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from pellucid import io
from pellucid.files import FileDenoiser
from pellucid.inference.engine import default_threads
from pellucid.inference.options import DenoiseOptions

COMMAND = Path(sys.executable).with_name("pellucid")
#: Fixed, so that all responses are equal.
SIGMA = 15
TARGET = f"/v1/denoise?sigma={SIGMA}"


@dataclass
class Tally:
    """What the clients received.

    Attributes
    ----------
    responses : Counter
        Number by status, or by name of the exception.
    n_wrong : int
        Responses of status 200 that differ from the library's.
    seconds : list of float
        Latency of each response of status 200.
    """

    responses: Counter[str] = field(default_factory=Counter)
    n_wrong: int = 0
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def noisy_photograph(side_px: int, file_format: str) -> bytes:
    """Make a noisy photograph, as a file."""
    tile = astronaut()
    n_tiles = -(-side_px // min(tile.shape[:2]))
    page = np.tile(tile, (n_tiles, n_tiles, 1))[:side_px, :side_px]
    noisy = page + SIGMA * np.random.default_rng(0).standard_normal(page.shape)
    pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return io.encode(io.Picture((pixels,), (None,), file_format), file_format)


def time_library(content: bytes, n_threads: int, seconds: float) -> float:
    """Denoise a file repeatedly; return the files per second."""
    denoiser = FileDenoiser(DenoiseOptions(sigma=SIGMA / 255, n_threads=n_threads))
    denoiser.denoise_bytes(content)
    start, n_done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        denoiser.denoise_bytes(content)
        n_done += 1
    return n_done / (time.perf_counter() - start)


def reference(content: bytes, n_threads: int) -> bytes:
    """Denoise a file with the library."""
    return FileDenoiser(DenoiseOptions(sigma=SIGMA / 255, n_threads=n_threads)).denoise_bytes(content)[0]


def send_until(deadline: float, port: int, content: bytes, expected: bytes, tally: Tally) -> None:
    """Send requests until a time, compare the responses, and respect Retry-After."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while time.perf_counter() < deadline:
        start, is_correct, pause_s = time.perf_counter(), True, 0.0
        try:
            connection.request("POST", TARGET, content, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            body = response.read()
            name = str(response.status)
            is_correct = response.status != 200 or body == expected
            pause_s = float(response.headers.get("Retry-After", 0))
        except (OSError, http.client.HTTPException) as error:
            name = type(error).__name__
            connection.close()
        with tally.lock:
            tally.responses[name] += 1
            tally.n_wrong += not is_correct
            if name == "200":
                tally.seconds.append(time.perf_counter() - start)
        time.sleep(pause_s)


def resident_mb(pid: int) -> float:
    """Sum the resident memory of a process and its children, in MB."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    n_kib = 0
    for each in pids:
        try:
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
        except OSError:
            continue
        n_kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return n_kib * 1024 / 1e6


def wait_ready(port: int) -> None:
    """Wait until a worker is up."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/readyz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.2)


def load(port: int, pid: int, content: bytes, expected: bytes, n_clients: int, seconds: float) -> Tally:
    """Run the clients; print the memory of the server meanwhile."""
    tally = Tally()
    start = time.perf_counter()
    arguments = (start + seconds, port, content, expected, tally)
    clients = [threading.Thread(target=send_until, args=arguments) for _ in range(n_clients)]
    for client in clients:
        client.start()
    print(f"\n{'second':>7}{'MB':>8}{'responses':>11}")
    while any(client.is_alive() for client in clients):
        passed = time.perf_counter() - start
        print(f"{passed:>7.0f}{resident_mb(pid):>8.0f}{sum(tally.responses.values()):>11}", flush=True)
        for client in clients:
            client.join(max(0.0, start + passed + seconds / 18 - time.perf_counter()))
    return tally


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, metavar="S")
    parser.add_argument("--clients", type=int, default=16, metavar="N")
    parser.add_argument("--size", type=int, default=1000, metavar="PX", help="side of the square photograph")
    parser.add_argument("--format", default="jpeg", choices=["jpeg", "png", "tiff", "webp"])
    parser.add_argument("--workers", type=int, default=max(1, default_threads() // 2), metavar="N")
    options = parser.parse_args(arguments)
    n_threads = default_threads()
    content = noisy_photograph(options.size, options.format)
    expected = reference(content, max(1, n_threads // options.workers))
    alone = time_library(content, n_threads, min(10.0, options.seconds))
    print(f"library in a loop, {n_threads} threads: {alone:.2f} files/s")
    command = [COMMAND, "serve", "--port", "0", "--workers", str(options.workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            port = int((service.stdout.readline() if service.stdout else "").strip().strip("/").rpartition(":")[2])
            wait_ready(port)
            start = time.perf_counter()
            tally = load(port, service.pid, content, expected, options.clients, options.seconds)
            served = tally.responses["200"] / (time.perf_counter() - start)
        finally:
            service.terminate()
    print(f"\nresponses by status: {dict(tally.responses)}; wrong: {tally.n_wrong}")
    print(f"service, {options.workers} workers: {served:.2f} files/s, {100 * served / alone:.0f}% of the library's")
    if tally.seconds:
        slowest = max(tally.seconds)
        print(f"latency in seconds: median {statistics.median(tally.seconds):.2f}, longest {slowest:.2f}")


if __name__ == "__main__":
    main()
