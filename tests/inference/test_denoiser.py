from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pellucid
from pellucid.errors import ParameterError
from pellucid.inference.noise_estimation import RunningRMS
from pellucid.simulation.camera.sampling import sample_camera
from tests.conftest import add_noise


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    error = np.square(a / 255.0 - b / 255.0).mean()
    return float(-10 * np.log10(error)) if error else np.inf


@pytest.fixture(scope="module")
def exact() -> pellucid.Denoiser:
    return pellucid.Denoiser("color", precision="fp32")


@pytest.mark.parametrize(("sigma", "gain"), [(10, 5.5), (25, 9), (50, 9.5)])
def test_noise_is_removed_blindly(photo: NDArray[np.uint8], sigma: float, gain: float) -> None:
    noisy = add_noise(photo, sigma)
    assert psnr(pellucid.denoise(noisy), photo) > psnr(noisy, photo) + gain


@pytest.mark.parametrize(("sigma", "gain"), [(10, 4.5), (25, 8), (50, 9.5)])
def test_noise_is_removed_from_gray(gray_photo: NDArray[np.uint8], sigma: float, gain: float) -> None:
    noisy = add_noise(gray_photo, sigma)
    assert psnr(pellucid.denoise(noisy), gray_photo) > psnr(noisy, gray_photo) + gain


def test_a_clean_photo_comes_back_above_45_db(gray_photo: NDArray[np.uint8]) -> None:
    from skimage import data

    cat = np.ascontiguousarray(data.chelsea())
    assert psnr(pellucid.denoise(cat), cat) > 45
    assert psnr(pellucid.denoise(gray_photo), gray_photo) > 45


@pytest.mark.parametrize("shape", [(250, 301), (333, 200), (512, 512), (401, 177)])
def test_tiled_equals_untiled(photo: NDArray[np.uint8], shape: tuple[int, int], exact: pellucid.Denoiser) -> None:
    noisy = np.ascontiguousarray(add_noise(photo, 25)[: shape[0], : shape[1]]) / np.float32(255)
    tiled = pellucid.Denoiser("color", precision="fp32", tile_px=2 * exact.card.halo_px + 40)
    difference = tiled.denoise(noisy, sigma=0.1) - exact.denoise(noisy, sigma=0.1)
    assert np.abs(difference).max() < 1e-4


def test_a_sigma_map_tiles_like_the_image(photo: NDArray[np.uint8], exact: pellucid.Denoiser) -> None:
    image = photo / np.float32(255)
    level = np.linspace(0, 0.2, 512 * 512, dtype=np.float32).reshape(512, 512)
    tiled = pellucid.Denoiser("color", precision="fp32", tile_px=2 * exact.card.halo_px + 80)
    whole = exact.denoise(image, sigma=level)
    assert np.abs(tiled.denoise(image, sigma=level) - whole).max() < 1e-4
    # Told that the top is clean and the bottom noisy, it smooths the bottom.
    changed = np.abs(whole - image).mean(axis=(1, 2))
    assert changed[-50:].mean() > 3 * changed[:50].mean()


@pytest.mark.parametrize("detail", [0.0, 0.6])
def test_tiled_equals_untiled_blind(photo: NDArray[np.uint8], seeing_model: Path, detail: float) -> None:
    noisy = add_noise(photo, 15)[:330, :301] / np.float32(255)
    tiled, whole = (pellucid.Denoiser(seeing_model, precision="fp32", tile_px=side) for side in (240, 800))
    one, other = RunningRMS(), RunningRMS()
    difference = tiled.denoise(noisy, detail=detail, meter=one) - whole.denoise(noisy, detail=detail, meter=other)
    assert np.abs(difference).max() < 1e-5
    assert np.abs(tiled.estimate_map(noisy) - whole.estimate_map(noisy)).max() < 1e-6
    assert one.sigma == pytest.approx(other.sigma, rel=1e-5)
    assert one.sigma == pytest.approx(whole.estimate(noisy), rel=1e-5)


