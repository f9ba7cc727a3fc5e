"""Images that are read once from the top to the bottom, in memory or streamed."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Rows(Protocol):
    """An image (H, W, C) whose rows are read in order: an array or a `RowBuffer`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """H, W and C."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixel values."""

    def __getitem__(self, rows: slice, /) -> Array:
        """Return rows ``start:stop``."""


class RowBuffer:
    """An image (H, W, C) that arrives in bands (h, W, C); only the rows read last are held.

    Reading rows ``start:stop`` discards all rows above `start` and overwrites the array returned before.
    """

    def __init__(self, bands: Iterator[Array], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype
        self._bands = bands
        self._held = self._rest = np.empty((0, *shape[1:]), dtype)
        self._top = self._bottom = 0

    def __getitem__(self, rows: slice, /) -> Array:
        """Return rows ``start:stop``; `start` must not decrease."""
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
        """Keep the wanted rows of the next band; return the rows below `stop`."""
        n_passed = min(max(self._top - self._bottom, 0), len(band))
        n_taken = min(stop - self._bottom, len(band))
        at = self._bottom + n_passed - self._top
        if n_taken > n_passed:
            self._held[at : at + n_taken - n_passed] = band[n_passed:n_taken]
        self._bottom += n_taken
        return band[n_taken:]


def read_twice(image: Rows) -> tuple[Rows, Rows]:
    """Share an image between two readers, the second of which stays behind the first; rows in between are held."""
    if isinstance(image, np.ndarray):
        return image, image
    ahead = _RecordedRows(image)
    return ahead, RowBuffer(ahead.bands(), (image.shape[0], image.shape[1], image.shape[2]), image.dtype)


class _RecordedRows:
    """Rows that are kept for a second reader."""

    def __init__(self, image: Rows) -> None:
        self.shape, self.dtype = image.shape, image.dtype
        self._image = image
        self._bottom = 0
        self._bands: deque[Array] = deque()

    def __getitem__(self, rows: slice, /) -> Array:
        """Return rows ``start:stop``; no row may be skipped."""
        start, stop, _ = rows.indices(self.shape[0])
        taken = self._image[start:stop]
        if stop > self._bottom:
            self._bands.append(taken[self._bottom - start :].copy())
            self._bottom = stop
        return taken

    def bands(self) -> Iterator[Array]:
        """Yield the rows that were read."""
        while True:
            yield self._bands.popleft()
