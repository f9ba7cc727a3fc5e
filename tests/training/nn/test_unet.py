import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid import Denoiser, find_model
from pellucid.errors import ParameterError
from pellucid.training.nn.blocks import IMAGE_MEAN, IMAGE_STD, DecoderBlock, EncoderBlock
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.pretrained import read_weights

IMAGE_OUTPUTS = ("linear", "clip", "sigmoid", "tanh", "scaled_tanh")
#: One option changed at a time, and some together.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"resampling": "block"},
    {"normalization": "batch"},
    {"residual": False},
    {"skip": False},
    {"input_scaling": False},
    *({"output": output} for output in IMAGE_OUTPUTS),
    {"resampling": "block", "normalization": "batch", "output": "scaled_tanh"},
    {"resampling": "block", "residual": False, "skip": False, "input_scaling": False, "output": "sigmoid"},
]
each_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def inputs(n_channels: int, side: int, n: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, n_channels, side, 2 * side), torch.full((n, 1, side, 2 * side), 0.1)


@settings(deadline=None, max_examples=15)
@given(
    channels=st.sampled_from([1, 3]),
    levels=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 2)), min_size=1, max_size=3),
    options=st.sampled_from(OPTIONS),
)
def test_shape_is_kept(channels: int, levels: list[tuple[int, int]], options: dict[str, Any]) -> None:
    widths, depths = zip(*levels, strict=True)
    network = DenoisingAutoencoder(channels, widths, depths, **options)
    assert network.stride_px == 2 ** len(widths)
    noisy, sigma = inputs(channels, network.stride_px, n=2)
    residual = network(noisy, sigma)
    assert residual.shape == noisy.shape
    residual.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


LEVELS = [((8,), (2,)), ((8, 16), (1, 1)), ((4, 4, 4), (1, 2, 1))]


@pytest.mark.parametrize(
    ("widths", "depths", "options"),
    [
        *((*levels, {}) for levels in LEVELS),
        *((*LEVELS[1], options) for options in OPTIONS[1:]),
        (*LEVELS[2], {"resampling": "block"}),
    ],
    ids=str,
)
def test_receptive_field(widths: tuple[int, ...], depths: tuple[int, ...], options: dict[str, Any]) -> None:
    """The gradient of one output pixel says which inputs it depends on; tiles are exact because the others do not
    count."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(1, widths, depths, **options).double().eval()
    for name, parameter in network.named_parameters():
        # Positive weights and features, so that no rectifier hides a path; small last values, so that no output does.
        if name != "tail.bias":
            parameter.data = (parameter.data.abs() + 0.01) * (1e-6 if name == "tail.weight" else 1)
    middle = 2 * network.stride_px * (-(-network.radius_px // network.stride_px))
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


@each_option
def test_macs(options: dict[str, Any]) -> None:
    network = DenoisingAutoencoder(3, (8, 16, 32), (1, 2, 1), **options)
    side, total = 64, 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += layer.weight.numel() * places.shape[2] * places.shape[3]

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    assert network.macs_per_px == total / side**2


def test_counting_does_not_change_the_network() -> None:
    network = DenoisingAutoencoder(1, (4, 8), (1, 1), normalization="batch")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert network.macs_per_px > 0
    assert network.radius_px > 0
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_counting_ignores_hooks() -> None:
    network, calls = DenoisingAutoencoder(1, (4,), (1,)), []
    network.head.register_forward_hook(lambda *_: calls.append(1))
    assert network.macs_per_px > 0
    assert not calls
    network(*inputs(1, 4))
    assert len(calls) == 1


def test_cost_and_reach_of_a_known_size() -> None:
    network = DenoisingAutoencoder(3, (64, 128, 256), (1, 1, 1))
    assert (network.macs_per_px, network.radius_px, network.stride_px) == (103952.0, 51, 8)


def test_weight_names_of_shipped_models() -> None:
    """Models are read back by these names; a change of one makes every model file unreadable."""
    state = DenoisingAutoencoder(3, (8, 16), (1, 2)).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items() if name.endswith("weight")} == {
        "head.weight": (8, 13, 3, 3),
        "encoder.0.0.conv1.weight": (8, 8, 3, 3),
        "encoder.0.0.conv2.weight": (8, 8, 3, 3),
        "encoder.1.0.conv1.weight": (16, 16, 3, 3),
        "encoder.1.0.conv2.weight": (16, 16, 3, 3),
        "encoder.1.1.conv1.weight": (16, 16, 3, 3),
        "encoder.1.1.conv2.weight": (16, 16, 3, 3),
        "down.0.weight": (16, 8, 2, 2),
        "up.0.weight": (16, 8, 2, 2),
        "decoder.0.0.conv1.weight": (8, 8, 3, 3),
        "decoder.0.0.conv2.weight": (8, 8, 3, 3),
        "tail.weight": (12, 8, 3, 3),
    }
    assert {name.rpartition(".")[2] for name in state} == {"weight", "bias"}


def shape_of(weights: dict[str, torch.Tensor]) -> tuple[list[int], list[int]]:
    """Read widths and depths off the names and shapes of a network's weights."""
    n_levels = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("down."))
    levels = [
        [value.shape[0] for name, value in weights.items() if re.fullmatch(rf"encoder\.{i}\.\d+\.conv2\.bias", name)]
        for i in range(n_levels + 1)
    ]
    return [level[0] for level in levels], [len(level) for level in levels]


