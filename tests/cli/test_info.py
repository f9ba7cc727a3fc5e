"""The commands ``pellucid estimate``, ``models`` and ``doctor``, run as their user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest

from pellucid import io
from tests.conftest import Run


def test_estimate(pellucid: Run, noisy: Path) -> None:
    assert json.loads(pellucid("estimate", noisy, "--json").stdout)["sigmas"][0] == pytest.approx(25, rel=0.1)
    path, sigma = pellucid("estimate", noisy).stdout.decode().rsplit(maxsplit=1)
    assert path.strip() == str(noisy)
    assert float(sigma) == pytest.approx(25, rel=0.1)
    some = pellucid("estimate", noisy, "missing.png")
    assert some.returncode == 3
    assert str(noisy) in some.stdout.decode()


def test_noise_map(pellucid: Run, noisy: Path, seeing_model: Path, tmp_path: Path) -> None:
    level = tmp_path / "level.png"
    done = pellucid("estimate", noisy, "--map", level, "-m", seeing_model)
    assert done.returncode == 0
    sigma = float(done.stdout.split()[-1])
    drawn = io.read(level).pages[0]
    assert drawn.shape[:2] == (200, 240)
    assert np.sqrt(np.mean(np.square(drawn / 10))) == pytest.approx(sigma, rel=0.05)
    again = pellucid("estimate", noisy, "--map", level, "-m", seeing_model)
    assert again.returncode == 1
    assert b"exists already" in again.stderr
    assert pellucid("estimate", noisy, "--map", level, "-m", seeing_model, "--overwrite").returncode == 0


def test_noise_map_usage(pellucid: Run, noisy: Path, small_model: Path, tmp_path: Path) -> None:
    two = pellucid("estimate", noisy, noisy, "--map", tmp_path / "map.png")
    assert two.returncode == 2
    assert b"name one input" in two.stderr
    blind = pellucid("estimate", noisy, "--map", tmp_path / "map.png", "-m", small_model)
    assert blind.returncode == 2
    assert b"has no noise estimator" in blind.stderr
    assert not (tmp_path / "map.png").exists()


def test_models(pellucid: Run) -> None:
    assert {line.split()[0] for line in pellucid("models").stdout.decode().splitlines()} >= {"color", "gray"}
    cards = [json.loads(line) for line in pellucid("models", "--json").stdout.splitlines()]
    assert all(len(card["sha256"]) == 64 for card in cards)


def test_doctor(pellucid: Run) -> None:
    report = json.loads(pellucid("doctor", "--json").stdout)
    assert report["noise_removed_db"] > 10
    assert report["seconds_per_megapixel"] > 0
    text = pellucid("doctor").stdout.decode()
    for word in ("pellucid", "openvino", "precision", "device"):
        assert word in text
