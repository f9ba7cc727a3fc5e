import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut, camera
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr, ssim


def skimage_ssim(clean, denoised):
    return structural_similarity(
        clean.astype(np.float64),
        denoised.astype(np.float64),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
    )


def pairs():
    for pixels in (astronaut(), camera()[..., None]):
        clean = pixels[:150, 50:211].astype(np.float32) / 255
        for sigma in (0.02, 0.2):
            noisy = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
            yield clean, noisy.clip(0, 1)


@pytest.mark.parametrize(("clean", "noisy"), list(pairs()))
def test_agree_with_scikit_image(clean, noisy):
    expected = peak_signal_noise_ratio(clean.astype(np.float64), noisy.astype(np.float64), data_range=1)
    assert psnr(clean, noisy) == pytest.approx(expected, abs=1e-6)
    assert ssim(clean, noisy) == pytest.approx(skimage_ssim(clean, noisy), abs=1e-6)


@settings(deadline=None)
@given(
    height=st.integers(11, 24),
    width=st.integers(11, 24),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_agree_with_scikit_image_on_small_sizes(height, width, channels, seed):
    rng = np.random.default_rng(seed)
    clean, denoised = rng.random((2, height, width, channels), dtype=np.float32)
    assert ssim(clean, denoised) == pytest.approx(skimage_ssim(clean, denoised), abs=1e-6)


def test_psnr_of_a_known_error():
    clean = np.zeros((20, 20, 3), np.float32)
    assert psnr(clean, clean + np.float32(0.1)) == pytest.approx(20, abs=1e-5)


def test_equal_images():
    clean = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    assert psnr(clean, clean) == math.inf
    assert ssim(clean, clean) == pytest.approx(1, abs=1e-12)


def test_ssim_leaves_the_border_to_the_windows_inside():
    clean = np.random.default_rng(0).random((11, 11, 1), dtype=np.float32)
    denoised = clean.copy()
    denoised[0, 0] += 0.5
    # One window fits, and its corner weighs next to nothing.
    assert 1 - 1e-3 < ssim(clean, denoised) < 1


def test_ssim_of_colour_is_the_mean_of_channels():
    clean, denoised = np.random.default_rng(0).random((2, 20, 20, 3), dtype=np.float32)
    channels = [ssim(clean[..., c : c + 1], denoised[..., c : c + 1]) for c in range(3)]
    assert ssim(clean, denoised) == pytest.approx(np.mean(channels))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_must_agree(metric):
    with pytest.raises(ParameterError, match=r"^shapes \(20, 20, 3\) and \(20, 20, 1\)"):
        metric(np.zeros((20, 20, 3), np.float32), np.zeros((20, 20, 1), np.float32))


def test_ssim_needs_room_for_its_window():
    small = np.zeros((10, 40, 1), np.float32)
    with pytest.raises(ParameterError, match=r"^image of 40x10: SSIM needs at least 11x11"):
        ssim(small, small)
