"""Denoise image files: from one file to another, pages and metadata kept.

A path (or a file's content) and a target enter; the target is written and a FileResult leaves. It knows nothing of
command lines; pixels it hands to the Denoiser, formats to images.
"""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pellucid import io
from pellucid.errors import OutputError
from pellucid.inference.denoiser import DEFAULT_TILE_PX, Denoiser
from pellucid.inference.noise_estimation import LevelMeter
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.tiling import Progress
from pellucid.streaming import DenoisedScan, Shares, scan_level, survey_page
from pellucid.visualize import NoiseMap, RemovedNoise


@dataclass(frozen=True)
class Settings:
    """How files are to be denoised.

    Attributes
    ----------
    model : str or Path, optional
        A model's name or folder; by default the bundled one for each file's channels.
    sigma : float, optional
        Standard deviation of the noise on the [0, 1] scale; by default estimated, page by page.
    strength, luma, chroma, detail : float
        From 0 to 1; as of :func:`denoiser.denoise`.
    tile_px : int
    device, precision : str
    n_threads : int, optional
    max_pixels : int, optional
        Files with more are refused before they are decoded; by default `images.DEFAULT_MAX_STREAMED_PIXELS`, and
        `images.DEFAULT_MAX_PIXELS` where the whole image has to be held.
    max_held_bytes : int
        Files with more bytes of samples are not held in memory, but read and written row by row.
    """

    model: str | Path | None = None
    sigma: float | None = None
    strength: float = 1.0
    luma: float = 1.0
    chroma: float = 1.0
    detail: float = 0.0
    tile_px: int = DEFAULT_TILE_PX
    device: str = "auto"
    precision: str = "auto"
    n_threads: int | None = None
    max_pixels: int | None = None
    max_held_bytes: int = io.MAX_HELD_BYTES


@dataclass(frozen=True)
class FileResult:
    """What was done to one file.

    Attributes
    ----------
    source, target : str
    model : str
    sigmas : list of float
        Noise level of each page, 0..255 scale.
    is_estimated : bool
        Whether these were estimated.
    width_px, height_px, n_pages : int
    seconds : float
        Reading, denoising and writing.
    """

    source: str
    target: str
    model: str
    sigmas: list[float]
    is_estimated: bool
    width_px: int
    height_px: int
    n_pages: int
    seconds: float


