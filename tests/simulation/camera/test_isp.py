from dataclasses import replace

import numpy as np
import pytest

from pellucid.errors import ParameterError
from pellucid.simulation.camera.isp import ISP
from tests.simulation.camera.conftest import IDENTITY, NEUTRAL_CAMERA, rng


@pytest.mark.parametrize("seed", range(5))
def test_inverse_below_white(seed):
    isp = ISP.draw(rng(seed))
    # Greyish colors: what no camera of the four can hold is clipped.
    display = np.float32(0.1) + np.float32(0.5) * rng(seed).random((1, 20, 20), dtype=np.float32)
    display = display + np.float32(0.04) * rng(seed + 99).random((3, 20, 20), dtype=np.float32)
    raw = isp.to_raw(display)
    assert raw.min() >= 0
    assert raw.max() <= 1
    again = isp.encode(isp.to_linear(raw * isp.gain_planes))
    assert again == pytest.approx(display, abs=1e-3)


def test_white_saturates_all_colors():
    for seed in range(5):
        raw = ISP.draw(rng(seed)).to_raw(np.ones((3, 2, 2), np.float32))
        assert raw == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("contrast", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("deviation", [0.003, 0.03, 0.2])
def test_encode_mean_is_mean_over_noise(contrast, deviation):
    isp = replace(NEUTRAL_CAMERA.isp, contrast=contrast)
    linear = np.array([0.0, 0.001, 0.01, 0.1, 0.5, 0.98], np.float32).reshape(1, 1, 6)
    many = linear + deviation * rng().standard_normal((20_000, 1, 6), dtype=np.float32)
    mean = isp.encode_mean(linear, np.full_like(linear, deviation**2))
    assert mean == pytest.approx(isp.encode(many).mean(axis=0, keepdims=True), abs=0.011)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ISP(1.5, (1, 1, 1), IDENTITY), r"contrast 1\.5: give a number between 0 and 1"),
        (lambda: ISP(0.5, (0.9, 1, 1), IDENTITY), r"gains \(0\.9, 1, 1\): give three numbers at least 1"),
        (
            lambda: ISP(0.5, (1, 1, 1), ((1, 1, 0), *IDENTITY[1:])),
            "camera_from_rgb .*: give rows that sum to 1",
        ),
        (lambda: ISP(0.5, (1, 1, 1), IDENTITY, gamma=0.5), r"gamma 0\.5: give a number at least 1"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()
