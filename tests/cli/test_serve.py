"""``pellucid serve`` as its user starts and stops it."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from pellucid.cli.serve import serve_command
from pellucid.errors import MissingExtraError
from tests.conftest import Run
from tests.server.conftest import start, stop

TOKEN = "correct horse battery"  # noqa: S105
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", EVERYWHERE), f"--host {EVERYWHERE}: other machines could reach it"),
        (("--host", "::"), "--host ::: other machines could reach it"),
        (("--host", "example.invalid"), "--host example.invalid: other machines could reach it"),
        (("--token-file", "/nowhere"), "/nowhere: cannot be read as text"),
        (("--token-file", "/dev/null"), "/dev/null: too short"),
        (("--host", "203.0.113.1", "--no-token"), "203.0.113.1 port 8080: Cannot assign"),
    ],
)
def test_what_cannot_be_served(pellucid: Run, arguments: tuple[str, ...], said: str) -> None:
    done = pellucid("serve", *arguments)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"pellucid: {said}")
    assert done.stderr.count(b"\n") == 1


def test_a_port_in_use(pellucid: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = pellucid("serve", "--port", port)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"pellucid: 127.0.0.1 port {port}: Address already in use; choose another with --host or --port\n"
    )


def test_missing_extra(without_module: Callable[[str], None]) -> None:
    without_module("uvicorn")
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[serve\]'"):
        serve_command()


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(number: signal.Signals) -> None:
    running = start()
    assert running.url.startswith("http://127.0.0.1:")
    running.process.send_signal(number)
    try:
        assert running.process.wait(20) == 0
    finally:
        stop(running)


@pytest.mark.slow
def test_workers_end_with_the_server() -> None:
    running = start("--workers", 2, "--threads", 2)
    running.wait_ready()
    workers = running.workers()
    assert len(workers) == 2
    running.process.kill()
    running.process.wait()
    stop(running)
    for _ in range(1000):
        if gone(workers):
            break
        time.sleep(0.02)
    assert gone(workers)


@pytest.mark.slow
def test_others_need_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    running = start("--host", EVERYWHERE, "--token-file", tmp_path / "token")
    try:
        url = f"http://127.0.0.1:{running.port}"
        with httpx.Client(base_url=url, trust_env=False, headers={"Host": "any.example"}, timeout=60) as client:
            assert client.get("/").status_code == 200
            assert client.get("/healthz").status_code == 200
            assert client.get("/v1/models").status_code == 401
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
            security = client.get("/openapi.json").json()["paths"]["/v1/denoise"]["post"]["security"]
            assert security == [{"token": []}]
    finally:
        assert stop(running) == 0


def test_the_command_line_loads_no_web_framework() -> None:
    code = "import pellucid.cli, sys; print({'fastapi', 'starlette', 'uvicorn', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
