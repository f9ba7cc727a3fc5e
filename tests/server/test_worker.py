"""The worker process by itself."""

import subprocess
import sys
from io import BytesIO

import pytest

from pellucid import io
from pellucid.server.frames import Frame, read_frame, write_frame
from tests.server.conftest import Encode

# Tells on stderr of everything that a worker has no business with.
WATCHED = """
import runpy, sys
FORBIDDEN = {"os.fork", "os.forkpty", "os.system", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
sys.addaudithook(lambda event, arguments: event in FORBIDDEN and print(event, arguments, file=sys.stderr))
sys.argv[1:] = ['{"n_threads": 1, "max_pixels": 10000}']
runpy.run_module("pellucid.server.worker", run_name="__main__", alter_sys=True)
"""


def job(content: bytes, **changes: object) -> Frame:
    return Frame({"task": "denoise", "options": {"sigma": 20}, "previews": False, **changes}, content)


@pytest.fixture
def worker() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_it_answers_and_ends_with_its_stdin_and_does_nothing_else(
    worker: "subprocess.Popen[bytes]", noisy_file: Encode
) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert read_frame(worker.stdout) == Frame({"kind": "ready"})
    write_frame(worker.stdin, job(noisy_file("png")))
    write_frame(worker.stdin, job(b"GIF89a"))
    write_frame(worker.stdin, Frame({"task": "estimate"}, noisy_file("jpeg")))
    frames = [frame for _ in range(5) if (frame := read_frame(worker.stdout))]
    rest, errors = worker.communicate(timeout=30)
    assert [frame.fields["kind"] for frame in frames] == ["progress", "result", "part", "problem", "result"]
    assert io.read(frames[2].content).format == "png"
    assert frames[3].fields["problem"]["status"] == 415
    assert frames[4].fields["result"]["format"] == "jpeg"
    assert (worker.returncode, rest, errors) == (0, b"", b"")


def test_it_ends_in_the_middle_of_a_frame(worker: "subprocess.Popen[bytes]") -> None:
    stream = BytesIO()
    write_frame(stream, job(bytes(1000)))
    worker.communicate(stream.getvalue()[:-1], timeout=60)
    assert worker.returncode == 0
