"""Three colours for each pixel of a mosaic, along rows or along columns, whichever seems the smoother.

Planes of a mosaic enter, planes of three colours leave. It knows nothing of noise or tone.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.demosaic import Mosaic, covariances_of
from pellucid.simulation.camera.filters import Planes, box_kernel, convolve

#: Along rows, along columns.
_AXES = (-1, -2)
_GREEN = np.array([False, True, False])[:, None, None]


@dataclass(frozen=True)
class DirectedMosaic:
    r"""Bayer's filter, interpolated as most cameras do it: along edges, not across.

    Along a row of red and green pixels, and likewise along columns and for blue, what a pixel lacks is

    .. math:: \hat m_j = \tfrac12 (m_{j-1} + m_{j+1}) + \tfrac14 (2 m_j - m_{j-2} - m_{j+2})

    (Hamilton and Adams, US patent 5629734, 1997), which gives at each pixel how much more green there is than red or
    blue. Of row and column that one counts along which this differs less, by the sum over a window (after Menon,
    Andriani and Calvagno, "Demosaicing With Directional Filtering and a Posteriori Decision", IEEE TIP 2007). The
    differences are then interpolated as Mosaic's "bilinear" does it with colours. Along edges there are fewer false
    colours than with linear interpolation, and noise is more alike in all colours.

    Parameters
    ----------
    red_px : (int, int)
        Row and column of the first red pixel, each 0 or 1.
    window_px : int
        Side of the window that decides, odd, at least 1.

    Raises
    ------
    ParameterError
        One of them is impossible.
    """

    red_px: tuple[int, int] = (0, 0)
    window_px: int = 5

    def __post_init__(self) -> None:
        Mosaic("bilinear", self.red_px)  # checks where red is
        if self.window_px < 1 or self.window_px % 2 == 0:
            raise ParameterError(f"window_px {self.window_px}: give an odd number")

    def sample(self, colors: Planes) -> Planes:
        """Keep one colour for each pixel; see :meth:`Mosaic.sample`."""
        return self._bilinear.sample(colors)

    def interpolate(self, mosaic: Planes) -> Planes:
        """Find all three colours of each pixel; see :meth:`Mosaic.interpolate`."""
        along = [self._more_green(mosaic, axis) for axis in _AXES]
        rows, columns = (self._roughness(more, axis) for more, axis in zip(along, _AXES, strict=True))
        return self._colored(mosaic, np.where(rows <= columns, *along))

    @cached_property
    def covariances(self) -> Planes:
        """Mean of what rows and what columns give; see :attr:`Mosaic.covariances`."""
        found = [covariances_of(self.sample, partial(self._colored_along, axis=axis)) for axis in _AXES]
        mean: Planes = np.mean(found, axis=0, dtype=np.float32)
        return mean

    @property
    def _bilinear(self) -> Mosaic:
        return Mosaic("bilinear", self.red_px)

    def _is_green(self, mosaic: Planes) -> Planes:
        return self.sample(np.broadcast_to(_GREEN, (3, *mosaic.shape[-2:])))

    def _more_green(self, mosaic: Planes, axis: int) -> Planes:
        """Say at each pixel how much more green there is than the other colour along an axis."""
        sides = [(0, 0)] * mosaic.ndim
        sides[axis] = (2, 2)
        padded = np.moveaxis(np.pad(mosaic, sides, mode="reflect"), axis, -1)
        far, near = padded[..., :-4] + padded[..., 4:], padded[..., 1:-3] + padded[..., 3:-1]
        more = np.moveaxis((near - padded[..., 2:-2]) / 2 - far / 4, -1, axis)
        signed: Planes = np.where(self._is_green(mosaic), -more, more)
        return signed

    def _colored_along(self, mosaic: Planes, axis: int) -> Planes:
        return self._colored(mosaic, self._more_green(mosaic, axis))

    def _roughness(self, more_green: Planes, axis: int) -> Planes:
        """Say how much that differs along the axis, about each pixel, from the next but one: the same two colours."""
        sides = [(0, 0)] * more_green.ndim
        sides[axis] = (0, 2)
        ahead = np.moveaxis(np.pad(more_green, sides, mode="edge"), axis, -1)
        steps = np.moveaxis(np.abs(ahead[..., 2:] - ahead[..., :-2]), -1, axis)
        return convolve(steps, box_kernel(self.window_px))

    def _colored(self, mosaic: Planes, more_green: Planes) -> Planes:
        """Give three colours, the other two from green, by how much more there is of it at red and at blue pixels."""
        green = np.where(self._is_green(mosaic), mosaic, mosaic + more_green)
        than_red, _, than_blue = self._bilinear.interpolate(more_green)
        return np.stack([green - than_red, green, green - than_blue])
