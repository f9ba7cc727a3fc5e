"""The example scripts run, without warnings, and print what they promise."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NIGHT = EXAMPLES.parent / "demo" / "night.jpg"


def run_example(name: str, *arguments: object, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_denoise_array():
    lines = run_example("denoise_array.py")
    gains = [float(line.split(" -> ")[1].split()[0]) - float(line.split(" dB ->")[0].split()[-1]) for line in lines]
    assert min(gains) > 7


@pytest.mark.slow
def test_known_sigma_and_noise_map():
    lines = run_example("known_sigma_and_noise_map.py")
    scores = {line[:18].strip(): float(line[18:].split()[0]) for line in lines if line.endswith("dB")}
    assert scores["noisy"] < scores["blind"] < scores["map, color"]


@pytest.mark.slow
def test_denoise_folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "night.jpg").write_bytes(NIGHT.read_bytes())
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    (tmp_path / "in" / "notes.txt").write_text("no image either")
    lines = run_example("denoise_folder.py", tmp_path / "in", tmp_path / "out")
    assert len(lines) == 2
    assert "broken.png" in lines[0]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["night.jpg"]


@pytest.mark.slow
def test_train_on_your_images():
    lines = run_example("train_on_your_images.py", PELLUCID_EXAMPLE_STEPS="10")
    assert "dB" in lines[-1]


class _Service(BaseHTTPRequestHandler):
    """Answers as `pellucid serve` does, with the image it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_estimate = self.path == "/v1/estimate"
        answer = b'{"sigma": 14.2}' if is_estimate else body
        self.send_response(200 if body else 415)
        self.send_header("x-pellucid-model", "photo")
        self.end_headers()
        self.wfile.write(answer if body else b'{"detail": "empty"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_http_client(service_url, tmp_path):
    lines = run_example("http_client.py", NIGHT, tmp_path / "clean.jpg", "--url", service_url)
    assert "14.2" in lines[0]
    assert "photo" in lines[1]
    assert (tmp_path / "clean.jpg").read_bytes() == NIGHT.read_bytes()


def test_http_client_reports_problems(service_url, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(AssertionError, match="415: empty"):
        run_example("http_client.py", tmp_path / "empty.jpg", tmp_path / "clean.jpg", "--url", service_url)
