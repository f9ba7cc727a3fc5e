import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from pellucid.lab.workers import start_workers

pytestmark = pytest.mark.slow

COMMAND = (Path(sys.executable).with_name("pellucid"), "lab", "run", "depth", "--full", "--jobs", "2", "-o")


def run_module(name):
    """Import a module in a worker."""
    return __import__(name).get_num_threads()


def is_there(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(holds, limit_s=120):
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.1)


@pytest.fixture
def at_work(tmp_path):
    """A full run whose workers have begun their arms, and the workers' numbers."""
    with subprocess.Popen([*COMMAND, tmp_path / "results"], stderr=subprocess.PIPE, text=True) as process:
        # Two workers, and what keeps track of their semaphores.
        wait_until(lambda: len(children(process.pid)) >= 3)
        time.sleep(5)
        yield process, children(process.pid)
        process.kill()


def test_each_has_one_thread():
    with start_workers(2) as executor:
        assert list(executor.map(run_module, ["torch"] * 3)) == [1] * 3


def test_one_that_dies_is_no_result():
    with start_workers(1) as executor, pytest.raises(BrokenExecutor):
        executor.submit(os._exit, 1).result()


def test_an_interrupted_run_leaves_nobody(at_work):
    process, workers = at_work
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()
    wait_until(lambda: not any(map(is_there, workers)), 20)


def test_a_killed_run_leaves_nobody(at_work):
    process, workers = at_work
    process.kill()
    wait_until(lambda: not any(map(is_there, workers)), 60)
