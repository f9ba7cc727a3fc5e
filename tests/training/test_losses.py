import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.training.losses import LOSSES, out_of_range


def test_values_on_known_errors() -> None:
    clean, denoised = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.5], [-0.5, 1.0]]]])
    assert LOSSES["l1"](denoised, clean) == pytest.approx(0.5)
    assert LOSSES["l2"](denoised, clean) == pytest.approx(0.375)
    assert LOSSES["charbonnier"](denoised, clean) == pytest.approx(0.5, abs=1e-3)
    assert LOSSES["log_l2"](denoised, clean) == pytest.approx(math.log(0.375), abs=1e-4)
    assert LOSSES["root_l2"](denoised, clean) == pytest.approx(math.sqrt(0.375), abs=1e-4)


def test_log_l2_averages_over_images() -> None:
    clean, denoised = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    denoised[1] = 0.1
    assert LOSSES["log_l2"](denoised, clean) == pytest.approx((math.log(1.0) + math.log(0.01)) / 2, abs=1e-3)
    assert math.isfinite(LOSSES["log_l2"](clean, clean))


def test_root_l2_prefers_edges() -> None:
    clean, edge, surface = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.05)
    edge[0, 0, 0, 0] = 0.4
    assert LOSSES["root_l2"](surface, clean) < LOSSES["root_l2"](edge, clean)
    assert LOSSES["l1"](edge, clean) < LOSSES["l1"](surface, clean)


def test_root_l2_is_linear_between_images() -> None:
    clean, denoised = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.01)
    denoised[1] = 0.1
    denoised.requires_grad_()
    LOSSES["root_l2"](denoised, clean).backward()
    assert denoised.grad is not None
    torch.testing.assert_close(denoised.grad[0], denoised.grad[1], rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss_gradient_direction(name: str) -> None:
    denoised = torch.tensor([[[[0.3, -0.2, 0.0]]]], requires_grad=True)
    LOSSES[name](denoised, torch.zeros(1, 1, 1, 3)).backward()
    assert denoised.grad is not None
    assert torch.equal(denoised.grad.sign().flatten(), torch.tensor([1.0, -1.0, 0.0]))


@settings(deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_range_penalty(values: list[float]) -> None:
    expected = [x**2 if x < 0 else (x - 1) ** 2 if x > 1 else 0.0 for x in values]
    penalty = out_of_range(torch.tensor(values, dtype=torch.double))
    assert float(penalty) == pytest.approx(sum(expected) / len(expected))


def test_range_penalty_gradient() -> None:
    denoised = torch.tensor([-0.5, 0.0, 0.3, 1.0, 2.0], requires_grad=True)
    out_of_range(denoised).backward()
    assert denoised.grad is not None
    torch.testing.assert_close(denoised.grad, torch.tensor([-0.2, 0.0, 0.0, 0.0, 0.4]))
