"""Turn a network's residual into a denoised window: strength, luma and chroma, detail, dtype."""

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array

#: Luma weights of red, green and blue: ITU-R BT.601-7 (2011), sec. 2.5.1.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_ONE = np.ones(1, np.float32)
#: Radius of the window in which :func:`restore_detail` measures variance.
DETAIL_REACH_PX = 2
#: Radius within which all pixels must be gray for :func:`keep_gray`.
GRAY_REACH_PX = 2


def normalized(window: Array, data_range: tuple[float, float]) -> NDArray[np.float32]:
    """Scale a window to [0, 1]."""
    low, scale = data_range[0], data_range[1] - data_range[0]
    noisy = window.astype(np.float32)
    noisy -= np.float32(low)
    noisy *= np.float32(1 / scale)
    return noisy


def subtracted(window: Array, residual: NDArray[np.float32], data_range: tuple[float, float]) -> Array:
    """Subtract a residual on the [0, 1] scale, which is overwritten, from a window, in the window's own dtype."""
    residual *= np.float32(data_range[1] - data_range[0])
    if np.issubdtype(window.dtype, np.floating):
        cleaned: Array = (window - residual).astype(window.dtype)
        return cleaned
    limits = np.iinfo(window.dtype)
    restored: Array = np.clip(np.rint(window - residual), limits.min, limits.max).astype(window.dtype)
    return restored


def weight_luma_chroma(residual: NDArray[np.float32], luma: float, chroma: float) -> NDArray[np.float32]:
    """Scale luma and chroma of a residual (H, W, C), in place where possible."""
    if residual.shape[2] != 3 or luma == chroma:
        residual *= np.float32(luma)
        return residual
    brightness = _summed(residual, LUMA)[..., None]
    return np.float32(chroma) * residual + np.float32(luma - chroma) * brightness


def restore_detail(
    residual: NDArray[np.float32], noisy: NDArray[np.float32], level: NDArray[np.float32], detail: float
) -> NDArray[np.float32]:
    r"""Remove less luma where the image has structure.

    .. math:: r' = r - d \, \frac{v}{v + \sigma^2} \, (w \cdot r)

    with d = `detail` in [0, 1], v the variance of the denoised luma in 5x5 pixels and w the luma weights: flat areas,
    where noise is most visible, stay clean; edges and texture, which mask it, get back what the network may have
    mistaken for noise. The weight is that of Lee, "Digital Image Enhancement and Noise Filtering by Use of Local
    Statistics", IEEE PAMI 1980, eq. 6. `residual` and `noisy` are (H, W, C) on the [0, 1] scale, `level`, the noise's
    standard deviation, is (H, W, 1).
    """
    if not detail:
        return residual
    weights = LUMA if residual.shape[2] == 3 else _ONE
    cleaned, removed = (_summed(image, weights) for image in (noisy - residual, residual))
    mean = _window_mean(cleaned)
    variance = np.maximum(_window_mean(cleaned * cleaned) - mean * mean, 0)
    share = np.float32(detail) * variance / (variance + np.square(level[..., 0]) + np.float32(1e-12))
    kept = np.asarray((share * removed)[..., None], np.float32)
    return residual - kept


def keep_gray(residual: NDArray[np.float32], window: Array) -> NDArray[np.float32]:
    """Remove the same from all three channels where the noisy image (H, W, 3) is gray, in place.

    An area is gray where all pixels within `GRAY_REACH_PX` have three equal values, which does not happen by chance in
    a colour photograph. Each channel then loses the luma of the residual.
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
    """Dilate a mask by a square of so many pixels to each side."""
    for axis in (0, 1):
        near = mask.copy()
        ahead, behind = np.moveaxis(near, axis, 0), np.moveaxis(mask, axis, 0)
        for places in range(1, reach + 1):
            ahead[places:] |= behind[:-places]
            ahead[:-places] |= behind[places:]
        mask = near
    return mask


def _summed(image: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum weighted channels; ``@`` would round a pixel differently by its place in the window on some processors."""
    total: NDArray[np.float32] = image[..., 0] * weights[0]
    for channel in range(1, len(weights)):
        total += image[..., channel] * weights[channel]
    return total


def _window_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Box filter of radius `DETAIL_REACH_PX`, edges mirrored; sums are in the same order whatever the plane's size."""
    for axis in (0, 1):
        length, reach = plane.shape[axis], DETAIL_REACH_PX
        padded = np.pad(plane, [(reach, reach) if i == axis else (0, 0) for i in (0, 1)], mode="symmetric")
        total = np.zeros_like(plane)
        for start in range(2 * reach + 1):
            total += padded.take(range(start, start + length), axis)
        plane = total / np.float32(2 * reach + 1)
    return plane
