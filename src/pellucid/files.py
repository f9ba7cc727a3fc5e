"""Denoise image files: pages, bit depth and metadata are kept."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pellucid import io
from pellucid.errors import OutputError, ParameterError
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.noise_estimation import RunningRMS
from pellucid.inference.options import DenoiseOptions, ResultOptions
from pellucid.inference.registry import DEFAULT_NAMES
from pellucid.inference.tiling import Progress
from pellucid.streaming import DenoisedScan, scan_level, survey_page
from pellucid.visualize import NoiseMap, RemovedNoise


def denoise_file(
    source: str | Path,
    target: str | Path,
    *,
    options: DenoiseOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "FileResult":
    """Denoise one image file.

    Parameters
    ----------
    source, target : str or Path
        The suffix of `target` decides the format. Every page is denoised; bit depth and metadata are kept where the
        format can hold them. Images too large for memory are read and written row by row.
    options : DenoiseOptions, optional
        Its `sigma` is one number, or None.
    overwrite : bool
        Replace `target` if it exists.
    progress : callable, optional
        Called as ``progress(n_done, n_tiles)``.

    Returns
    -------
    FileResult

    Raises
    ------
    InputError
        The source is missing, damaged, too large or of a kind that is not read.
    OutputError
        The target exists, or cannot be written; nothing is changed then.
    ParameterError
        An option cannot be used.
    ModelError
        The model cannot be found or is damaged.

    Examples
    --------
    >>> result = pellucid.denoise_file("night.jpg", "clean.jpg")  # doctest: +SKIP
    """
    return FileDenoiser(options or DenoiseOptions()).denoise_file(
        Path(source), Path(target), overwrite=overwrite, progress=progress
    )


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
        Whether the levels were estimated.
    width_px, height_px, n_pages : int
    seconds : float
        For reading, denoising and writing.
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
    """Denoises many files, keeping the networks that it has loaded.

    Thread-safe: threads read and write at the same time, and use the network in turn.

    Parameters
    ----------
    options : DenoiseOptions
        Its `sigma` is one number, or None.
    """

    options: DenoiseOptions = field(default_factory=DenoiseOptions)
    _denoisers: dict[str, Denoiser] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def warm_up(self) -> None:
        """Load the default model, or the chosen one, and check the options on a few black pixels."""
        denoiser = self.denoiser(3)
        black = np.zeros((8, 8, denoiser.card.channels), np.uint8)
        denoiser.denoise(black, **self._result_options(self._sigma or 0.0))

    def denoise_file(
        self,
        source: Path,
        target: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
        residual: Path | None = None,
    ) -> FileResult:
        """Denoise one file, see :func:`denoise_file`; also write the residual, if a file is named for it.

        The residual is drawn, see :class:`~pellucid.visualize.RemovedNoise`; a TIFF gets the exact values.
        """
        targets = [target] if residual is None else [target, residual]
        if residual is not None and residual.absolute() == target.absolute():
            raise OutputError(f"{residual}: is the output already: name another file for the residual")
        for path in targets:
            if path.exists() and path.samefile(source):
                raise OutputError(f"{path}: is the input, which is never overwritten: name another output")
            io.check_target(path, overwrite=overwrite)
        start = time.perf_counter()
        before = self._read(source)
        after, levels, model = self._clean(before, progress)
        if after is before and io.SUFFIXES[target.suffix.lower()] == before.header.format:
            # Nothing was removed: a JPEG is not encoded a second time.
            io.copy(source, target, overwrite=overwrite)
        else:
            io.write(after, target, overwrite=overwrite)
        if residual is not None:
            io.write(RemovedNoise(before, after, is_exact=_is_tiff(residual)), residual, overwrite=overwrite)
        return self._result(str(source), str(target), before.header, levels, model, start)

    def denoise_bytes(self, source: Path | bytes, format_name: str | None = None) -> tuple[bytes, FileResult]:
        """Denoise a file or its content; return the encoded result, in the same format or the one named."""
        start = time.perf_counter()
        # A caller who has the content in memory has room for its pixels.
        is_content = isinstance(source, bytes)
        before = io.read(source, max_pixels=self.options.max_pixels) if is_content else self._read(source)
        after, levels, model = self._clean(before, None)
        if after is before and format_name in {None, before.header.format}:
            encoded = source if isinstance(source, bytes) else source.read_bytes()
        else:
            encoded = io.encode(after, format_name or before.header.format)
        return encoded, self._result("-" if is_content else str(source), "-", before.header, levels, model, start)

    def estimate_file(self, source: Path | bytes) -> list[float]:
        """Estimate the noise level of each page, as a fraction of the range."""
        found = self._read(source)
        denoiser = self.denoiser(found.header.n_channels)
        if isinstance(found, io.Picture):
            return [denoiser.estimate(page) for page in found.pages]
        surveys = [survey_page(found, page, denoiser, None) for page in range(found.header.n_pages)]
        return [scan_level(found, page, denoiser, survey) for page, survey in enumerate(surveys)]

    def map_file(self, source: Path, target: Path, *, overwrite: bool = False) -> list[float]:
        """Draw the noise map of a file, see :class:`~pellucid.visualize.NoiseMap`; return the level of each page.

        A TIFF gets the exact values.

        Raises
        ------
        ParameterError
            The model for the file has no noise estimator.
        """
        io.check_target(target, overwrite=overwrite)
        found = self._read(source)
        meters = [RunningRMS() for _ in range(found.header.n_pages)]
        drawn = NoiseMap(found, self.denoiser(found.header.n_channels), _is_tiff(target), meters)
        io.write(drawn, target, overwrite=overwrite)
        return [meter.sigma for meter in meters]

    def _read(self, source: Path | bytes) -> io.Picture | io.Scan:
        options = self.options
        held = io.MAX_HELD_BYTES if options.max_held_bytes is None else options.max_held_bytes
        return io.read_or_scan(source, max_pixels=options.max_pixels, max_held_bytes=held)

    def _clean(
        self, before: io.Picture | io.Scan, progress: Progress | None
    ) -> tuple[io.Source, list[RunningRMS], str]:
        return self._denoise(before, progress) if isinstance(before, io.Picture) else self._stream(before, progress)

    def _denoise(self, picture: io.Picture, progress: Progress | None) -> tuple[io.Picture, list[RunningRMS], str]:
        """Denoise every page; where nothing is to be removed, return the same object."""
        denoiser, pages, sigma = self.denoiser(picture.header.n_channels), picture.pages, self._sigma
        name = denoiser.card.name
        if not any(self.options.weights):
            known = [denoiser.estimate(page) if sigma is None else sigma for page in pages]
            return picture, [RunningRMS(level) for level in known], name
        by_network = sigma is None and denoiser.has_estimator
        sigmas = [sigma if sigma is not None or by_network else denoiser.estimate(page) for page in pages]
        meters = [RunningRMS() for _ in pages]
        denoised = (
            denoiser.denoise(
                page,
                **self._result_options(sigmas[i]),
                progress=_page_progress(progress, i, len(pages)),
                meter=meters[i],
            )
            for i, page in enumerate(pages)
        )
        with self._turn:
            return picture.replace_pages(denoised), meters, name

    def _stream(self, scan: io.Scan, progress: Progress | None) -> tuple[io.Source, list[RunningRMS], str]:
        """Prepare what `_denoise` does; it is computed while the rows of the result are read."""
        denoiser, n_pages = self.denoiser(scan.header.n_channels), scan.header.n_pages
        surveys = [survey_page(scan, page, denoiser, self._sigma) for page in range(n_pages)]
        if not any(self.options.weights):
            levels = [scan_level(scan, page, denoiser, survey) for page, survey in enumerate(surveys)]
            return scan, [RunningRMS(level) for level in levels], denoiser.card.name
        meters = [RunningRMS() for _ in surveys]
        after = DenoisedScan(
            scan=scan,
            denoiser=denoiser,
            surveys=surveys,
            options=self.options,
            turn=self._turn,
            page_progress=lambda index: _page_progress(progress, index, n_pages),
            meters=meters,
        )
        return after, meters, denoiser.card.name

    @property
    def _sigma(self) -> float | None:
        sigma = self.options.sigma
        if sigma is None or isinstance(sigma, int | float | np.number):
            return None if sigma is None else float(sigma)
        raise ParameterError("sigma must be one number for files: noise maps are for arrays")

    def _result_options(self, sigma: float | None) -> ResultOptions:
        return {**self.options.result_options, "sigma": sigma}

    def denoiser(self, n_channels: int) -> Denoiser:
        """Return the denoiser for files with this number of colour channels, loading it at its first use."""
        model = str(self.options.model or DEFAULT_NAMES[3 if n_channels == 3 else 1])
        with self._loading:
            if model not in self._denoisers:
                self._denoisers[model] = Denoiser(model, **self.options.engine_options)
            return self._denoisers[model]

    def _result(
        self, source: str, target: str, header: io.Header, levels: list[RunningRMS], model: str, start: float
    ) -> FileResult:
        return FileResult(
            source=source,
            target=target,
            model=model,
            sigmas=[round(255 * level.sigma, 2) for level in levels],
            is_estimated=self._sigma is None,
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
