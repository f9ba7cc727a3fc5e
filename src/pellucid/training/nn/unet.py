"""The denoising autoencoder.

A noisy image ``(N, C, H, W)`` and a map of the noise's standard deviation ``(N, 1, H, W)`` enter; the noise that the
network sees in the image leaves. It knows nothing of where images come from nor of how it is trained.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from pellucid.errors import ParameterError
from pellucid.training.nn.blocks import DecoderBlock, EncoderBlock, Normalization, Resampling, downsample, upsample
from pellucid.training.nn.heads import build_output
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.scaling import IMAGE_MEAN, IMAGE_STD, SIGMA_MEAN, SIGMA_STD


class DenoisingAutoencoder(nn.Module):
    """An encoder and a decoder with skip and residual connections, told how strong the noise is.

    The image is folded to half resolution (pixel-unshuffle), which costs nothing and loses nothing; the encoder
    halves it again at every level while the channels grow; the decoder goes back up, and at every level the encoder's
    features are added to its own (skip connections: they place edges). The defaults are those of the shipped models;
    the options take out or change one part each, and compose. Two levels are a shallow autoencoder, three or more a
    deep one; a single level has blocks but neither decoder nor skip connection.

    Parameters
    ----------
    n_channels : int
        Channels of the image, 1 or 3.
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 ... of the image's resolution.
    depths : sequence of int
        Blocks at each of these resolutions: so many on the way down and again so many on the way up; at the last (the
        bottom) once.
    scale : float
        Channels inside a block, relative to those it gives out.
    resampling : {'convolution', 'block'}
        What goes from level to level: a 2x2 convolution between the blocks, or the first block of the level itself
        (an encoder block of stride 2 on the way down, a decoder block on the way up).
    normalization : {'none', 'batch'}
        What follows each convolution of a block.
    residual : bool
        Whether blocks add their input to their output.
    skip : bool
        Whether the decoder is given the encoder's features.
    input_scaling : bool
        Whether image and noise map are brought to zero mean and unit deviation, or taken as they are.
    output : {'noise', 'linear', 'clip', 'sigmoid', 'tanh', 'scaled_tanh'}
        What the last convolution makes: the noise; or the image, once its values have passed through that map
        (`outputs`). ``tail.bias``, the value before the map, starts where the image is middle gray.
    tanh_scale, tanh_offset : float
        a and b of the output 'scaled_tanh'.
    estimator : NoiseEstimator, optional
        Sees the noise for those who do not know it; no part of a forward pass, but of what is trained and kept.

    Raises
    ------
    ParameterError
        Unknown `resampling`, `normalization` or `output`; `tanh_scale` and `tanh_offset` that do not fit; not one
        depth for each width; a level without the block that is to change its resolution.

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
        scale: float = 1.0,
        resampling: Resampling = "convolution",
        normalization: Normalization = "none",
        residual: bool = True,
        skip: bool = True,
        input_scaling: bool = True,
        output: str = "noise",
        tanh_scale: float = 0.6,
        tanh_offset: float = 5 / 6,
        estimator: NoiseEstimator | None = None,
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.n_channels, self.widths, self.depths = n_channels, tuple(widths), tuple(depths)
        self.skip, self.input_scaling = skip, input_scaling
        self.output = None if output == "noise" else build_output(output, tanh_scale, tanh_offset)
        levels = _Levels(self.widths, self.depths, scale, resampling, normalization, residual)
        steps = range(len(widths) - 1)
        self.head = nn.Conv2d(4 * n_channels + 1, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(levels.blocks(i, after_step=i > 0) for i in range(len(widths)))
        self.down = nn.ModuleList(levels.step_down(i) for i in steps)
        self.up = nn.ModuleList(levels.step_up(i) for i in steps)
        self.decoder = nn.ModuleList(levels.blocks(i, after_step=True) for i in steps)
        self.tail = nn.Conv2d(widths[0], 4 * n_channels, 3, padding=1)
        self._start_tail()

    def _start_tail(self) -> None:
        """Start close to an estimate that does not depend on the image: no noise, or a middle gray."""
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
        """Farthest pixel, counted along an axis, on which an output pixel can depend (an upper bound)."""
        # 3x3 kernels look one cell beyond their own. 2x2 kernels stay in a cell of the coarser grid, and an output
        # may sit anywhere in its cell of the coarsest.
        beyond = ((layer.kernel_size[0] - 1) // 2 * cell for layer, cell in self._applied())
        return sum(beyond) + self.stride_px - 1

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

        # The device "meta" has shapes but no values; batch statistics are left alone in evaluation mode.
        shadow = copy.deepcopy(self).to("meta").eval()
        for layer in shadow.modules():
            # Hooks that others have put on the network are for its own images.
            layer._forward_hooks.clear()
            layer._forward_pre_hooks.clear()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(note)
        cell = shadow.head.weight.new_empty(1, self.n_channels + 1, self.stride_px, self.stride_px)
        shadow(cell[:, 1:], cell[:, :1])
        return applied

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
            The residual; the denoised image is ``noisy - residual``, whatever the `output`.
        """
        values = self._values(noisy, sigma)
        return values if self.output is None else noisy - self.output(values)

    def image(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean image, before any clipping that the `output` does not do itself.

        Parameters
        ----------
        noisy, sigma : Tensor
            As of :meth:`forward`.

        Returns
        -------
        Tensor, shape (N, C, H, W)
            Nominally in [0, 1]; in the range of the `output`.
        """
        values = self._values(noisy, sigma)
        denoised: Tensor = noisy - values if self.output is None else self.output(values)
        return denoised

    def _values(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Give what the last convolution makes, at the image's resolution."""
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
            seen = skips.pop()
            features = decode(up(features) + seen if self.skip else up(features))
        return pixel_shuffle(self.tail(features), 2)


@dataclass(frozen=True)
class _Levels:
    """Makes the layers of each level, all in one style."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    scale: float
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
        """Chain the blocks of a level; one fewer after a step that is a block itself."""
        n_blocks = self.depths[level] - (after_step and self.resampling == "block")
        width = self.widths[level]
        return nn.Sequential(*(self._encoder_block(width, level) for _ in range(n_blocks)))

    def step_down(self, level: int) -> nn.Module:
        """Make what leads from a level to the next, at half its resolution."""
        if self.resampling == "block":
            return self._encoder_block(self.widths[level], level + 1, stride=2)
        return downsample(self.widths[level], self.widths[level + 1])

    def step_up(self, level: int) -> nn.Module:
        """Make what leads to a level from the next."""
        n_in, n_out = self.widths[level + 1], self.widths[level]
        if self.resampling == "block":
            return DecoderBlock(
                n_in, self._inner(level), n_out, normalization=self.normalization, residual=self.residual
            )
        return upsample(n_in, n_out)

    def _encoder_block(self, n_in: int, level: int, stride: int = 1) -> EncoderBlock:
        return EncoderBlock(
            n_in,
            self._inner(level),
            self.widths[level],
            stride,
            normalization=self.normalization,
            residual=self.residual,
        )

    def _inner(self, level: int) -> int:
        return max(1, round(self.scale * self.widths[level]))