@pytest.mark.parametrize("model", ["color", "gray"])
def test_shipped_model_agrees_with_engine_and_card(model: str) -> None:
    weights, card = read_weights(model), find_model(model)
    n_channels = card.channels
    network = DenoisingAutoencoder(n_channels, *shape_of(weights)).eval()
    network.load_state_dict(weights, strict=True)
    assert card.kmacs_per_px == pytest.approx(network.macs_per_px / 1000, abs=0.06)
    assert card.stride_px == network.stride_px
    assert 0 <= card.halo_px - network.radius_px < card.stride_px
    noisy = np.random.default_rng(0).random((48, 64, n_channels), dtype=np.float32)
    denoised = Denoiser(model, precision="fp32").denoise(noisy, sigma=0.1)
    tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = tensor - network(tensor, torch.full((1, 1, 48, 64), 0.1))
    # So that agreement means something: what was taken out is no rounding, but of the order of the level told.
    assert np.abs(denoised - noisy).max() > 0.05
    assert np.abs(denoised - expected[0].permute(1, 2, 0).numpy()).max() < 1e-4


@pytest.mark.parametrize("resampling", ["convolution", "block"])
def test_skip_connections(resampling: Any) -> None:
    """With the way through the bottom cut, the image still gets through, or nothing does."""
    sigma = torch.full((1, 1, 16, 16), 0.1)
    for skip in (True, False):
        network = DenoisingAutoencoder(1, (8, 16), (1, 1), resampling=resampling, skip=skip)
        for parameter in network.up.parameters():
            parameter.data.zero_()
        same = torch.equal(network(torch.zeros(1, 1, 16, 16), sigma), network(torch.rand(1, 1, 16, 16), sigma))
        assert same != skip


def blocks_of(network: nn.Module) -> list[EncoderBlock]:
    return [module for module in network.modules() if isinstance(module, EncoderBlock)]


def test_resampling_by_blocks() -> None:
    network = DenoisingAutoencoder(3, (4, 6, 8), (1, 2, 3), resampling="block")
    by_convolution = DenoisingAutoencoder(3, (4, 6, 8), (1, 2, 3))
    assert len(blocks_of(network)) == len(blocks_of(by_convolution)) == (1 + 2) * 2 + 3
    assert all(isinstance(step, EncoderBlock) and step.conv1.stride == (2, 2) for step in network.down)
    assert all(isinstance(step, DecoderBlock) for step in network.up)
    projections = [block for block in blocks_of(network) if isinstance(block.projection, nn.Conv2d)]
    assert projections == list(network.down)
    assert [block.conv1.out_channels for block in network.down if isinstance(block, EncoderBlock)] == [6, 8]


def test_shipped_blocks_have_no_projection() -> None:
    network = DenoisingAutoencoder(3, (4, 6), (1, 2))
    assert all(isinstance(block.projection, nn.Identity) for block in blocks_of(network))
    plain = DenoisingAutoencoder(3, (4, 6), (1, 2), residual=False)
    assert all(block.projection is None for block in blocks_of(plain))


@pytest.mark.parametrize("output", ["noise", *IMAGE_OUTPUTS])
def test_image_plus_residual_is_input(output: str) -> None:
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, (4, 8), (1, 1), output=output)
    noisy, sigma = inputs(3, 8)
    torch.testing.assert_close(noisy - network(noisy, sigma), network.image(noisy, sigma))


@pytest.mark.parametrize("output", IMAGE_OUTPUTS)
def test_image_output_starts_gray(output: str) -> None:
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, (8, 8), (1, 1), output=output)
    noisy, sigma = inputs(3, 16)
    assert (network.image(noisy, sigma) - 0.5).abs().max() < 0.2
    assert network.tail.bias is not None
    nn.init.constant_(network.tail.bias, -3.0)
    dark = network.image(noisy, sigma)
    assert dark.max() < 0.1
    dark.sum().backward()
    stuck = not network.tail.weight.grad.abs().any()  # type: ignore[union-attr]
    assert stuck == (output == "clip")


def test_noise_output_starts_near_zero() -> None:
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, (8, 8), (1, 1))
    assert network(*inputs(3, 16)).abs().max() < 0.3


def test_input_scaling() -> None:
    seen: list[torch.Tensor] = []
    noisy, sigma = inputs(1, 16)
    for scaled in (True, False):
        network = DenoisingAutoencoder(1, (4,), (1,), input_scaling=scaled)
        network.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        network(IMAGE_MEAN + IMAGE_STD * noisy, sigma)
    folded = torch.nn.functional.pixel_unshuffle(noisy, 2)
    torch.testing.assert_close(seen[0][:, :4], folded)
    torch.testing.assert_close(seen[1][:, :4], IMAGE_MEAN + IMAGE_STD * folded)
    torch.testing.assert_close(seen[1][:, 4:], torch.full((1, 1, 8, 16), 0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": ()}, "widths has 0 entries and depths 2"),
        ({"depths": (1,)}, "widths has 2 entries and depths 1"),
        ({"depths": (1, 0), "resampling": "block"}, r"depths \(1, 0\): .* at least 1"),
        ({"resampling": "bilinear"}, "resampling 'bilinear': choose"),
        ({"normalization": "layer"}, "normalization 'layer': choose"),
        ({"output": "relu"}, "output 'relu': choose"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        DenoisingAutoencoder(**{"n_channels": 3, "widths": (4, 8), "depths": (1, 1), **changes})
