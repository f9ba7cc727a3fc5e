"""The command as a whole: help, start-up, version."""

import time

import pytest

from tests.conftest import Run


@pytest.mark.parametrize("command", ["denoise", "estimate", "models", "doctor", "evaluate", "train", "export", "batch"])
def test_help_has_examples(pellucid: Run, command: str) -> None:
    done = pellucid(command, "--help")
    assert done.returncode == 0
    assert f"pellucid {command} " in done.stdout.decode().partition("xample")[2]


def test_help_answers_at_once(pellucid: Run) -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert pellucid("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4


def test_version(pellucid: Run) -> None:
    import pellucid as package

    assert pellucid("--version").stdout.decode().strip() == f"pellucid {package.__version__}"