def test_own_map_equals_blind(photo: NDArray[np.uint8], seeing_model: Path) -> None:
    noisy = add_noise(photo, 15)[:96, :104] / np.float32(255)
    denoiser = pellucid.Denoiser(seeing_model, precision="fp32")
    told = denoiser.denoise(noisy, sigma=denoiser.estimate_map(noisy))
    np.testing.assert_allclose(told, denoiser.denoise(noisy), atol=1e-6)


def test_detail(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25) / np.float32(255)
    none, half, whole = (pellucid.denoise(noisy, detail=detail) for detail in (0.0, 0.5, 1.0))
    assert np.abs(whole - noisy).mean() < np.abs(half - noisy).mean() < np.abs(none - noisy).mean()
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-4)
    clean = photo / np.float32(255)
    # What comes back is mostly where there was something to lose.
    edges = np.abs(np.gradient(clean.mean(axis=2))[0]) > 0.1
    returned = np.abs(whole - none).mean(axis=2)
    assert returned[edges].mean() > 3 * returned[~edges].mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 5000), (17, 31)])
@pytest.mark.parametrize("n_channels", [None, 1, 3])
def test_odd_sizes(size: tuple[int, int], n_channels: int | None) -> None:
    shape = size if n_channels is None else (*size, n_channels)
    image = np.full(shape, 0.5, np.float32)
    noisy = image + 0.1 * np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    denoised = pellucid.denoise(noisy, sigma=0.1)
    assert denoised.shape == shape
    assert np.isfinite(denoised).all()
    if noisy.size > 100:
        assert np.square(denoised - image).mean() < np.square(noisy - image).mean() / 3


@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([None, 1, 2, 3, 5]),
)
@settings(max_examples=40, deadline=None)
def test_shape_dtype_and_strength_0(dtype: Any, height: int, width: int, channels: int | None) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    values = np.random.default_rng(height * width).random(shape)
    image = (values * np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else values).astype(dtype)
    before = image.copy()
    untouched = pellucid.denoise(image, strength=0)
    assert untouched.dtype == dtype
    assert np.array_equal(untouched, image)
    assert not np.shares_memory(untouched, image)
    denoised = pellucid.denoise(image, sigma=0.05)
    assert denoised.shape == shape
    assert denoised.dtype == dtype
    assert np.array_equal(image, before)


def test_strength_blends(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25).astype(np.float64)
    full = pellucid.denoise(noisy, sigma=0.1, data_range=255)
    half = pellucid.denoise(noisy, sigma=0.1, strength=0.5, data_range=255)
    np.testing.assert_allclose(half, (noisy + full) / 2, atol=1e-3)


def test_luma_and_chroma(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25).astype(np.float64)
    weights = np.array([0.299, 0.587, 0.114])

    def taken(**options: float) -> NDArray[np.float64]:
        return noisy - pellucid.denoise(noisy, sigma=0.1, data_range=255, **options)

    both, of_luma, of_chroma = taken(), taken(chroma=0), taken(luma=0)
    np.testing.assert_allclose(of_luma, np.repeat((both @ weights)[..., None], 3, axis=2), atol=1e-3)
    np.testing.assert_allclose(of_chroma @ weights, 0, atol=1e-3)
    np.testing.assert_allclose(of_luma + of_chroma, both, atol=1e-3)
    np.testing.assert_allclose(taken(strength=0.5, luma=0.4), 0.2 * of_luma + 0.5 * of_chroma, atol=1e-3)
    assert np.array_equal(pellucid.denoise(noisy, sigma=0.1, luma=0, chroma=0, data_range=255), noisy)


