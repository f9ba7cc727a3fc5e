"""The noise estimator: a small network that sees how strong the noise in an image is, and where.

A noisy image ``(N, C, H, W)`` enters, a map of the noise's standard deviation ``(N, 1, H, W)`` leaves. It knows nothing
of how noise is taken out.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_unshuffle, softplus

from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.scaling import IMAGE_MEAN, IMAGE_STD

#: Pixels of the image along each side of a value of the map.
CELL_PX = 4
#: What the last layer's zero stands for, divided by ln 2: noise of 11 on the 0..255 scale.
SOFTPLUS_SCALE = 1 / 16
#: Of two errors that are alike as factors, so much weighs the one that calls a camera's noise too weak; the other, the
#: rest. Of noise that is alike everywhere, white or none, both weigh the same.
TOO_WEAK = 0.8
#: Noise weaker than this makes little difference to anyone; on the [0, 1] scale.
FAINT = 1 / 255


class NoiseEstimator(nn.Module):
    """Residual blocks at a quarter of the image's resolution, whose last layer gives the noise's strength.

    The image is folded (pixel-unshuffle), so that the first layer still sees every pixel: noise is told from texture by
    how neighbours differ. All is convolution, so that a tiled image gets the map of the whole one.

    Parameters
    ----------
    n_channels : int
        Channels of the image, 1 or 3.
    width : int
        Channels of the features.
    n_blocks : int

    References
    ----------
    Guo et al., "Toward Convolutional Blind Denoising of Real Photographs" (CBDNet), CVPR 2019: an estimator beside the
    denoiser, whose map the denoiser is told.
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
        """Farthest pixel, counted along an axis, on which a value of the map can depend (an upper bound)."""
        n_convolutions = sum(isinstance(layer, nn.Conv2d) for layer in self.modules())
        return n_convolutions * CELL_PX + CELL_PX - 1

    @property
    def macs_per_px(self) -> float:
        """Multiply-adds of one forward pass per pixel of the image."""
        kernels = (layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Conv2d))
        return sum(kernels) / CELL_PX**2

    def forward(self, noisy: Tensor) -> Tensor:
        """Estimate the noise's standard deviation.

        Parameters
        ----------
        noisy : Tensor, shape (N, C, H, W), float, nominally in [0, 1]

        Returns
        -------
        Tensor, shape (N, 1, H, W)
            On the same scale, more than 0; alike within each cell of 4x4 pixels.
        """
        features = self.head(pixel_unshuffle((noisy - IMAGE_MEAN) / IMAGE_STD, CELL_PX))
        coarse = SOFTPLUS_SCALE * softplus(self.tail(torch.relu(self.blocks(features))))
        return interpolate(coarse, scale_factor=CELL_PX, mode="nearest")


def estimation_error(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Mean over the pixels of how far the estimate is off, as a factor.

    .. math:: \left| \ln \frac{\hat\sigma + \epsilon}{\sigma + \epsilon} \right|

    with :math:`\epsilon` = :data:`FAINT`: for small errors it is the relative error.

    Parameters
    ----------
    estimate, truth : Tensor, shape (N, 1, H, W)
        Standard deviations on the [0, 1] scale.
    """
    return torch.log((estimate + FAINT) / (truth + FAINT)).abs().mean()


def estimation_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    r"""Loss of a noise estimator: :func:`estimation_error`, in which a camera's noise called too weak weighs more.

    .. math:: 2 \max(-\tau r, (1 - \tau) r), \qquad r = \ln \frac{\hat\sigma + \epsilon}{\sigma + \epsilon}

    with :math:`\tau` = :data:`TOO_WEAK` where the truth differs from place to place, and a half where it is alike all
    over a patch. Where noise is plain to see, it makes no difference. Where it could be texture, the estimate of a
    camera's becomes the value that is too small once in five times, for a denoiser suffers more from noise that it was
    not told of (Guo et al., CVPR 2019, sec. 3.3 and eq. 4); that of white noise stays the middle one. The loss of a
    quantile: Koenker and Bassett, "Regression Quantiles", Econometrica 1978.

    Parameters
    ----------
    estimate, truth : Tensor, shape (N, 1, H, W)
        Standard deviations on the [0, 1] scale.
    """
    ratio = torch.log((estimate + FAINT) / (truth + FAINT))
    is_even = truth.amax((2, 3), keepdim=True) == truth.amin((2, 3), keepdim=True)
    quantile = torch.where(is_even, 0.5, TOO_WEAK)
    return 2 * torch.maximum(-quantile * ratio, (1 - quantile) * ratio).mean()
