from pathlib import Path

import numpy as np
import pytest
import tomli_w
from numpy.typing import NDArray

from pellucid import io
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.trainer import train

TINY = {
    "name": "tiny",
    "summary": "A network too small to be good",
    "max_steps": 12,
    "val_interval": 4,
    "precision": "fp32",
    "network": {"channels": 3, "widths": [16, 32], "depths": [1, 1]},
    "data": {"patch_px": 32, "batch_size": 4, "val_every_n": 3},
    "optimizer": {"warmup_steps": 2},
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
        io.write(io.Image((page,), (None,), "png"), folder / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def run(clean_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe that has come to its end; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(parse_recipe(TINY, "tiny"), clean_folder, out)
    return out


@pytest.fixture
def tiny_stages(tmp_path: Path) -> Path:
    """A recipe of two stages, the second with a deeper network, more patches and another loss."""
    path = tmp_path / "stages.toml"
    second = {"max_steps": 6, "val_interval": 3, "seed": 1, "loss": "root_l2", "init_average": 0.25}
    second |= {"network": {"depths": [1, 2]}, "data": {"batch_size": 6}}
    path.write_text(tomli_w.dumps({**TINY, "stage": [{"max_steps": 8}, second]}))
    return path