def test_chroma_without_colour(gray_photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(gray_photo, 25)
    assert np.array_equal(pellucid.denoise(noisy, sigma=0.1, chroma=0), pellucid.denoise(noisy, sigma=0.1))


def test_depth_is_used_not_only_kept(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25)
    deep = pellucid.denoise(noisy.astype(np.uint16) * 257, sigma=0.1)
    shallow = pellucid.denoise(noisy, sigma=0.1)
    # Each is rounded to its own steps: half of one of 8 bits, and half of one of 16.
    assert np.abs(deep / 257 - shallow).max() <= 0.5 + 0.5 / 257 + 1e-6
    assert len(np.unique(deep)) > 10_000


def test_float_images_in_other_ranges(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25) / 255.0
    unit = pellucid.denoise(noisy, sigma=0.1)
    counts = noisy * 4000 + 100
    stretched = pellucid.denoise(counts, sigma=0.1, data_range=(100, 4100))
    np.testing.assert_allclose((stretched - 100) / 4000, unit, atol=1e-4)
    by_itself = pellucid.denoise(counts, sigma=0.1)
    np.testing.assert_allclose((by_itself - 100) / 4000, unit, atol=2e-2)


def test_channel_axis(photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(photo, 25)
    last = pellucid.denoise(noisy, sigma=0.1)
    first = pellucid.denoise(np.moveaxis(noisy, -1, 0), sigma=0.1, channel_axis=0)
    assert np.array_equal(np.moveaxis(first, 0, -1), last)
    flipped = pellucid.denoise(noisy[::-1, ::2], sigma=0.1)
    assert np.array_equal(flipped, pellucid.denoise(np.ascontiguousarray(noisy[::-1, ::2]), sigma=0.1))


def test_whatever_numpy_can_read_is_taken(gray_photo: NDArray[np.uint8]) -> None:
    torch = pytest.importorskip("torch")
    from PIL import Image

    expected = pellucid.denoise(gray_photo, sigma=0.1)
    assert np.array_equal(pellucid.denoise(Image.fromarray(gray_photo), sigma=0.1), expected)
    assert np.array_equal(pellucid.denoise(torch.from_numpy(gray_photo), sigma=0.1), expected)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.2])
def test_flat_pictures_do_not_drift(value: float) -> None:
    image = np.full((100, 100, 3), value, np.float32)
    assert np.abs(pellucid.denoise(image) - image).max() == 0
    assert np.abs(pellucid.denoise(image, sigma=5 / 255) - image).mean() < 0.5 / 255


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (0, 255, 255), (13, 13, 13), (252, 131, 7)])
def test_flat_areas_keep_their_mean(colour: tuple[int, int, int]) -> None:
    image = np.full((128, 160, 3), 128, np.uint8)
    image[:, 64:] = colour
    changed = pellucid.denoise(image).astype(int) - image
    assert not changed[:, :40].any()
    assert not changed[:, 88:].any()


def test_sigma_0_removes_nothing(photo: NDArray[np.uint8]) -> None:
    noisy, level = add_noise(photo, 25), np.full(photo.shape[:2], 0.1, np.float32)
    level[100:200, 150:300] = 0
    cleaned = pellucid.denoise(noisy, sigma=level)
    assert (cleaned[100:200, 150:300] == noisy[100:200, 150:300]).all()
    assert psnr(cleaned[300:], photo[300:]) > psnr(noisy[300:], photo[300:]) + 6


def test_camera_noise() -> None:
    """A photograph of an imitated camera, of seeds that training has not seen."""
    from skimage import data

    from pellucid.simulation.camera.camera import Camera
    from pellucid.simulation.camera.sampling import sample_camera
    from pellucid.simulation.camera.sensor import Sensor

    clean = np.ascontiguousarray(data.coffee()[:256, :256] / np.float32(255))
    gains = []
    for seed in range(6):
        rng = np.random.default_rng([seed, 77])
        drawn = sample_camera(rng)
        # Where shadows are brightened, strong noise is cut off at black, and takes the mean with it when it goes.
        isp = replace(drawn.isp, gamma=2.2)
        camera: Camera = replace(drawn, sensor=Sensor(4e-3, 1e-4), film=None, isp=isp)
        noisy, target = (np.rint(255 * image).astype(np.uint8) for image in camera.pair(clean, rng))
        cleaned = pellucid.denoise(noisy)
        gains.append(psnr(cleaned, target) - psnr(noisy, target))
        assert np.abs(cleaned.mean(axis=(0, 1)) - noisy.mean(axis=(0, 1))).max() < 0.5
    assert min(gains) > 0
    assert np.mean(gains) > 2


