"""How close a denoised image is to the clean one, as the literature measures it.

Two images of one shape enter, a number leaves. Nothing here knows how the images were made, and nothing is
clipped: the literature clips a denoised image to [0, 1] before it measures, and so must the caller.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError

Image = NDArray[np.float32]
_Plane = NDArray[np.float64]

#: Constants of Wang et al. 2004, sec. III-B and III-C.
WINDOW_PX, WINDOW_SIGMA_PX, K1, K2 = 11, 1.5, 0.01, 0.03


def psnr(clean: Image, denoised: Image) -> float:
    r"""Peak signal-to-noise ratio for a data range of 1.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{1}{\operatorname{mean} (x - \hat{x})^2}

    The mean is over pixels and channels together. An 8-bit image on the 0..255 scale has the same value.

    Parameters
    ----------
    clean, denoised : ndarray, shape (H, W, C), float32, in [0, 1]

    Returns
    -------
    float
        In dB; infinite where the two are equal.

    Raises
    ------
    ParameterError
        The shapes differ.
    """
    _check_shapes(clean, denoised)
    mean_squared = float(np.mean(np.square(np.subtract(clean, denoised, dtype=np.float64))))
    return -10 * math.log10(mean_squared) if mean_squared else math.inf


def ssim(clean: Image, denoised: Image) -> float:
    r"""Structural similarity for a data range of 1.

    .. math:: \mathrm{SSIM} = \operatorname{mean} \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
        {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}, \qquad C_i = K_i^2

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004,
    eq. 13: means, variances and covariance under a Gaussian window of 11x11 pixels and deviation 1.5; K1 =
    0.01, K2 = 0.03. As in the authors' program, only windows that lie wholly inside the image count: nothing
    is padded, and a border of 5 pixels has no value of its own. The image is not scaled down first. A colour
    image's value is the mean of its channels'.

    Parameters
    ----------
    clean, denoised : ndarray, shape (H, W, C), float32, in [0, 1]
        H and W at least 11.

    Returns
    -------
    float
        At most 1, and 1 only where the two are equal.

    Raises
    ------
    ParameterError
        The shapes differ, or the image is smaller than the window.
    """
    _check_shapes(clean, denoised)
    if min(clean.shape[:2]) < WINDOW_PX:
        raise ParameterError(f"image of {clean.shape[1]}x{clean.shape[0]}: SSIM needs at least {WINDOW_PX}x{WINDOW_PX}")
    channels = range(clean.shape[2])
    return float(np.mean([_ssim_of_planes(clean[..., c], denoised[..., c]) for c in channels]))


def _ssim_of_planes(x: Image, y: Image) -> float:
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _window_means((x64, y64, x64 * x64, y64 * y64, x64 * y64))
    c1, c2 = K1**2, K2**2
    covariance = mean_xy - mean_x * mean_y
    variances = (mean_xx - mean_x**2) + (mean_yy - mean_y**2)
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))))


def _window_means(planes: Iterable[_Plane]) -> list[_Plane]:
    """Weigh each window of each plane; the window is separable, so rows first and then columns."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA_PX**2))
    weights /= weights.sum()
    return [_slide(_slide(plane, weights).T, weights).T for plane in planes]


def _slide(plane: _Plane, weights: _Plane) -> _Plane:
    """Correlate along the first axis, where the weights fit wholly inside."""
    length = plane.shape[0] - len(weights) + 1
    total: _Plane = weights[0] * plane[:length]
    for index in range(1, len(weights)):
        total += weights[index] * plane[index : index + length]
    return total


def _check_shapes(clean: Image, denoised: Image) -> None:
    if clean.shape != denoised.shape:
        raise ParameterError(f"shapes {clean.shape} and {denoised.shape}: compare images of one shape")
