"""Noise levels for training: the local sigma of a noisy/clean pair, and inflated sigmas."""

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import box_kernel, convolve
from pellucid.simulation.noise import Image

Level = NDArray[np.float32] | np.float32

#: Largest factor by which a sigma is inflated.
INFLATION_MAX = 3.0
#: Mean of the exponential distribution that is added to every second sigma, [0, 1] scale: estimators that mistake
#: texture for noise find some where there is none.
INFLATION_OFFSET = 3 / 255


def local_sigma(noisy: Image, clean: Image, window_px: int = 15) -> Image:
    r"""Measure the standard deviation of the noise around each pixel, (H, W, 1); the window is mirrored at edges.

    .. math:: \sigma_{ij}^2 = \frac{1}{C w^2} \sum_{c} \sum_{|k|, |l| \le (w-1)/2} (y - x)^2_{i+k, j+l, c}

    With the default window and three channels the result varies by 2.7% for white noise, and by some 10% for camera
    noise, which is correlated between pixels and channels.

    Raises
    ------
    ParameterError
        The window is not odd, or the shapes differ.
    """
    if window_px < 1 or window_px % 2 == 0:
        raise ParameterError(f"window_px {window_px}: give an odd number")
    if noisy.shape != clean.shape:
        raise ParameterError(f"noisy image of shape {noisy.shape}: give a clean one of that shape, not {clean.shape}")
    power = np.square(noisy - clean).mean(axis=2)
    # Rounding errors may make the mean slightly negative.
    sigma: Image = np.sqrt(np.maximum(convolve(power, box_kernel(window_px)), 0))[..., None]
    return sigma


def inflate_sigma(sigma: Level, sigma_max: float, rng: np.random.Generator) -> Level:
    r"""Overestimate a noise level, one number or a map (H, W, 1), as an estimator may; at most `sigma_max`.

    .. math:: \sigma' = e^u \sigma + v, \qquad u \sim \mathcal{U}(0, \ln t), \qquad v \sim \mathrm{Exp}(m)

    with t = :data:`INFLATION_MAX`, m = :data:`INFLATION_OFFSET`, and v = 0 for every second patch. Every second map is
    first replaced by its root mean square, since estimated maps are smooth.

    A denoiser trained with exact sigmas removes as much as sigma says, texture too; one trained with these removes at
    most that, and judges by itself how much noise there is.
    """
    if rng.random() < 0.5:
        sigma = np.full_like(sigma, np.sqrt(np.mean(np.square(sigma))))
    inflated = sigma * np.float32(np.exp(rng.uniform(0, np.log(INFLATION_MAX))))
    if rng.random() < 0.5:
        inflated = inflated + np.float32(rng.exponential(INFLATION_OFFSET))
    return np.minimum(inflated, np.float32(sigma_max))
