from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import pellucid
from pellucid import io
from pellucid.errors import OutputError, ParameterError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


def save(path: Path, *pages: NDArray[np.generic], alpha: NDArray[np.generic] | None = None) -> Path:
    form = io.SUFFIXES[path.suffix]
    io.write(io.Picture(tuple(pages), (alpha,) * len(pages), form), path)
    return path


def test_every_page_of_a_tiff_is_denoised(gray_photo: NDArray[np.uint8], tmp_path: Path) -> None:
    clean = gray_photo[:200, :300, None]
    pages = [add_noise(clean, sigma, seed=int(sigma)).astype(np.uint16) * 257 for sigma in (10, 25, 40)]
    source = save(tmp_path / "stack.tif", *pages)
    told: list[tuple[int, int]] = []
    result = FileDenoiser(DenoiseOptions()).denoise_file(
        source, tmp_path / "out.tif", progress=lambda *n: told.append(n)
    )
    assert result.n_pages == 3
    assert result.sigmas == pytest.approx([10, 25, 40], rel=0.15)
    assert told == [(1, 3), (2, 3), (3, 3)]
    after = io.read(tmp_path / "out.tif")
    assert after.pages[0].dtype == np.uint16
    for before, page in zip(pages, after.pages, strict=True):
        truth = clean.astype(float) * 257
        assert np.square(page - truth).mean() < np.square(before - truth).mean() / 2


def test_denoise_file(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", add_noise(photo, 25)[:64, :64].copy())
    options = DenoiseOptions(sigma=0.1, strength=0.5)
    result = pellucid.denoise_file(str(source), str(tmp_path / "b.png"), options=options)
    assert (result.sigmas, result.is_estimated, result.width_px) == ([25.5], False, 64)
    expected = pellucid.denoise(io.read(source).pages[0], sigma=0.1, strength=0.5)
    np.testing.assert_array_equal(io.read(tmp_path / "b.png").pages[0], expected)
    with pytest.raises(OutputError, match="exists already"):
        pellucid.denoise_file(source, tmp_path / "b.png", options=options)
    pellucid.denoise_file(source, tmp_path / "b.png", options=options, overwrite=True)


def test_noise_maps_are_refused_for_files(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", photo[:16, :16].copy())
    with pytest.raises(ParameterError, match="sigma must be one number for files"):
        pellucid.denoise_file(source, tmp_path / "b.png", options=DenoiseOptions(sigma=np.zeros((16, 16))))


def test_alpha_passes_through(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    alpha = np.ascontiguousarray(photo[..., 1])
    source = save(tmp_path / "a.png", add_noise(photo, 25), alpha=alpha)
    FileDenoiser(DenoiseOptions(sigma=0.1)).denoise_file(source, tmp_path / "b.png")
    after = io.read(tmp_path / "b.png")
    assert np.array_equal(after.alphas[0], alpha)
    assert not np.array_equal(after.pages[0], io.read(source).pages[0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_strength_0_gives_the_file_back(photo: NDArray[np.uint8], tmp_path: Path, suffix: str, dtype: type) -> None:
    page = {np.uint8: photo, np.uint16: photo.astype(np.uint16) * 257, np.float32: photo / np.float32(255)}[dtype]
    source = save(tmp_path / f"a{suffix}", page)
    FileDenoiser(DenoiseOptions(strength=0)).denoise_file(source, tmp_path / f"b{suffix}")
    assert (tmp_path / f"b{suffix}").read_bytes() == source.read_bytes()


def test_luma_0_and_chroma_0_copy_the_file(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.jpg", photo)
    FileDenoiser(DenoiseOptions(luma=0, chroma=0)).denoise_file(source, tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == source.read_bytes()


def test_strength_0_into_another_format(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", photo.astype(np.uint16) * 257)
    FileDenoiser(DenoiseOptions(strength=0)).denoise_file(source, tmp_path / "b.tif")
    assert np.array_equal(io.read(tmp_path / "b.tif").pages[0], io.read(source).pages[0])


def test_the_input_is_never_the_output(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", photo)
    before = source.read_bytes()
    (tmp_path / "link.png").symlink_to(source)
    for target in (source, tmp_path / "link.png"):
        with pytest.raises(OutputError, match="never overwritten"):
            FileDenoiser(DenoiseOptions()).denoise_file(source, target, overwrite=True)
    assert source.read_bytes() == before


def test_contents_give_what_files_give(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", add_noise(photo, 25))
    denoiser = FileDenoiser(DenoiseOptions())
    denoiser.denoise_file(source, tmp_path / "b.png")
    encoded, result = denoiser.denoise_bytes(source.read_bytes())
    assert encoded == (tmp_path / "b.png").read_bytes()
    assert result.source == "-"
    assert denoiser.denoise_bytes(source)[0] == encoded
