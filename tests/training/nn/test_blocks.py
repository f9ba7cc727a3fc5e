from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.errors import ParameterError
from pellucid.training.nn.blocks import RESIDUAL_INIT_SCALE, DecoderBlock, EncoderBlock, normalize

WIDTH = st.integers(1, 5)


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@settings(deadline=None, max_examples=30)
@given(
    n_in=WIDTH,
    n_hidden=WIDTH,
    n_out=WIDTH,
    stride=st.sampled_from([1, 2]),
    residual=st.booleans(),
    normalization=st.sampled_from(["none", "batch"]),
)
def test_encoder_block_sizes(
    n_in: int, n_hidden: int, n_out: int, stride: int, residual: bool, normalization: Any
) -> None:
    block = EncoderBlock(n_in, n_hidden, n_out, stride, normalization=normalization, residual=residual)
    assert block(torch.rand(2, n_in, 4, 6)).shape == (2, n_out, 4 // stride, 6 // stride)
    assert block.conv1.out_channels == n_hidden
    if residual:
        assert isinstance(block.projection, nn.Identity) == (n_in == n_out and stride == 1)
    else:
        assert block.projection is None


@settings(deadline=None, max_examples=15)
@given(n_in=WIDTH, n_hidden=WIDTH, n_out=WIDTH, residual=st.booleans())
def test_decoder_block_doubles_resolution(n_in: int, n_hidden: int, n_out: int, residual: bool) -> None:
    block = DecoderBlock(n_in, n_hidden, n_out, residual=residual)
    assert block(torch.rand(1, n_in, 3, 2)).shape == (1, n_out, 6, 4)


def test_a_block_is_what_its_equation_says() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 4)
    same, other, plain = EncoderBlock(3, 5, 3), EncoderBlock(3, 5, 4, 2), EncoderBlock(3, 5, 3, residual=False)

    def learned(block: EncoderBlock) -> Tensor:
        out: Tensor = block.conv2(block.conv1(features).clamp(min=0))
        return out

    torch.testing.assert_close(same(features), features + learned(same))
    assert isinstance(other.projection, nn.Conv2d)
    torch.testing.assert_close(other(features), other.projection(features) + learned(other))
    torch.testing.assert_close(plain(features), learned(plain).clamp(min=0))
    batch = EncoderBlock(3, 5, 3, normalization="batch")
    hidden = nn.functional.batch_norm(batch.conv1(features), None, None, training=True).clamp(min=0)
    normal = nn.functional.batch_norm(batch.conv2(hidden), None, None, training=True)
    torch.testing.assert_close(batch(features), features + RESIDUAL_INIT_SCALE * normal)
    up = DecoderBlock(3, 5, 2)
    carried = up.upsample(features)
    torch.testing.assert_close(up(features), carried + up.block.conv2(up.block.conv1(carried).clamp(min=0)))


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_residual_block_starts_near_identity(normalization: Any) -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 16, 16, 16)
    block = EncoderBlock(16, 16, 16, normalization=normalization)
    assert (block(features) - features).std() < 1.2 * RESIDUAL_INIT_SCALE
    plain = EncoderBlock(16, 16, 16, normalization=normalization, residual=False)
    assert plain(features).std() > 1.5 * (block(features) - features).std()


def test_gradient_through_a_deep_stack() -> None:
    torch.manual_seed(0)

    def gradient(residual: bool) -> float:
        stack = nn.Sequential(*(EncoderBlock(4, 4, 4, residual=residual) for _ in range(20)))
        features = torch.randn(1, 4, 8, 8, requires_grad=True)
        stack(features).sum().backward()
        assert features.grad is not None
        return float(features.grad.abs().mean())

    assert gradient(residual=True) > 0.5
    assert gradient(residual=False) < 1e-3


def test_block_parameters() -> None:
    assert n_parameters(EncoderBlock(4, 6, 4)) == (4 * 6 * 9 + 6) + (6 * 4 * 9 + 4)
    assert n_parameters(EncoderBlock(4, 6, 4, residual=False)) == n_parameters(EncoderBlock(4, 6, 4))
    for n_out, stride in ((8, 1), (4, 2), (8, 2)):
        plain = n_parameters(EncoderBlock(4, 6, n_out, stride, residual=False))
        assert n_parameters(EncoderBlock(4, 6, n_out, stride)) == plain + 4 * n_out + n_out
    # A bias before the normalization would do nothing; gamma and beta come in.
    n_batch = n_parameters(EncoderBlock(4, 6, 4, normalization="batch"))
    assert n_batch == n_parameters(EncoderBlock(4, 6, 4)) + 6 + 4


def test_batch_norm_can_be_the_identity() -> None:
    torch.manual_seed(0)
    features = 3 * torch.randn(4, 5, 8, 8) + torch.arange(5.0).view(5, 1, 1)
    norm = normalize("batch", 5)
    plain = norm(features).detach()
    torch.testing.assert_close(plain.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.std(dim=(0, 2, 3), correction=0), torch.ones(5), atol=1e-5, rtol=0)
    with torch.no_grad():
        norm.get_parameter("weight").copy_(features.std(dim=(0, 2, 3), correction=0))
        norm.get_parameter("bias").copy_(features.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm(features), features, atol=1e-4, rtol=0)


def test_unknown_normalization() -> None:
    kind: Any = "layer"
    with pytest.raises(ParameterError, match="normalization 'layer': choose one of none, batch"):
        normalize(kind, 3)
