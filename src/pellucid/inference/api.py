"""Denoise arrays and estimate their noise in one call; loaded networks are cached."""

from functools import lru_cache
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from pellucid.inference.arrays import Range, view_image
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.options import ResultOptions, explicit_options
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.row_buffer import Array


@explicit_options
def denoise(
    image: ArrayLike,
    *,
    model: str | Path | None = None,
    channel_axis: int | None = -1,
    data_range: Range = None,
    **options: Unpack[ResultOptions],
) -> Array:
    """Denoise an image.

    Parameters
    ----------
    image : array, shape (H, W, C) by default
        Any real dtype: numpy arrays, and whatever numpy can convert (PIL images, torch tensors). A two-dimensional
        array is a gray image.
    model : str or Path, optional
        A model's name or folder. Default: the bundled colour model for three channels; for any other number the gray
        model, channel by channel.
    channel_axis : int or None
        The axis of the channels; None for a gray image without one.
    data_range : float or (float, float), optional
        The largest value, or the smallest and the largest. Default: the whole range of an unsigned integer dtype; for
        floats [0, 1], or the image's own smallest and largest value if these lie more than 1 outside of it.
    **options
        sigma, strength, luma, chroma, detail: see :class:`DenoiseOptions`.

    Returns
    -------
    ndarray
        Of the image's shape and dtype; integers are rounded and clipped to their range, floats are not clipped.

    Raises
    ------
    ParameterError
        An option is out of range, the image holds NaN or infinity or has a shape that is not an image's.
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
    return _cached_denoiser(str(model)).denoise(pixels, channel_axis=channel_axis, data_range=data_range, **options)


@lru_cache(maxsize=2)
def _cached_denoiser(model: str) -> Denoiser:
    return Denoiser(model)


def estimate_sigma(image: ArrayLike, *, channel_axis: int | None = -1, data_range: Range = None) -> float:
    """Estimate the noise level of an image with the bundled model for its channels.

    Parameters
    ----------
    image, channel_axis, data_range
        See :func:`denoise`.

    Returns
    -------
    float
        Standard deviation as a fraction of the range; times 255 on the scale of papers. See :meth:`Denoiser.estimate`.

    Raises
    ------
    ParameterError
        See :func:`denoise`.
    """
    pixels = np.asarray(image)
    view = view_image(pixels, channel_axis, data_range)
    denoiser = _cached_denoiser(DEFAULT_NAMES[3 if view.pixels.shape[2] == 3 else 1])
    return denoiser.estimate(pixels, channel_axis=channel_axis, data_range=data_range)
