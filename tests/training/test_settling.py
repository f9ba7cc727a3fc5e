import numpy as np
import pytest
import torch

from pellucid.inference.noise_map import AVERAGED, BY_CHANCE, CELL_PX, LIMITS, MIDDLE, UPPER, smooth_window
from pellucid.training.settling import settle_patches

CELL = AVERAGED * CELL_PX


def maps(cells: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(cells.repeat(CELL, 1).repeat(CELL, 2)))[:, None]


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_close_to_what_the_denoiser_is_told_later(n_channels: int, share: float) -> None:
    rng = np.random.default_rng(0)
    cells = rng.uniform(0.02, 0.03, (1, 60, 60)).astype(np.float32)
    cells *= rng.random(cells.shape) < share
    told = settle_patches(maps(cells), n_channels)
    small = cells[0].repeat(AVERAGED, 0).repeat(AVERAGED, 1)
    seen = np.stack([small, np.full_like(small, 1)], axis=2)
    whole = slice(0, len(small))
    later = smooth_window(seen, limit=LIMITS[n_channels], kept=(whole, whole))
    assert told.shape == (1, 1, 60 * CELL, 60 * CELL)
    assert float(told.max()) == float(told.min())
    assert float(told[0, 0, 0, 0]) == pytest.approx(float(later.mean()), abs=0.002)


def test_the_rule_itself_where_estimates_are_evenly_spread() -> None:
    cells = np.linspace(0, 0.1, 1600, dtype=np.float32).reshape(1, 40, 40)
    expected = 0.1 * (MIDDLE + max(UPPER - (1 + BY_CHANCE) * MIDDLE, 0))
    share, n_times = LIMITS[3]
    assert expected < 0.1 * share * n_times
    assert float(settle_patches(maps(cells), 3).mean()) == pytest.approx(expected, rel=0.01)


def test_each_patch_by_itself() -> None:
    cells = np.stack([np.full((4, 4), level, np.float32) for level in (0.0, 0.05)])
    told = settle_patches(maps(cells), 3)
    assert told.amax((1, 2, 3)).tolist() == pytest.approx([0, 0.05])


def test_many_places_learn() -> None:
    cells = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0)).numpy()
    estimate = maps(cells).requires_grad_()
    settle_patches(estimate, 3).mean().backward()
    assert estimate.grad is not None
    assert int((estimate.grad[0, 0, ::CELL, ::CELL] != 0).sum()) >= 40
