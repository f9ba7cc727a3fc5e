import copy
from typing import Any

import pytest
import torch
from torch import nn

from pellucid.training.folding import fold_batch_norm
from pellucid.training.nn.unet import DenoisingAutoencoder

Batch = tuple[torch.Tensor, torch.Tensor]


def batch(seed: int, n: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 16, 16, generator=generator), torch.full((n, 1, 16, 16), 0.1)


def trained(steps: int = 5, **options: Any) -> DenoisingAutoencoder:
    """Give a network whose statistics and weights are no longer those of its start."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, (6, 8), (2, 2), **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for step in range(steps):
        noisy, sigma = batch(step)
        optimizer.zero_grad()
        (network(noisy, sigma) - 0.3).square().mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("resampling", ["convolution", "block"])
@pytest.mark.parametrize("residual", [True, False])
def test_the_folded_network_computes_the_same_without_normalization(resampling: str, residual: bool) -> None:
    network = trained(normalization="batch", resampling=resampling, residual=residual)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network)
    assert not folded.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    # The one that was given is as it was.
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    noisy, sigma = batch(99)
    network.eval()
    torch.testing.assert_close(folded(noisy, sigma), network(noisy, sigma), atol=1e-5, rtol=0)
    # Statistics that had not moved would be folded right by anything.
    fresh = trained(0, normalization="batch", resampling=resampling, residual=residual).eval()
    assert (fresh(noisy, sigma) - network(noisy, sigma)).abs().max() > 1e-2


def test_a_network_made_without_normalization_can_load_the_folded_weights() -> None:
    folded = fold_batch_norm(trained(normalization="batch", resampling="block"))
    plain = DenoisingAutoencoder(3, (6, 8), (2, 2), resampling="block").eval()
    plain.load_state_dict(folded.state_dict(), strict=True)
    assert torch.equal(plain(*batch(99)), folded(*batch(99)))


def test_a_network_without_normalization_is_only_copied() -> None:
    network = trained()
    folded = fold_batch_norm(network)
    assert folded is not network
    for name, value in folded.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_training_and_evaluation_differ_and_only_evaluation_ignores_the_rest_of_the_batch() -> None:
    network = trained(normalization="batch")
    noisy, sigma = batch(99)
    in_training = network(noisy, sigma).detach()
    assert (in_training[:1] - network(noisy[:1], sigma[:1])).abs().max() > 1e-3
    network.eval()
    statistics = copy.deepcopy(dict(network.named_buffers()))
    whole = network(noisy, sigma).detach()
    assert (whole - in_training).abs().max() > 1e-3
    assert torch.equal(network(noisy, sigma), whole)
    torch.testing.assert_close(network(noisy[:1], sigma[:1]), whole[:1], atol=1e-6, rtol=1e-5)
    for name, value in network.named_buffers():
        assert torch.equal(value, statistics[name]), name
