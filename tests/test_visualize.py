"""Pictures of noise, of images in memory and of images that are read row by row."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import OutputError, ParameterError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


@pytest.fixture(scope="module")
def noisy(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(add_noise(photo, 20)[:341, :277])


@pytest.fixture(scope="module")
def settings(seeing_model: Path) -> DenoiseOptions:
    return DenoiseOptions(model=seeing_model, tile_px=240)


@pytest.fixture(params=["held", "streamed"])
def denoiser(settings: DenoiseOptions, request: pytest.FixtureRequest) -> FileDenoiser:
    return FileDenoiser(settings if request.param == "held" else replace(settings, max_held_bytes=0))


def save(path: Path, *pages: NDArray[np.generic]) -> Path:
    alpha = np.full(pages[0].shape[:2], 7, pages[0].dtype)
    io.write(io.Picture(pages, (alpha,) * len(pages), io.SUFFIXES[path.suffix]), path)
    return path


def test_the_map_is_what_the_model_sees(noisy: NDArray[np.uint8], tmp_path: Path, denoiser: FileDenoiser) -> None:
    pages = (noisy, noisy[::-1].copy())
    source = save(tmp_path / "a.tif", *pages)
    sigmas = denoiser.map_file(source, tmp_path / "map.tif")
    expected = [denoiser.denoiser(3).estimate_map(page) for page in pages]
    drawn = io.read(tmp_path / "map.tif")
    for found, level, sigma in zip(drawn.pages, expected, sigmas, strict=True):
        np.testing.assert_allclose(found[..., 0], level, atol=1e-6)
        assert sigma == pytest.approx(np.sqrt(np.mean(np.square(level, dtype=np.float64))), rel=1e-5)
    assert drawn.alphas == (None, None)
    assert sigmas == pytest.approx(denoiser.estimate_file(source))


def test_8_bit_map_is_amplified(noisy: NDArray[np.uint8], tmp_path: Path, denoiser: FileDenoiser) -> None:
    denoiser.map_file(save(tmp_path / "a.png", noisy), tmp_path / "map.png")
    drawn = io.read(tmp_path / "map.png").pages[0]
    level = denoiser.denoiser(3).estimate_map(noisy)
    assert np.abs(drawn[..., 0] - np.clip(2550 * level, 0, 255)).max() <= 0.51


def test_map_needs_an_estimator(noisy: NDArray[np.uint8], tmp_path: Path, small_model: Path) -> None:
    with pytest.raises(ParameterError, match="no noise estimator"):
        FileDenoiser(DenoiseOptions(model=small_model)).map_file(save(tmp_path / "a.png", noisy), tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_residual_is_the_difference(
    noisy: NDArray[np.uint8], tmp_path: Path, denoiser: FileDenoiser, dtype: type
) -> None:
    high = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
    source = save(tmp_path / "a.tif", (noisy / 255 * high).astype(dtype))
    denoiser.denoise_file(source, tmp_path / "b.tif", residual=tmp_path / "removed.tif")
    before, after, removed = (
        io.read(tmp_path / f"{name}.tif").pages[0].astype(np.float64) for name in ("a", "b", "removed")
    )
    np.testing.assert_allclose(removed, (before - after) / high, atol=1e-6)
    assert np.abs(removed).max() > 0.01
    denoiser.denoise_file(source, tmp_path / "c.tif", residual=tmp_path / "removed.png")
    drawn = io.read(tmp_path / "removed.png").pages[0]
    assert drawn.dtype == np.uint8
    assert np.abs(drawn - np.clip(127.5 + 4 * 255 * removed, 0, 255)).max() <= 0.51


def test_unwritable_drawing(noisy: NDArray[np.uint8], tmp_path: Path, denoiser: FileDenoiser) -> None:
    source = save(tmp_path / "a.png", noisy)
    for removed in (source, tmp_path / "removed.xyz", tmp_path / "nowhere" / "removed.png"):
        with pytest.raises(OutputError):
            denoiser.denoise_file(source, tmp_path / "b.png", residual=removed)
        assert not (tmp_path / "b.png").exists()
