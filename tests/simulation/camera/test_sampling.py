from dataclasses import replace

import numpy as np
import pytest

from pellucid.simulation.camera.demosaic import DirectionalMosaic, FullColor
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sampling import remove_noise, sample_camera
from tests.simulation.camera.conftest import rng


def cameras(n, **options):
    return [sample_camera(rng(seed), **options) for seed in range(n)]


def test_settings_fill_their_ranges():
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
    assert {camera.mosaic.window_px for camera in drawn if isinstance(camera.mosaic, DirectionalMosaic)} == {1, 3, 5}
    for name, low, high, share in (("lines_px", 0.3, 1.2, 0.4), ("blur_px", 0.35, 0.9, 0.5)):
        deviations = np.array([getattr(camera.postprocess, name) for camera in drawn])
        assert (deviations > 0).mean() == pytest.approx(share, abs=0.07)
        assert (deviations[deviations > 0].min(), deviations.max()) == pytest.approx((low, high), abs=0.02)
    assert np.mean([camera.jpeg.is_subsampled for camera in drawn]) == pytest.approx(0.5, abs=0.1)
    assert {camera.jpeg.grid_px[0] for camera in drawn} == set(range(16))
    for part, share in (("denoising", 0.25), ("chroma_px", 0.25), ("sharpening", 0.5)):
        assert np.mean([getattr(camera.postprocess, part) == 0 for camera in drawn]) == pytest.approx(share, abs=0.1)
    red, _, blue = np.array([camera.isp.gains for camera in drawn]).T
    assert np.mean(red > blue) == pytest.approx(0.5, abs=0.1)
    assert np.mean([camera.isp.gamma == 2.2 for camera in drawn]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([camera.postprocess.saturation == 0 for camera in drawn]) == pytest.approx(0.1, abs=0.05)
    assert np.mean([camera.postprocess.saturation == 1 for camera in drawn]) == pytest.approx(0.6, abs=0.1)
    assert np.mean([camera.postprocess.chroma_denoising > 0 for camera in drawn]) == pytest.approx(0.3, abs=0.1)
    # Green of the camera's red, of what the screen calls red: none where colors are not mixed.
    mixed = [camera.isp.camera_from_rgb[0][1] for camera in drawn]
    assert min(mixed) < 0.03
    assert max(mixed) > 0.3


def test_half_of_colorless_films_are_monochrome():
    grays = {colored: [] for colored in (False, True)}
    for camera in cameras(600, film_prob=1):
        grays[camera.film.colored > 0].append(camera.postprocess.saturation == 0)
    assert np.mean(grays[False]) == pytest.approx(0.5 + 0.5 * 0.1, abs=0.08)
    assert np.mean(grays[True]) == pytest.approx(0.1, abs=0.05)


def test_half_of_films_are_scanned():
    drawn = cameras(300, film_prob=1, full_color_prob=0, raw_prob=0)
    plain = [camera for camera in drawn if camera.mosaic == FullColor()]
    assert len(plain) / 300 == pytest.approx(0.5, abs=0.1)
    assert {camera.scale for camera in plain} == {camera.softness for camera in plain} == {1.0}
    finishes = [camera.postprocess for camera in plain]
    smoothing = ("denoising", "chroma_px", "chroma_denoising", "lines_px", "blur_px")
    assert {getattr(finish, name) for finish in finishes for name in smoothing} == {0}
    assert np.mean([finish.sharpening > 0 for finish in finishes]) == pytest.approx(0.5, abs=0.15)
    assert len({camera.jpeg.quality for camera in plain}) > 30


def test_full_color_prob():
    drawn = cameras(300, film_prob=0)
    assert np.mean([camera.mosaic == FullColor() for camera in drawn]) == pytest.approx(0.3, abs=0.08)


def test_raw_prob():
    drawn = cameras(300, quality=(50, 97), film_prob=0)
    plain = [camera for camera in drawn if replace(camera.postprocess, saturation=1.0) == PostProcess()]
    unfinished = [camera for camera in plain if camera.jpeg.quality == 97]
    assert len(unfinished) / 300 == pytest.approx(0.25, abs=0.08)
    assert not any(camera.jpeg.is_subsampled for camera in unfinished)
    assert len({camera.jpeg.grid_px[1] for camera in unfinished}) > 12


def test_half_of_noiseless_cameras_are_scanners():
    drawn = [
        remove_noise(sample_camera(generator, full_color_prob=0, film_prob=0), generator)
        for generator in (rng(seed) for seed in range(300))
    ]
    assert all(camera.sensor.is_noiseless and camera.film is None for camera in drawn)
    plain = [camera for camera in drawn if camera.mosaic == FullColor()]
    assert len(plain) / len(drawn) == pytest.approx(0.5, abs=0.1)
    assert {(camera.scale, camera.softness, camera.postprocess.denoising) for camera in plain} == {(1.0, 1.0, 0.0)}
    sharp = rng(1).uniform(0.2, 0.8, size=(64, 64, 3)).astype(np.float32)
    fine = next(camera for camera in plain if camera.postprocess == PostProcess() and camera.jpeg.quality > 96)
    assert np.abs(fine.pair(sharp, rng())[1] - sharp).mean() < 3 / 255
