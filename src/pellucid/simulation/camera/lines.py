"""Smoothing along lines: each pixel is averaged in the direction in which the image changes least.

Planes ``(n, H, W)`` enter and leave. It knows nothing of what the planes mean.
"""

import numpy as np

from pellucid.simulation.camera.filters import Planes, box_kernel, convolve, gaussian_kernel

#: Rows and columns from one pixel of a line to the next: beside, below, and the two diagonals.
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
#: Neighbours decide together, so that a line is more than a pixel wide.
_WINDOW_PX = 3


def smooth_along_lines(planes: Planes, sigma_px: float) -> Planes:
    r"""Average each pixel along the one of four directions in which the average is closest to what it replaces.

    .. math:: y'_i = \sum_k w_k \, y_{i + k \theta_i}, \qquad
        \theta_i = \arg\min_\theta \sum_{j \in N_i} \Bigl(y_j - \sum_k w_k \, y_{j + k \theta}\Bigr)^2

    Directional smoothing: Jain, "Fundamentals of Digital Image Processing", 1989, sec. 7.4; with the weights w of a
    bell curve and the sum over 3x3 pixels. Edges stay sharp; noise becomes short lines.

    Parameters
    ----------
    planes : ndarray, shape (n, H, W), float32
        The first decides for all, so that they stay comparable.
    sigma_px : float
        Deviation of w in pixels, more than 0.

    Returns
    -------
    ndarray, shape (n, H, W), float32
    """
    smooth, least = planes, np.full(planes.shape[1:], np.inf, np.float32)
    for step in _STEPS:
        along = _averaged(planes, step, gaussian_kernel(sigma_px / float(np.hypot(*step))))
        change = convolve(np.square(planes[0] - along[0]), box_kernel(_WINDOW_PX))
        smooth = np.where(change < least, along, smooth)
        least = np.minimum(change, least)
    return smooth


def _averaged(planes: Planes, step: tuple[int, int], kernel: Planes) -> Planes:
    """Weigh the neighbours on a line through each pixel; at its edges the image is mirrored."""
    reach, (height, width) = len(kernel) // 2, planes.shape[-2:]
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    total = np.zeros_like(planes)
    for place, weight in enumerate(kernel, -reach):
        top, left = reach + place * step[0], reach + place * step[1]
        total += weight * padded[..., top : top + height, left : left + width]
    return total
