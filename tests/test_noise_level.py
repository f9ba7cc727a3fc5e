import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from pellucid.noise_level import (
    LEVEL_REACH_PX,
    QUARTILE_EXCESS,
    deviation_bound,
    estimate_noise,
    upper_quartile_around,
    white_noise_sigma,
)


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_white_noise_in_colour_is_found_within_5_percent(photo: NDArray[np.uint8], sigma: float) -> None:
    noisy = photo + sigma * np.random.default_rng(1).standard_normal(photo.shape)
    assert estimate_noise(noisy, 255.0) * 255 == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_white_noise_in_gray_is_found_within_10_percent(gray_photo: NDArray[np.uint8], sigma: float) -> None:
    noisy = gray_photo[..., None] + sigma * np.random.default_rng(1).standard_normal((512, 512, 1))
    assert estimate_noise(noisy, 255.0) * 255 == pytest.approx(sigma, rel=0.10)


def test_white_noise_in_gray_is_not_taken_for_stronger_because_of_texture(gray_photo: NDArray[np.uint8]) -> None:
    textures = [gray_photo, data.brick(), data.grass(), data.gravel()]
    noise = 25 * np.random.default_rng(1).standard_normal((512, 512, 1))
    found = [estimate_noise(texture[..., None] + noise, 255.0) * 255 for texture in textures]
    assert np.mean(found) == pytest.approx(25, rel=0.02)


def test_smeared_noise_is_found_where_the_finest_scale_is_blind(photo: NDArray[np.uint8]) -> None:
    noise = 25 * np.random.default_rng(1).standard_normal(photo.shape)
    smeared = sum(np.roll(noise, (i, j), (0, 1)) for i in range(3) for j in range(3)) / 3
    # In a photograph of few details, so that what is found is the noise.
    noisy = photo[:200, 300:500] * 0.2 + smeared[:200, 300:500]
    fine = white_noise_sigma(noisy, np.random.default_rng(0))
    assert fine < 5
    assert estimate_noise(noisy, 255.0) * 255 > 3 * fine


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 1), (7, 1, 3), (8, 8, 3), (17, 31, 1)])
def test_images_too_small_to_tell_are_taken_as_clean(shape: tuple[int, int, int]) -> None:
    assert estimate_noise(np.random.default_rng(0).random(shape), 1.0) == 0.0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_image_has_no_noise(channels: int) -> None:
    assert estimate_noise(np.full((64, 64, channels), 200, np.uint8), 255.0) == 0.0


def test_the_estimate_follows_the_scale_and_does_not_vary(photo: NDArray[np.uint8]) -> None:
    noisy = np.clip(photo + 20 * np.random.default_rng(1).standard_normal(photo.shape), 0, 255).astype(np.uint8)
    eight = estimate_noise(noisy, 255.0)
    assert estimate_noise(noisy, 255.0) == eight
    assert estimate_noise(noisy.astype(np.uint16) * 257, 65535.0) == pytest.approx(eight, rel=1e-3)
    assert estimate_noise(noisy / 255, 1.0) == pytest.approx(eight, rel=1e-3)


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]), st.integers(0, 99))
def test_noise_is_no_stronger_than_pixels_differ(n_rows: int, n_columns: int, n_channels: int, seed: int) -> None:
    noisy = np.random.default_rng(seed).random((4 * n_rows, 4 * n_columns, n_channels), dtype=np.float32)
    bound = deviation_bound(noisy)
    assert bound.shape == (4 * n_rows, 4 * n_columns, 1)
    row, column = n_rows // 2, n_columns // 2
    about = tuple(slice(4 * max(place - 2, 0), 4 * (place + 3)) for place in (row, column))
    expected = np.sqrt(noisy[about].astype(float).var(axis=(0, 1)).mean())
    np.testing.assert_allclose(bound[4 * row : 4 * row + 4, 4 * column : 4 * column + 4], expected, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 37.0])
def test_in_what_is_flat_there_is_none(value: float) -> None:
    image = np.full((40, 64, 3), value, np.float32)
    assert (deviation_bound(image) == 0).all()
    image[:, :20] = value + 0.5
    bound = deviation_bound(image)
    assert (bound[:, 28:] == 0).all()
    assert (bound[:, 12:28] > 0.1).all()


def test_the_bound_does_not_depend_on_where_an_image_is_cut(photo: NDArray[np.uint8]) -> None:
    image = photo[:96, :96] / np.float32(255)
    whole, part = deviation_bound(image), deviation_bound(image[16:80, 24:])
    np.testing.assert_allclose(part[8:-8, 8:], whole[24:72, 32:], atol=1e-7)


def test_estimates_that_are_too_high_here_and_there_are_not_heeded() -> None:
    level = np.full((240, 320, 1), 0.05, np.float32)
    level[100:164, 80:144] = 0.4
    np.testing.assert_allclose(upper_quartile_around(level), 0.05 / QUARTILE_EXCESS, rtol=1e-6)


def test_of_three_estimates_that_are_too_low_the_fourth_counts() -> None:
    cells = np.random.default_rng(0).permutation(np.repeat([0.02, 0.02, 0.06, 0.06], 40 * 40 // 4))
    level = cells.reshape(40, 40).repeat(8, 0).repeat(8, 1)[..., None].astype(np.float32)
    assert np.quantile(upper_quartile_around(level), 0.01) == pytest.approx(0.06 / QUARTILE_EXCESS)


def test_each_half_keeps_its_level() -> None:
    level = np.full((320, 160, 1), 0.02, np.float32)
    level[160:] = 0.08
    settled = upper_quartile_around(level)
    assert settled[: 160 - LEVEL_REACH_PX].max() == pytest.approx(0.02 / QUARTILE_EXCESS)
    assert settled[160:].min() == pytest.approx(0.08 / QUARTILE_EXCESS)


@given(row=st.integers(0, 29), column=st.integers(0, 29))
def test_what_is_farther_than_the_reach_does_not_count(row: int, column: int) -> None:
    level = np.random.default_rng(0).random((240, 240, 1), np.float32)
    place = np.zeros((240, 240, 1), bool)
    place[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = True
    changed = upper_quartile_around(np.where(place, np.float32(9), level)) != upper_quartile_around(level)
    rows, columns = np.nonzero(changed[..., 0])
    assert np.abs(rows - (8 * row + 3.5)).max(initial=0) < LEVEL_REACH_PX + 4
    assert np.abs(columns - (8 * column + 3.5)).max(initial=0) < LEVEL_REACH_PX + 4
