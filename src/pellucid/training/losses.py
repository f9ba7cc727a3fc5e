"""How far a denoised image is from the clean one, as a number to descend.

Two images of one shape enter, a scalar leaves; what is asked of the denoised image alone takes that one. Losses know
nothing of networks.
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


def log_l2(denoised: Tensor, clean: Tensor, floor: float = (0.5 / 255) ** 2) -> Tensor:
    """Mean over the images of ln(mean squared error + `floor`): the mean PSNR, but for sign and scale.

    A smooth image counts as much as a textured one, as in published tables (Chen et al., "Simple Baselines for Image
    Restoration", ECCV 2022, use it as "PSNR loss"). The floor keeps images without noise from weighing without bound.
    """
    return torch.log((denoised - clean).square().mean(dim=(1, 2, 3)) + floor).mean()


def root_l2(denoised: Tensor, clean: Tensor, floor: float = (0.1 / 255) ** 2) -> Tensor:
    """Mean over the images of the root of (mean squared error + `floor`).

    Within an image errors weigh by their squares, as in PSNR: an edge that is missed costs more than a smooth surface
    that is a little off, while :func:`l1` gives up the edge for the surface. From image to image they do not: where
    there is ten times the noise, the error weighs ten times and not a hundred times as much.
    """
    return torch.sqrt((denoised - clean).square().mean(dim=(1, 2, 3)) + floor).mean()


LOSSES: dict[str, Loss] = {"l1": l1, "l2": l2, "charbonnier": charbonnier, "log_l2": log_l2, "root_l2": root_l2}


def out_of_range(denoised: Tensor) -> Tensor:
    r"""Mean penalty on values that no pixel can have, those out of [0, 1].

    .. math:: L_{ud}(x) = x^2 \, \mathbb{I}_{[x < 0]} + (x - 1)^2 \, \mathbb{I}_{[x > 1]}

    Parameters
    ----------
    denoised : Tensor, any shape, float
        Not clipped: a clipped image has nothing to penalize.

    Returns
    -------
    Tensor, a scalar
        0 if no value is out of range. To be added to a loss, with a weight.
    """
    return (torch.relu(-denoised).square() + torch.relu(denoised - 1).square()).mean()
