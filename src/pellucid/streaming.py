"""Denoise images that do not fit into memory: strips are read, denoised and written in turn."""

import math
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from pellucid import io
from pellucid.inference.arrays import known_range
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.noise_estimation import RunningRMS, noise_of, sample_patches
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.row_buffer import Array, RowBuffer
from pellucid.inference.tiling import Progress


@dataclass(frozen=True)
class PageSurvey:
    """What is needed of a whole page before its first row: black and white, and sigma where the network needs it."""

    sigma: float | None
    data_range: tuple[float, float]


def survey_page(scan: io.Scan, page: int, denoiser: Denoiser, sigma: float | None) -> PageSurvey:
    """Find a page's value range and, if it is neither given nor estimated by the network, its noise level.

    Reads the page once, or not at all if nothing is needed; raises InputError if it cannot be read to its end.
    """
    is_known = sigma is not None or denoiser.has_estimator
    if is_known and scan.header.dtype.kind == "u":
        return PageSurvey(sigma, known_range(scan.header.dtype))
    found, data_range = _read_through(scan, page)
    return PageSurvey(sigma if is_known else min(found, denoiser.card.sigma_max / 255), data_range)


def scan_level(scan: io.Scan, page: int, denoiser: Denoiser, survey: PageSurvey) -> float:
    """Noise level of a page that is not denoised: the survey's, or else the network's estimate."""
    if survey.sigma is not None:
        return survey.sigma
    meter = RunningRMS()
    with page_rows(scan, page) as rows:
        for strip in denoiser.level_rows(rows, n_channels=scan.header.n_channels, data_range=survey.data_range):
            meter.add(strip)
    return meter.sigma


@contextmanager
def page_rows(scan: io.Scan, page: int) -> Iterator[RowBuffer]:
    """Read the rows of a page to the end of the file, since some errors show only after the last row."""
    header = scan.header
    shape = (header.height_px, header.width_px, header.n_channels + header.has_alpha)
    with closing(scan.page_bands(page)) as bands:
        yield RowBuffer(bands, shape, header.dtype)
        for _ in bands:
            pass


def _read_through(scan: io.Scan, page: int) -> tuple[float, tuple[float, float]]:
    """Read a page, estimate its noise and find its value range."""
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
        rows = RowBuffer(bands, (header.height_px, header.width_px, header.n_channels), header.dtype)
        patches = sample_patches(rows)
        # Some errors show only after the last row.
        for _ in bands:
            pass
    low, high = known_range(header.dtype, smallest, largest)
    return noise_of(patches, high - low), (low, high)


@dataclass(frozen=True)
class DenoisedScan:
    """A denoised scan, computed while its rows are read.

    `surveys` and `meters` have one entry per page; a meter holds the page's noise level after its last row.
    """

    scan: io.Scan
    denoiser: Denoiser
    surveys: list[PageSurvey]
    options: DenoiseOptions
    #: Held from the first row to the last: one image uses all processors.
    turn: threading.Lock
    page_progress: Callable[[int], Progress | None]
    meters: list[RunningRMS]

    @property
    def header(self) -> io.Header:
        """The scan's."""
        return self.scan.header

    @property
    def metadata(self) -> io.Metadata:
        """The scan's."""
        return self.scan.metadata

    def bands(self) -> Generator[io.Samples, None, None]:
        """Yield the denoised rows of all pages from the top to the bottom, with alpha as the last channel."""
        with self.turn:
            for page in range(self.header.n_pages):
                with page_rows(self.scan, page) as rows:
                    yield from self._page(page, rows)

    def is_opaque(self) -> bool:
        """Whether there is no alpha, or alpha is opaque everywhere."""
        return self.scan.is_opaque()

    def _page(self, page: int, rows: RowBuffer) -> Iterator[io.Samples]:
        return self.denoiser.denoise_rows(
            rows,
            n_channels=self.header.n_channels,
            data_range=self.surveys[page].data_range,
            options=replace(self.options, sigma=self.surveys[page].sigma),
            progress=self.page_progress(page),
            meter=self.meters[page],
        )
