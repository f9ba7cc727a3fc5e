from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.camera.demosaic import FullColor, Mosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sampling import sample_camera
from pellucid.simulation.camera.sensor import NOISELESS, Sensor
from pellucid.simulation.jpeg import TO_YCBCR, Jpeg
from tests.simulation.camera.conftest import NEUTRAL_CAMERA, PHOTO, correlation, flat, rng


@pytest.mark.parametrize("seed", range(6))
def test_same_seed_same_pair(seed):
    clean = PHOTO[:40, :44].copy()
    first, again, other = (sample_camera(rng(seed)).pair(clean, rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(first[1], other[1]) or first[1] == pytest.approx(other[1], abs=0.3)
    assert np.array_equal(clean, PHOTO[:40, :44])


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 30), width=st.integers(1, 30), channels=st.sampled_from([1, 3]), seed=st.integers(0, 10_000)
)
def test_any_size_is_rounded_to_8_bits(height, width, channels, seed):
    clean = rng(seed).random((height, width, channels), dtype=np.float32)
    noisy, target = sample_camera(rng(seed)).pair(clean, rng(seed))
    assert noisy * 255 == pytest.approx(np.rint(noisy * 255), abs=1e-3)
    for image in (noisy, target):
        assert image.shape == clean.shape
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_noiseless_pair_is_equal(seed):
    noisy, target = replace(sample_camera(rng(seed)), sensor=NOISELESS, film=None).pair(PHOTO, rng())
    assert np.array_equal(noisy, target)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_target_is_mean_of_shots(quality):
    camera = replace(NEUTRAL_CAMERA, jpeg=Jpeg(quality, is_subsampled=True))
    pairs = [camera.pair(PHOTO, rng(seed)) for seed in range(32)]
    mean, target = (np.mean(images, axis=0) for images in zip(*pairs, strict=True))
    _, noiseless = replace(camera, sensor=NOISELESS).pair(PHOTO, rng())
    # A thirty-second of the noise is left in the mean, and next to nothing of it in what the target is on average.
    left = np.square(pairs[0][0] - mean).mean() / 31
    errors = [np.square(image - mean).mean() - left for image in (target, noiseless)]
    assert errors[0] < 0.4 * errors[1]
    # A target of its own is not the shot's: no trace of its noise is in it.
    noisy, own = pairs[0]
    assert abs(np.corrcoef((noisy - mean).ravel(), (own - target).ravel())[0, 1]) < 0.05


def test_neutral_camera_keeps_image():
    gray = np.repeat(PHOTO.mean(axis=2, keepdims=True), 3, axis=2).clip(0, 0.9)
    soft = 0.25 * (gray + np.roll(gray, 1, 0) + np.roll(gray, 1, 1) + np.roll(gray, (1, 1), (0, 1)))
    _, target = replace(NEUTRAL_CAMERA, sensor=NOISELESS, mosaic=Mosaic("gradient")).pair(soft, rng())
    assert psnr(soft[4:-4, 4:-4], target[4:-4, 4:-4]) > 38


@pytest.mark.parametrize("level", [0.0, 0.03, 0.1, 0.5])
def test_target_has_brightness_of_noisy_image(level):
    # Through the tone curve, noise of high ISO brightens black by up to 18 levels, and on average by 9. What is left is
    # due to noise that is clipped after the camera has sharpened it or spread its color: half a level on average, but
    # four and a half with one of these 60 cameras, which sharpens much at a high ISO.
    cameras = [sample_camera(rng(seed), iso=(1600.0, 25600.0)) for seed in range(60)]
    pairs = [camera.pair(flat(level), rng()) for camera in cameras]
    shifts = [255 * (noisy - target).mean() for noisy, target in pairs]
    assert np.abs(shifts).mean() < 0.8
    assert np.abs(shifts).max() < 5
    assert abs(np.mean(shifts)) < 0.6


def test_noise_grows_with_iso():
    levels = []
    for iso in (100.0, 800.0, 6400.0, 25600.0):
        sensor = Sensor.draw(rng(), iso, iso)
        noisy, target = replace(NEUTRAL_CAMERA, sensor=sensor).pair(flat(0.5), rng())
        levels.append(255 * (noisy - target).std())
    assert levels == sorted(levels)
    assert levels[0] < 2
    assert levels[-1] > 10


def test_noise_is_correlated_and_depends_on_brightness():
    noisy, target = NEUTRAL_CAMERA.pair(flat(0.5), rng())
    assert correlation((noisy - target)[..., 1]) > 0.15
    blurred, clean = replace(NEUTRAL_CAMERA, postprocess=PostProcess(chroma_px=2.0)).pair(flat(0.5), rng())
    chroma = [((a - b) @ TO_YCBCR.T)[..., 1] for a, b in ((noisy, target), (blurred, clean))]
    assert correlation(chroma[1]) > 0.6 > correlation(chroma[0])
    assert chroma[1].std() < 0.5 * chroma[0].std()
    darker, target = NEUTRAL_CAMERA.pair(flat(0.15), rng())
    assert (darker - target).std() > 1.2 * (noisy - flat(0.5)).std()


def test_saturated_pixels_have_no_noise():
    isp = replace(NEUTRAL_CAMERA.isp, gains=(2.6, 1.25, 2.0))
    noisy, target = replace(NEUTRAL_CAMERA, isp=isp).pair(flat(1.0), rng())
    assert np.abs(noisy - target).max() <= 1 / 255


