"""Losses between a denoised and a clean image batch (N, C, H, W), and the penalty on values outside [0, 1]."""

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


def log_l2(denoised: Tensor, clean: Tensor, floor: float = (0.5 / 255) ** 2) -> Tensor:
    """Mean over the images of ln(mean squared error + `floor`): the mean PSNR, but for sign and scale.

    A smooth image counts as much as a textured one, as in published tables (Chen et al., "Simple Baselines for Image
    Restoration", ECCV 2022, "PSNR loss"). The floor bounds the weight of images without noise.
    """
    return torch.log((denoised - clean).square().mean(dim=(1, 2, 3)) + floor).mean()


def root_l2(denoised: Tensor, clean: Tensor, floor: float = (0.1 / 255) ** 2) -> Tensor:
    """Mean over the images of the root of (mean squared error + `floor`).

    Within an image errors are squared, as in PSNR, so that a missed edge costs more than a slightly wrong surface;
    between images they are not, so that strong noise does not dominate.
    """
    return torch.sqrt((denoised - clean).square().mean(dim=(1, 2, 3)) + floor).mean()


LOSSES: dict[str, Loss] = {"l1": l1, "l2": l2, "charbonnier": charbonnier, "log_l2": log_l2, "root_l2": root_l2}


def out_of_range(denoised: Tensor) -> Tensor:
    r"""Mean penalty on values outside [0, 1] of images that are not clipped; to be added to a loss with a weight.

    .. math:: L_{ud}(x) = x^2 \, \mathbb{I}_{[x < 0]} + (x - 1)^2 \, \mathbb{I}_{[x > 1]}
    """
    return (torch.relu(-denoised).square() + torch.relu(denoised - 1).square()).mean()
