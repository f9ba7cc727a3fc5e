"""Separable convolution and resizing of image planes (..., H, W), and color matrices."""

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]


def gaussian_kernel(sigma_px: float) -> Planes:
    """Return a normalized Gaussian kernel, cut off at 2.5 sigma; shape (2 r + 1,)."""
    reach = int(np.ceil(2.5 * sigma_px))
    places = np.arange(-reach, reach + 1)
    weights = np.exp(-np.square(places / sigma_px) / 2)
    kernel: Planes = (weights / weights.sum()).astype(np.float32)
    return kernel


def box_kernel(window_px: int) -> Planes:
    """Return equal weights for an odd number of pixels, shape (window_px,)."""
    return np.full(window_px, 1 / window_px, np.float32)


def convolve(planes: Planes, kernel: Planes) -> Planes:
    """Convolve rows and columns with a symmetric kernel; the image is mirrored at its edges."""
    for axis in (-2, -1):
        planes = _convolve_along(planes, kernel, axis)
    return planes


def _convolve_along(planes: Planes, kernel: Planes, axis: int) -> Planes:
    reach, length = len(kernel) // 2, planes.shape[axis]
    sides = [(0, 0)] * planes.ndim
    sides[axis] = (reach, reach)
    padded = np.pad(planes, sides, mode="symmetric")

    def shifted(places: int) -> Planes:
        index = [slice(None)] * planes.ndim
        index[axis] = slice(reach + places, reach + places + length)
        return padded[tuple(index)]

    total: Planes = kernel[reach] * planes
    for places in range(1, reach + 1):
        pair = shifted(-places) + shifted(places)
        pair *= kernel[reach + places]
        total += pair
    return total


def resize(planes: Planes, height: int, width: int) -> Planes:
    r"""Resize by cubic interpolation, with a wider kernel for reduction, so that fine detail does not alias.

    .. math:: y_i = \sum_j x_j \, k\bigl(s (j + \tfrac12) - (i + \tfrac12)\bigr) \Big/ \sum_j k(\ldots),
        \qquad s = \min(1, n_\mathrm{out} / n_\mathrm{in})

    k is that of Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE TASSP 1981, eq. 15; for
    enlarging, distances are those between pixels of the input.
    """
    for length in (height, width):
        planes = _resize_rows(planes, length).swapaxes(-1, -2)
    return planes


def _resize_rows(planes: Planes, n_out: int) -> Planes:
    taps, weights = _taps(planes.shape[-2], n_out)
    total: Planes = weights[0, :, None] * planes.take(taps[0], axis=-2)
    for places, weight in zip(taps[1:], weights[1:], strict=True):
        term = planes.take(places, axis=-2)
        term *= weight[:, None]
        total += term
    return total


def _taps(n_in: int, n_out: int) -> tuple[NDArray[np.intp], Planes]:
    """Return the indices of the input pixels for each output pixel and their weights: two arrays (n_taps, n_out)."""
    step = n_in / n_out
    middle = step * (np.arange(n_out) + 0.5) - 0.5
    reach = 2 * max(1.0, step)
    places = np.floor(middle - reach).astype(np.intp) + np.arange(1, int(np.ceil(2 * reach)) + 2)[:, None]
    weights = _cubic(np.abs(places - middle).astype(np.float32) / np.float32(max(1.0, step)))
    weights[(places < 0) | (places >= n_in)] = 0
    return places.clip(0, n_in - 1), weights / weights.sum(axis=0)


def _cubic(distance: Planes) -> Planes:
    near = (1.5 * distance - 2.5) * np.square(distance) + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights: Planes = np.where(distance < 1, near, np.where(distance < 2, far, 0)).astype(np.float32)
    return weights


def mix(matrix: Planes, planes: Planes) -> Planes:
    """Multiply the colors of planes (3, ..., H, W) by a matrix (n, 3)."""
    # Not by `@`, which would start threads of a linear algebra library beside those of training.
    mixed: Planes = np.einsum("nc,c...->n...", matrix, planes)
    return mixed
