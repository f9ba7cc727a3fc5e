"""Color filter arrays and demosaicing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from types import EllipsisType
from typing import Literal

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes, box_kernel, convolve

Places = tuple[EllipsisType, slice, slice]
#: For each missing color, weights in eighths of: the pixel itself; its vertical and its horizontal neighbours; those at
#: distance two, vertical and horizontal; the four diagonal ones. For colors whose own pixels are above and below, rows
#: and columns change places.
_GREEN, _RED_BESIDE, _RED_DIAGONAL = "green at red or blue", "red beside green", "red at blue"
_WEIGHTS: dict[str, dict[str, tuple[float, float, float, float, float, float]]] = {
    "bilinear": {
        _GREEN: (0, 2, 2, 0, 0, 0),
        _RED_BESIDE: (0, 0, 4, 0, 0, 0),
        _RED_DIAGONAL: (0, 0, 0, 0, 0, 2),
    },
    "gradient": {
        _GREEN: (4, 2, 2, -1, -1, 0),
        _RED_BESIDE: (5, 0, 4, 0.5, -1, -1),
        _RED_DIAGONAL: (6, 0, 0, -1.5, -1.5, 2),
    },
}
#: Axes of rows and of columns, and a mask of the green plane.
_AXES = (-1, -2)
_IS_GREEN = np.array([False, True, False])[:, None, None]


@dataclass(frozen=True)
class Mosaic:
    """Bayer filter (US patent 3971065, 1976) with linear demosaicing.

    Parameters
    ----------
    method : "bilinear" or "gradient"
        The mean of the nearest pixels of the missing color, or corrected by the gradient of the pixel's own color:
        Malvar, He and Cutler, "High-Quality Linear Interpolation for Demosaicing of Bayer-Patterned Color Images",
        ICASSP 2004, fig. 2.
    red_px : (int, int)
        Row and column of the first red pixel, each 0 or 1.
    """

    method: Literal["bilinear", "gradient"]
    red_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.method not in _WEIGHTS:
            raise ParameterError(f"method {self.method!r}: give one of {', '.join(_WEIGHTS)}")
        if not set(self.red_px) <= {0, 1}:
            raise ParameterError(f"red_px {self.red_px}: give 0 or 1 for the row and for the column")

    def sample(self, colors: Planes) -> Planes:
        """Keep one color (H, W) for each pixel of (3, H, W)."""
        mosaic: Planes = colors[1].copy()
        for color, place in ((0, self._red), (2, self._blue)):
            mosaic[place] = colors[color][place]
        return mosaic

    def interpolate(self, mosaic: Planes) -> Planes:
        """Interpolate the missing colors of a white-balanced mosaic (..., H, W); return (3, ..., H, W)."""
        sums = _neighbour_sums(mosaic)
        row, column = self.red_px
        beside_red, beside_blue = _places(row, 1 - column), _places(1 - row, column)
        red, green, blue = (mosaic.copy() for _ in range(3))
        for own, other, own_row, other_row, chroma in (
            (self._red, self._blue, beside_red, beside_blue, red),
            (self._blue, self._red, beside_blue, beside_red, blue),
        ):
            green[own] = self._mean(_GREEN, sums, own)
            chroma[other] = self._mean(_RED_DIAGONAL, sums, other)
            chroma[own_row] = self._mean(_RED_BESIDE, sums, own_row)
            chroma[other_row] = self._mean(_RED_BESIDE, [sums[i] for i in (0, 2, 1, 4, 3, 5)], other_row)
        return np.stack([red, green, blue])

    @cached_property
    def covariances(self) -> Planes:
        """Covariance of the colors after interpolation, mean over the pixels, shape (3, 3, 3).

        The last axis is the color of the pixels that have noise, independent and of variance 1.
        """
        return _covariances(self.sample, self.interpolate)

    def _mean(self, name: str, sums: list[Planes], place: Places) -> Planes:
        weights = _WEIGHTS[self.method][name]
        terms = [np.float32(w / 8) * s[place] for w, s in zip(weights, sums, strict=True) if w]
        total = terms[0]
        for term in terms[1:]:
            total += term
        return total

    @property
    def _red(self) -> Places:
        return _places(*self.red_px)

    @property
    def _blue(self) -> Places:
        return _places(1 - self.red_px[0], 1 - self.red_px[1])


@dataclass(frozen=True)
class DirectionalMosaic:
    r"""Bayer filter with demosaicing along edges, as in most cameras.

    Along a row of red and green pixels, and likewise along columns and for blue, the missing color is

    .. math:: \hat m_j = \tfrac12 (m_{j-1} + m_{j+1}) + \tfrac14 (2 m_j - m_{j-2} - m_{j+2})

    (Hamilton and Adams, US patent 5629734, 1997), hence the difference of green from red or blue. The direction in
    which this difference varies less, summed over a window, is used (after Menon, Andriani and Calvagno, "Demosaicing
    With Directional Filtering and a Posteriori Decision", IEEE TIP 2007). The differences are then interpolated
    bilinearly. Edges have fewer false colors than with linear demosaicing, and noise is more correlated between colors.

    Parameters
    ----------
    red_px : (int, int)
        Row and column of the first red pixel, each 0 or 1.
    window_px : int
        Side of the window, odd.
    """

    red_px: tuple[int, int] = (0, 0)
    window_px: int = 5

    def __post_init__(self) -> None:
        Mosaic("bilinear", self.red_px)  # checks where red is
        if self.window_px < 1 or self.window_px % 2 == 0:
            raise ParameterError(f"window_px {self.window_px}: give an odd number")

    def sample(self, colors: Planes) -> Planes:
        """See :meth:`Mosaic.sample`."""
        return self._bilinear.sample(colors)

    def interpolate(self, mosaic: Planes) -> Planes:
        """See :meth:`Mosaic.interpolate`."""
        along = [self._difference(mosaic, axis) for axis in _AXES]
        rows, columns = (self._roughness(difference, axis) for difference, axis in zip(along, _AXES, strict=True))
        return self._color(mosaic, np.where(rows <= columns, *along))

    @cached_property
    def covariances(self) -> Planes:
        """Mean of those along rows and along columns; see :attr:`Mosaic.covariances`."""
        found = [_covariances(self.sample, partial(self._color_along, axis=axis)) for axis in _AXES]
        mean: Planes = np.mean(found, axis=0, dtype=np.float32)
        return mean

    @property
    def _bilinear(self) -> Mosaic:
        return Mosaic("bilinear", self.red_px)

    def _green_mask(self, mosaic: Planes) -> Planes:
        return self.sample(np.broadcast_to(_IS_GREEN, (3, *mosaic.shape[-2:])))

    def _difference(self, mosaic: Planes, axis: int) -> Planes:
        """Estimate the difference of green from the other color along an axis."""
        sides = [(0, 0)] * mosaic.ndim
        sides[axis] = (2, 2)
        padded = np.moveaxis(np.pad(mosaic, sides, mode="reflect"), axis, -1)
        far, near = padded[..., :-4] + padded[..., 4:], padded[..., 1:-3] + padded[..., 3:-1]
        missing_minus_own = np.moveaxis((near - padded[..., 2:-2]) / 2 - far / 4, -1, axis)
        difference: Planes = np.where(self._green_mask(mosaic), -missing_minus_own, missing_minus_own)
        return difference

    def _color_along(self, mosaic: Planes, axis: int) -> Planes:
        return self._color(mosaic, self._difference(mosaic, axis))

    def _roughness(self, difference: Planes, axis: int) -> Planes:
        """Sum the changes of the difference along an axis to the next but one pixel, which has the same two colors."""
        sides = [(0, 0)] * difference.ndim
        sides[axis] = (0, 2)
        ahead = np.moveaxis(np.pad(difference, sides, mode="edge"), axis, -1)
        steps = np.moveaxis(np.abs(ahead[..., 2:] - ahead[..., :-2]), -1, axis)
        return convolve(steps, box_kernel(self.window_px))

    def _color(self, mosaic: Planes, difference: Planes) -> Planes:
        """Return three colors, red and blue from green and the interpolated differences."""
        green = np.where(self._green_mask(mosaic), mosaic, mosaic + difference)
        at_red, _, at_blue = self._bilinear.interpolate(difference)
        return np.stack([green - at_red, green, green - at_blue])


@dataclass(frozen=True)
class FullColor:
    """No mosaic: each pixel measures three colors, as in scanners and in images that were scaled down."""

    def sample(self, colors: Planes) -> Planes:
        """Return the colors (3, H, W) unchanged; see :meth:`Mosaic.sample`."""
        return colors

    def interpolate(self, seen: Planes) -> Planes:
        """Move the colors of (..., 3, H, W) first: (3, ..., H, W); see :meth:`Mosaic.interpolate`."""
        colors: Planes = np.moveaxis(seen, -3, 0)
        return colors

    @property
    def covariances(self) -> Planes:
        """Noise of a color stays in that color; see :attr:`Mosaic.covariances`."""
        covariances = np.zeros((3, 3, 3), np.float32)
        covariances[range(3), range(3), range(3)] = 1
        return covariances


def _covariances(sample: Callable[[Planes], Planes], interpolate: Callable[[Planes], Planes]) -> Planes:
    """Compute :attr:`Mosaic.covariances` from the impulse responses of four neighbouring pixels."""
    pulses = np.zeros((4, 12, 12), np.float32)
    places = [(6 + i // 2, 6 + i % 2) for i in range(4)]
    for pulse, place in zip(pulses, places, strict=True):
        pulse[place] = 1
    responses = interpolate(pulses).reshape(3, 4, -1)
    products = np.einsum("cip,dip->cdi", responses, responses) / 4
    seen = [sample(np.broadcast_to(color, (3, 12, 12))) for color in np.eye(3, dtype=np.float32)[..., None, None]]
    covariances: Planes = np.einsum("cdi,ki->cdk", products, [[color[place] for place in places] for color in seen])
    return covariances.astype(np.float32)


def _places(row: int, column: int) -> Places:
    return ..., slice(row, None, 2), slice(column, None, 2)


def _neighbour_sums(mosaic: Planes) -> list[Planes]:
    """Sum the neighbours of each weight; mirrored about the edge pixels, which keeps the order of colors."""
    height, width = mosaic.shape[-2:]
    sides = [(0, 0)] * (mosaic.ndim - 2) + [(2, 2), (2, 2)]
    padded = np.pad(mosaic, sides, mode="reflect")
    above_below = padded[..., 1 : height + 1, :] + padded[..., 3 : height + 3, :]
    middle = padded[..., 2 : height + 2, :]
    inner = slice(2, width + 2)
    return [
        mosaic,
        above_below[..., inner],
        middle[..., 1 : width + 1] + middle[..., 3 : width + 3],
        padded[..., :height, inner] + padded[..., 4:, inner],
        middle[..., :width] + middle[..., 4:],
        above_below[..., 1 : width + 1] + above_below[..., 3 : width + 3],
    ]
