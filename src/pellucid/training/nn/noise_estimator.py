"""The noise estimator: a small network that maps a noisy image to its local noise level."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_unshuffle, relu, softplus

from pellucid.inference.noise_map import AVERAGED, BY_CHANCE, LIMITS, MIDDLE, UPPER
from pellucid.training.nn.blocks import IMAGE_MEAN, IMAGE_STD, EncoderBlock

#: Side of the square of pixels that share a value of the map.
CELL_PX = 4
#: An output of zero before the softplus is a sigma of ln 2 times this: 11 on the 0..255 scale.
SOFTPLUS_SCALE = 1 / 16
#: Quantile of the loss for camera noise: underestimates cost this much, overestimates the rest.
CAMERA_QUANTILE = 0.8
#: Added to sigma in logarithms: weaker noise hardly matters.
FAINT = 1 / 255
#: Quantiles of a patch are means over the estimates up to this share before and after, so that more of them learn.
QUANTILE_BAND = 0.05


class NoiseEstimator(nn.Module):
    """Residual blocks at a quarter of the image's resolution.

    The image is folded (pixel-unshuffle), so that the first layer sees every pixel: neighbouring pixels are what tells
    noise from texture. All layers are convolutions, so that the map of a tiled image equals that of the whole one.

    Parameters
    ----------
    n_channels : int
        Channels of the image, 1 or 3.
    width : int
        Channels of the features.
    n_blocks : int

    References
    ----------
    Guo et al., "Toward Convolutional Blind Denoising of Real Photographs" (CBDNet), CVPR 2019.
    """

    def __init__(self, n_channels: int, width: int, n_blocks: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.head = nn.Conv2d(n_channels * CELL_PX**2, width, 3, padding=1)
        self.blocks = nn.Sequential(*(EncoderBlock(width, width, width) for _ in range(n_blocks)))
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    @property
    def stride_px(self) -> int:
        """Height and width of an input are multiples of this many pixels."""
        return CELL_PX

    @property
    def radius_px(self) -> int:
        """Upper bound of the receptive field's radius, along an axis."""
        n_convolutions = sum(isinstance(layer, nn.Conv2d) for layer in self.modules())
        return n_convolutions * CELL_PX + CELL_PX - 1

    @property
    def macs_per_px(self) -> float:
        """Multiply-adds of one forward pass per pixel of the image."""
        kernels = (layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return sum(kernels) / CELL_PX**2

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate the standard deviation of the noise.

        Parameters
        ----------
        noisy : Tensor, shape (N, C, H, W), float, nominally in [0, 1]

        Returns
        -------
        Tensor, shape (N, 1, H, W)
            On the same scale, above 0; constant within each cell of 4x4 pixels.
        """
        features = self.head(pixel_unshuffle((noisy - IMAGE_MEAN) / IMAGE_STD, CELL_PX))
        coarse = SOFTPLUS_SCALE * softplus(self.tail(torch.relu(self.blocks(features))))
        return interpolate(coarse, scale_factor=CELL_PX, mode="nearest")


def estimation_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Mean absolute log ratio of two sigma maps (N, 1, H, W), [0, 1] scale: for small errors, the relative error.

    .. math:: \left| \ln \frac{\hat\sigma + \epsilon}{\sigma + \epsilon} \right|

    with :math:`\epsilon` = :data:`FAINT`.
    """
    return torch.log((estimate + FAINT) / (truth + FAINT)).abs().mean()


def estimation_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Quantile loss of a noise estimator, for sigma maps (N, 1, H, W), [0, 1] scale.

    .. math:: 2 \max(-\tau r, (1 - \tau) r), \qquad r = \ln \frac{\hat\sigma + \epsilon}{\sigma + \epsilon}

    with :math:`\tau` = :data:`CAMERA_QUANTILE` where the truth varies over the patch, as of camera noise, and one half
    where it is constant. Where noise could be texture, the estimate of camera noise becomes a high quantile, since
    underestimates harm a denoiser more (Guo et al., CVPR 2019, sec. 3.3 and eq. 4). Koenker and Bassett, "Regression
    Quantiles", Econometrica 1978.
    """
    ratio = torch.log((estimate + FAINT) / (truth + FAINT))
    is_even = truth.amax((2, 3), keepdim=True) == truth.amin((2, 3), keepdim=True)
    quantile = torch.where(is_even, 0.5, CAMERA_QUANTILE)
    return 2 * torch.maximum(-quantile * ratio, (1 - quantile) * ratio).mean()


def smooth_patches(estimate: Tensor, n_channels: int) -> Tensor:
    r"""Smooth the sigma map of each patch, differentiably, as the noise map of a whole image is at inference.

    .. math:: \min(m + \max(u - (1 + \beta) m, 0), \kappa l)

    in the notation of :mod:`pellucid.inference.noise_map`, each quantile being a mean over :data:`QUANTILE_BAND`, and
    without the bound of flat areas. The result is constant over each patch.
    """
    ordered = avg_pool2d(estimate, AVERAGED * CELL_PX).flatten(1).sort(dim=1).values
    n_cells = ordered.shape[1]

    def quantile(share: float) -> Tensor:
        first, stop = (round((share + by) * n_cells) for by in (-QUANTILE_BAND, QUANTILE_BAND))
        return ordered[:, first : max(stop, first + 1)].mean(dim=1)

    share, n_times = LIMITS[n_channels]
    middle = quantile(MIDDLE)
    smooth = middle + relu(quantile(UPPER) - (1 + BY_CHANCE) * middle)
    return smooth.minimum(n_times * quantile(share))[:, None, None, None].expand_as(estimate)
