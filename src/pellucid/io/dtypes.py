"""Convert pixel values between dtypes, and to and from [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.errors import ParameterError
from pellucid.io.image import Pixels

_ROWS_AT_ONCE = 64


def full_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Values of black and white in a file: the limits of an integer dtype, 0 and 1 for floats."""
    if np.issubdtype(dtype, np.integer):
        return 0.0, float(np.iinfo(dtype).max)
    return 0.0, 1.0


def to_float(pixels: Pixels, low: float, high: float) -> Pixels:
    """Scale pixel values linearly so that `low` becomes 0 and `high` becomes 1: a new float32 array, not clipped.

    Raises
    ------
    ParameterError
        `high` is not above `low`.
    """
    scale = _span(low, high)
    exact_in_float32 = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
    work = np.subtract(pixels, low, dtype=np.float32 if exact_in_float32 else np.float64)
    work /= scale
    return work.astype(np.float32, copy=False)


def from_float(values: Pixels, dtype: np.dtype[Any], low: float, high: float) -> Pixels:
    """Undo `to_float`: scale values so that 0 becomes `low` and 1 becomes `high`, a new array of `dtype`.

    Integers are rounded half to even and clipped to the limits of `dtype`; floats are neither rounded nor clipped.
    Exact for uint8 and uint16.

    Raises
    ------
    ParameterError
        `high` is not above `low`.
    """
    scale = _span(low, high)
    exact_in_float32 = dtype.itemsize <= 2 or dtype == np.float32
    work = np.multiply(values, scale, dtype=np.float32 if exact_in_float32 else np.float64)
    work += low
    if not np.issubdtype(dtype, np.integer):
        return work.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    np.rint(work, out=work)
    # The clip is done in floats, where the upper limit of a wide integer may round up to one that overflows.
    np.clip(work, limits.min, np.nextafter(work.dtype.type(limits.max) + 1, 0).astype(work.dtype), out=work)
    return work.astype(dtype)


def convert(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Convert between uint8, uint16 and float32, from full range to full range; `pixels` itself if nothing changes.

    Integers are rounded half to even; floats outside [0, 1] are clipped on the way to integers.
    """
    if pixels.dtype == dtype:
        return pixels
    converted = np.empty(pixels.shape, dtype)
    # In strips, because the floats in between would take up to four times the memory of the image.
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        strip = to_float(pixels[top : top + _ROWS_AT_ONCE], *full_range(pixels.dtype))
        converted[top : top + _ROWS_AT_ONCE] = from_float(strip, dtype, *full_range(dtype))
    return converted


def _span(low: float, high: float) -> float:
    if not high > low:
        raise ParameterError(f"a range from {low} to {high} is empty; give a high value above the low one")
    return high - low
