import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.training.nn.heads import ScaledTanh, build_head

NAMES = ("linear", "clip", "sigmoid", "tanh", "scaled_tanh")
A, B = 0.6, 5 / 6
VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


def gradient(name: str, values: torch.Tensor) -> torch.Tensor:
    values = values.clone().requires_grad_()
    build_head(name)(values).sum().backward()
    assert values.grad is not None
    return values.grad


@settings(deadline=None)
@given(values=VALUES)
def test_ranges(values: list[float]) -> None:
    x = torch.tensor(values)
    for name in ("clip", "sigmoid", "tanh"):
        mapped = build_head(name)(x)
        assert mapped.shape == x.shape
        assert mapped.min() >= 0
        assert mapped.max() <= 1
    assert torch.equal(build_head("linear")(x), x)


@settings(deadline=None)
@given(values=VALUES, a=st.floats(0.51, 10), b=st.floats(-0.99, 0.99))
def test_scaled_tanh_range(values: list[float], a: float, b: float) -> None:
    assume(a * (b + 1) > 1.001)
    output = ScaledTanh(a, b)
    low, high = a * (b - 1), a * (b + 1)
    assert low < 0
    assert high > 1
    mapped = output(torch.tensor(values, dtype=torch.double))
    assert mapped.min() >= low - 1e-12
    assert mapped.max() <= high + 1e-12
    ends = output(torch.tensor([-100.0, 100.0], dtype=torch.double))
    torch.testing.assert_close(ends, torch.tensor([low, high], dtype=torch.double))
    assert float(output(torch.tensor(output.middle, dtype=torch.double))) == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_middle_is_gray_and_maps_are_monotonic(name: str) -> None:
    output = build_head(name)
    assert float(output(torch.tensor(output.middle))) == pytest.approx(0.5)
    mapped = output(torch.linspace(-3, 4, 50))
    assert (mapped.diff() >= 0).all()


def test_known_values() -> None:
    x = torch.tensor([-2.0, 0.0, 0.25, 1.0, 3.0])
    assert build_head("clip")(x).tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]
    torch.testing.assert_close(build_head("sigmoid")(x), x.exp() / (1 + x.exp()))
    torch.testing.assert_close(build_head("tanh")(x), (2 * x).sigmoid())
    torch.testing.assert_close(build_head("scaled_tanh")(x), 0.6 * (x.tanh() + 5 / 6))


def test_clip_has_no_gradient_outside() -> None:
    assert gradient("clip", torch.tensor([-5.0, -1e-3, 0.5, 1.001, 7.0])).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_gradients_at_black_and_white() -> None:
    """Compared where each output is as close to black and to white as half a step of 8 bits."""
    near = torch.tensor([0.5, 254.5], dtype=torch.double) / 255
    slopes = {
        "sigmoid": gradient("sigmoid", near.logit()),
        "tanh": gradient("tanh", torch.atanh(2 * near - 1)),
        "scaled_tanh": gradient("scaled_tanh", torch.atanh(near / A - B)),
    }
    assert slopes["sigmoid"].max() < 0.01
    assert slopes["tanh"].max() < 0.01
    assert slopes["scaled_tanh"].min() > 0.1
    # Exactly at 0 and 1 the other two have no value at all.
    at_the_ends = gradient("scaled_tanh", torch.atanh(torch.tensor([0.0, 1.0]) / A - B))
    assert at_the_ends.min() > 0.1


@pytest.mark.parametrize(
    ("a", "b"), [(0.6, 1.0), (0.6, 1.2), (0.5, 0.9), (1 / 1.5, 0.5), (1.0, -1.0), (0.5, -2.0), (-1.0, 0.5), (-3, -2)]
)
def test_scaled_tanh_refuses_small_ranges(a: float, b: float) -> None:
    with pytest.raises(ParameterError, match=r"a = .* and b = .*choose -1 < b < 1 and a > 1 / \(b \+ 1\)"):
        ScaledTanh(a, b)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_scaled_tanh_refuses_non_finite(wrong: float) -> None:
    with pytest.raises(ParameterError):
        ScaledTanh(wrong, 0.5)
    with pytest.raises(ParameterError):
        ScaledTanh(1.0, wrong)


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(ParameterError, match="output 'relu': choose one of linear, clip, sigmoid, tanh, scaled_tanh"):
        build_head("relu")
