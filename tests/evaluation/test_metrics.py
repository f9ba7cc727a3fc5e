import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from skimage.data import astronaut, camera
from skimage.metrics import peak_signal_noise_ratio

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr, ssim


def reference_ssim(clean, denoised):
    """Eq. 13 of Wang et al. 2004, with an explicit sum over every window inside the image."""
    offsets = np.arange(11) - 5
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(row, row) / row.sum() ** 2

    def mean(values):
        windows = sliding_window_view(values, (11, 11), axis=(0, 1))
        return (windows * weights).sum(axis=(-2, -1))

    x, y = clean.astype(np.float64), denoised.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    denominator = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
    return np.mean(numerator / denominator)


def pairs():
    for pixels in (astronaut(), camera()[..., None]):
        clean = pixels[:150, 50:211].astype(np.float32) / 255
        for sigma in (0.02, 0.2):
            noisy = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
            yield clean, noisy.clip(0, 1)


@pytest.mark.parametrize(("clean", "noisy"), list(pairs()))
def test_psnr_and_ssim_of_photographs(clean, noisy):
    expected = peak_signal_noise_ratio(clean.astype(np.float64), noisy.astype(np.float64), data_range=1)
    assert psnr(clean, noisy) == pytest.approx(expected, abs=1e-6)
    assert ssim(clean, noisy) == pytest.approx(reference_ssim(clean, noisy), abs=1e-9)


@settings(deadline=None)
@given(
    height=st.integers(11, 24),
    width=st.integers(11, 24),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_ssim_of_small_images(height, width, channels, seed):
    rng = np.random.default_rng(seed)
    clean, denoised = rng.random((2, height, width, channels), dtype=np.float32)
    assert ssim(clean, denoised) == pytest.approx(reference_ssim(clean, denoised), abs=1e-9)


def test_psnr_of_a_known_error():
    clean = np.zeros((20, 20, 3), np.float32)
    assert psnr(clean, clean + np.float32(0.1)) == pytest.approx(20, abs=1e-5)


def test_equal_images():
    clean = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    assert psnr(clean, clean) == math.inf
    assert ssim(clean, clean) == pytest.approx(1, abs=1e-12)


def test_ssim_at_the_border():
    clean = np.random.default_rng(0).random((11, 11, 1), dtype=np.float32)
    denoised = clean.copy()
    denoised[0, 0] += 0.5
    # One window fits, and its corner weighs next to nothing.
    assert 1 - 1e-3 < ssim(clean, denoised) < 1


def test_ssim_of_colour():
    clean, denoised = np.random.default_rng(0).random((2, 20, 20, 3), dtype=np.float32)
    channels = [ssim(clean[..., c : c + 1], denoised[..., c : c + 1]) for c in range(3)]
    assert ssim(clean, denoised) == pytest.approx(np.mean(channels))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_must_agree(metric):
    with pytest.raises(ParameterError, match=r"^shapes \(20, 20, 3\) and \(20, 20, 1\)"):
        metric(np.zeros((20, 20, 3), np.float32), np.zeros((20, 20, 1), np.float32))


def test_ssim_of_an_image_smaller_than_its_window():
    small = np.zeros((10, 40, 1), np.float32)
    with pytest.raises(ParameterError, match=r"^image of 40x10: SSIM needs at least 11x11"):
        ssim(small, small)
