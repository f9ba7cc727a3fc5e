"""The denoising autoencoder.

A noisy image ``(N, C, H, W)`` and a map of the noise's standard deviation ``(N, 1, H, W)`` enter; the noise that the
network sees in the image leaves. It knows nothing of where images come from nor of how it is trained.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from pellucid.training.blocks import ResidualBlock, downsample, residual_stack, upsample

#: Mean and standard deviation of natural images in [0, 1]: brings the input to zero mean and unit deviation.
IMAGE_MEAN, IMAGE_STD = 0.45, 0.25
#: The same for a noise level drawn uniformly from 0 to 55/255.
SIGMA_MEAN, SIGMA_STD = 0.108, 0.0623


class DenoisingAutoencoder(nn.Module):
    """An encoder and a decoder with skip and residual connections, told how strong the noise is.

    The image is folded to half resolution (pixel-unshuffle), which costs nothing and loses nothing; the encoder
    halves it again at every level while the channels grow; the decoder goes back up, and at every level the encoder's
    features are added to its own (skip connections: they place edges). The output is the noise.

    Parameters
    ----------
    n_channels : int
        Channels of the image, 1 or 3.
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 ... of the image's resolution.
    depths : sequence of int
        Residual blocks at each of these resolutions: so many on the way down and again so many on the way up; at
        the last (the bottom) once.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Zhang, Zuo, Zhang, "FFDNet", IEEE TIP 2018 (noise map,
    pixel-unshuffle); Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", TPAMI 2021 (DRUNet).
    """

    def __init__(self, n_channels: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.n_channels, self.widths, self.depths = n_channels, tuple(widths), tuple(depths)
        n_levels = len(widths)
        self.head = nn.Conv2d(4 * n_channels + 1, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(residual_stack(w, d) for w, d in zip(widths, depths, strict=True))
        self.down = nn.ModuleList(downsample(widths[i], widths[i + 1]) for i in range(n_levels - 1))
        self.up = nn.ModuleList(upsample(widths[i + 1], widths[i]) for i in range(n_levels - 1))
        self.decoder = nn.ModuleList(residual_stack(widths[i], depths[i]) for i in range(n_levels - 1))
        self.tail = nn.Conv2d(widths[0], 4 * n_channels, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)

    @property
    def stride_px(self) -> int:
        """Height and width of an input are multiples of this many pixels."""
        return 1 << len(self.widths)

    @property
    def radius_px(self) -> int:
        """Farthest pixel, counted along an axis, on which an output pixel can depend (an upper bound)."""
        radius = 2 * (1 + 1)  # head and tail, at half resolution
        for level, n_blocks in enumerate(self.depths):
            n_passes = 1 if level == len(self.depths) - 1 else 2
            radius += n_passes * n_blocks * ResidualBlock.radius_px * 2 ** (level + 1)
        return radius + self.stride_px - 1  # an output may sit anywhere in its cell of the coarsest grid

    @property
    def macs_per_px(self) -> float:
        """Multiply-adds of one forward pass per pixel of the image."""
        total = 0.0
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                total += layer.weight.numel() / 4 ** self._output_level(name)
        return total

    def _output_level(self, layer_name: str) -> int:
        """Give the n for which the layer's weights are applied once for each 2**n x 2**n pixels of the image."""
        part, _, rest = layer_name.partition(".")
        if part in {"head", "tail"}:
            return 1
        level = int(rest.split(".")[0])
        return level + 1 if part in {"encoder", "decoder"} else level + 2

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the noise.

        Parameters
        ----------
        noisy : Tensor, shape (N, C, H, W), float, nominally in [0, 1]
        sigma : Tensor, shape (N, 1, H, W), float
            Standard deviation of the noise at each pixel, on the same scale.

        Returns
        -------
        Tensor, shape (N, C, H, W)
            The residual; the denoised image is ``noisy - residual``.
        """
        image = pixel_unshuffle((noisy - IMAGE_MEAN) / IMAGE_STD, 2)
        level = avg_pool2d((sigma - SIGMA_MEAN) / SIGMA_STD, 2)
        features = self.head(torch.cat([image, level], dim=1))
        skips = []
        for encode, down in zip(self.encoder, self.down, strict=False):
            features = encode(features)
            skips.append(features)
            features = down(features)
        features = self.encoder[-1](features)
        for decode, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            features = decode(up(features) + skips.pop())
        return pixel_shuffle(self.tail(features), 2)
