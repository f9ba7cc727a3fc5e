"""What a network finds in a window, and what is left of the window without it.

A window in the image's own dtype and a residual enter, values on the network's scale and a cleaned window leave. It
knows nothing of networks or tiles.
"""

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array

#: ITU-R BT.601-7 (2011), sec. 2.5.1: brightness of red, green and blue.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_ITSELF = np.ones(1, np.float32)

#: Pixels to each side by which :func:`restore_detail` tells structure,
DETAIL_REACH_PX = 2
#: and that have to be gray for :func:`keep_gray` to call one so.
GRAY_REACH_PX = 2


def normalized(window: Array, data_range: tuple[float, float]) -> NDArray[np.float32]:
    """Bring a window to the network's scale."""
    low, scale = data_range[0], data_range[1] - data_range[0]
    noisy = window.astype(np.float32)
    noisy -= np.float32(low)
    noisy *= np.float32(1 / scale)
    return noisy


def subtracted(window: Array, residual: NDArray[np.float32], data_range: tuple[float, float]) -> Array:
    """Take a residual on the network's scale, which is used up, out of a window, in the window's own dtype."""
    residual *= np.float32(data_range[1] - data_range[0])
    if np.issubdtype(window.dtype, np.floating):
        cleaned: Array = (window - residual).astype(window.dtype)
        return cleaned
    limits = np.iinfo(window.dtype)
    restored: Array = np.clip(np.rint(window - residual), limits.min, limits.max).astype(window.dtype)
    return restored


def weight_luma_chroma(residual: NDArray[np.float32], luma: float, chroma: float) -> NDArray[np.float32]:
    """Weigh the brightness and the colour of what is to be taken out, (H, W, C); in place where that can be."""
    if residual.shape[2] != 3 or luma == chroma:
        residual *= np.float32(luma)
        return residual
    brightness = _summed(residual, LUMA)[..., None]
    return np.float32(chroma) * residual + np.float32(luma - chroma) * brightness


def restore_detail(
    residual: NDArray[np.float32], noisy: NDArray[np.float32], level: NDArray[np.float32], detail: float
) -> NDArray[np.float32]:
    r"""Leave in the image some of the brightness that would be taken out where the image has structure.

    .. math:: r' = r - d \, \frac{v}{v + \sigma^2} \, (w \cdot r)

    v is the variance of the cleaned brightness in a window of 5x5 pixels, w the weights of brightness: flat places,
    where noise is seen most, stay as clean as they were, edges and texture, which hide it, get back what the network
    may have mistaken for noise. The weight is that of Lee, "Digital Image Enhancement and Noise Filtering by Use of
    Local Statistics", IEEE PAMI 1980, eq. 6.

    Parameters
    ----------
    residual, noisy : ndarray, shape (H, W, C)
        On the network's scale; C is 1 or 3.
    level : ndarray, shape (H, W, 1)
        The noise's deviation.
    detail : float
        d, from 0 to 1.
    """
    if not detail:
        return residual
    weights = LUMA if residual.shape[2] == 3 else _ITSELF
    cleaned, removed = (_summed(image, weights) for image in (noisy - residual, residual))
    mean = _window_mean(cleaned)
    variance = np.maximum(_window_mean(cleaned * cleaned) - mean * mean, 0)
    share = np.float32(detail) * variance / (variance + np.square(level[..., 0]) + np.float32(1e-12))
    kept = np.asarray((share * removed)[..., None], np.float32)
    return residual - kept


def keep_gray(residual: NDArray[np.float32], window: Array) -> NDArray[np.float32]:
    """Take the same out of all colours where the image has none, so that black and white stays black and white.

    Where all pixels within `GRAY_REACH_PX` have three equal values, which they do not have by chance in a photograph in
    colour, each colour loses the brightness of what would be taken out.

    Parameters
    ----------
    residual : ndarray, shape (H, W, C), float32
        In place where that can be; left as it is where C is not 3.
    window : ndarray, shape (H, W, C)
        The noisy image.
    """
    if residual.shape[2] != 3:
        return residual
    is_colored = (window[..., 0] != window[..., 1]) | (window[..., 1] != window[..., 2])
    if is_colored.all():
        return residual
    is_gray = ~_any_near(is_colored, GRAY_REACH_PX)
    residual[is_gray] = _summed(residual[is_gray], LUMA)[..., None]
    return residual


def _any_near(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Say where a mask is set within so many pixels to each side, edges and corners included."""
    for axis in (0, 1):
        near = mask.copy()
        ahead, behind = np.moveaxis(near, axis, 0), np.moveaxis(mask, axis, 0)
        for places in range(1, reach + 1):
            ahead[places:] |= behind[:-places]
            ahead[:-places] |= behind[places:]
        mask = near
    return mask


def _summed(image: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh and sum the channels of (..., C).

    Not by the operator ``@``: on some processors a pixel's sum would be rounded by where it lies in the window.
    """
    total: NDArray[np.float32] = image[..., 0] * weights[0]
    for channel in range(1, len(weights)):
        total += image[..., channel] * weights[channel]
    return total


def _window_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average over `DETAIL_REACH_PX` to all sides, the edge mirrored; the same sums whatever the plane's extent."""
    for axis in (0, 1):
        length, reach = plane.shape[axis], DETAIL_REACH_PX
        padded = np.pad(plane, [(reach, reach) if i == axis else (0, 0) for i in (0, 1)], mode="symmetric")
        total = np.zeros_like(plane)
        for start in range(2 * reach + 1):
            total += padded.take(range(start, start + length), axis)
        plane = total / np.float32(2 * reach + 1)
    return plane
