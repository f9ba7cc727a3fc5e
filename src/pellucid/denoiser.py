"""Denoise an image held in memory: the noise level, the network and the tiles put together.

An array and, if known, the level of its noise enter; an array of the same shape and dtype leaves. It knows nothing of
files.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.catalog import DEFAULT_NAMES, ModelCard, find_model
from pellucid.errors import ParameterError
from pellucid.noise_level import estimate_noise
from pellucid.runtime import Network
from pellucid.tiling import Array, Progress, apply_tiled, check_tile

#: Side of a tile with its halo. Larger ones waste less on halos and need more memory.
DEFAULT_TILE_PX = 1536
#: A float image without a stated range is taken to be in [0, 1] if it strays from it by no more than noise would.
UNIT_SLACK = 1.0

Range = float | tuple[float, float] | None


@dataclass(frozen=True)
class _View:
    """An image brought to (H, W, C), and the range of its values."""

    pixels: Array
    low: float
    high: float

    @property
    def scale(self) -> float:
        return self.high - self.low


def denoise(
    image: ArrayLike,
    *,
    sigma: float | ArrayLike | None = None,
    strength: float = 1.0,
    model: str | Path | None = None,
    channel_axis: int | None = -1,
    data_range: Range = None,
) -> Array:
    """Take the noise out of an image.

    Parameters
    ----------
    image : array, shape (H, W, C) by default
        Any real dtype: numpy arrays, and whatever numpy can make one of (PIL images, torch tensors). A two-dimensional
        array is a gray image.
    sigma : float or array of shape (H, W), optional
        Standard deviation of the noise as a fraction of the range (25/255 is what papers call 25), one for all pixels
        or one for each; 0 everywhere returns the image unchanged. Default: estimated from the image.
    strength : float
        0 returns the image unchanged, 1 takes out all the noise that the network sees; between, the two are blended.
    model : str or Path, optional
        A model's name or folder. Default: the bundled colour model for three channels; for any other number the gray
        model, channel by channel.
    channel_axis : int or None
        The axis of the channels; None for a gray image without one.
    data_range : float or (float, float), optional
        The largest value, or the smallest and the largest. Default: the whole range of an unsigned integer dtype; for
        floats [0, 1], or the image's own smallest and largest value if these lie more than 1 outside of it.

    Returns
    -------
    ndarray
        Of the image's shape and dtype; integers are rounded and clipped to their range, floats are not clipped.

    Raises
    ------
    ParameterError
        A value that cannot be used, NaN or infinity in the image, a shape that is no image.
    ModelError
        The model cannot be found or is damaged.

    Examples
    --------
    >>> import numpy as np, pellucid
    >>> noisy = np.full((64, 64, 3), 0.5) + 0.1 * np.random.default_rng(0).standard_normal((64, 64, 3))
    >>> clean = pellucid.denoise(noisy, sigma=0.1)
    >>> bool(clean.std() < 0.02)
    True
    """
    pixels = np.asarray(image)
    if model is None:
        n_channels = _view(pixels, channel_axis, data_range).pixels.shape[2]
        model = DEFAULT_NAMES[3 if n_channels == 3 else 1]
    return _cached_denoiser(str(model)).denoise(
        pixels, sigma=sigma, strength=strength, channel_axis=channel_axis, data_range=data_range
    )


@lru_cache(maxsize=2)
def _cached_denoiser(model: str) -> "Denoiser":
    return Denoiser(model)


def estimate_sigma(image: ArrayLike, *, channel_axis: int | None = -1, data_range: Range = None) -> float:
    """Estimate how strong the noise in an image is.

    Parameters
    ----------
    image, channel_axis, data_range
        As of :func:`denoise`.

    Returns
    -------
    float
        Standard deviation as a fraction of the range; times 255 on the scale of papers. Of an image with other than
        one or three channels, the root mean square of its channels'. See `noise_level.estimate_noise` for the method.

    Raises
    ------
    ParameterError
        As :func:`denoise`.
    """
    view = _view(np.asarray(image), channel_axis, data_range)
    groups = _channel_groups(view.pixels.shape[2], 3)
    variances = [estimate_noise(view.pixels[..., group], view.scale) ** 2 for group in groups]
    return float(np.sqrt(np.mean(variances)))


class Denoiser:
    """A model ready to denoise many images.

    Parameters
    ----------
    model : str or Path
        A model's name or folder.
    device, precision, n_threads
        As of :class:`runtime.Network`.
    tile_px : int
        Side of the square of the image that the network sees at once.

    Attributes
    ----------
    card : ModelCard
    network : Network

    Raises
    ------
    ModelError
        The model cannot be found or is damaged.
    ParameterError
        A device that is not there, a tile too small for the network's reach.
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
        self.card: ModelCard = find_model(model)
        self._reach = {"halo_px": self.card.halo_px, "stride_px": self.card.stride_px}
        check_tile(tile_px, **self._reach)
        self.tile_px = tile_px
        self.network = Network(self.card, device=device, precision=precision, n_threads=n_threads)

    def denoise(
        self,
        image: ArrayLike,
        *,
        sigma: float | ArrayLike | None = None,
        strength: float = 1.0,
        channel_axis: int | None = -1,
        data_range: Range = None,
        progress: Progress | None = None,
    ) -> Array:
        """Take the noise out of an image.

        Parameters
        ----------
        image, sigma, strength, channel_axis, data_range
            As of :func:`denoise`. An image whose channels are not the model's is refused by a colour model; a gray
            model takes each channel by itself.
        progress : callable, optional
            Called as ``progress(n_done, n_tiles)``.

        Returns
        -------
        ndarray
            Of the image's shape and dtype.
        """
        pixels = np.asarray(image)
        view = _view(pixels, channel_axis, data_range)
        n_channels = view.pixels.shape[2]
        if self.card.channels == 3 and n_channels != 3:
            raise ParameterError(
                f"model '{self.card.name}' takes images of 3 channels, this has {n_channels}: choose model 'gray'"
            )
        strength = _check_strength(strength)
        level = self._level(sigma, view)
        if strength == 0 or not level.any():
            return pixels.copy()
        out = np.empty_like(view.pixels, order="C")
        groups = _channel_groups(n_channels, self.card.channels)
        for index, group in enumerate(groups):
            apply_tiled(
                lambda window, level_window: self._clean_window(window, level_window, view, strength),
                (view.pixels[..., group], level),
                out[..., group],
                tile_px=self.tile_px,
                **self._reach,
                progress=_part(progress, index, len(groups)),
            )
        return _restore_axis(out, pixels.ndim, channel_axis)

    def _level(self, sigma: float | ArrayLike | None, view: _View) -> NDArray[np.float32]:
        """Bring the noise level to a map ``(H, W, 1)`` that takes no memory where it is one number."""
        shape = view.pixels.shape[:2]
        if sigma is None:
            sigma = min(estimate_sigma(view.pixels, data_range=(view.low, view.high)), self.card.sigma_max / 255)
        level = np.asarray(sigma, dtype=np.float32)
        if level.shape not in {(), shape}:
            raise ParameterError(f"sigma of shape {level.shape}: give one number, or one for each of {shape} pixels")
        if not np.isfinite(level).all() or level.min() < 0:
            raise ParameterError(
                f"sigma {sigma}: give a number that is not negative"
                if level.ndim == 0
                else "sigma: give a map of finite numbers that are not negative"
            )
        if level.max() > self.card.sigma_max / 255 * 1.0001:
            raise ParameterError(
                f"sigma {level.max() * 255:.4g}: model '{self.card.name}' knows noise up to {self.card.sigma_max:g} "
                "(on the 0..255 scale): give at most that"
            )
        return np.broadcast_to(level[..., None] if level.ndim else level, (*shape, 1))

    def _clean_window(self, window: Array, level: NDArray[np.float32], view: _View, strength: float) -> Array:
        """Denoise one window in the image's own dtype."""
        noisy = window.astype(np.float32)
        noisy -= np.float32(view.low)
        noisy *= np.float32(1 / view.scale)
        residual = self.network(noisy, np.ascontiguousarray(level))
        residual *= np.float32(strength * view.scale)
        if np.issubdtype(window.dtype, np.floating):
            cleaned: Array = (window - residual).astype(window.dtype)
            return cleaned
        limits = np.iinfo(window.dtype)
        restored: Array = np.clip(np.rint(window - residual), limits.min, limits.max).astype(window.dtype)
        return restored


