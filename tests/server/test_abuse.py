"""Clients that mean ill, or know no better: after each of them a good request is answered."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from tests.server.conftest import MAX_BYTES, Encode, Server

HEAD = b"POST /v1/denoise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@pytest.fixture(autouse=True)
def _a_good_request_is_answered_after(client: httpx.Client, noisy_file: Encode, server: Server) -> Iterator[None]:
    yield
    assert client.post("/v1/denoise?sigma=20", content=noisy_file("png")).status_code == 200
    assert server.process.poll() is None


@contextlib.contextmanager
def connection(server: Server, limit_s: float = 30) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=limit_s) as raw:
        yield raw


def read_all(raw: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65536):
            answer += piece
    return answer


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_of_size(width_px: int, height_px: int, data: bytes) -> bytes:
    header = width_px.to_bytes(4, "big") + height_px.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_header_of_a_huge_image(client: httpx.Client) -> None:
    start = time.monotonic()
    answer = client.post("/v1/denoise", content=png_of_size(50_000, 50_000, zlib.compress(bytes(1000))))
    assert time.monotonic() - start < 5
    assert answer.status_code == 413
    assert answer.json()["detail"] == (
        "image data: 50000 x 50000 pixels count as 2500000000, the limit is 1000000; send a smaller image"
    )


def test_a_decompression_bomb(client: httpx.Client) -> None:
    bomb = png_of_size(900, 900, zlib.compress(bytes(100_000_000), 1))
    assert len(bomb) < MAX_BYTES
    assert client.post("/v1/denoise?sigma=0", content=bomb).status_code in {200, 422}


@pytest.mark.parametrize("declared", [True, False])
def test_too_many_bytes(client: httpx.Client, declared: bool) -> None:
    body = bytes(MAX_BYTES + 1)
    answer = client.post("/v1/denoise", content=body if declared else iter([body[:1000], body[1000:]]))
    assert answer.status_code == 413
    assert not declared or answer.headers["connection"] == "close"


def test_an_upload_that_is_announced_too_large_is_refused_before_it_comes(server: Server) -> None:
    with connection(server) as raw:
        raw.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
        start = time.monotonic()
        answer = read_all(raw)
    assert answer.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start < 3


def test_aborted_uploads(server: Server) -> None:
    for _ in range(10):
        with connection(server) as raw:
            raw.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(5000))


def test_clients_that_do_not_wait(server: Server, noisy_file: Encode) -> None:
    body = noisy_file("png")
    for _ in range(5):
        with connection(server) as raw:
            raw.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def test_slow_uploads_do_not_stand_in_the_way(server: Server, client: httpx.Client, noisy_file: Encode) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            raw = stack.enter_context(connection(server))
            raw.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(10))
        assert client.post("/v1/denoise?sigma=20", content=noisy_file("png")).status_code == 200


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("text/html", b"<p>", 415),
        ("application/json", b"{}", 415),
        ("image/png", b"GIF89a" + bytes(100), 415),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", 415),
        ("image/png", b"", 422),
        ("image/png", b"http://127.0.0.1/secret.png", 422),
        ("image/jpeg", b"\xff\xd8\xff\xe0", 422),
    ],
)
def test_what_is_no_image(client: httpx.Client, kind: str, content: bytes, status: int) -> None:
    answer = client.post("/v1/denoise", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_the_content_decides_and_not_its_label(client: httpx.Client, noisy_file: Encode) -> None:
    answer = client.post("/v1/denoise", content=noisy_file("jpeg"), headers={"Content-Type": "image/png"})
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    "name", ["../../../tmp/x.png", "/etc/passwd", "C:\\x.png", "a\0b.png", "http://evil.example/x.png", "x" * 3000]
)
def test_names_are_not_used(client: httpx.Client, noisy_file: Encode, name: str) -> None:
    answer = client.post("/v1/denoise?sigma=20", files={"file": (name, noisy_file("png"))})
    assert answer.status_code == 200
    assert name not in str(answer.headers)


def test_garbage_instead_of_http(server: Server) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/9\r\n\r\n",
        b"x" * 100_000,
        HEAD + b"Content-Length: -5\r\n\r\n",
    ):
        with connection(server) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
            assert not read_all(raw).startswith(b"HTTP/1.1 5")


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """Damage a file somewhere, most often near its head."""
    content = bytearray(chance.choice(seeds))
    reach = min(len(content), chance.choice((64, 300, 2000, len(content))))
    match chance.randrange(3):
        case 0:
            del content[chance.randrange(len(content)) :]
        case 1:
            for _ in range(chance.choice((1, 3, 30))):
                content[chance.randrange(reach)] = chance.choice((0, 127, 255, chance.randrange(256)))
        case 2:
            at = chance.randrange(reach)
            content[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(content)


def fuzz(client: httpx.Client, seeds: list[bytes], n_files: int) -> set[int]:
    chance = random.Random(1)  # noqa: S311
    # At strength 0 a file that can be read comes back at once: most of the time goes into reading.
    strengths = [100 if i % 10 == 0 else 0 for i in range(n_files)]
    return {
        client.post(f"/v1/denoise?sigma=5&strength={strength}", content=damaged(seeds, chance)).status_code
        for strength in strengths
    }


@pytest.fixture(scope="module")
def seeds(noisy: NDArray[np.uint8]) -> list[bytes]:
    small = io.Image((noisy[:24, :30].copy(),), (noisy[:24, :30, 0].copy(),), "png")
    opaque = io.Image(small.pages, (None,), "png")
    return [io.encode(opaque if kind == "jpeg" else small, kind) for kind in ("jpeg", "png", "tiff", "webp", "avif")]


def test_malformed_files(client: httpx.Client, seeds: list[bytes], server: Server) -> None:
    workers = server.workers()
    assert fuzz(client, seeds, 200) <= {200, 413, 415, 422}
    assert server.workers() == workers


@pytest.mark.slow
def test_many_malformed_files(client: httpx.Client, seeds: list[bytes]) -> None:
    # A decoder may crash; then its worker is replaced.
    assert fuzz(client, seeds, 1000) <= {200, 413, 415, 422, 503}


def test_a_killed_worker_is_replaced_and_only_its_own_request_fails(
    server: Server, client: httpx.Client, noisy_file: Encode
) -> None:
    statuses: dict[str, int] = {}

    def ask(name: str) -> None:
        with server.client() as own:
            statuses[name] = own.post("/v1/denoise", content=noisy_file("png")).status_code

    (worker,) = server.workers()
    # However fast the machine, the worker is not done before it is killed.
    os.kill(worker, signal.SIGSTOP)
    threads = [threading.Thread(target=ask, args=("killed",))]
    threads[0].start()
    time.sleep(0.3)
    threads.append(threading.Thread(target=ask, args=("waiting",)))
    threads[1].start()
    time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert statuses == {"killed": 503, "waiting": 200}
    assert server.workers() != [worker]
    assert 'pellucid_workers_restarted_total{reason="crash"} 1' in client.get("/metrics").text
