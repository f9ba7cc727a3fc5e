"""Images whose rows are taken from the top to the bottom, be they in memory or come from a file.

Bands of rows enter, strips of rows leave. It knows nothing of files, noise or windows: pure numpy.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Rows(Protocol):
    """An image (H, W, C) of which rows are taken in order: an array, or `RowBuffer`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """H, W and C."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples."""

    def __getitem__(self, rows: slice, /) -> Array:
        """Take rows ``start:stop``."""


class RowBuffer:
    """An image that comes in bands, of which only the rows taken last are held.

    Taking rows ``start:stop`` lets go of all rows above `start`, and overwrites what was taken before.

    Parameters
    ----------
    bands : iterator of arrays, each (h, W, C)
        The image from the top to the bottom.
    shape : (int, int, int)
        Of the whole image.
    dtype : dtype
    """

    def __init__(self, bands: Iterator[Array], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype
        self._bands = bands
        self._held = self._rest = np.empty((0, *shape[1:]), dtype)
        self._top = self._bottom = 0

    def __getitem__(self, rows: slice, /) -> Array:
        """Take rows ``start:stop``, with `start` never less than before."""
        start, stop, _ = rows.indices(self.shape[0])
        kept = self._held[start - self._top : self._bottom - self._top]
        if stop - start > len(self._held):
            self._held = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._held[: len(kept)] = kept
        self._top = start
        while self._bottom < stop:
            band = self._rest if len(self._rest) else next(self._bands)
            self._rest = self._take(band, stop)
        return self._held[: stop - start]

    def _take(self, band: Array, stop: int) -> Array:
        """Hold what is wanted of the next band, and give back what lies below `stop`."""
        n_passed = min(max(self._top - self._bottom, 0), len(band))
        n_taken = min(stop - self._bottom, len(band))
        at = self._bottom + n_passed - self._top
        if n_taken > n_passed:
            self._held[at : at + n_taken - n_passed] = band[n_passed:n_taken]
        self._bottom += n_taken
        return band[n_taken:]


def read_twice(image: Rows) -> tuple[Rows, Rows]:
    """Give an image to two readers, the second of whom never takes a row before the first has.

    Of an image that comes in bands, what lies between the two is held; an array is given to both as it is.
    """
    if isinstance(image, np.ndarray):
        return image, image
    ahead = _Remembered(image)
    return ahead, RowBuffer(ahead.bands(), (image.shape[0], image.shape[1], image.shape[2]), image.dtype)


class _Remembered:
    """Rows that are held for a second reader once they have been taken."""

    def __init__(self, image: Rows) -> None:
        self.shape, self.dtype = image.shape, image.dtype
        self._image = image
        self._bottom = 0
        self._bands: deque[Array] = deque()

    def __getitem__(self, rows: slice, /) -> Array:
        """Take rows ``start:stop``, `start` no lower than the rows taken before end."""
        start, stop, _ = rows.indices(self.shape[0])
        taken = self._image[start:stop]
        if stop > self._bottom:
            self._bands.append(taken[self._bottom - start :].copy())
            self._bottom = stop
        return taken

    def bands(self) -> Iterator[Array]:
        """Yield what was taken, from the top to the bottom."""
        while True:
            yield self._bands.popleft()
