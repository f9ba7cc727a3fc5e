"""Denoise image files: from one file to another, pages and metadata kept.

A path (or a file's content) and a target enter; the target is written and a FileResult leaves. It knows nothing of
command lines; pixels it hands to the Denoiser, formats to images.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pellucid import images
from pellucid.catalog import DEFAULT_NAMES
from pellucid.denoiser import DEFAULT_TILE_PX, Denoiser, estimate_sigma
from pellucid.errors import OutputError, ParameterError, UnreadableImageError
from pellucid.tiling import Progress

#: Put before the suffix of an input's name where no output is named.
OUTPUT_MARK = "_denoised"


@dataclass(frozen=True)
class Settings:
    """How files are to be denoised.

    Attributes
    ----------
    model : str or Path, optional
        A model's name or folder; by default the bundled one for each file's channels.
    sigma : float, optional
        Standard deviation of the noise on the [0, 1] scale; by default estimated, page by page.
    strength, luma, chroma : float
        From 0 to 1; as of :func:`denoiser.denoise`.
    tile_px : int
    device, precision : str
    n_threads : int, optional
    max_pixels : int
        Files with more are refused before they are decoded.
    """

    model: str | Path | None = None
    sigma: float | None = None
    strength: float = 1.0
    luma: float = 1.0
    chroma: float = 1.0
    tile_px: int = DEFAULT_TILE_PX
    device: str = "auto"
    precision: str = "auto"
    n_threads: int | None = None
    max_pixels: int = images.DEFAULT_MAX_PIXELS


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

    Parameters
    ----------
    settings : Settings
    """

    settings: Settings
    _denoisers: dict[str, Denoiser] = field(default_factory=dict)

    def denoise_file(
        self, source: Path, target: Path, *, overwrite: bool = False, progress: Progress | None = None
    ) -> FileResult:
        """Denoise one file into another.

        Raises
        ------
        InputError
            The source cannot be used.
        OutputError
            The target cannot be written; it is untouched.
        """
        if target.exists() and target.samefile(source):
            raise OutputError(f"{target}: is the input, which is never changed: name another output")
        images.check_target(target, overwrite=overwrite)
        start = time.perf_counter()
        before = images.read(source, max_pixels=self.settings.max_pixels)
        after, sigmas, model = self._denoise(before, progress)
        if after is before and images.SUFFIXES[target.suffix.lower()] == before.format:
            # Nothing was taken out: even a JPEG comes back as it was, not encoded a second time.
            images.write_bytes(source.read_bytes(), target, overwrite=overwrite)
        else:
            images.write(after, target, overwrite=overwrite)
        return self._result(str(source), str(target), before, sigmas, model, start)

    def denoise_bytes(self, source: Path | bytes, format_name: str | None = None) -> tuple[bytes, FileResult]:
        """Denoise a file, or a file's content, to a file's content: of the same format, or of the one named."""
        start = time.perf_counter()
        before = images.read(source, max_pixels=self.settings.max_pixels)
        after, sigmas, model = self._denoise(before, None)
        if after is before and format_name in {None, before.format}:
            encoded = source if isinstance(source, bytes) else source.read_bytes()
        else:
            encoded = images.encode(after, format_name or before.format)
        return encoded, self._result(
            "-" if isinstance(source, bytes) else str(source), "-", before, sigmas, model, start
        )

    def _denoise(self, picture: images.Picture, progress: Progress | None) -> tuple[images.Picture, list[float], str]:
        """Denoise every page; where nothing is to be taken out, give the very picture back."""
        denoiser = self._denoiser(picture.header.n_channels)
        n_pages = len(picture.pages)
        sigmas = [self._sigma(denoiser, page) for page in picture.pages]
        if self.settings.strength == 0 or self.settings.luma == self.settings.chroma == 0:
            return picture, sigmas, denoiser.card.name
        pages = (
            denoiser.denoise(
                page,
                sigma=sigma,
                strength=self.settings.strength,
                luma=self.settings.luma,
                chroma=self.settings.chroma,
                progress=None if progress is None else _page_progress(progress, index, n_pages),
            )
            for index, (page, sigma) in enumerate(zip(picture.pages, sigmas, strict=True))
        )
        return picture.replace_pages(pages), sigmas, denoiser.card.name

    def _sigma(self, denoiser: Denoiser, page: images.Samples) -> float:
        if self.settings.sigma is not None:
            return self.settings.sigma
        return min(estimate_sigma(page), denoiser.card.sigma_max / 255)

    def _denoiser(self, n_channels: int) -> Denoiser:
        model = str(self.settings.model or DEFAULT_NAMES[3 if n_channels == 3 else 1])
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
        self, source: str, target: str, picture: images.Picture, sigmas: list[float], model: str, start: float
    ) -> FileResult:
        header = picture.header
        return FileResult(
            source=source,
            target=target,
            model=model,
            sigmas=[round(255 * sigma, 2) for sigma in sigmas],
            is_estimated=self.settings.sigma is None,
            width_px=header.width_px,
            height_px=header.height_px,
            n_pages=header.n_pages,
            seconds=round(time.perf_counter() - start, 3),
        )


def _page_progress(progress: Progress, index: int, n_pages: int) -> Progress:
    return lambda n_done, n_tiles: progress(index * n_tiles + n_done, n_pages * n_tiles)


def plan_files(inputs: Iterable[Path], output: Path | None, *, recursive: bool) -> list[tuple[Path, Path]]:
    """Decide which file is denoised to where.

    Parameters
    ----------
    inputs : iterable of Path
        Files; with `recursive` also folders, of which every image is taken that is not itself an output of ours.
    output : Path, optional
        A file (for one input), or a folder that exists; in it a folder's tree is mirrored. By default each result
        lies beside its input as ``name_denoised.suffix``.
    recursive : bool

    Returns
    -------
    list of (source, target)

    Raises
    ------
    UnreadableImageError
        A folder is named without `recursive`, or there is no image in it.
    OutputError
        The output is a file for several inputs, or two results would have one name.
    """
    pairs = []
    for given in inputs:
        if given.is_dir():
            if not recursive:
                raise UnreadableImageError(f"{given}: is a folder: name files, or pass --recursive")
            pairs += [(path, path.relative_to(given)) for path in _images_below(given)]
        else:
            pairs.append((given, Path(given.name)))
    if output is not None and not output.is_dir():
        if len(pairs) > 1 or recursive:
            raise OutputError(f"{output}: not a folder that exists: make it first, since there can be several results")
        return [(pairs[0][0], output)]
    if output is not None:
        targets = [output / inside for _, inside in pairs]
    else:
        targets = [path.with_name(f"{path.stem}{OUTPUT_MARK}{path.suffix}") for path, _ in pairs]
    _refuse_collisions(targets)
    return [(path, target) for (path, _), target in zip(pairs, targets, strict=True)]


def make_folder(folder: Path) -> None:
    """Make a folder of a mirrored tree.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}): choose another output folder") from None


def _images_below(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES and not path.stem.endswith(OUTPUT_MARK) and path.is_file()
    )
    if not found:
        raise UnreadableImageError(f"{folder}: no image in it: name a folder with {', '.join(images.SUFFIXES)} files")
    return found


def _refuse_collisions(targets: list[Path]) -> None:
    seen = set()
    for target in targets:
        if target in seen:
            raise ParameterError(f"{target}: two inputs would be written there: denoise them one at a time")
        seen.add(target)
