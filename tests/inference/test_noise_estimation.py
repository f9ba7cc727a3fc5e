import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from pellucid.inference.noise_estimation import estimate_noise, white_noise_sigma


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_white_noise_in_colour(photo: NDArray[np.uint8], sigma: float) -> None:
    noisy = photo + sigma * np.random.default_rng(1).standard_normal(photo.shape)
    assert estimate_noise(noisy, 255.0) * 255 == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_white_noise_in_gray(gray_photo: NDArray[np.uint8], sigma: float) -> None:
    noisy = gray_photo[..., None] + sigma * np.random.default_rng(1).standard_normal((512, 512, 1))
    assert estimate_noise(noisy, 255.0) * 255 == pytest.approx(sigma, rel=0.02)


def test_texture_in_gray(gray_photo: NDArray[np.uint8]) -> None:
    textures = [gray_photo, data.brick(), data.grass(), data.gravel()]
    noise = 25 * np.random.default_rng(1).standard_normal((512, 512, 1))
    found = [estimate_noise(texture[..., None] + noise, 255.0) * 255 for texture in textures]
    assert np.mean(found) == pytest.approx(25, rel=0.02)
    assert found == pytest.approx([25] * 4, rel=0.04)


def test_correlated_noise(photo: NDArray[np.uint8]) -> None:
    noise = 25 * np.random.default_rng(1).standard_normal(photo.shape)
    smeared = sum(np.roll(noise, (i, j), (0, 1)) for i in range(3) for j in range(3)) / 3
    # In a photograph of few details, so that what is found is the noise.
    noisy = photo[:200, 300:500] * 0.2 + smeared[:200, 300:500]
    fine = white_noise_sigma(noisy, np.random.default_rng(0))
    assert fine < 5
    assert estimate_noise(noisy, 255.0) * 255 > 3 * fine


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 1), (7, 1, 3), (8, 8, 3), (17, 31, 1)])
def test_small_images(shape: tuple[int, int, int]) -> None:
    assert estimate_noise(np.random.default_rng(0).random(shape), 1.0) == 0.0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_image_has_no_noise(channels: int) -> None:
    assert estimate_noise(np.full((64, 64, channels), 200, np.uint8), 255.0) == 0.0


def test_scale_and_repeatability(photo: NDArray[np.uint8]) -> None:
    noisy = np.clip(photo + 20 * np.random.default_rng(1).standard_normal(photo.shape), 0, 255).astype(np.uint8)
    eight = estimate_noise(noisy, 255.0)
    assert estimate_noise(noisy, 255.0) == eight
    assert estimate_noise(noisy.astype(np.uint16) * 257, 65535.0) == pytest.approx(eight, rel=1e-3)
    assert estimate_noise(noisy / 255, 1.0) == pytest.approx(eight, rel=1e-3)
