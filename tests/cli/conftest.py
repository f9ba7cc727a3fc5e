"""Image files that the commands' tests share."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from tests.conftest import add_noise


def save(path: Path, page: NDArray[np.generic]) -> Path:
    io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path)
    return path


@pytest.fixture
def noisy(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    return save(tmp_path / "noisy.png", add_noise(photo, 25)[:200, :240].copy())