@pytest.mark.parametrize("sigma", [10, 20])
def test_gray_noise_on_colour(sigma: int) -> None:
    from skimage import data

    clean = data.coffee()[:256, :256] / 255
    grain = np.random.default_rng(5).normal(0, sigma / 255, (256, 256, 1))
    noisy, target = (np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8) for image in (clean + grain, clean))
    assert psnr(pellucid.denoise(noisy), target) > psnr(noisy, target) + 3


@pytest.mark.parametrize("sigma", [10, 20])
def test_gray_photo_stored_as_colour(sigma: int) -> None:
    from skimage import data

    clean = np.repeat(data.coffee()[:256, :256].mean(axis=2, keepdims=True), 3, axis=2) / 255
    grain = np.random.default_rng(5).normal(0, sigma / 255, (256, 256, 1))
    noisy, target = (np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8) for image in (clean + grain, clean))
    cleaned = pellucid.denoise(noisy)
    assert psnr(cleaned, target) > psnr(noisy, target) + 2.5
    assert np.ptp(cleaned, axis=2).max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -0.1}, "not negative"),
        ({"sigma": float("nan")}, "not negative"),
        ({"sigma": float("inf")}, "not negative"),
        ({"sigma": 25}, r"must be in \[0, 60\]"),
        ({"sigma": np.zeros((3, 3))}, "one number or an array"),
        ({"strength": 1.5}, r"strength must be in \[0, 1\]"),
        ({"strength": float("nan")}, "got nan"),
        ({"luma": -0.1}, r"luma must be in \[0, 1\] \(got -0.1\)"),
        ({"chroma": 2}, r"chroma must be in \[0, 1\] \(got 2\)"),
        ({"model": "colour"}, "did you mean 'color'"),
        ({"channel_axis": 7}, "which has 3"),
        ({"data_range": -1}, "positive"),
        ({"data_range": (3, 2)}, "ascending"),
    ],
)
def test_unusable_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(pellucid.PellucidError, match=message):
        pellucid.denoise(np.zeros((16, 16, 3), np.uint8), **arguments)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3)),
        np.zeros(5),
        np.zeros((2, 3, 4, 5)),
        np.zeros((4, 4), complex),
        np.zeros((4, 4), bool),
        np.zeros((4, 4), np.int16),
        np.array([["a"]]),
        np.full((8, 8), np.nan),
        np.full((8, 8, 3), np.inf),
    ],
)
def test_unusable_images(image: NDArray[Any]) -> None:
    with pytest.raises(ParameterError):
        pellucid.denoise(image)


def test_signed_integers_need_a_range(gray_photo: NDArray[np.uint8]) -> None:
    noisy = add_noise(gray_photo, 20).astype(np.int16) - 100
    denoised = pellucid.denoise(noisy, data_range=(-100, 155))
    assert denoised.dtype == np.int16
    assert psnr(denoised + 100, gray_photo) > psnr(noisy + 100, gray_photo) + 6


def test_wrong_channels() -> None:
    with pytest.raises(ParameterError, match="choose model 'gray'"):
        pellucid.denoise(np.zeros((16, 16, 4), np.uint8), model="color")


def test_bf16_is_close_to_fp32(photo: NDArray[np.uint8], exact: pellucid.Denoiser) -> None:
    noisy = add_noise(photo, 25) / np.float32(255)
    fast = pellucid.Denoiser("color").denoise(noisy, sigma=0.1)
    difference = fast - exact.denoise(noisy, sigma=0.1)
    assert np.sqrt(np.square(difference).mean()) < 1e-3


def test_photo_gray(gray_photo: NDArray[np.uint8]) -> None:
    rng, gains = np.random.default_rng(0), []
    clean = (gray_photo[:192, :192, None] / 255).astype(np.float32)
    for camera in (sample_camera(rng) for _ in range(40)):
        noisy, target = camera.pair(clean, rng)
        if 4 < 255 * np.std(noisy - target) < 12:
            names = ("photo-gray", "gray")
            gains.append([psnr(pellucid.denoise(noisy, model=name), target) - psnr(noisy, target) for name in names])
    assert len(gains) > 5
    seeing, blind = np.mean(gains, axis=0)
    assert seeing > blind + 0.5
    assert seeing > 1
