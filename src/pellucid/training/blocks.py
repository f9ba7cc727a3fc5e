"""The parts that a denoising autoencoder is composed of.

A feature map ``(N, C, H, W)`` enters and a feature map leaves. The blocks know nothing of noise, of images or of
how they are stacked. All are local: convolutions and pointwise maths only, so that a tiled image equals a whole one.
"""

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    r"""Two convolutions around a rectifier, added to the input.

    .. math:: B_{w+1} = B_w + L_w(B_w), \qquad L_w = \mathrm{conv}_{3\times3} \circ \mathrm{ReLU} \circ
    \mathrm{conv}_{3\times3}

    The identity path carries the gradient past the convolutions unchanged (He et al., "Deep Residual Learning",
    CVPR 2016). The second convolution starts at a tenth of its usual scale, so that a stack of blocks starts
    close to the identity (Zhang et al., "Fixup Initialization", ICLR 2019, starts it at zero).

    Parameters
    ----------
    n_channels : int
        Channels of the input and of the output, both ``(N, n_channels, H, W)``.
    """

    #: Radius of the receptive field, in pixels of the block's own resolution.
    radius_px = 2

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        learned: Tensor = self.conv2(torch.relu(self.conv1(features)))
        return features + learned


def downsample(n_in: int, n_out: int) -> nn.Conv2d:
    """Halve the resolution: ``(N, n_in, H, W)`` to ``(N, n_out, H/2, W/2)`` by a strided 2x2 convolution."""
    return nn.Conv2d(n_in, n_out, 2, stride=2)


def upsample(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    """Double the resolution: ``(N, n_in, H, W)`` to ``(N, n_out, 2H, 2W)`` by a transposed 2x2 convolution."""
    return nn.ConvTranspose2d(n_in, n_out, 2, stride=2)


def residual_stack(n_channels: int, n_blocks: int) -> nn.Sequential:
    """Chain `n_blocks` residual blocks of `n_channels` channels."""
    return nn.Sequential(*(ResidualBlock(n_channels) for _ in range(n_blocks)))
