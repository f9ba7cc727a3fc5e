"""Pictures that are not held give the same files, to the last bit, as pictures that are."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import OutputError, UnreadableImageError, UnsupportedImageError
from pellucid.files import FileDenoiser
from pellucid.inference.engine import engine_info
from pellucid.inference.options import DenoiseOptions
from pellucid.streaming import survey_page
from tests.conftest import add_noise, peak_memory_mb

COMMAND = Path(sys.executable).with_name("pellucid")
TILE_PX = 96


def save(path: Path, *pages: NDArray[np.generic], alpha: NDArray[np.generic] | None = None) -> Path:
    io.write(io.Image(pages, (alpha,) * len(pages), io.SUFFIXES[path.suffix]), path)
    return path


@pytest.fixture(scope="module")
def noisy(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(add_noise(photo, 20)[:341, :277])


@pytest.fixture(scope="module")
def settings(small_model: Path) -> DenoiseOptions:
    return DenoiseOptions(model=small_model, tile_px=TILE_PX)


@pytest.fixture(scope="module")
def held(settings: DenoiseOptions) -> FileDenoiser:
    return FileDenoiser(settings)


@pytest.fixture(scope="module")
def streamed(settings: DenoiseOptions) -> FileDenoiser:
    return FileDenoiser(replace(settings, max_held_bytes=0))


def check_alike(source: Path, held: FileDenoiser, streamed: FileDenoiser, suffix: str = "") -> None:
    one, other = (source.with_name(f"{name}{suffix or source.suffix}") for name in ("held", "streamed"))
    expected, found = held.denoise_file(source, one), streamed.denoise_file(source, other)
    assert found.sigmas == expected.sigmas
    assert other.read_bytes() == one.read_bytes()
    assert not np.array_equal(io.read(one).pages[0], io.read(source).pages[0])


def test_the_bundled_model(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    settings = DenoiseOptions(tile_px=400)
    source = save(tmp_path / "a.png", add_noise(photo, 20))
    check_alike(source, FileDenoiser(settings), FileDenoiser(replace(settings, max_held_bytes=0)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
def test_every_format(
    noisy: NDArray[np.uint8], tmp_path: Path, held: FileDenoiser, streamed: FileDenoiser, suffix: str
) -> None:
    check_alike(save(tmp_path / f"a{suffix}", noisy), held, streamed)


@pytest.mark.parametrize("given", [None, 0.1])
@pytest.mark.parametrize("kind", ["16-bit", "float", "float in counts", "alpha", "five channels and alpha", "pages"])
def test_every_kind_of_pixels(
    noisy: NDArray[np.uint8], tmp_path: Path, small_gray_model: Path, kind: str, given: float | None
) -> None:
    alpha = np.ascontiguousarray(noisy[::-1, :, 0])
    unit = noisy / np.float32(255)
    pages, alpha_of = {
        "16-bit": ((noisy[..., :1] * np.uint16(257),), None),
        "float": ((unit,), None),
        "float in counts": ((unit * 4000 + 100,), None),
        "alpha": ((noisy,), alpha),
        "five channels and alpha": ((np.dstack([noisy, noisy[..., :2]]),), alpha),
        "pages": ((noisy, noisy[::-1].copy(), np.full_like(noisy, 9)), None),
    }[kind]
    source = save(tmp_path / "a.tif", *(np.ascontiguousarray(page) for page in pages), alpha=alpha_of)
    settings = DenoiseOptions(model=small_gray_model, sigma=given, tile_px=TILE_PX)
    check_alike(source, FileDenoiser(settings), FileDenoiser(replace(settings, max_held_bytes=0)))


def test_another_format_and_metadata(
    noisy: NDArray[np.uint8], tmp_path: Path, held: FileDenoiser, streamed: FileDenoiser
) -> None:
    metadata = io.Metadata(resolution=(11811.0, 11811.0), xmp=b"<x/>")
    picture = io.Image((noisy * np.uint16(257),), (None,), "png", metadata)
    io.write(picture, tmp_path / "a.png")
    check_alike(tmp_path / "a.png", held, streamed, ".tif")
    assert io.read(tmp_path / "streamed.tif").metadata.xmp == b"<x/>"
    assert io.read(tmp_path / "streamed.tif").pages[0].dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blind_with_estimator(noisy: NDArray[np.uint8], tmp_path: Path, seeing_model: Path, dtype: type) -> None:
    settings = DenoiseOptions(model=seeing_model, tile_px=240)
    image = noisy if dtype is np.uint8 else noisy / np.float32(64)
    source = save(tmp_path / "a.tif", image, image[::-1].copy())
    held, streamed = FileDenoiser(settings), FileDenoiser(replace(settings, max_held_bytes=0))
    check_alike(source, held, streamed)
    assert streamed.estimate_file(source) == pytest.approx(held.estimate_file(source), rel=1e-6)
    idle = FileDenoiser(replace(settings, max_held_bytes=0, strength=0))
    result = idle.denoise_file(source, tmp_path / "idle.tif")
    assert result.sigmas == pytest.approx([255 * sigma for sigma in held.estimate_file(source)], abs=0.01)


def test_estimate_equals_in_memory(
    noisy: NDArray[np.uint8], tmp_path: Path, held: FileDenoiser, streamed: FileDenoiser
) -> None:
    tall = np.tile(noisy, (4, 1, 1))
    source = save(tmp_path / "a.png", tall)
    scan = io.read_or_stream(source, max_held_bytes=0)
    assert isinstance(scan, io.StreamedImage)
    expected = held.denoiser(3).estimate(tall)
    assert survey_page(scan, 0, streamed.denoiser(3), None).sigma == expected > 0
    assert streamed.estimate_file(source) == held.estimate_file(source) == [expected]


def test_strength_0_gives_the_file_back(noisy: NDArray[np.uint8], tmp_path: Path, settings: DenoiseOptions) -> None:
    source = save(tmp_path / "a.jpg", noisy)
    denoiser = FileDenoiser(replace(settings, strength=0, max_held_bytes=0))
    denoiser.denoise_file(source, tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == source.read_bytes()
    denoiser.denoise_file(source, tmp_path / "b.png")
    assert np.array_equal(io.read(tmp_path / "b.png").pages[0], io.read(source).pages[0])


def test_damaged_files_leave_nothing(noisy: NDArray[np.uint8], tmp_path: Path, streamed: FileDenoiser) -> None:
    whole = save(tmp_path / "a.png", noisy, alpha=noisy[..., 0].copy())
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-9000])
    bad = noisy / np.float32(255)
    bad[340, 276] = np.nan
    nan = save(tmp_path / "nan.tif", bad)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnreadableImageError, match=r"cut\.png: truncated"):
        streamed.denoise_file(cut, tmp_path / "out.png")
    with pytest.raises(UnsupportedImageError, match="1 pixels are NaN"):
        streamed.denoise_file(nan, tmp_path / "out.tif")
    with pytest.raises(OutputError, match="no transparency"):
        streamed.denoise_file(whole, tmp_path / "out.jpg")
    assert sorted(tmp_path.iterdir()) == before
    streamed.denoise_file(whole, tmp_path / "out.png")
    assert np.array_equal(io.read(tmp_path / "out.png").alphas[0], noisy[..., 0])


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_interrupt_leaves_nothing(
    noisy: NDArray[np.uint8], tmp_path: Path, streamed: FileDenoiser, kind: type[BaseException]
) -> None:
    source = save(tmp_path / "a.tif", noisy)

    def interrupt(n_done: int, _n_tiles: int) -> None:
        if n_done == 3:
            raise kind

    with pytest.raises(kind):
        streamed.denoise_file(source, tmp_path / "b.tif", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    streamed.denoise_file(source, tmp_path / "b.tif")


def test_file_changed_between_passes(noisy: NDArray[np.uint8], tmp_path: Path) -> None:
    scan = io.read_or_stream(save(tmp_path / "a.png", noisy), max_held_bytes=0)
    assert isinstance(scan, io.StreamedImage)
    io.write(io.Image((noisy[:50].copy(),), (None,), "png"), tmp_path / "a.png", overwrite=True)
    with pytest.raises(UnreadableImageError, match="changed while it was read"):
        next(scan.bands())


def test_progress_goes_over_all_pages(noisy: NDArray[np.uint8], tmp_path: Path, streamed: FileDenoiser) -> None:
    told: list[tuple[int, int]] = []
    source = save(tmp_path / "a.tif", noisy, noisy)
    streamed.denoise_file(source, tmp_path / "b.tif", progress=lambda *n: told.append(n))
    assert told == [(i + 1, told[0][1]) for i in range(told[0][1])]


@dataclass(frozen=True)
class Plain:
    """A picture of any size that takes no memory."""

    width_px: int
    height_px: int
    metadata: io.Metadata

    @property
    def header(self) -> io.Header:
        return io.Header(self.width_px, self.height_px, 3, np.dtype(np.uint8), "png", 1, has_alpha=False)

    def bands(self):  # type: ignore[no-untyped-def]
        band = np.random.default_rng(0).integers(90, 130, (64, self.width_px, 3), dtype=np.uint8)
        for _ in range(0, self.height_px, 64):
            yield band

    def is_opaque(self) -> bool:
        return True


@pytest.mark.slow
def test_memory_depends_on_width_only(small_model: Path, tmp_path: Path) -> None:
    """Up to 268 megapixels. What the network needs depends on its tile alone, so that a small one will do."""
    peaks_mb = []
    for height_px in (8192, 32768):
        io.write(Plain(8192, height_px, io.Metadata(compression="none")), tmp_path / "a.tif", overwrite=True)
        options = ["--overwrite", "-o", tmp_path / "b.tif", "-m", small_model]
        peaks_mb.append(peak_memory_mb(COMMAND, "denoise", tmp_path / "a.tif", *options))
    header = io.read_header(tmp_path / "b.tif")
    assert (header.width_px, header.height_px) == (8192, 32768)
    assert peaks_mb[0] < 600
    assert peaks_mb[1] < 1.15 * peaks_mb[0]


@pytest.mark.slow
def test_memory_of_the_bundled_model(tmp_path: Path) -> None:
    """With as many columns of tiles as an image of a gigapixel has."""
    io.write(Plain(32768, 1400, io.Metadata(compression="none")), tmp_path / "a.tif")
    # In float32 the features of a tile need twice the memory of bfloat16.
    limit_mb = 1200 if engine_info().bf16 else 1300
    assert peak_memory_mb(COMMAND, "denoise", tmp_path / "a.tif") < limit_mb