def _view(pixels: Array, channel_axis: int | None, data_range: Range) -> _View:
    """Check an array and bring it to (H, W, C) without copying it."""
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise ParameterError(f"image of dtype {pixels.dtype}: give integers or floats of at most 64 bits")
    if channel_axis is None or pixels.ndim == 2:
        shaped = pixels[..., None]
    elif -pixels.ndim <= channel_axis < pixels.ndim:
        shaped = np.moveaxis(pixels, channel_axis, -1)
    else:
        raise ParameterError(f"channel_axis {channel_axis}: the image has {pixels.ndim} axes")
    if shaped.ndim != 3 or 0 in shaped.shape:
        raise ParameterError(f"image of shape {pixels.shape}: give (H, W) or (H, W, C) with at least one pixel")
    low, high = _find_range(shaped, data_range)
    return _View(shaped, low, high)


def _find_range(pixels: Array, data_range: Range) -> tuple[float, float]:
    is_float = pixels.dtype.kind == "f"
    smallest, largest = (float(pixels.min()), float(pixels.max())) if is_float else (0.0, 0.0)
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ParameterError("image: holds NaN or infinity: replace these values first")
    if data_range is not None:
        low, high = data_range if isinstance(data_range, tuple) else (0.0, float(data_range))
        if not (np.isfinite(low) and np.isfinite(high) and high > low):
            raise ParameterError(f"data_range {data_range}: give a positive number, or two in rising order")
        return float(low), float(high)
    if pixels.dtype.kind == "u":
        return 0.0, float(np.iinfo(pixels.dtype).max)
    if not is_float:
        raise ParameterError(f"image of dtype {pixels.dtype}: give data_range, since signed integers have no usual one")
    if smallest >= -UNIT_SLACK and largest <= 1 + UNIT_SLACK:
        return 0.0, 1.0
    return smallest, largest


def _channel_groups(n_channels: int, model_channels: int) -> list[slice]:
    """Divide channels into what is worked on together: three at once where there are just three, else one by one."""
    if n_channels == 3 == model_channels:
        return [slice(0, 3)]
    return [slice(c, c + 1) for c in range(n_channels)]


def _check_strength(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise ParameterError(f"strength {strength}: give a number from 0 to 1")
    return float(strength)


def _part(progress: Progress | None, index: int, n_parts: int) -> Progress | None:
    """Report one of several equal parts as a part of the whole."""
    if progress is None:
        return None
    return lambda n_done, n_tiles: progress(index * n_tiles + n_done, n_parts * n_tiles)


def _restore_axis(pixels: Array, n_axes: int, channel_axis: int | None) -> Array:
    if channel_axis is None or n_axes == 2:
        return pixels[..., 0]
    return np.moveaxis(pixels, -1, channel_axis)
