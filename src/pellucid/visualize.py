"""Pictures of what was found in an image: how strong the noise is at each place, and what was taken out.

Pictures in memory or files that are read row by row enter; pictures leave whose rows are made as whoever writes them
asks for them. It knows nothing of formats or of where they go.
"""

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

#: Noise of 255 / 10 is white in a picture of eight bits.
MAP_GAIN = 10.0
#: A picture of what was taken out shows it so many times as strong, about the middle gray.
RESIDUAL_GAIN = 4.0
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class NoiseMap:
    """How strong the noise in a picture is at each place, as a gray picture.

    Parameters
    ----------
    source : Picture or Scan
    denoiser : Denoiser
        With a noise estimator.
    is_exact : bool
        Whether samples are floats, the standard deviation as a fraction of the range; else 8 bits, `MAP_GAIN` times as
        bright.
    meters : list of RunningRMS
        One for each page; they know its noise level when its last row is made.
    """

    source: io.Picture | io.Scan
    denoiser: Denoiser
    is_exact: bool
    meters: list[RunningRMS]

    @property
    def header(self) -> io.Header:
        """The source's, but for the samples."""
        return replace(_drawn_header(self.source.header, is_exact=self.is_exact), n_channels=1)

    @property
    def metadata(self) -> io.Metadata:
        """The source's, without its colours."""
        return replace(self.source.metadata, icc=None)

    def is_opaque(self) -> bool:
        """Always: there is no alpha."""
        return True

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
class RemovedNoise:
    """What was taken out of a picture.

    Of a picture that is denoised as it is written, it is computed anew.

    Parameters
    ----------
    before, after : Source
        Of one size and dtype.
    is_exact : bool
        Whether samples are floats, as a fraction of the range of integers; else 8 bits, `RESIDUAL_GAIN` times as
        strong about the middle gray.
    """

    before: io.Source
    after: io.Source
    is_exact: bool

    @property
    def header(self) -> io.Header:
        """The source's, but for the samples and without alpha."""
        return _drawn_header(self.before.header, is_exact=self.is_exact)

    @property
    def metadata(self) -> io.Metadata:
        """The source's, without its colours."""
        return replace(self.before.metadata, icc=None)

    def is_opaque(self) -> bool:
        """Always: there is no alpha."""
        return True

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
    """Bring values from 0 to 1 to eight bits, cut off at both ends."""
    drawn: Array = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return drawn
