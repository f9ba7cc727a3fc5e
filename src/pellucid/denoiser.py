"""Denoise an image: the noise level, the network and the tiles put together.

An array and, if known, the level of its noise enter; an array of the same shape and dtype leaves. Or rows enter from
the top to the bottom, and leave. It knows nothing of files.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.catalog import DEFAULT_NAMES, ModelCard, find_model
from pellucid.errors import ParameterError
from pellucid.noise_level import estimate_noise
from pellucid.rows import Array, Rows
from pellucid.runtime import Network
from pellucid.tiling import Progress, apply_tiled, check_tile
from pellucid.views import Range, channel_groups, restore_axis, view_image

#: Side of a tile with its halo. Larger ones waste less on halos and need more memory.
DEFAULT_TILE_PX = 1280
#: ITU-R BT.601-7 (2011), sec. 2.5.1: brightness of red, green and blue.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def denoise(
    image: ArrayLike,
    *,
    sigma: float | ArrayLike | None = None,
    strength: float = 1.0,
    luma: float = 1.0,
    chroma: float = 1.0,
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
    luma, chroma : float
        The same for brightness and for colour by themselves, times `strength`. Of what the network takes out of an
        image of three channels, brightness is the part that is the same in all three, weighted as in ITU-R BT.601.
        In all other images `chroma` is of no effect.
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
        n_channels = view_image(pixels, channel_axis, data_range).pixels.shape[2]
        model = DEFAULT_NAMES[3 if n_channels == 3 else 1]
    return _cached_denoiser(str(model)).denoise(
        pixels,
        sigma=sigma,
        strength=strength,
        luma=luma,
        chroma=chroma,
        channel_axis=channel_axis,
        data_range=data_range,
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
    view = view_image(np.asarray(image), channel_axis, data_range)
    return estimate_noise(view.pixels, view.scale)


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
        luma: float = 1.0,
        chroma: float = 1.0,
        channel_axis: int | None = -1,
        data_range: Range = None,
        progress: Progress | None = None,
    ) -> Array:
        """Take the noise out of an image.

        Parameters
        ----------
        image, sigma, strength, luma, chroma, channel_axis, data_range
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
        view = view_image(pixels, channel_axis, data_range)
        if sigma is None:
            sigma = min(estimate_noise(view.pixels, view.scale), self.card.sigma_max / 255)
        strips = self.denoise_rows(
            view.pixels,
            n_channels=view.pixels.shape[2],
            data_range=(view.low, view.high),
            sigma=sigma,
            strength=strength,
            luma=luma,
            chroma=chroma,
            progress=progress,
        )
        out = np.empty_like(view.pixels, order="C")
        done = 0
        for strip in strips:
            out[done : done + len(strip)] = strip
            done += len(strip)
        return restore_axis(out, pixels.ndim, channel_axis)

    def denoise_rows(
        self,
        image: Rows,
        *,
        n_channels: int,
        data_range: tuple[float, float],
        sigma: float | ArrayLike,
        strength: float = 1.0,
        luma: float = 1.0,
        chroma: float = 1.0,
        progress: Progress | None = None,
    ) -> Iterator[Array]:
        """Take the noise out of an image that need not be in memory.

        Parameters
        ----------
        image : Rows, shape (H, W, C)
            Rows are taken once, from the top to the bottom, as many at a time as a tile is high.
        n_channels : int
            The first so many of the C channels are denoised, further ones (alpha) pass as they are.
        data_range : (float, float)
            The smallest and the largest value.
        sigma, strength, luma, chroma, progress
            As of :meth:`denoise`; the noise level has to be known.

        Returns
        -------
        iterator of ndarray, each (h, W, C)
            Strips of rows, of the image's dtype, from the top to the bottom.

        Raises
        ------
        ParameterError
            As :meth:`denoise`, before anything is taken from `image`.
        """
        if self.card.channels == 3 and n_channels != 3:
            raise ParameterError(
                f"model '{self.card.name}' takes images of 3 channels, this has {n_channels}: choose model 'gray'"
            )
        shares = _shares(strength, luma, chroma)
        level = self._level(sigma, image.shape[:2])
        groups = channel_groups(n_channels, self.card.channels) if any(shares) and level.any() else []

        def clean(window: Array, level_window: NDArray[np.float32]) -> Array:
            cleaned = window.copy()
            for group in groups:
                cleaned[..., group] = self._clean_window(window[..., group], level_window, data_range, shares)
            return cleaned

        return apply_tiled(clean, (image, level), tile_px=self.tile_px, **self._reach, progress=progress)

    def _level(self, sigma: float | ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Bring the noise level to a map ``(H, W, 1)`` that takes no memory where it is one number."""
        level = np.asarray(sigma, dtype=np.float32)
        if level.shape not in {(), shape}:
            raise ParameterError(f"sigma of shape {level.shape}: give one number, or one for each of {shape} pixels")
        if not np.isfinite(level).all() or level.min() < 0:
            raise ParameterError(
                f"sigma {sigma!s}: give a number that is not negative"
                if level.ndim == 0
                else "sigma: give a map of finite numbers that are not negative"
            )
        if level.max() > self.card.sigma_max / 255 * 1.0001:
            raise ParameterError(
                f"sigma {level.max() * 255:.4g}: model '{self.card.name}' knows noise up to {self.card.sigma_max:g} "
                "(on the 0..255 scale): give at most that"
            )
        return np.broadcast_to(level[..., None] if level.ndim else level, (*shape, 1))

    def _clean_window(
        self,
        window: Array,
        level: NDArray[np.float32],
        data_range: tuple[float, float],
        shares: tuple[float, float],
    ) -> Array:
        """Denoise one window in the image's own dtype."""
        low, scale = data_range[0], data_range[1] - data_range[0]
        noisy = window.astype(np.float32)
        noisy -= np.float32(low)
        noisy *= np.float32(1 / scale)
        residual = self.network(noisy, np.ascontiguousarray(level))
        residual = _weigh(residual, *shares)
        residual *= np.float32(scale)
        if np.issubdtype(window.dtype, np.floating):
            cleaned: Array = (window - residual).astype(window.dtype)
            return cleaned
        limits = np.iinfo(window.dtype)
        restored: Array = np.clip(np.rint(window - residual), limits.min, limits.max).astype(window.dtype)
        return restored


def _shares(strength: float, luma: float, chroma: float) -> tuple[float, float]:
    """Give how much is taken out of brightness and of colour."""
    for name, value in (("strength", strength), ("luma", luma), ("chroma", chroma)):
        if not 0 <= value <= 1:
            raise ParameterError(f"{name} {value}: give a number from 0 to 1")
    return float(strength * luma), float(strength * chroma)


def _weigh(residual: NDArray[np.float32], luma: float, chroma: float) -> NDArray[np.float32]:
    """Weigh the brightness and the colour of what is to be taken out, (H, W, C); in place where that can be."""
    if residual.shape[2] != 3 or luma == chroma:
        residual *= np.float32(luma)
        return residual
    brightness = (residual @ LUMA)[..., None]
    return np.float32(chroma) * residual + np.float32(luma - chroma) * brightness
