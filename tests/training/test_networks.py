from typing import Any

import pytest
import torch

from pellucid.training.networks import DenoisingAutoencoder


@pytest.mark.parametrize(
    ("channels", "widths", "depths"), [(3, (8, 16), (1, 1)), (1, (8, 8, 16), (1, 2, 1)), (3, (16,), (2,))]
)
def test_shape_is_kept(channels: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    network = DenoisingAutoencoder(channels, widths, depths)
    side = 3 * network.stride_px
    noisy = torch.rand(2, channels, side, 2 * side)
    assert network(noisy, torch.full((2, 1, side, 2 * side), 0.1)).shape == noisy.shape


@pytest.mark.parametrize(("widths", "depths"), [((8, 16), (1, 1)), ((8, 8, 8), (1, 1, 1)), ((8, 8, 8), (1, 2, 1))])
def test_nothing_beyond_the_stated_radius_is_seen(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    """The gradient of one output pixel says which inputs it depends on; tiles are exact because the others do not
    count."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(1, widths, depths).double()
    for parameter in network.parameters():
        # Positive weights and features, so that no rectifier hides a path.
        parameter.data = parameter.data.abs() + 0.01
    middle = 3 * network.stride_px * (network.radius_px // network.stride_px)
    side = 2 * middle
    reach = 0
    for offset in range(network.stride_px):
        noisy = torch.ones(1, 1, side, side, dtype=torch.double, requires_grad=True)
        sigma = torch.full_like(noisy, 0.2).requires_grad_()
        network(noisy, sigma)[0, 0, middle + offset, middle + offset].backward()
        assert noisy.grad is not None
        assert sigma.grad is not None
        for gradient in (noisy.grad, sigma.grad):
            seen = torch.nonzero(gradient[0, 0])
            reach = max(reach, int((seen - (middle + offset)).abs().max()))
    assert network.radius_px - network.stride_px < reach <= network.radius_px


def test_multiply_adds_are_what_the_layers_do() -> None:
    network = DenoisingAutoencoder(3, (8, 16, 32), (1, 2, 1))
    side, total = 64, 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        places = inputs[0] if isinstance(layer, torch.nn.ConvTranspose2d) else output
        total += layer.weight.numel() * places.shape[2] * places.shape[3]

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    assert network.macs_per_px == total / side**2


def test_the_skip_connections_are_there() -> None:
    """With the way through the bottom cut, the image still gets through."""
    network = DenoisingAutoencoder(1, (8, 16), (1, 1))
    for parameter in network.up.parameters():
        parameter.data.zero_()
    sigma = torch.full((1, 1, 16, 16), 0.1)
    assert not torch.equal(network(torch.zeros(1, 1, 16, 16), sigma), network(torch.rand(1, 1, 16, 16), sigma))