@dataclass
class FileDenoiser:
    """Denoises files one after another, keeping the networks it has loaded.

    Safe to call from several threads: they read and write at the same time, and take turns with the network.

    Parameters
    ----------
    settings : Settings
    """

    settings: Settings
    _denoisers: dict[str, Denoiser] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def warm_up(self) -> None:
        """Load the default model, or the one that is set, and try the settings on a few black pixels.

        Raises
        ------
        ModelError
            The model cannot be found or is damaged.
        ParameterError
            A setting cannot be used.
        """
        denoiser = self.denoiser(3)
        black = np.zeros((8, 8, denoiser.card.channels), np.uint8)
        denoiser.denoise(black, sigma=self.settings.sigma or 0.0, **self._shares())

    def denoise_file(
        self,
        source: Path,
        target: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
        removed: Path | None = None,
    ) -> FileResult:
        """Denoise one file into another; and draw what was taken out into a third, `removed`, if that is named.

        See `findings.RemovedNoise`; a TIFF gets the exact values.

        Raises
        ------
        InputError
            The source cannot be used.
        OutputError
            A target cannot be written; it is untouched.
        """
        targets = [target] if removed is None else [target, removed]
        if removed is not None and removed.absolute() == target.absolute():
            raise OutputError(f"{removed}: is the result already: name another file for what is taken out")
        for path in targets:
            if path.exists() and path.samefile(source):
                raise OutputError(f"{path}: is the input, which is never changed: name another output")
            io.check_target(path, overwrite=overwrite)
        start = time.perf_counter()
        before = self._read(source)
        after, levels, model = self._clean(before, progress)
        if after is before and io.SUFFIXES[target.suffix.lower()] == before.header.format:
            # Nothing was taken out: even a JPEG comes back as it was, not encoded a second time.
            io.copy(source, target, overwrite=overwrite)
        else:
            io.write(after, target, overwrite=overwrite)
        if removed is not None:
            io.write(RemovedNoise(before, after, is_exact=_is_tiff(removed)), removed, overwrite=overwrite)
        return self._result(str(source), str(target), before.header, levels, model, start)

    def denoise_bytes(self, source: Path | bytes, format_name: str | None = None) -> tuple[bytes, FileResult]:
        """Denoise a file, or a file's content, to a file's content: of the same format, or of the one named."""
        start = time.perf_counter()
        # Whoever hands over the content has room for it.
        is_content = isinstance(source, bytes)
        before = io.read(source, max_pixels=self.settings.max_pixels) if is_content else self._read(source)
        after, levels, model = self._clean(before, None)
        if after is before and format_name in {None, before.header.format}:
            encoded = source if isinstance(source, bytes) else source.read_bytes()
        else:
            encoded = io.encode(after, format_name or before.header.format)
        return encoded, self._result("-" if is_content else str(source), "-", before.header, levels, model, start)

    def estimate_file(self, source: Path | bytes) -> list[float]:
        """Estimate how strong the noise in a file is, page by page.

        Returns
        -------
        list of float
            As fractions of the range; times 255 on the scale of papers.

        Raises
        ------
        InputError
            The file cannot be used.
        """
        found = self._read(source)
        denoiser = self.denoiser(found.header.n_channels)
        if isinstance(found, io.Picture):
            return [denoiser.estimate(page) for page in found.pages]
        surveys = [survey_page(found, page, denoiser, None) for page in range(found.header.n_pages)]
        return [scan_level(found, page, denoiser, survey) for page, survey in enumerate(surveys)]

    def map_file(self, source: Path, target: Path, *, overwrite: bool = False) -> list[float]:
        """Draw how strong the noise in a file is at each place, see `findings.NoiseMap`; a TIFF gets the exact values.

        Returns
        -------
        list of float
            As of `estimate_file`.

        Raises
        ------
        InputError
            The file cannot be used.
        ParameterError
            The model for it has no noise estimator.
        OutputError
            The target cannot be written; it is untouched.
        """
        io.check_target(target, overwrite=overwrite)
        found = self._read(source)
        meters = [LevelMeter() for _ in range(found.header.n_pages)]
        drawn = NoiseMap(found, self.denoiser(found.header.n_channels), _is_tiff(target), meters)
        io.write(drawn, target, overwrite=overwrite)
        return [meter.sigma for meter in meters]

    def _read(self, source: Path | bytes) -> io.Picture | io.Scan:
        settings = self.settings
        return io.read_or_scan(source, max_pixels=settings.max_pixels, max_held_bytes=settings.max_held_bytes)

    def _clean(
        self, before: io.Picture | io.Scan, progress: Progress | None
    ) -> tuple[io.Source, list[LevelMeter], str]:
        if isinstance(before, io.Picture):
            return self._denoise(before, progress)
        return self._denoise_scan(before, progress)

    def _denoise(self, picture: io.Picture, progress: Progress | None) -> tuple[io.Picture, list[LevelMeter], str]:
        """Denoise every page; where nothing is to be taken out, give the very picture back."""
        denoiser, n_pages = self.denoiser(picture.header.n_channels), len(picture.pages)
        if self._takes_nothing():
            return picture, [LevelMeter(self._seen(denoiser, page)) for page in picture.pages], denoiser.card.name
        told = [self._told(denoiser, page) for page in picture.pages]
        meters = [LevelMeter() for _ in picture.pages]
        pages = (
            denoiser.denoise(
                page, sigma=told[i], **self._shares(), progress=_page_progress(progress, i, n_pages), meter=meters[i]
            )
            for i, page in enumerate(picture.pages)
        )
        with self._turn:
            return picture.replace_pages(pages), meters, denoiser.card.name

    def _seen(self, denoiser: Denoiser, page: io.Samples) -> float:
        return denoiser.estimate(page) if self.settings.sigma is None else self.settings.sigma

    def _told(self, denoiser: Denoiser, page: io.Samples) -> float | None:
        """Give what the network is told of a page; None if it sees the noise itself."""
        return None if denoiser.sees_noise and self.settings.sigma is None else self._seen(denoiser, page)

    def _denoise_scan(self, scan: io.Scan, progress: Progress | None) -> tuple[io.Source, list[LevelMeter], str]:
        """Do what `_denoise` does, but only when the rows of the result are asked for."""
        denoiser, n_pages = self.denoiser(scan.header.n_channels), scan.header.n_pages
        surveys = [survey_page(scan, page, denoiser, self.settings.sigma) for page in range(n_pages)]
        if self._takes_nothing():
            levels = [scan_level(scan, page, denoiser, survey) for page, survey in enumerate(surveys)]
            return scan, [LevelMeter(level) for level in levels], denoiser.card.name
        meters = [LevelMeter() for _ in surveys]
        after = DenoisedScan(
            scan=scan,
            denoiser=denoiser,
            surveys=surveys,
            shares=self._shares(),
            turn=self._turn,
            page_progress=lambda index: _page_progress(progress, index, n_pages),
            meters=meters,
        )
        return after, meters, denoiser.card.name

    def _takes_nothing(self) -> bool:
        return self.settings.strength == 0 or self.settings.luma == self.settings.chroma == 0

    def _shares(self) -> Shares:
        given = self.settings
        return {"strength": given.strength, "luma": given.luma, "chroma": given.chroma, "detail": given.detail}

    def denoiser(self, n_channels: int) -> Denoiser:
        """Give the network for files of so many colour channels, loading it at its first use."""
        model = str(self.settings.model or DEFAULT_NAMES[3 if n_channels == 3 else 1])
        with self._loading:
            if model not in self._denoisers:
                self._denoisers[model] = Denoiser(
                    model,
                    device=self.settings.device,
                    precision=self.settings.precision,
                    n_threads=self.settings.n_threads,
                    tile_px=self.settings.tile_px,
                )
            return self._denoisers[model]

    def _result(
        self, source: str, target: str, header: io.Header, levels: list[LevelMeter], model: str, start: float
    ) -> FileResult:
        return FileResult(
            source=source,
            target=target,
            model=model,
            sigmas=[round(255 * level.sigma, 2) for level in levels],
            is_estimated=self.settings.sigma is None,
            width_px=header.width_px,
            height_px=header.height_px,
            n_pages=header.n_pages,
            seconds=round(time.perf_counter() - start, 3),
        )


def _is_tiff(path: Path) -> bool:
    return io.SUFFIXES[path.suffix.lower()] == "tiff"


def _page_progress(progress: Progress | None, index: int, n_pages: int) -> Progress | None:
    if progress is None:
        return None
    return lambda n_done, n_tiles: progress(index * n_tiles + n_done, n_pages * n_tiles)
