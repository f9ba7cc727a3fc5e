"""Fixtures of the tests of batch."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which are then not waited for."""
    found: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=found.append))
    return found


@pytest.fixture(scope="session")
def options(small_model: Path) -> DenoiseOptions:
    return DenoiseOptions(model=small_model, sigma=20 / 255)


@pytest.fixture(scope="session")
def save_crop(photo: NDArray[np.uint8]) -> Callable[[Path, int], Path]:
    """Save a small noisy crop of a photograph, another for every number."""

    def save(path: Path, number: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        page = add_noise(np.ascontiguousarray(photo[30 * number :][:40, :56]), 20)
        io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path)
        return path

    return save
