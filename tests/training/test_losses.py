import pytest
import torch

from pellucid.training.losses import LOSSES


def test_values_on_known_errors() -> None:
    clean, denoised = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.5], [-0.5, 1.0]]]])
    assert LOSSES["l1"](denoised, clean) == pytest.approx(0.5)
    assert LOSSES["l2"](denoised, clean) == pytest.approx(0.375)
    assert LOSSES["charbonnier"](denoised, clean) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_points_away_from_the_clean_image(name: str) -> None:
    denoised = torch.tensor([0.3, -0.2, 0.0], requires_grad=True)
    LOSSES[name](denoised, torch.zeros(3)).backward()
    assert denoised.grad is not None
    assert torch.equal(denoised.grad.sign(), torch.tensor([1.0, -1.0, 0.0]))
