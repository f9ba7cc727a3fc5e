"""Edges of photographs: where they are, how sharp they came out, and windows that show them.

Clean and denoised images enter; masks, numbers and small windows leave. It knows nothing of networks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from pellucid.evaluation.metrics import psnr
from pellucid.lab.training import Image

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Shares of an image's pixels, by the strength of the clean image's gradient, that count as edges and as smooth.
EDGE_SHARE, SMOOTH_SHARE = 0.05, 0.5


def gradient(image: Image) -> Plane:
    """Give the gradient of the mean of the channels, by central differences.

    Parameters
    ----------
    image : ndarray, shape (H, W, C)

    Returns
    -------
    ndarray, shape (2, H, W), float64
        Along y and along x, per pixel.
    """
    return np.stack(np.gradient(image.mean(axis=2, dtype=np.float64)))


def edge_pixels(clean: Image) -> Mask:
    """Find the pixels, shape (H, W), where the gradient of an image (H, W, C) is among the strongest 5 %."""
    strength = np.hypot(*gradient(clean))
    edges: Mask = strength >= np.quantile(strength, 1 - EDGE_SHARE)
    return edges


def smooth_pixels(clean: Image) -> Mask:
    """Find the pixels, shape (H, W), where the gradient of an image (H, W, C) is in the weaker half."""
    strength = np.hypot(*gradient(clean))
    smooth: Mask = strength <= np.quantile(strength, SMOOTH_SHARE)
    return smooth


def psnr_on(mask: Mask, clean: Image, denoised: Image) -> float:
    """Give the PSNR, in dB, of the pixels in a mask (H, W) alone."""
    return psnr(clean[mask][:, None], denoised[mask][:, None])


def sharpness(clean: Image, denoised: Image) -> float:
    r"""Give the slope that the clean image's edges have kept: 1 if they are as steep, below 1 if they are blurred.

    .. math:: \frac{\sum_p \nabla \hat x_p \cdot \nabla x_p}{\sum_p \|\nabla x_p\|^2}

    over the pixels p of :func:`edge_pixels`. Only the part of the gradient that runs across the clean edge counts:
    the plain ratio of magnitudes takes noise that was left for sharpness.

    Parameters
    ----------
    clean, denoised : ndarray, shape (H, W, C)
    """
    edges = edge_pixels(clean)
    before, after = gradient(clean)[:, edges], gradient(denoised)[:, edges]
    return float((before * after).sum() / (before**2).sum())


def edge_profile(clean: Image, image: Image, offsets_px: Plane) -> Plane:
    """Average an image along lines that cross the clean image's edges at a right angle, from dark to bright.

    Of each edge only its crest is crossed: pixels whose clean gradient is weaker one pixel before and behind.

    Parameters
    ----------
    clean, image : ndarray, shape (H, W, C)
    offsets_px : ndarray, shape (n,), float64
        Distances from the crest; negative on its dark side.

    Returns
    -------
    ndarray, shape (n,), float64
        Of the mean of the channels.
    """
    slopes = gradient(clean)
    strength = np.hypot(*slopes)
    places = np.argwhere(edge_pixels(clean)).T
    directions = slopes[:, *places] / np.maximum(strength[*places], np.finfo(float).tiny)
    before, here, behind = (_sample(strength, places, directions, at) for at in (-1.0, 0.0, 1.0))
    is_crest = (here >= before) & (here >= behind)
    places, directions = places[:, is_crest], directions[:, is_crest]
    gray = image.mean(axis=2, dtype=np.float64)
    return np.array([_sample(gray, places, directions, at).mean() for at in offsets_px])


def busiest_corner(clean: Image, side_px: int) -> tuple[int, int]:
    """Find the window with the most edge pixels: its top and left, in an image (H, W, C) at least as large."""
    counts = ndimage.uniform_filter(edge_pixels(clean).astype(np.float64), side_px, origin=-(side_px // 2))
    valid = counts[: clean.shape[0] - side_px + 1, : clean.shape[1] - side_px + 1]
    top, left = np.unravel_index(np.argmax(valid), valid.shape)
    return int(top), int(left)


def stack_windows(cleans: Sequence[Image], images: Sequence[Image], side_px: int) -> NDArray[np.uint8]:
    """Cut the same window of each clean image out of another one, and stack the windows from top to bottom.

    Parameters
    ----------
    cleans, images : sequence of ndarray (H, W, 3), on the [0, 1] scale
        The first decide where windows are (:func:`busiest_corner`), the second what they show.
    side_px : int

    Returns
    -------
    ndarray, shape (n * side_px, side_px, 3), uint8
    """
    windows = []
    for clean, image in zip(cleans, images, strict=True):
        top, left = busiest_corner(clean, side_px)
        windows.append(image[top : top + side_px, left : left + side_px])
    return np.rint(np.clip(np.concatenate(windows), 0, 1) * 255).astype(np.uint8)


def unstack_windows(stack: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Take apart what :func:`stack_windows` made."""
    return np.split(stack, len(stack) // stack.shape[1])


def _sample(plane: Plane, places: NDArray[np.intp], directions: Plane, offset_px: float) -> Plane:
    """Interpolate a plane at so many pixels from places, along directions; both have shape (2, n)."""
    values: Plane = ndimage.map_coordinates(plane, places + offset_px * directions, order=1, mode="nearest")
    return values
