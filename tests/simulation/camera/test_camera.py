import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.camera.demosaic import FullColor, Mosaic
from pellucid.simulation.camera.directed import DirectedMosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.isp import Development
from pellucid.simulation.camera.postprocess import Finish
from pellucid.simulation.camera.sampling import remove_noise, sample_camera
from pellucid.simulation.camera.sensor import SILENT, Sensor
from pellucid.simulation.jpeg import TO_YCBCR, Jpeg

PHOTO = np.ascontiguousarray((astronaut()[:96, 150:246] / 255).astype(np.float32))
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
PLAIN_CAMERA = Camera(
    Sensor(1e-3, 1e-5), Mosaic("bilinear"), Development(0.0, (1.0, 1.0, 1.0), IDENTITY), Finish(), 1.0, Jpeg(100)
)


def rng(seed=0):
    return np.random.default_rng(seed)


def cameras(n, **options):
    return [sample_camera(rng(seed), **options) for seed in range(n)]


def flat(level, side=96):
    return np.full((side, side, 3), level, np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_same_seed_same_pair_and_clean_untouched(seed):
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
def test_any_size_and_camera_gives_levels_of_8_bits(height, width, channels, seed):
    clean = rng(seed).random((height, width, channels), dtype=np.float32)
    noisy, target = sample_camera(rng(seed)).pair(clean, rng(seed))
    assert noisy * 255 == pytest.approx(np.rint(noisy * 255), abs=1e-3)
    for image in (noisy, target):
        assert image.shape == clean.shape
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_without_noise_both_are_the_same(seed):
    noisy, target = replace(sample_camera(rng(seed)), sensor=SILENT, film=None).pair(PHOTO, rng())
    assert np.array_equal(noisy, target)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_the_target_is_what_the_mean_of_many_shots_shows(quality):
    camera = replace(PLAIN_CAMERA, jpeg=Jpeg(quality, is_subsampled=True))
    pairs = [camera.pair(PHOTO, rng(seed)) for seed in range(32)]
    mean, target = (np.mean(images, axis=0) for images in zip(*pairs, strict=True))
    _, silent = replace(camera, sensor=SILENT).pair(PHOTO, rng())
    # A thirty-second of the noise is left in the mean, and next to nothing of it in what the target is on average.
    left = np.square(pairs[0][0] - mean).mean() / 31
    errors = [np.square(image - mean).mean() - left for image in (target, silent)]
    assert errors[0] < 0.4 * errors[1]
    # A target of its own is not the shot's: no trace of its noise is in it.
    noisy, own = pairs[0]
    assert abs(np.corrcoef((noisy - mean).ravel(), (own - target).ravel())[0, 1]) < 0.05


def test_a_camera_that_does_nothing_gives_the_image_back():
    gray = np.repeat(PHOTO.mean(axis=2, keepdims=True), 3, axis=2).clip(0, 0.9)
    soft = 0.25 * (gray + np.roll(gray, 1, 0) + np.roll(gray, 1, 1) + np.roll(gray, (1, 1), (0, 1)))
    _, target = replace(PLAIN_CAMERA, sensor=SILENT, mosaic=Mosaic("gradient")).pair(soft, rng())
    assert psnr(soft[4:-4, 4:-4], target[4:-4, 4:-4]) > 38


@pytest.mark.parametrize("level", [0.0, 0.03, 0.1, 0.5])
def test_the_target_is_as_bright_as_the_noisy_photograph(level):
    # Through the tone curve, noise of high ISO brightens black by up to 18 levels, and on average by 9. What is left is
    # due to noise that is clipped after the camera has sharpened it or spread its colour: half a level on average, but
    # four and a half with one of these 60 cameras, which sharpens much at a high ISO.
    pairs = [camera.pair(flat(level), rng()) for camera in cameras(60, iso=(1600.0, 25600.0))]
    shifts = [255 * (noisy - target).mean() for noisy, target in pairs]
    assert np.abs(shifts).mean() < 0.8
    assert np.abs(shifts).max() < 5
    assert abs(np.mean(shifts)) < 0.6


def test_noise_grows_with_iso():
    levels = []
    for iso in (100.0, 800.0, 6400.0, 25600.0):
        sensor = Sensor.draw(rng(), iso, iso)
        noisy, target = replace(PLAIN_CAMERA, sensor=sensor).pair(flat(0.5), rng())
        levels.append(255 * (noisy - target).std())
    assert levels == sorted(levels)
    assert levels[0] < 2
    assert levels[-1] > 10


def correlation(plane, distance=1):
    plane = plane - plane.mean()
    return (plane[distance:] * plane[:-distance]).mean() / np.square(plane).mean()


def test_noise_of_a_camera_is_alike_in_neighbours_and_differs_with_brightness():
    noisy, target = PLAIN_CAMERA.pair(flat(0.5), rng())
    assert correlation((noisy - target)[..., 1]) > 0.15
    blurred, clean = replace(PLAIN_CAMERA, finish=Finish(chroma_px=2.0)).pair(flat(0.5), rng())
    chroma = [((a - b) @ TO_YCBCR.T)[..., 1] for a, b in ((noisy, target), (blurred, clean))]
    assert correlation(chroma[1]) > 0.6 > correlation(chroma[0])
    assert chroma[1].std() < 0.5 * chroma[0].std()
    darker, target = PLAIN_CAMERA.pair(flat(0.15), rng())
    assert (darker - target).std() > 1.2 * (noisy - flat(0.5)).std()


def test_full_pixels_have_no_noise():
    development = replace(PLAIN_CAMERA.development, gains=(2.6, 1.25, 2.0))
    noisy, target = replace(PLAIN_CAMERA, development=development).pair(flat(1.0), rng())
    assert np.abs(noisy - target).max() <= 1 / 255


def test_resizing_weakens_noise_and_keeps_the_place():
    noisy, target = PLAIN_CAMERA.pair(PHOTO, rng())
    half_noisy, half = replace(PLAIN_CAMERA, scale=0.5).pair(PHOTO, rng())
    assert (half_noisy - half).std() < 0.8 * (noisy - target).std()
    assert psnr(half, PHOTO) > psnr(target, PHOTO) > 24


def test_enlarging_makes_noise_coarser_and_keeps_the_place():
    noisy, target = PLAIN_CAMERA.pair(PHOTO, rng())
    large_noisy, large = replace(PLAIN_CAMERA, scale=1.6).pair(PHOTO, rng())
    coarse, fine = (correlation((a - b)[..., 1], 2) for a, b in ((large_noisy, large), (noisy, target)))
    assert coarse > fine + 0.2
    assert psnr(target, PHOTO) > psnr(large, PHOTO) > 20


def test_a_soft_photograph_shows_less_at_the_same_noise():
    def steps(image):
        return np.abs(np.diff(image, axis=1)).mean()

    sharp, soft = (replace(PLAIN_CAMERA, softness=softness).pair(PHOTO, rng()) for softness in (1.0, 2.0))
    assert soft[1].shape == PHOTO.shape
    # The upper left quarter fills it.
    small = PHOTO[:48, :48]
    assert soft[1].mean() == pytest.approx(replace(PLAIN_CAMERA).pair(small, rng())[1].mean(), abs=0.02)
    assert steps(soft[1]) < 0.75 * steps(replace(PLAIN_CAMERA).pair(small, rng())[1])
    noise = [np.std(noisy - target) for noisy, target in (sharp, soft)]
    assert noise[1] == pytest.approx(noise[0], rel=0.3)


def test_gray_gives_the_brightness():
    clean = PHOTO[..., 1:2]
    noisy, target = PLAIN_CAMERA.pair(clean, rng())
    colored = PLAIN_CAMERA.pair(np.repeat(clean, 3, axis=2), rng())
    assert noisy == pytest.approx(colored[0] @ TO_YCBCR[0][:, None], abs=4 / 255)
    assert (noisy - target).std() > 0.007


@pytest.mark.parametrize("seed", range(5))
def test_development_undoes_itself_below_white(seed):
    development = Development.draw(rng(seed))
    # Greyish colours: what no camera of the four can hold is clipped.
    display = np.float32(0.1) + np.float32(0.5) * rng(seed).random((1, 20, 20), dtype=np.float32)
    display = display + np.float32(0.04) * rng(seed + 99).random((3, 20, 20), dtype=np.float32)
    raw = development.to_raw(display)
    assert raw.min() >= 0
    assert raw.max() <= 1
    again = development.encode(development.to_linear(raw * development.balance()))
    assert again == pytest.approx(display, abs=1e-3)


def test_white_is_full_in_all_colours():
    for seed in range(5):
        raw = Development.draw(rng(seed)).to_raw(np.ones((3, 2, 2), np.float32))
        assert raw == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("contrast", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("deviation", [0.003, 0.03, 0.2])
def test_the_mean_tone_is_that_of_many_shots(contrast, deviation):
    development = replace(PLAIN_CAMERA.development, contrast=contrast)
    linear = np.array([0.0, 0.001, 0.01, 0.1, 0.5, 0.98], np.float32).reshape(1, 1, 6)
    many = linear + deviation * rng().standard_normal((20_000, 1, 6), dtype=np.float32)
    mean = development.encode_mean(linear, np.full_like(linear, deviation**2))
    assert mean == pytest.approx(development.encode(many).mean(axis=0, keepdims=True), abs=0.011)


def test_sensor_noise_has_the_variance_of_its_equation():
    sensor, levels = Sensor(0.01, 0.0004), np.linspace(0, 1, 5, dtype=np.float32)
    shots = sensor(np.broadcast_to(levels, (40_000, 5)), rng())
    assert shots.var(axis=0) == pytest.approx(0.0004 + 0.01 * levels, rel=0.03)
    assert shots.mean(axis=0) == pytest.approx(levels, abs=3e-3)
    assert sensor.variance(levels) == pytest.approx(0.0004 + 0.01 * levels)


def test_read_noise_lies_about_the_line_that_was_measured():
    drawn = [Sensor.draw(rng(seed), 100.0, 25_600.0) for seed in range(800)]
    shot, read = (np.log([getattr(sensor, name) for sensor in drawn]) for name in ("shot", "read"))
    slope, offset = np.polyfit(shot, read, 1)
    assert slope == pytest.approx(2.18, abs=0.03)
    assert offset == pytest.approx(1.20, abs=0.2)
    assert (read - slope * shot - offset).std() == pytest.approx(0.26, rel=0.1)
    assert shot.min() == pytest.approx(math.log(100 / (100 * 60_000)), abs=0.6)
    assert shot.max() == pytest.approx(math.log(25600 / (100 * 10_000)), abs=0.6)


def test_finish_does_to_both_what_it_does_to_one():
    pair = np.stack([PHOTO + 0.05 * rng().standard_normal(PHOTO.shape, dtype=np.float32), PHOTO])
    pair = np.ascontiguousarray(pair.transpose(3, 0, 1, 2))
    assert Finish()(pair) == pytest.approx(pair, abs=1e-5)
    denoised = Finish(denoising=0.9, luma_px=1.0)(pair)
    residuals = [np.tensordot(TO_YCBCR[0], p[:, 0] - p[:, 1], axes=1) for p in (pair, denoised)]
    assert residuals[1].std() < 0.75 * residuals[0].std()
    assert psnr(denoised[:, 1], pair[:, 1]) > 30
    for softened in (Finish(blur_px=0.7)(pair), Finish(lines_px=0.9)(pair)):
        lumas = [np.tensordot(TO_YCBCR[0], softened[:, i], axes=1) for i in (0, 1)]
        assert (lumas[0] - lumas[1]).std() < 0.75 * residuals[0].std()
        # Textures lose their noise as well, not flat ground alone.
        busy = np.abs(np.gradient(lumas[1])[0]) > 0.05
        assert (lumas[0] - lumas[1])[busy].std() < 0.8 * residuals[0][busy].std()
    sharp = Finish(sharpening=1.0, sharpening_px=1.0)(pair)
    assert (sharp[:, 0] - sharp[:, 1]).std() > 1.2 * (pair[:, 0] - pair[:, 1]).std()
    assert sharp.mean() == pytest.approx(pair.mean(), abs=1e-3)


def test_noise_on_edges_is_left_and_weighed_as_the_noisy_photograph_says():
    import cv2

    clean = np.full((96, 96), 0.3, np.float32)
    clean[:, 48:] = 0.7
    noisy = clean + 0.03 * rng().standard_normal(clean.shape, dtype=np.float32)
    pair = np.repeat(np.stack([noisy, clean])[None], 3, axis=0)
    finished = Finish(denoising=1.0, luma_px=1.0)(pair)[0]
    residual = finished[0] - finished[1]
    assert residual[:, 46:50].std() > 1.5 * residual[:, :40].std()
    blurred = [cv2.GaussianBlur(plane, (7, 7), 1.0, borderType=cv2.BORDER_REFLECT) for plane in (noisy, clean)]
    detail = noisy - blurred[0]
    variance = cv2.blur(detail**2, (5, 5), borderType=cv2.BORDER_REFLECT)
    noise_variance = np.square(detail - (clean - blurred[1])).mean()
    share = np.minimum(1, noise_variance / variance)
    for found, plane, smooth in zip(finished, (noisy, clean), blurred, strict=True):
        assert found == pytest.approx(smooth + (1 - share) * (plane - smooth), abs=1e-4)


@pytest.mark.parametrize("size_px", [0.0, 1.2])
@pytest.mark.parametrize("colored", [0.0, 0.4, 1.0])
def test_grain_is_as_strong_as_its_equation_says_and_as_alike(size_px, colored):
    tones = np.full((3, 200, 200), 0.5, np.float32)
    grain = Film(0.05, size_px, colored)(tones, rng()) - 0.5
    assert grain.std(axis=(1, 2)) == pytest.approx(0.05, rel=0.05)
    assert np.corrcoef(grain.reshape(3, -1))[0, 1] == pytest.approx(1 - colored, abs=0.05)
    # Of a bell curve with itself one pixel aside.
    expected = math.exp(-1 / (4 * size_px**2)) if size_px else 0.0
    assert correlation(grain[0]) == pytest.approx(expected, abs=0.05)


def test_grain_is_strongest_in_the_middle_and_shifts_nothing():
    tones = np.broadcast_to(np.array([0, 0.1, 0.5, 0.9, 1], np.float32), (3, 20_000, 5))
    grain = Film(0.1, bend=1.0)(tones, rng()) - tones
    deviation = grain.std(axis=(0, 1))
    assert deviation == pytest.approx([0, 0.036, 0.1, 0.036, 0], abs=0.003)
    assert grain.mean(axis=(0, 1)) == pytest.approx(0, abs=2e-3)


def test_a_scan_has_the_grain_of_its_film_alone():
    camera = replace(PLAIN_CAMERA, sensor=SILENT, film=Film(0.06, 1.0))
    noisy, target = camera.pair(PHOTO, rng())
    silent = replace(camera, film=None).pair(PHOTO, rng())
    # JPEG of quality 100 rounds each shot to whole levels, in brightness and in colour.
    assert np.abs(target - silent[0]).mean() < 1 / 255
    assert target == pytest.approx(silent[0], abs=8 / 255)
    grain = (noisy - target)[np.abs(target - 0.5).max(axis=2) < 0.1]
    assert grain.std() == pytest.approx(0.06, rel=0.15)
    assert np.corrcoef(grain.T)[0, 2] > 0.95


def test_a_photograph_in_black_and_white_has_gray_noise():
    noisy, target = replace(PLAIN_CAMERA, finish=Finish(saturation=0.0)).pair(PHOTO, rng())
    for image in (noisy, target):
        assert np.ptp(image, axis=2).max() <= 1 / 255
    colored = PLAIN_CAMERA.pair(PHOTO, rng())[1]
    assert target[..., 0] == pytest.approx(colored @ TO_YCBCR[0], abs=3 / 255)


def test_a_camera_that_is_good_at_colour_leaves_none_of_its_noise():
    noisy, target = replace(PLAIN_CAMERA, finish=Finish(chroma_denoising=1.0)).pair(flat(0.5), rng())
    chroma = ((noisy - target) @ TO_YCBCR.T)[..., 1:]
    assert np.abs(chroma).max() <= 1 / 255
    assert (noisy - target).std() > 0.007


def test_brighter_shadows_have_more_noise():
    deviations = []
    for gamma in (2.2, 3.4):
        development = replace(PLAIN_CAMERA.development, gamma=gamma)
        noisy, target = replace(PLAIN_CAMERA, development=development).pair(flat(0.2), rng())
        assert target.mean() == pytest.approx(0.2, abs=0.02)
        deviations.append((noisy - target).std())
    assert deviations[1] > 1.5 * deviations[0]


def test_cameras_fill_their_bounds():
    drawn = cameras(600, quality=(60, 90), raw_prob=0, film_prob=0, full_color_prob=0)
    scales = np.array([camera.scale for camera in drawn])
    assert (scales == 1).mean() == pytest.approx(0.5, abs=0.1)
    assert scales.min() == pytest.approx(0.5, abs=0.02)
    assert scales.max() == pytest.approx(1.75, abs=0.02)
    softness = np.array([camera.softness for camera in drawn])
    assert (softness == 1).mean() == pytest.approx(0.5, abs=0.1)
    assert softness.max() == pytest.approx(2.5, abs=0.05)
    assert {camera.jpeg.quality for camera in drawn} == set(range(60, 91))
    assert {camera.mosaic.red_px for camera in drawn} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    methods = [getattr(camera.mosaic, "method", "directed") for camera in drawn]
    assert [methods.count(name) / 600 for name in ("bilinear", "gradient", "directed")] == pytest.approx(
        3 * [1 / 3], abs=0.07
    )
    assert {camera.mosaic.window_px for camera in drawn if isinstance(camera.mosaic, DirectedMosaic)} == {1, 3, 5}
    for name, low, high, share in (("lines_px", 0.3, 1.2, 0.4), ("blur_px", 0.35, 0.9, 0.5)):
        deviations = np.array([getattr(camera.finish, name) for camera in drawn])
        assert (deviations > 0).mean() == pytest.approx(share, abs=0.07)
        assert (deviations[deviations > 0].min(), deviations.max()) == pytest.approx((low, high), abs=0.02)
    assert np.mean([camera.jpeg.is_subsampled for camera in drawn]) == pytest.approx(0.5, abs=0.1)
    assert {camera.jpeg.grid_px[0] for camera in drawn} == set(range(16))
    for part, share in (("denoising", 0.25), ("chroma_px", 0.25), ("sharpening", 0.5)):
        assert np.mean([getattr(camera.finish, part) == 0 for camera in drawn]) == pytest.approx(share, abs=0.1)
    red, _, blue = np.array([camera.development.gains for camera in drawn]).T
    assert np.mean(red > blue) == pytest.approx(0.5, abs=0.1)
    assert np.mean([camera.development.gamma == 2.2 for camera in drawn]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([camera.finish.saturation == 0 for camera in drawn]) == pytest.approx(0.1, abs=0.05)
    assert np.mean([camera.finish.saturation == 1 for camera in drawn]) == pytest.approx(0.6, abs=0.1)
    assert np.mean([camera.finish.chroma_denoising > 0 for camera in drawn]) == pytest.approx(0.3, abs=0.1)
    # Green of the camera's red, of what the screen calls red: none where colours are not mixed.
    mixed = [camera.development.camera_from_rgb[0][1] for camera in drawn]
    assert min(mixed) < 0.03
    assert max(mixed) > 0.3


def test_films_fill_their_bounds():
    drawn = [Film.draw(rng(seed)) for seed in range(300)]
    sigmas = np.array([film.sigma for film in drawn]) * 255
    assert sigmas.min() == pytest.approx(2, rel=0.1)
    assert sigmas.max() == pytest.approx(30, rel=0.1)
    assert np.mean([film.colored == 0 for film in drawn]) == pytest.approx(0.5, abs=0.1)
    sizes = np.array([film.size_px for film in drawn])
    assert np.mean(sizes == 0) == pytest.approx(1 / 3, abs=0.1)
    assert np.median(sizes[sizes > 0]) == pytest.approx(np.sqrt(0.4 * 1.8), rel=0.15)


def test_half_of_the_films_without_colour_give_black_and_white():
    grays = {colored: [] for colored in (False, True)}
    for camera in cameras(600, film_prob=1):
        grays[camera.film.colored > 0].append(camera.finish.saturation == 0)
    assert np.mean(grays[False]) == pytest.approx(0.5 + 0.5 * 0.1, abs=0.08)
    assert np.mean(grays[True]) == pytest.approx(0.1, abs=0.05)


def test_half_of_the_grain_lies_on_the_image_as_it_is():
    drawn = cameras(300, film_prob=1, full_color_prob=0, raw_prob=0)
    plain = [camera for camera in drawn if camera.mosaic == FullColor()]
    assert len(plain) / 300 == pytest.approx(0.5, abs=0.1)
    assert {camera.scale for camera in plain} == {camera.softness for camera in plain} == {1.0}
    finishes = [camera.finish for camera in plain]
    smoothing = ("denoising", "chroma_px", "chroma_denoising", "lines_px", "blur_px")
    assert {getattr(finish, name) for finish in finishes for name in smoothing} == {0}
    assert np.mean([finish.sharpening > 0 for finish in finishes]) == pytest.approx(0.5, abs=0.15)
    assert len({camera.jpeg.quality for camera in plain}) > 30


def test_a_share_has_no_mosaic():
    drawn = cameras(300, film_prob=0)
    assert np.mean([camera.mosaic == FullColor() for camera in drawn]) == pytest.approx(0.3, abs=0.08)


def test_a_sharp_photograph_without_mosaic_stays_as_it_is_but_for_its_noise():
    camera = replace(PLAIN_CAMERA, mosaic=FullColor())
    sharp = rng(1).uniform(0.2, 0.8, size=(64, 64, 3)).astype(np.float32)
    noisy, target = camera.pair(sharp, rng())
    assert np.abs(target - sharp).mean() < 1 / 255
    assert np.abs(np.corrcoef((noisy - target).reshape(-1, 3).T)[0, 1]) < 0.05
    blurred = PLAIN_CAMERA.pair(sharp, rng())[1]
    assert np.abs(blurred - sharp).mean() > 10 / 255


def test_a_share_is_developed_from_raw_files():
    drawn = cameras(300, quality=(50, 97), film_prob=0)
    plain = [camera for camera in drawn if replace(camera.finish, saturation=1.0) == Finish()]
    unfinished = [camera for camera in plain if camera.jpeg.quality == 97]
    assert len(unfinished) / 300 == pytest.approx(0.25, abs=0.08)
    assert not any(camera.jpeg.is_subsampled for camera in unfinished)
    assert len({camera.jpeg.grid_px[1] for camera in unfinished}) > 12


def test_sensors_reach_from_bright_light_to_phones_in_the_dark():
    shots = [Sensor.draw(rng(seed), 100.0, 25_600.0).shot for seed in range(600)]
    assert min(shots) == pytest.approx(100 / (100 * 60_000), rel=0.5)
    assert max(shots) == pytest.approx(25_600 / (100 * 5_000), rel=0.5)


def test_half_of_the_noiseless_cameras_are_scanners():
    drawn = [
        remove_noise(sample_camera(generator, full_color_prob=0, film_prob=0), generator)
        for generator in (rng(seed) for seed in range(300))
    ]
    assert all(camera.sensor.is_silent and camera.film is None for camera in drawn)
    plain = [camera for camera in drawn if camera.mosaic == FullColor()]
    assert len(plain) / len(drawn) == pytest.approx(0.5, abs=0.1)
    assert {(camera.scale, camera.softness, camera.finish.denoising) for camera in plain} == {(1.0, 1.0, 0.0)}
    sharp = rng(1).uniform(0.2, 0.8, size=(64, 64, 3)).astype(np.float32)
    fine = next(camera for camera in plain if camera.finish == Finish() and camera.jpeg.quality > 96)
    assert np.abs(fine.pair(sharp, rng())[1] - sharp).mean() < 3 / 255


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sensor(-1e-3, 0), r"shot -0\.001: give a number at least 0"),
        (lambda: Sensor(0, math.nan), "read nan: give a number at least 0"),
        (lambda: Development(1.5, (1, 1, 1), IDENTITY), r"contrast 1\.5: give a number between 0 and 1"),
        (lambda: Development(0.5, (0.9, 1, 1), IDENTITY), r"gains \(0\.9, 1, 1\): give three numbers at least 1"),
        (
            lambda: Development(0.5, (1, 1, 1), ((1, 1, 0), *IDENTITY[1:])),
            "camera_from_rgb .*: give rows that sum to 1",
        ),
        (lambda: Finish(denoising=2), "denoising 2: give a number between 0 and 1"),
        (lambda: Finish(chroma_px=-1), "chroma_px -1: give a number at least 0"),
        (lambda: replace(PLAIN_CAMERA, scale=0.1), r"scale 0\.1: give a number between 0\.25 and 2"),
        (lambda: replace(PLAIN_CAMERA, scale=2.5), r"scale 2\.5: give a number between 0\.25 and 2"),
        (lambda: replace(PLAIN_CAMERA, softness=0.5), r"softness 0\.5: give a number between 1 and 4"),
        (lambda: Film(-1.0), r"sigma -1\.0: give a number at least 0"),
        (lambda: Film(0.1, size_px=-1), "size_px -1: give a number at least 0"),
        (lambda: Film(0.1, colored=2), "colored 2: give a number between 0 and 1"),
        (lambda: Film(0.1, bend=0), "bend 0: give a number more than 0"),
        (lambda: replace(PLAIN_CAMERA, film=Film(0.1)), "film: its grain is all the noise there is: give a silent"),
        (lambda: Finish(saturation=-1), "saturation -1: give a number at least 0"),
        (lambda: Finish(lines_px=-1), "lines_px -1: give a number at least 0"),
        (lambda: Finish(blur_px=-1), "blur_px -1: give a number at least 0"),
        (lambda: Finish(chroma_denoising=2), "chroma_denoising 2: give a number between 0 and 1"),
        (lambda: Development(0.5, (1, 1, 1), IDENTITY, gamma=0.5), r"gamma 0\.5: give a number at least 1"),
        (
            lambda: PLAIN_CAMERA.pair(np.zeros((8, 8, 2), np.float32), rng()),
            "image of 2 channels: a camera sees 1 or 3",
        ),
    ],
)
def test_impossible_parameters_are_named(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()
