"""How far a denoised image is from the clean one, as a number to descend.

Two images of one shape enter, a scalar leaves. Losses know nothing of networks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(denoised: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error (Zhao et al., "Loss Functions for Image Restoration", IEEE TCI 2017)."""
    return (denoised - clean).abs().mean()


def l2(denoised: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error: what PSNR measures."""
    return (denoised - clean).square().mean()


def charbonnier(denoised: Tensor, clean: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of ``sqrt(error**2 + epsilon**2)``, a smooth absolute error (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt((denoised - clean).square() + epsilon**2).mean()


LOSSES: dict[str, Loss] = {"l1": l1, "l2": l2, "charbonnier": charbonnier}
