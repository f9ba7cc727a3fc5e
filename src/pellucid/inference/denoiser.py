"""Denoise an image: estimate the noise map, run the network on tiles, subtract the residual."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.errors import ParameterError
from pellucid.inference.arrays import Range, View, restore_axis, view_image
from pellucid.inference.blending import (
    DETAIL_REACH_PX,
    GRAY_REACH_PX,
    keep_gray,
    normalized,
    restore_detail,
    subtracted,
    weight_luma_chroma,
)
from pellucid.inference.engine import Network
from pellucid.inference.noise_estimation import RunningRMS, estimate_noise
from pellucid.inference.noise_map import AVERAGED, CELL_PX, estimate_cells, smooth_noise_map
from pellucid.inference.options import DEFAULT_TILE_PX, DenoiseOptions, ResultOptions, explicit_options
from pellucid.inference.registry import DEFAULT_NAMES, ModelCard, find_model
from pellucid.inference.row_buffer import Array, RowBuffer, Rows, read_twice
from pellucid.inference.tiling import Grid, Progress, apply_tiled, check_tile


class Denoiser:
    """A loaded model that denoises many images.

    Parameters
    ----------
    model : str or Path
        A model's name or folder.
    device : {'auto', 'cpu', 'gpu', 'npu'}
        'auto' is the processor.
    precision : {'auto', 'fp32', 'bf16'}
        Of the network's arithmetic; 'auto' is bfloat16 where the processor has it. Pixel values stay float32.
    n_threads : int, optional
        Default: every processor that this process may use.
    tile_px : int
        Side of the square tiles, halo included; a multiple of the model's stride. It changes memory use, not results.

    Attributes
    ----------
    card : ModelCard
    network : Network

    Raises
    ------
    ModelError
        The model cannot be found or is damaged.
    ParameterError
        The device is missing, or the tile is smaller than the network's receptive field.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_NAMES[3],
        *,
        device: str = "auto",
        precision: str = "auto",
        n_threads: int | None = None,
        tile_px: int = DEFAULT_TILE_PX,
    ) -> None:
        DenoiseOptions(device=device, precision=precision, n_threads=n_threads, tile_px=tile_px)
        self.card: ModelCard = find_model(model)
        check_tile(tile_px, **self._tile_grid(detailed=True))
        if self.card.estimator is not None:
            check_tile(tile_px, **self._estimator_grid())
        self.tile_px = tile_px
        self.network = Network(self.card, device=device, precision=precision, n_threads=n_threads)

    @explicit_options
    def denoise(
        self,
        image: ArrayLike,
        *,
        channel_axis: int | None = -1,
        data_range: Range = None,
        progress: Progress | None = None,
        meter: RunningRMS | None = None,
        **options: Unpack[ResultOptions],
    ) -> Array:
        """Denoise an image.

        Parameters
        ----------
        image, channel_axis, data_range
            See :func:`pellucid.denoise`. A colour model needs three channels; a gray model denoises each channel by
            itself.
        progress : callable, optional
            Called as ``progress(n_done, n_tiles)``.
        meter : RunningRMS, optional
            Gets the noise level of all that was denoised.
        **options
            sigma, strength, luma, chroma, detail: see :class:`DenoiseOptions`.

        Returns
        -------
        ndarray
            Of the image's shape and dtype.
        """
        chosen = DenoiseOptions(**options)
        pixels = np.asarray(image)
        view = view_image(pixels, channel_axis, data_range)
        if chosen.sigma is None and not self.has_estimator:
            chosen = replace(chosen, sigma=self._statistical_sigma(view))
        strips = self.denoise_rows(
            view.pixels,
            n_channels=view.pixels.shape[2],
            data_range=(view.low, view.high),
            options=chosen,
            progress=progress,
            meter=meter,
        )
        return restore_axis(_joined(strips, view.pixels.shape, view.pixels.dtype), pixels.ndim, channel_axis)

    def estimate(self, image: ArrayLike, *, channel_axis: int | None = -1, data_range: Range = None) -> float:
        """Estimate the noise level of an image, as blind denoising does.

        Parameters
        ----------
        image, channel_axis, data_range
            See :func:`pellucid.denoise`.

        Returns
        -------
        float
            Standard deviation as a fraction of the range, at most the model's `sigma_max`: the root mean square of the
            noise map, or for models without a noise estimator a statistical estimate.
        """
        view = view_image(np.asarray(image), channel_axis, data_range)
        if not self.has_estimator:
            return self._statistical_sigma(view)
        meter = RunningRMS()
        for strip in self._view_levels(view):
            meter.add(strip)
        return meter.sigma

    def estimate_map(
        self, image: ArrayLike, *, channel_axis: int | None = -1, data_range: Range = None
    ) -> NDArray[np.float32]:
        """Estimate the noise map of an image, with a model that has a noise estimator.

        Parameters
        ----------
        image, channel_axis, data_range
            See :func:`pellucid.denoise`.

        Returns
        -------
        ndarray, shape (H, W), float32
            Standard deviation as a fraction of the range.

        Raises
        ------
        ParameterError
            The model has no estimator.
        """
        view = view_image(np.asarray(image), channel_axis, data_range)
        level = _joined(self._view_levels(view), (*view.pixels.shape[:2], 1), np.dtype(np.float32))
        return level[..., 0]

    @property
    def has_estimator(self) -> bool:
        """Whether the model has a noise estimator."""
        return self.card.estimator is not None

    def _statistical_sigma(self, view: View) -> float:
        return min(estimate_noise(view.pixels, view.scale), self.card.sigma_max / 255)

    def _view_levels(self, view: View) -> Iterator[NDArray[np.float32]]:
        return self.level_rows(view.pixels, n_channels=view.pixels.shape[2], data_range=(view.low, view.high))

    def level_rows(
        self, image: Rows, *, n_channels: int, data_range: tuple[float, float]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield :meth:`estimate_map` of an image that need not be in memory, in strips (h, W, 1) of float32.

        Where channels are estimated one by one, the map is their root mean square.
        """
        if self.card.estimator is None:
            raise ParameterError(
                f"model '{self.card.name}' has no noise estimator: choose model 'photo', or 'photo-gray' for gray"
            )
        strips = self._estimated_levels(image, self._groups(n_channels), data_range)
        return (np.sqrt(np.mean(np.square(strip), axis=2, keepdims=True, dtype=np.float32)) for strip in strips)

    def _estimated_levels(
        self, image: Rows, groups: list[slice], data_range: tuple[float, float]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield strips (h, W, n) of the noise maps, one map for each group of channels."""

        def estimate(window: Array, *, kept: tuple[slice, slice]) -> Array:  # noqa: ARG001 (tiling's)
            parts = (normalized(window[..., group], data_range) for group in groups)
            return np.concatenate([estimate_cells(part, self.network.estimate) for part in parts], axis=2)

        cells = apply_tiled(estimate, (image,), tile_px=self.tile_px, cell_px=CELL_PX, **self._estimator_grid())
        shape = image.shape[0], image.shape[1], len(groups)
        return smooth_noise_map(cells, shape, n_channels=self.card.channels, tile_px=self.tile_px)

    def _groups(self, n_channels: int) -> list[slice]:
        """Group the channels that are denoised together."""
        step = self.card.channels
        if step == 3 != n_channels:
            raise ParameterError(
                f"model '{self.card.name}' needs 3 channels, the image has {n_channels}: choose model 'gray'"
            )
        return [slice(c, c + step) for c in range(0, n_channels, step)]

    def _tile_grid(self, *, detailed: bool) -> Grid:
        """Grid of the network's tiles; restoring detail needs a wider halo."""
        stride = self.card.stride_px
        beyond = -(-DETAIL_REACH_PX // stride) * stride if detailed else 0
        return {"halo_px": max(self.card.halo_px, -(-GRAY_REACH_PX // stride) * stride) + beyond, "stride_px": stride}

    def _estimator_grid(self) -> Grid:
        """Grid of the noise estimator's tiles."""
        assert self.card.estimator is not None, "ask the card first"  # noqa: S101 (a caller's bug)
        stride = max(self.card.stride_px, AVERAGED * CELL_PX)
        return {"halo_px": -(-self.card.estimator.halo_px // stride) * stride, "stride_px": stride}

    def denoise_rows(
        self,
        image: Rows,
        *,
        n_channels: int,
        data_range: tuple[float, float],
        options: DenoiseOptions,
        progress: Progress | None = None,
        meter: RunningRMS | None = None,
    ) -> Iterator[Array]:
        """Denoise an image that need not be in memory.

        Parameters
        ----------
        image : Rows, shape (H, W, C)
            Read once, from the top to the bottom, as many rows at a time as a tile is high.
        n_channels : int
            Channels to denoise; any further one (alpha) is returned as it is.
        data_range : (float, float)
            Values of black and white.
        options : DenoiseOptions
            Models without a noise estimator need its sigma.
        progress, meter
            See :meth:`denoise`.

        Returns
        -------
        iterator of ndarray, each (h, W, C)
            Strips of the image's dtype. Errors in the options are raised before any row is read.
        """
        groups = self._groups(n_channels)
        weights, sigma, detail = options.weights, options.sigma, options.detail
        size = image.shape[0], image.shape[1]
        levels: Rows
        if sigma is None and self.has_estimator and any(weights):
            first, image = read_twice(image)
            strips = self._estimated_levels(first, groups, data_range)
            levels = RowBuffer(strips, (*size, len(groups)), np.dtype(np.float32))
        else:
            level = self._level(0.0 if sigma is None and self.has_estimator else sigma, size)
            levels = np.broadcast_to(level, (*size, len(groups)))
            groups = groups if any(weights) and level.any() else []

        def clean(noise_map: NDArray[np.float32], window: Array, *, kept: tuple[slice, slice]) -> Array:
            cleaned = window.copy()
            for index, group in enumerate(groups):
                level = np.ascontiguousarray(noise_map[..., index : index + 1])
                if meter is not None:
                    meter.add(level[kept])
                if not level.any():
                    continue
                noisy = normalized(window[..., group], data_range)
                residual = restore_detail(self.network(noisy, level), noisy, level, detail)
                # Pixels without noise stay as they are, whatever is around them.
                residual = keep_gray(weight_luma_chroma(residual, *weights), window[..., group]) * (level > 0)
                cleaned[..., group] = subtracted(window[..., group], residual, data_range)
            return cleaned

        return apply_tiled(
            clean, (levels, image), tile_px=self.tile_px, **self._tile_grid(detailed=detail > 0), progress=progress
        )

    def _level(self, sigma: float | ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Broadcast the noise level to a map ``(H, W, 1)``."""
        if sigma is None:
            raise ParameterError(f"sigma is required: model '{self.card.name}' has no noise estimator")
        level = np.asarray(sigma, dtype=np.float32)
        if level.shape not in {(), shape}:
            raise ParameterError(f"sigma must be one number or an array of shape {shape} (got shape {level.shape})")
        if not np.isfinite(level).all() or level.min() < 0:
            found = f" (got {sigma!s})" if level.ndim == 0 else ""
            raise ParameterError(f"sigma must be finite and not negative{found}")
        if level.max() > self.card.sigma_max / 255 * 1.0001:
            raise ParameterError(
                f"sigma must be in [0, {self.card.sigma_max:g}] for model '{self.card.name}' "
                f"(got {level.max() * 255:.4g}, on the 0..255 scale)"
            )
        return np.broadcast_to(level[..., None] if level.ndim else level, (*shape, 1))


def _joined(strips: Iterator[Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Concatenate strips without holding them twice."""
    out = np.empty(shape, dtype)
    done = 0
    for strip in strips:
        out[done : done + len(strip)] = strip
        done += len(strip)
    return out
