import math

import numpy as np
import pytest

from pellucid.errors import ParameterError
from pellucid.simulation.camera.sensor import Sensor
from tests.simulation.camera.conftest import rng


def test_noise_variance():
    sensor, levels = Sensor(0.01, 0.0004), np.linspace(0, 1, 5, dtype=np.float32)
    shots = sensor(np.broadcast_to(levels, (40_000, 5)), rng())
    assert shots.var(axis=0) == pytest.approx(0.0004 + 0.01 * levels, rel=0.03)
    assert shots.mean(axis=0) == pytest.approx(levels, abs=3e-3)
    assert sensor.variance(levels) == pytest.approx(0.0004 + 0.01 * levels)


def test_read_noise_follows_shot_noise():
    drawn = [Sensor.draw(rng(seed), 100.0, 25_600.0) for seed in range(800)]
    shot, read = (np.log([getattr(sensor, name) for sensor in drawn]) for name in ("shot", "read"))
    slope, offset = np.polyfit(shot, read, 1)
    assert slope == pytest.approx(2.18, abs=0.03)
    assert offset == pytest.approx(1.20, abs=0.2)
    assert (read - slope * shot - offset).std() == pytest.approx(0.26, rel=0.1)
    assert shot.min() == pytest.approx(math.log(100 / (100 * 60_000)), abs=0.6)
    assert shot.max() == pytest.approx(math.log(25600 / (100 * 10_000)), abs=0.6)


def test_draws_fill_their_range():
    shots = [Sensor.draw(rng(seed), 100.0, 25_600.0).shot for seed in range(600)]
    assert min(shots) == pytest.approx(100 / (100 * 60_000), rel=0.5)
    assert max(shots) == pytest.approx(25_600 / (100 * 5_000), rel=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sensor(-1e-3, 0), r"shot -0\.001: give a number at least 0"),
        (lambda: Sensor(0, math.nan), "read nan: give a number at least 0"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()