def test_reducing_weakens_noise():
    noisy, target = NEUTRAL_CAMERA.pair(PHOTO, rng())
    half_noisy, half = replace(NEUTRAL_CAMERA, scale=0.5).pair(PHOTO, rng())
    assert (half_noisy - half).std() < 0.8 * (noisy - target).std()
    assert psnr(half, PHOTO) > psnr(target, PHOTO) > 24


def test_enlarging_makes_noise_coarser():
    noisy, target = NEUTRAL_CAMERA.pair(PHOTO, rng())
    large_noisy, large = replace(NEUTRAL_CAMERA, scale=1.6).pair(PHOTO, rng())
    coarse, fine = (correlation((a - b)[..., 1], 2) for a, b in ((large_noisy, large), (noisy, target)))
    assert coarse > fine + 0.2
    assert psnr(target, PHOTO) > psnr(large, PHOTO) > 20


def test_softness_keeps_noise():
    def steps(image):
        return np.abs(np.diff(image, axis=1)).mean()

    sharp, soft = (replace(NEUTRAL_CAMERA, softness=softness).pair(PHOTO, rng()) for softness in (1.0, 2.0))
    assert soft[1].shape == PHOTO.shape
    # The upper left quarter fills it.
    small = PHOTO[:48, :48]
    assert soft[1].mean() == pytest.approx(replace(NEUTRAL_CAMERA).pair(small, rng())[1].mean(), abs=0.02)
    assert steps(soft[1]) < 0.75 * steps(replace(NEUTRAL_CAMERA).pair(small, rng())[1])
    noise = [np.std(noisy - target) for noisy, target in (sharp, soft)]
    assert noise[1] == pytest.approx(noise[0], rel=0.3)


def test_gray_image_gives_luma():
    clean = PHOTO[..., 1:2]
    noisy, target = NEUTRAL_CAMERA.pair(clean, rng())
    colored = NEUTRAL_CAMERA.pair(np.repeat(clean, 3, axis=2), rng())
    assert noisy == pytest.approx(colored[0] @ TO_YCBCR[0][:, None], abs=4 / 255)
    assert (noisy - target).std() > 0.007


def test_film_grain_is_the_only_noise():
    camera = replace(NEUTRAL_CAMERA, sensor=NOISELESS, film=Film(0.06, 1.0))
    noisy, target = camera.pair(PHOTO, rng())
    noiseless = replace(camera, film=None).pair(PHOTO, rng())
    # JPEG of quality 100 rounds each shot to whole levels, in brightness and in color.
    assert np.abs(target - noiseless[0]).mean() < 1 / 255
    assert target == pytest.approx(noiseless[0], abs=8 / 255)
    grain = (noisy - target)[np.abs(target - 0.5).max(axis=2) < 0.1]
    assert grain.std() == pytest.approx(0.06, rel=0.15)
    assert np.corrcoef(grain.T)[0, 2] > 0.95


def test_monochrome_photograph_has_gray_noise():
    noisy, target = replace(NEUTRAL_CAMERA, postprocess=PostProcess(saturation=0.0)).pair(PHOTO, rng())
    for image in (noisy, target):
        assert np.ptp(image, axis=2).max() <= 1 / 255
    colored = NEUTRAL_CAMERA.pair(PHOTO, rng())[1]
    assert target[..., 0] == pytest.approx(colored @ TO_YCBCR[0], abs=3 / 255)


def test_full_chroma_denoising():
    noisy, target = replace(NEUTRAL_CAMERA, postprocess=PostProcess(chroma_denoising=1.0)).pair(flat(0.5), rng())
    chroma = ((noisy - target) @ TO_YCBCR.T)[..., 1:]
    assert np.abs(chroma).max() <= 1 / 255
    assert (noisy - target).std() > 0.007


def test_brighter_shadows_have_more_noise():
    deviations = []
    for gamma in (2.2, 3.4):
        isp = replace(NEUTRAL_CAMERA.isp, gamma=gamma)
        noisy, target = replace(NEUTRAL_CAMERA, isp=isp).pair(flat(0.2), rng())
        assert target.mean() == pytest.approx(0.2, abs=0.02)
        deviations.append((noisy - target).std())
    assert deviations[1] > 1.5 * deviations[0]


def test_full_color_keeps_sharp_image():
    camera = replace(NEUTRAL_CAMERA, mosaic=FullColor())
    sharp = rng(1).uniform(0.2, 0.8, size=(64, 64, 3)).astype(np.float32)
    noisy, target = camera.pair(sharp, rng())
    assert np.abs(target - sharp).mean() < 1 / 255
    assert np.abs(np.corrcoef((noisy - target).reshape(-1, 3).T)[0, 1]) < 0.05
    blurred = NEUTRAL_CAMERA.pair(sharp, rng())[1]
    assert np.abs(blurred - sharp).mean() > 10 / 255


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(NEUTRAL_CAMERA, scale=0.1), r"scale 0\.1: give a number between 0\.25 and 2"),
        (lambda: replace(NEUTRAL_CAMERA, scale=2.5), r"scale 2\.5: give a number between 0\.25 and 2"),
        (lambda: replace(NEUTRAL_CAMERA, softness=0.5), r"softness 0\.5: give a number between 1 and 4"),
        (lambda: replace(NEUTRAL_CAMERA, film=Film(0.1)), "film: its grain must be the only noise: give a noiseless"),
        (
            lambda: NEUTRAL_CAMERA.pair(np.zeros((8, 8, 2), np.float32), rng()),
            "image of 2 channels: give one of 1 or 3",
        ),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()
