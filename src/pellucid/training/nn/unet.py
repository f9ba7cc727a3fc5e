"""The denoising autoencoder: a U-Net that predicts the noise of an image from the image and its noise level."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from pellucid.errors import ParameterError
from pellucid.training.nn.blocks import (
    IMAGE_MEAN,
    IMAGE_STD,
    DecoderBlock,
    EncoderBlock,
    Normalization,
    Resampling,
    downsample,
    upsample,
)
from pellucid.training.nn.heads import build_head
from pellucid.training.nn.noise_estimator import NoiseEstimator

#: Mean and standard deviation of a sigma drawn uniformly from 0 to 55/255, by which the noise map is scaled.
SIGMA_MEAN, SIGMA_STD = 0.108, 0.0623


class DenoisingAutoencoder(nn.Module):
    """U-Net with residual blocks and a noise-level input.

    The image is folded to half resolution (pixel-unshuffle), which loses nothing; the encoder halves it again at every
    level while the channels grow; the decoder goes back up, and at every level the encoder's features are added to its
    own (skip connections). Each option changes one part, and all combine. A single level has neither decoder nor skip
    connection. A 2-level network is a shallow autoencoder.

    Parameters
    ----------
    n_channels : int
        Channels of the image, 1 or 3.
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 ... of the image's resolution.
    depths : sequence of int
        Blocks at each of these resolutions, in the encoder and again in the decoder; at the lowest only once.
    resampling : {'convolution', 'block'}
        Resolution is changed by a 2x2 convolution between the blocks, or by the first block of each level (an encoder
        block of stride 2 on the way down, a decoder block on the way up).
    normalization : {'none', 'batch'}
        Layer after each convolution of a block.
    residual : bool
        Blocks add their input to their output.
    skip : bool
        Add the encoder's features to the decoder's.
    input_scaling : bool
        Scale image and noise map to zero mean and unit variance.
    output : {'noise', 'linear', 'clip', 'sigmoid', 'tanh', 'scaled_tanh'}
        Output of the last convolution: the noise, or the image before one of the activations of
        :mod:`pellucid.training.nn.heads`. ``tail.bias`` then starts at middle gray.
    estimator : NoiseEstimator, optional
        Not part of the forward pass, but trained and saved with the network.

    Raises
    ------
    ParameterError
        Unknown `resampling`, `normalization` or `output`; not one depth for each width; with resampling by blocks, a
        level without blocks.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Zhang, Zuo, Zhang, "FFDNet", IEEE TIP 2018 (noise map,
    pixel-unshuffle); Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", TPAMI 2021 (DRUNet).
    """

    def __init__(
        self,
        n_channels: int,
        widths: Sequence[int],
        depths: Sequence[int],
        *,
        resampling: Resampling = "convolution",
        normalization: Normalization = "none",
        residual: bool = True,
        skip: bool = True,
        input_scaling: bool = True,
        output: str = "noise",
        estimator: NoiseEstimator | None = None,
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.n_channels, self.widths, self.depths = n_channels, tuple(widths), tuple(depths)
        self.skip, self.input_scaling = skip, input_scaling
        self.output = None if output == "noise" else build_head(output)
        levels = _Levels(self.widths, self.depths, resampling, normalization, residual)
        steps = range(len(widths) - 1)
        self.head = nn.Conv2d(4 * n_channels + 1, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(levels.blocks(i, after_step=i > 0) for i in range(len(widths)))
        self.down = nn.ModuleList(levels.step_down(i) for i in steps)
        self.up = nn.ModuleList(levels.step_up(i) for i in steps)
        self.decoder = nn.ModuleList(levels.blocks(i, after_step=True) for i in steps)
        self.tail = nn.Conv2d(widths[0], 4 * n_channels, 3, padding=1)
        self._start_tail()

    def _start_tail(self) -> None:
        """Start close to a constant output: no noise, or middle gray."""
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
            if self.output is not None and self.tail.bias is not None:
                self.tail.bias.fill_(self.output.middle)

    @property
    def stride_px(self) -> int:
        """Height and width of an input are multiples of this many pixels."""
        return 1 << len(self.widths)

    @property
    def radius_px(self) -> int:
        """Upper bound of the receptive field's radius, along an axis."""
        # 3x3 kernels reach one cell beyond their own. 2x2 kernels stay in a cell of the coarser grid, and an output
        # may lie anywhere in its cell of the coarsest.
        reach = ((layer.kernel_size[0] - 1) // 2 * cell for layer, cell in self._applied())
        return sum(reach) + self.stride_px - 1

    @property
    def macs_per_px(self) -> float:
        """Multiply-adds of one forward pass per pixel of the image."""
        total = 0.0
        for layer, cell in self._applied():
            once_per = cell if isinstance(layer, nn.ConvTranspose2d) else cell * layer.stride[0]
            total += layer.weight.numel() / once_per**2
        return total

    def _applied(self) -> list[tuple[nn.Conv2d | nn.ConvTranspose2d, int]]:
        """List the convolutions, each with the side of its input's cells in pixels of the image."""
        applied = []

        def note(layer: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001 (torch's signature)
            applied.append((layer, self.stride_px // inputs[0].shape[-1]))

        # The "meta" device has shapes but no values; evaluation mode leaves batch statistics alone.
        shadow = copy.deepcopy(self).to("meta").eval()
        for layer in shadow.modules():
            # Callers' hooks expect real images.
            layer._forward_hooks.clear()
            layer._forward_pre_hooks.clear()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(note)
        cell = shadow.head.weight.new_empty(1, self.n_channels + 1, self.stride_px, self.stride_px)
        shadow(cell[:, 1:], cell[:, :1])
        return applied

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        noisy : Tensor, shape (N, C, H, W), float, nominally in [0, 1]
        sigma : Tensor, shape (N, 1, H, W), float
            Standard deviation of the noise at each pixel, on the same scale.

        Returns
        -------
        Tensor, shape (N, C, H, W)
            The residual; the denoised image is ``noisy - residual``, whatever the `output`.
        """
        values = self._values(noisy, sigma)
        return values if self.output is None else noisy - self.output(values)

    def image(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Predict the clean image (N, C, H, W), in the range of the `output`; inputs as in :meth:`forward`."""
        values = self._values(noisy, sigma)
        denoised: Tensor = noisy - values if self.output is None else self.output(values)
        return denoised

    def _values(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Compute the last convolution's output, at the image's resolution."""
        if self.input_scaling:
            noisy, sigma = (noisy - IMAGE_MEAN) / IMAGE_STD, (sigma - SIGMA_MEAN) / SIGMA_STD
        features = self.head(torch.cat([pixel_unshuffle(noisy, 2), avg_pool2d(sigma, 2)], dim=1))
        skips = []
        for encode, down in zip(self.encoder, self.down, strict=False):
            features = encode(features)
            skips.append(features)
            features = down(features)
        features = self.encoder[-1](features)
        for decode, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            encoded = skips.pop()
            features = decode(up(features) + encoded if self.skip else up(features))
        return pixel_shuffle(self.tail(features), 2)


@dataclass(frozen=True)
class _Levels:
    """Builds the layers of each level."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    resampling: Resampling
    normalization: Normalization
    residual: bool

    def __post_init__(self) -> None:
        if self.resampling not in {"convolution", "block"}:
            raise ParameterError(f"resampling '{self.resampling}': choose one of convolution, block")
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ParameterError(
                f"widths has {len(self.widths)} entries and depths {len(self.depths)}: give one each a level"
            )
        if self.resampling == "block" and min(self.depths) < 1:
            raise ParameterError(f"depths {self.depths}: with resampling by blocks, give each level at least 1")

    def blocks(self, level: int, *, after_step: bool) -> nn.Sequential:
        """Chain the blocks of a level; one fewer if resampling adds a block of its own."""
        n_blocks = self.depths[level] - (after_step and self.resampling == "block")
        width = self.widths[level]
        return nn.Sequential(*(self._encoder_block(width, level) for _ in range(n_blocks)))

    def step_down(self, level: int) -> nn.Module:
        """Make the step to the next level, at half the resolution."""
        if self.resampling == "block":
            return self._encoder_block(self.widths[level], level + 1, stride=2)
        return downsample(self.widths[level], self.widths[level + 1])

    def step_up(self, level: int) -> nn.Module:
        """Make the step back to a level from the next."""
        n_in, n_out = self.widths[level + 1], self.widths[level]
        if self.resampling == "block":
            return DecoderBlock(n_in, n_out, n_out, normalization=self.normalization, residual=self.residual)
        return upsample(n_in, n_out)

    def _encoder_block(self, n_in: int, level: int, stride: int = 1) -> EncoderBlock:
        n_out = self.widths[level]
        return EncoderBlock(n_in, n_out, n_out, stride, normalization=self.normalization, residual=self.residual)
