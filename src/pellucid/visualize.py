"""Draw noise maps and residuals as images, computed while their rows are read."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pellucid import io
from pellucid.inference.arrays import known_range
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.noise_estimation import RunningRMS
from pellucid.inference.row_buffer import Array, RowBuffer
from pellucid.streaming import page_rows, survey_page

#: In 8 bits, noise of 255 / 10 is white.
MAP_GAIN = 10.0
#: In 8 bits, residuals are amplified by this factor around middle gray.
RESIDUAL_GAIN = 4.0
_ROWS_AT_ONCE = 256


class _Drawing:
    """What drawings have in common as sources of `io.write`."""

    def is_opaque(self) -> bool:
        """Always true: there is no alpha."""
        return True


@dataclass(frozen=True)
class NoiseMap(_Drawing):
    """The noise map of an image as a gray image.

    The pixel values are standard deviations as a fraction of the range if `is_exact`, else 8 bits, amplified by
    `MAP_GAIN`. The denoiser needs a noise estimator. `meters`, one per page, hold its noise level after its last row.
    """

    source: io.Picture | io.Scan
    denoiser: Denoiser
    is_exact: bool
    meters: list[RunningRMS]

    @property
    def header(self) -> io.Header:
        """The source's, with one channel."""
        return replace(_drawn_header(self.source.header, is_exact=self.is_exact), n_channels=1)

    @property
    def metadata(self) -> io.Metadata:
        """The source's, without its colour profile."""
        return replace(self.source.metadata, icc=None)

    def bands(self) -> Generator[io.Samples, None, None]:
        """Yield the rows of all pages from the top to the bottom, (h, W, 1)."""
        for page, meter in enumerate(self.meters):
            for level in self._levels(page):
                meter.add(level)
                yield level if self.is_exact else _bytes_of(MAP_GAIN * level)

    def _levels(self, page: int) -> Iterator[NDArray[np.float32]]:
        if isinstance(self.source, io.Picture):
            yield self.denoiser.estimate_map(self.source.pages[page])[..., None]
            return
        data_range = survey_page(self.source, page, self.denoiser, None).data_range
        with page_rows(self.source, page) as rows:
            yield from self.denoiser.level_rows(rows, n_channels=self.source.header.n_channels, data_range=data_range)


@dataclass(frozen=True)
class RemovedNoise(_Drawing):
    """The difference of two images of one size and dtype.

    The pixel values are fractions of the dtype's range if `is_exact`, else 8 bits, amplified by `RESIDUAL_GAIN` around
    middle gray. A streamed image is denoised a second time.
    """

    before: io.Source
    after: io.Source
    is_exact: bool

    @property
    def header(self) -> io.Header:
        """The source's, without alpha."""
        return _drawn_header(self.before.header, is_exact=self.is_exact)

    @property
    def metadata(self) -> io.Metadata:
        """The source's, without its colour profile."""
        return replace(self.before.metadata, icc=None)

    def bands(self) -> Generator[io.Samples, None, None]:
        """Yield the rows of all pages from the top to the bottom, (h, W, C)."""
        header = self.before.header
        height = header.height_px * header.n_pages
        shape = (height, header.width_px, header.n_channels + header.has_alpha)
        low, high = known_range(header.dtype)
        with closing(self.before.bands()) as noisy_bands, closing(self.after.bands()) as clean_bands:
            noisy, clean = (RowBuffer(bands, shape, header.dtype) for bands in (noisy_bands, clean_bands))
            for top in range(0, height, _ROWS_AT_ONCE):
                rows = slice(top, min(top + _ROWS_AT_ONCE, height))
                removed = noisy[rows].astype(np.float32) - clean[rows]
                removed = removed[..., : header.n_channels] / np.float32(high - low)
                yield removed if self.is_exact else _bytes_of(0.5 + RESIDUAL_GAIN * removed)


def _drawn_header(header: io.Header, *, is_exact: bool) -> io.Header:
    return replace(header, dtype=np.dtype(np.float32 if is_exact else np.uint8), has_alpha=False)


def _bytes_of(values: Array) -> Array:
    """Convert values to 8 bits, clipped to [0, 1]."""
    drawn: Array = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return drawn
