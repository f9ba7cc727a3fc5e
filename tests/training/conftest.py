from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.trainer import train

TINY = {
    "name": "tiny",
    "summary": "A network too small to be good",
    "n_steps": 12,
    "validate_every": 4,
    "precision": "fp32",
    "network": {"channels": 3, "widths": [16, 32], "depths": [1, 1]},
    "data": {"patch_px": 32, "batch_size": 4, "held_out_every": 3},
    "optimizer": {"n_warmup": 2},
}


@pytest.fixture
def tiny() -> Recipe:
    return parse_recipe(TINY, "tiny")


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    """Six cuts of a photograph, one of them in 16 bits."""
    folder = tmp_path_factory.mktemp("clean")
    for index in range(6):
        page = np.ascontiguousarray(photo[80 * index : 80 * index + 80, :200])
        if index == 5:
            page = page.astype(np.uint16) * 257
        io.write(io.Picture((page,), (None,), "png"), folder / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def run(clean_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe that has come to its end; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(parse_recipe(TINY, "tiny"), clean_folder, out)
    return out
