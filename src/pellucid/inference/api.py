"""The package as two functions, for those who have an array and no wish to keep anything.

An array enters, a clean one or the level of its noise leaves. The networks are kept between calls.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pellucid.inference.arrays import Range, view_image
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.row_buffer import Array


def denoise(
    image: ArrayLike,
    *,
    sigma: float | ArrayLike | None = None,
    strength: float = 1.0,
    luma: float = 1.0,
    chroma: float = 1.0,
    detail: float = 0.0,
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
    detail : float
        From 0 to 1: how much of the brightness that was taken out of edges and texture is given back; flat places stay
        as they are. See :func:`residual.without_detail`.
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
        detail=detail,
        channel_axis=channel_axis,
        data_range=data_range,
    )


@lru_cache(maxsize=2)
def _cached_denoiser(model: str) -> Denoiser:
    return Denoiser(model)


def estimate_sigma(image: ArrayLike, *, channel_axis: int | None = -1, data_range: Range = None) -> float:
    """Estimate how strong the noise in an image is: what the bundled model for its channels is told.

    Parameters
    ----------
    image, channel_axis, data_range
        As of :func:`denoise`.

    Returns
    -------
    float
        Standard deviation as a fraction of the range; times 255 on the scale of papers. See :meth:`Denoiser.estimate`.

    Raises
    ------
    ParameterError
        As :func:`denoise`.
    """
    pixels = np.asarray(image)
    view = view_image(pixels, channel_axis, data_range)
    denoiser = _cached_denoiser(DEFAULT_NAMES[3 if view.pixels.shape[2] == 3 else 1])
    return denoiser.estimate(pixels, channel_axis=channel_axis, data_range=data_range)
