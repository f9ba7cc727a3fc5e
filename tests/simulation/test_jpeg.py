import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut, camera

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.jpeg import Jpeg

PIXELS = {1: camera()[100:195, 200:303, None], 3: np.ascontiguousarray(astronaut()[:95, 150:253])}


def libjpeg(pixels, quality, subsampling="4:4:4"):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "jpeg", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 95, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_libjpeg(channels, quality):
    pixels = PIXELS[channels]
    ours = Jpeg(quality)(pixels.astype(np.float32) / 255, np.random.default_rng(0)) * 255
    theirs = libjpeg(pixels, quality).astype(np.float32)
    # libjpeg rounds its transform and its colors to integers.
    assert np.abs(ours - theirs).mean() < 0.4
    assert psnr(ours / 255, theirs / 255) > 47


def test_error_grows_with_lower_quality():
    clean = PIXELS[3].astype(np.float32) / 255
    distances = [psnr(clean, Jpeg(quality)(clean, np.random.default_rng(0))) for quality in (5, 20, 50, 80, 95)]
    assert distances == sorted(distances)
    assert distances[0] < 26
    assert distances[-1] > 38


@pytest.mark.parametrize("quality", [50, 75, 95, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_subsampled_agrees_with_libjpeg(quality, channels):
    pixels = PIXELS[channels]
    ours = Jpeg(quality, is_subsampled=True)(pixels.astype(np.float32) / 255, np.random.default_rng(0)) * 255
    theirs = libjpeg(pixels, quality, "4:2:0").astype(np.float32)
    # libjpeg alternates the rounding of means and interpolated colors.
    assert np.abs(ours - theirs).mean() < 0.6
    assert psnr(ours / 255, theirs / 255) > 46


@pytest.mark.parametrize("grid_px", [(3, 0), (0, 5), (7, 2), (19, 9)])
@pytest.mark.parametrize("is_subsampled", [False, True])
def test_grid_offset_equals_crop(grid_px, is_subsampled):
    photo = PIXELS[3].astype(np.float32) / 255
    jpeg, (top, left) = Jpeg(40, is_subsampled), grid_px
    whole = jpeg(photo, np.random.default_rng(0))[top:, left:]
    cropped = Jpeg(40, is_subsampled, grid_px)(photo[top:, left:], np.random.default_rng(0))
    inner = slice(16, -16)
    assert np.array_equal(cropped[inner, inner], whole[inner, inner])
    assert not np.array_equal(jpeg(photo[top:, left:], np.random.default_rng(0))[inner, inner], whole[inner, inner])


@settings(deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    quality=st.integers(1, 100),
    is_subsampled=st.booleans(),
    grid_px=st.tuples(st.integers(0, 17), st.integers(0, 17)),
)
def test_any_size_is_rounded_to_8_bits(height, width, channels, quality, is_subsampled, grid_px):
    clean = np.random.default_rng(0).random((height, width, channels), dtype=np.float32) * 1.4 - 0.2
    before = clean.copy()
    noisy = Jpeg(quality, is_subsampled, grid_px)(clean, np.random.default_rng(0))
    assert noisy.shape == clean.shape
    assert noisy.dtype == np.float32
    assert noisy * 255 == pytest.approx(np.rint(noisy * 255), abs=1e-4)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert np.array_equal(clean, before)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_quality(quality):
    with pytest.raises(ParameterError, match=rf"^quality {quality}: give an integer from 1 to 100"):
        Jpeg(quality)


def test_impossible_grid():
    with pytest.raises(ParameterError, match=r"^grid_px \(0, -1\): give a row and a column of at least 0"):
        Jpeg(50, grid_px=(0, -1))


def test_impossible_channels():
    with pytest.raises(ParameterError, match=r"^image of 2 channels: give one of 1 or 3"):
        Jpeg(50)(np.zeros((8, 8, 2), np.float32), np.random.default_rng(0))
