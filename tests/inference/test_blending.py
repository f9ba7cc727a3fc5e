import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.inference.blending import (
    GRAY_REACH_PX,
    LUMA,
    keep_gray,
    restore_detail,
    subtracted,
    weight_luma_chroma,
)


def random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_luma_and_chroma_weights_add_up() -> None:
    residual = random((5, 7, 3))
    bright, coloured = weight_luma_chroma(residual.copy(), 1.0, 0.0), weight_luma_chroma(residual.copy(), 0.0, 1.0)
    np.testing.assert_allclose(bright + coloured, residual, atol=1e-6)
    assert np.ptp(bright, axis=2).max() < 1e-6
    assert np.abs(coloured @ LUMA).max() < 1e-6


@given(st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64]), st.floats(-2, 2))
def test_subtraction_stays_within_the_dtype(dtype: type, amount: float) -> None:
    kind = np.dtype(dtype)
    high = float(np.iinfo(kind).max) if kind.kind == "u" else 1.0
    window = np.full((2, 2, 1), high / 2, kind)
    left = subtracted(window, np.full(window.shape, amount, np.float32), (0.0, high))
    assert left.dtype == kind
    # Half of an odd maximum is rounded by the dtype.
    expected = float(window[0, 0, 0]) - amount * high
    if kind.kind == "u":
        expected = min(max(expected, 0), high)
    np.testing.assert_allclose(left.astype(float), expected, rtol=1e-3, atol=0.51 if kind.kind == "u" else 1e-3)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_detail_is_restored_at_edges_only(n_channels: int) -> None:
    clean = np.zeros((40, 60, n_channels), np.float32)
    clean[:, 30:] = 1.0
    noise = 0.05 * random(clean.shape)
    level = np.full((40, 60, 1), 0.05, np.float32)
    left = restore_detail(noise, clean + noise, level, 0.8)
    returned = noise - left
    assert np.abs(returned[:, :25]).max() == np.abs(returned[:, 35:]).max() == 0
    luma = noise @ (LUMA if n_channels == 3 else np.ones(1, np.float32))
    np.testing.assert_allclose(returned[:, 29:31, 0], 0.8 * luma[:, 29:31], rtol=0.02)
    assert restore_detail(noise, clean + noise, level, 0.0) is noise


def test_detail_does_not_depend_on_the_window() -> None:
    noisy, residual, level = random((50, 60, 3)), random((50, 60, 3), 1), np.full((50, 60, 1), 0.3, np.float32)
    whole = restore_detail(residual, noisy, level, 1.0)
    part = (slice(10, 40), slice(20, 60))
    cut = restore_detail(residual[part], noisy[part], level[part], 1.0)
    np.testing.assert_array_equal(cut[2:-2, 2:], whole[12:38, 22:])


def test_gray_areas_stay_gray() -> None:
    window = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    window[:, :15] = window[:, :15, :1]
    window[4, 3, 2] ^= 1
    residual = random(window.shape)
    taken = keep_gray(residual.copy(), window)
    spread = np.ptp(taken, axis=2)
    near, far = GRAY_REACH_PX, GRAY_REACH_PX + 1
    assert spread[far + 4 :, : 15 - near].max() == 0
    np.testing.assert_allclose(taken[far + 4 :, : 15 - near, 0], (residual @ LUMA)[far + 4 :, : 15 - near], atol=1e-6)
    # A coloured pixel within reach, or colour itself, and all is as it was.
    np.testing.assert_array_equal(taken[:, 15 - near :], residual[:, 15 - near :])
    np.testing.assert_array_equal(taken[4 - near : 5 + near, 3 - near : 4 + near], residual[2:7, 1:6])
    assert spread[4, 3 + far] == 0


def test_gray_images_are_left_alone() -> None:
    residual = random((6, 6, 1))
    assert keep_gray(residual, np.zeros((6, 6, 1))) is residual
