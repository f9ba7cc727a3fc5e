"""View arrays of any axis order as images (H, W, C) with a value range, without copying."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import ParameterError
from pellucid.inference.row_buffer import Array

#: A float image without a stated range is taken to be in [0, 1] if no value lies farther outside than this.
UNIT_SLACK = 1.0

Range = float | tuple[float, float] | None


@dataclass(frozen=True)
class View:
    """An image as (H, W, C), and the range of its values."""

    pixels: Array
    low: float
    high: float

    @property
    def scale(self) -> float:
        """Width of the range, which is 1 for the network."""
        return self.high - self.low


def view_image(pixels: Array, channel_axis: int | None, data_range: Range) -> View:
    """Check an array and view it as (H, W, C); raise ParameterError if it is not an image or its range is unknown."""
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise ParameterError(f"image of dtype {pixels.dtype}: use integers or floats of at most 64 bits")
    if channel_axis is None or pixels.ndim == 2:
        shaped = pixels[..., None]
    elif -pixels.ndim <= channel_axis < pixels.ndim:
        shaped = np.moveaxis(pixels, channel_axis, -1)
    else:
        raise ParameterError(f"channel_axis must be an axis of the image, which has {pixels.ndim} (got {channel_axis})")
    if shaped.ndim != 3 or 0 in shaped.shape:
        raise ParameterError(f"image must have shape (H, W) or (H, W, C) and at least one pixel (got {pixels.shape})")
    low, high = _find_range(shaped, data_range)
    return View(shaped, low, high)


def _find_range(pixels: Array, data_range: Range) -> tuple[float, float]:
    is_float = pixels.dtype.kind == "f"
    smallest, largest = (float(pixels.min()), float(pixels.max())) if is_float else (0.0, 0.0)
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ParameterError("image: holds NaN or infinity: replace these values first")
    if data_range is not None:
        low, high = data_range if isinstance(data_range, tuple) else (0.0, float(data_range))
        if not (np.isfinite(low) and np.isfinite(high) and high > low):
            raise ParameterError(f"data_range must be a positive number, or two in ascending order (got {data_range})")
        return float(low), float(high)
    return known_range(pixels.dtype, smallest, largest)


def known_range(dtype: np.dtype[Any], smallest: float = 0.0, largest: float = 0.0) -> tuple[float, float]:
    """Infer the values of black and white from the dtype and, for floats, the extremes."""
    if dtype.kind == "u":
        return 0.0, float(np.iinfo(dtype).max)
    if dtype.kind != "f":
        raise ParameterError(f"image of dtype {dtype}: data_range is required for signed integers")
    if smallest >= -UNIT_SLACK and largest <= 1 + UNIT_SLACK:
        return 0.0, 1.0
    return smallest, largest


def restore_axis(pixels: Array, n_axes: int, channel_axis: int | None) -> Array:
    """Undo :func:`view_image` for an image that had `n_axes` axes."""
    if channel_axis is None or n_axes == 2:
        return pixels[..., 0]
    return np.moveaxis(pixels, -1, channel_axis)
