"""Denoise a picture that is too large to be held: rows are read, denoised and given on, a strip at a time.

A Scan enters; a picture leaves whose rows are made as whoever writes it asks for them. It knows nothing of formats or
of where the result goes.
"""

import math
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypedDict

from pellucid import images
from pellucid.denoiser import Denoiser
from pellucid.noise_level import noise_of, sample_patches
from pellucid.rows import Array, PassingRows
from pellucid.tiling import Progress
from pellucid.views import known_range


class Shares(TypedDict):
    """How much is taken out, each from 0 to 1; as of `denoiser.denoise`."""

    strength: float
    luma: float
    chroma: float


@dataclass(frozen=True)
class PageSurvey:
    """What has to be known of a whole page before its first row can be denoised.

    Attributes
    ----------
    sigma : float
        The noise level, as a fraction of the range.
    data_range : (float, float)
        The values of black and white.
    """

    sigma: float
    data_range: tuple[float, float]


def survey_page(scan: images.Scan, page: int) -> PageSurvey:
    """Read a page once, to find how strong its noise is and the range of its values.

    The result is the same as that of `denoiser.estimate_sigma` for the page in memory.

    Raises
    ------
    InputError
        The file cannot be read to its end.
    """
    header = scan.header
    smallest, largest = math.inf, -math.inf

    def colours() -> Generator[Array, None, None]:
        nonlocal smallest, largest
        for band in scan.page_bands(page):
            pixels = band[..., : header.n_channels]
            if pixels.dtype.kind == "f":
                smallest, largest = min(smallest, float(pixels.min())), max(largest, float(pixels.max()))
            yield pixels

    with closing(colours()) as bands:
        rows = PassingRows(bands, (header.height_px, header.width_px, header.n_channels), header.dtype)
        patches = sample_patches(rows)
        # Faults are told of after the last row.
        for _ in bands:
            pass
    low, high = known_range(header.dtype, smallest, largest)
    return PageSurvey(noise_of(patches, high - low), (low, high))


@dataclass(frozen=True)
class DenoisedScan:
    """The denoised picture of a scan, to be written: nothing is computed before its rows are asked for.

    Parameters
    ----------
    scan : Scan
    denoiser : Denoiser
    surveys : list of PageSurvey
        Of each page; `sigma` is the level that the network is told.
    shares : Shares
    turn : Lock
        Held from the first row to the last: one picture has all processors.
    page_progress : callable
        Gives what is told of the tiles of a page, by its number.
    """

    scan: images.Scan
    denoiser: Denoiser
    surveys: list[PageSurvey]
    shares: Shares
    turn: threading.Lock
    page_progress: Callable[[int], Progress | None]

    @property
    def header(self) -> images.Header:
        """The scan's: nothing in it changes."""
        return self.scan.header

    @property
    def metadata(self) -> images.Metadata:
        """The scan's."""
        return self.scan.metadata

    def bands(self) -> Generator[images.Samples, None, None]:
        """Yield the denoised rows of all pages from the top to the bottom, with alpha as the last channel."""
        with self.turn:
            for page in range(self.header.n_pages):
                with closing(self.scan.page_bands(page)) as bands:
                    yield from self._page(page, bands)
                    for _ in bands:
                        pass

    def is_opaque(self) -> bool:
        """Whether there is no alpha, or nothing but white in it."""
        return self.scan.is_opaque()

    def _page(self, page: int, bands: Iterator[images.Samples]) -> Iterator[images.Samples]:
        header = self.header
        shape = (header.height_px, header.width_px, header.n_channels + header.has_alpha)
        return self.denoiser.denoise_rows(
            PassingRows(bands, shape, header.dtype),
            n_channels=header.n_channels,
            data_range=self.surveys[page].data_range,
            sigma=self.surveys[page].sigma,
            **self.shares,
            progress=self.page_progress(page),
        )
