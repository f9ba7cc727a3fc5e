"""One colour for each pixel of the sensor, or all three, and three colours again.

Planes of three colours enter and leave, most often with a mosaic in between. It knows nothing of noise or tone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType
from typing import Literal

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes

Places = tuple[EllipsisType, slice, slice]
#: For each colour that a pixel lacks, in eighths, the weights of: the pixel itself; its two neighbours above and below
#: and the two beside it; the two at distance two above and below and the two beside; the four diagonal ones. For
#: colours whose own pixels are above and below, rows and columns change places.
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


@dataclass(frozen=True)
class Mosaic:
    """Bayer's filter (US patent 3971065, 1976): half of the pixels see green, a quarter red and a quarter blue.

    Parameters
    ----------
    method : "bilinear" or "gradient"
        How the two missing colours of a pixel are found: as the mean of the nearest pixels of that colour, or with a
        correction by the gradient of the pixel's own colour, after Malvar, He and Cutler, "High-Quality Linear
        Interpolation for Demosaicing of Bayer-Patterned Color Images", ICASSP 2004, fig. 2.
    red_px : (int, int)
        Row and column of the first red pixel, each 0 or 1.

    Raises
    ------
    ParameterError
        Neither method is named, or red is elsewhere.
    """

    method: Literal["bilinear", "gradient"]
    red_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.method not in _WEIGHTS:
            raise ParameterError(f"method {self.method!r}: give one of {', '.join(_WEIGHTS)}")
        if not set(self.red_px) <= {0, 1}:
            raise ParameterError(f"red_px {self.red_px}: give 0 or 1 for the row and for the column")

    def sample(self, colors: Planes) -> Planes:
        """Keep one colour for each pixel.

        Parameters
        ----------
        colors : ndarray, shape (3, H, W), float32

        Returns
        -------
        ndarray, shape (H, W), float32
        """
        mosaic: Planes = colors[1].copy()
        for color, place in ((0, self._red), (2, self._blue)):
            mosaic[place] = colors[color][place]
        return mosaic

    def interpolate(self, mosaic: Planes) -> Planes:
        """Find all three colours of each pixel; those that were seen stay as they are.

        Parameters
        ----------
        mosaic : ndarray, shape (..., H, W), float32
            White-balanced: the gradient of one colour is taken for that of another.

        Returns
        -------
        ndarray, shape (3, ..., H, W), float32
        """
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
        """Covariance of the colours after interpolation, for each colour's noise before it: mean over the pixels.

        Shape (3, 3, 3), float32: the last axis is for the colour of the pixels that have noise, independent and of
        variance 1.
        """
        return covariances_of(self.sample, self.interpolate)

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
class FullColor:
    """No mosaic: each pixel sees three colours, as those of scanners do, and of images that were scaled down."""

    def sample(self, colors: Planes) -> Planes:
        """Keep all there is, shape (3, H, W); see :meth:`Mosaic.sample`."""
        return colors

    def interpolate(self, seen: Planes) -> Planes:
        """Put the colours of an array (..., 3, H, W) first: (3, ..., H, W); see :meth:`Mosaic.interpolate`."""
        colors: Planes = np.moveaxis(seen, -3, 0)
        return colors

    @property
    def covariances(self) -> Planes:
        """Noise of a colour stays in that colour; see :attr:`Mosaic.covariances`."""
        covariances = np.zeros((3, 3, 3), np.float32)
        covariances[range(3), range(3), range(3)] = 1
        return covariances


def covariances_of(sample: Callable[[Planes], Planes], interpolate: Callable[[Planes], Planes]) -> Planes:
    """Give the covariances of a linear interpolation, see :attr:`Mosaic.covariances`.

    Found from what each of four neighbouring pixels contributes to those around it.
    """
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
    """Sum the neighbours that the weights are for; mirrored about the edge's pixels, which keeps the mosaic's order."""
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
