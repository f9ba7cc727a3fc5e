import math

import numpy as np
import pytest
import torch

from pellucid.inference.noise_map import AVERAGED, BY_CHANCE, LIMITS, MIDDLE, UPPER, smooth_window
from pellucid.training.nn.noise_estimator import (
    CAMERA_QUANTILE,
    CELL_PX,
    FAINT,
    NoiseEstimator,
    estimation_error,
    estimation_loss,
    smooth_patches,
)


def estimator(n_blocks: int = 2, n_channels: int = 3) -> NoiseEstimator:
    torch.manual_seed(0)
    return NoiseEstimator(n_channels, 8, n_blocks).double()


@pytest.mark.parametrize("n_channels", [1, 3])
def test_map_is_positive_and_of_image_size(n_channels: int) -> None:
    noisy = torch.rand(2, n_channels, 16, 24, dtype=torch.double)
    level = estimator(n_channels=n_channels)(noisy)
    assert level.shape == (2, 1, 16, 24)
    assert (level > 0).all()
    cells = level.unfold(2, CELL_PX, CELL_PX).unfold(3, CELL_PX, CELL_PX)
    torch.testing.assert_close(cells, cells[..., :1, :1].expand_as(cells))


@pytest.mark.parametrize("n_blocks", [0, 1, 3])
def test_receptive_field(n_blocks: int) -> None:
    network = estimator(n_blocks)
    side = 2 * network.radius_px + 2 * CELL_PX
    side += -side % CELL_PX
    noisy = torch.rand(1, 3, side, side, dtype=torch.double, requires_grad=True)
    middle = side // 2
    network(noisy)[0, 0, middle, middle].backward()
    assert noisy.grad is not None
    seen = torch.nonzero(noisy.grad[0].abs().sum(dim=0))
    reach = int((seen - middle).abs().max())
    assert network.radius_px - CELL_PX < reach <= network.radius_px


def test_macs() -> None:
    network = estimator()
    counted = 0

    def count(layer: torch.nn.Conv2d, _inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += layer.weight.numel() * output.shape[2] * output.shape[3]

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    network(torch.rand(1, 3, 16, 24, dtype=torch.double))
    assert network.macs_per_px == pytest.approx(counted / (16 * 24))


def test_errors_are_factors() -> None:
    truth = torch.full((1, 1, 4, 4), 0.1)
    twice = 2 * (truth + FAINT) - FAINT
    assert float(estimation_error(truth, truth)) == 0
    for one, other in ((truth, twice), (twice, truth)):
        assert float(estimation_error(one, other)) == pytest.approx(math.log(2), rel=1e-5)


def test_loss_of_uneven_noise_penalizes_underestimates() -> None:
    truth = torch.full((1, 1, 4, 4), 0.1)
    truth[..., 0] = 0.11
    twice = 2 * (truth + FAINT) - FAINT
    assert float(estimation_loss(truth, truth)) == 0
    assert float(estimation_loss(truth, twice)) == pytest.approx(2 * CAMERA_QUANTILE * math.log(2), rel=1e-5)
    assert float(estimation_loss(twice, truth)) == pytest.approx(2 * (1 - CAMERA_QUANTILE) * math.log(2), rel=1e-5)


def test_loss_of_even_noise_is_symmetric() -> None:
    even, uneven = torch.full((1, 1, 4, 4), 0.1), torch.linspace(0.01, 0.2, 16).reshape(1, 1, 4, 4)
    twice = 2 * (even + FAINT) - FAINT
    weak, strong = estimation_loss(even, twice), estimation_loss(twice, even)
    assert float(weak) == pytest.approx(math.log(2), rel=1e-5)
    assert float(strong) == pytest.approx(math.log(2), rel=1e-5)
    together = estimation_loss(torch.cat([even, uneven]), torch.cat([twice, uneven]))
    assert float(together) == pytest.approx(math.log(2) / 2, rel=1e-5)


def test_the_loss_is_least_at_its_quantile() -> None:
    truth = torch.linspace(0.01, 0.2, 101)[None, None, None]
    guesses = torch.linspace(0.01, 0.2, 101)
    losses = torch.stack([estimation_loss(guess.expand_as(truth), truth) for guess in guesses])
    assert int(losses.argmin()) == round(CAMERA_QUANTILE * 100)


CELL = AVERAGED * CELL_PX


def maps(cells: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(cells.repeat(CELL, 1).repeat(CELL, 2)))[:, None]


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_smooth_patches_is_close_to_inference(n_channels: int, share: float) -> None:
    rng = np.random.default_rng(0)
    cells = rng.uniform(0.02, 0.03, (1, 60, 60)).astype(np.float32)
    cells *= rng.random(cells.shape) < share
    told = smooth_patches(maps(cells), n_channels)
    small = cells[0].repeat(AVERAGED, 0).repeat(AVERAGED, 1)
    seen = np.stack([small, np.full_like(small, 1)], axis=2)
    whole = slice(0, len(small))
    later = smooth_window(seen, limit=LIMITS[n_channels], kept=(whole, whole))
    assert told.shape == (1, 1, 60 * CELL, 60 * CELL)
    assert float(told.max()) == float(told.min())
    assert float(told[0, 0, 0, 0]) == pytest.approx(float(later.mean()), abs=0.002)


def test_smooth_patches_of_uniform_estimates() -> None:
    cells = np.linspace(0, 0.1, 1600, dtype=np.float32).reshape(1, 40, 40)
    expected = 0.1 * (MIDDLE + max(UPPER - (1 + BY_CHANCE) * MIDDLE, 0))
    share, n_times = LIMITS[3]
    assert expected < 0.1 * share * n_times
    assert float(smooth_patches(maps(cells), 3).mean()) == pytest.approx(expected, rel=0.01)


def test_patches_are_smoothed_independently() -> None:
    cells = np.stack([np.full((4, 4), level, np.float32) for level in (0.0, 0.05)])
    told = smooth_patches(maps(cells), 3)
    assert told.amax((1, 2, 3)).tolist() == pytest.approx([0, 0.05])


def test_many_places_learn() -> None:
    cells = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0)).numpy()
    estimate = maps(cells).requires_grad_()
    smooth_patches(estimate, 3).mean().backward()
    assert estimate.grad is not None
    assert int((estimate.grad[0, 0, ::CELL, ::CELL] != 0).sum()) >= 40
