import math

import pytest
import torch

from pellucid.training.nn.noise_estimator import (
    CELL_PX,
    FAINT,
    TOO_WEAK,
    NoiseEstimator,
    estimation_error,
    estimation_loss,
)


def estimator(n_blocks: int = 2, n_channels: int = 3) -> NoiseEstimator:
    torch.manual_seed(0)
    return NoiseEstimator(n_channels, 8, n_blocks).double()


@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_map_of_the_images_size_and_more_than_nothing(n_channels: int) -> None:
    noisy = torch.rand(2, n_channels, 16, 24, dtype=torch.double)
    level = estimator(n_channels=n_channels)(noisy)
    assert level.shape == (2, 1, 16, 24)
    assert (level > 0).all()
    cells = level.unfold(2, CELL_PX, CELL_PX).unfold(3, CELL_PX, CELL_PX)
    torch.testing.assert_close(cells, cells[..., :1, :1].expand_as(cells))


@pytest.mark.parametrize("n_blocks", [0, 1, 3])
def test_nothing_beyond_the_radius_is_seen_and_what_is_within_is(n_blocks: int) -> None:
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


def test_multiply_adds_are_those_that_hooks_count() -> None:
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


def test_too_weak_costs_more_than_too_strong_where_noise_differs_from_place_to_place() -> None:
    truth = torch.full((1, 1, 4, 4), 0.1)
    truth[..., 0] = 0.11
    twice = 2 * (truth + FAINT) - FAINT
    assert float(estimation_loss(truth, truth)) == 0
    assert float(estimation_loss(truth, twice)) == pytest.approx(2 * TOO_WEAK * math.log(2), rel=1e-5)
    assert float(estimation_loss(twice, truth)) == pytest.approx(2 * (1 - TOO_WEAK) * math.log(2), rel=1e-5)


def test_of_even_noise_both_errors_cost_the_same_whatever_its_neighbours_in_the_batch() -> None:
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
    assert int(losses.argmin()) == round(TOO_WEAK * 100)
