import math

import numpy as np
import pytest

from pellucid.errors import ParameterError
from pellucid.simulation.camera.film import Film
from tests.simulation.camera.conftest import correlation, rng


@pytest.mark.parametrize("size_px", [0.0, 1.2])
@pytest.mark.parametrize("colored", [0.0, 0.4, 1.0])
def test_grain_deviation_and_correlation(size_px, colored):
    tones = np.full((3, 200, 200), 0.5, np.float32)
    grain = Film(0.05, size_px, colored)(tones, rng()) - 0.5
    assert grain.std(axis=(1, 2)) == pytest.approx(0.05, rel=0.05)
    assert np.corrcoef(grain.reshape(3, -1))[0, 1] == pytest.approx(1 - colored, abs=0.05)
    # Of a bell curve with itself one pixel aside.
    expected = math.exp(-1 / (4 * size_px**2)) if size_px else 0.0
    assert correlation(grain[0]) == pytest.approx(expected, abs=0.05)


def test_grain_is_strongest_in_midtones():
    tones = np.broadcast_to(np.array([0, 0.1, 0.5, 0.9, 1], np.float32), (3, 20_000, 5))
    grain = Film(0.1, exponent=1.0)(tones, rng()) - tones
    deviation = grain.std(axis=(0, 1))
    assert deviation == pytest.approx([0, 0.036, 0.1, 0.036, 0], abs=0.003)
    assert grain.mean(axis=(0, 1)) == pytest.approx(0, abs=2e-3)


def test_draws_fill_their_ranges():
    drawn = [Film.draw(rng(seed)) for seed in range(300)]
    sigmas = np.array([film.sigma for film in drawn]) * 255
    assert sigmas.min() == pytest.approx(2, rel=0.1)
    assert sigmas.max() == pytest.approx(30, rel=0.1)
    assert np.mean([film.colored == 0 for film in drawn]) == pytest.approx(0.5, abs=0.1)
    sizes = np.array([film.size_px for film in drawn])
    assert np.mean(sizes == 0) == pytest.approx(1 / 3, abs=0.1)
    assert np.median(sizes[sizes > 0]) == pytest.approx(np.sqrt(0.4 * 1.8), rel=0.15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Film(-1.0), r"sigma -1\.0: give a number at least 0"),
        (lambda: Film(0.1, size_px=-1), "size_px -1: give a number at least 0"),
        (lambda: Film(0.1, colored=2), "colored 2: give a number between 0 and 1"),
        (lambda: Film(0.1, exponent=0), "exponent 0: give a number more than 0"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()
