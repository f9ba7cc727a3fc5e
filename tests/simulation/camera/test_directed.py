import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from pellucid.errors import ParameterError
from pellucid.simulation.camera.demosaic import Mosaic
from pellucid.simulation.camera.directed import DirectedMosaic

PHASES = [(row, column) for row in (0, 1) for column in (0, 1)]


@pytest.mark.parametrize("red_px", PHASES)
def test_colours_that_were_seen_stay_and_gray_slopes_are_found(red_px):
    mosaic = DirectedMosaic(red_px)
    colors = np.random.default_rng(0).random((3, 10, 12), dtype=np.float32)
    sampled = mosaic.sample(colors)
    assert np.array_equal(sampled, Mosaic("bilinear", red_px).sample(colors))
    assert mosaic.sample(mosaic.interpolate(sampled)) == pytest.approx(sampled, abs=1e-6)
    rows, columns = np.mgrid[:12, :14].astype(np.float32)
    slope = np.broadcast_to(0.03 * rows + 0.02 * columns, (3, 12, 14))
    assert mosaic.interpolate(mosaic.sample(slope))[:, 3:-3, 3:-3] == pytest.approx(slope[:, 3:-3, 3:-3], abs=1e-6)


@pytest.mark.parametrize("red_px", PHASES)
def test_stripes_are_followed_and_not_crossed(red_px):
    stripes = np.tile(np.repeat(np.array([0.2, 0.8], np.float32), 2), 6)[:, None].repeat(24, axis=1)
    for gray in (stripes, stripes.T):
        colors = np.broadcast_to(gray, (3, 24, 24))
        mosaic, plain = DirectedMosaic(red_px), Mosaic("gradient", red_px)
        assert mosaic.interpolate(mosaic.sample(colors))[:, 4:-4, 4:-4] == pytest.approx(
            colors[:, 4:-4, 4:-4], abs=1e-6
        )
        assert np.abs(plain.interpolate(plain.sample(colors)) - colors)[:, 4:-4, 4:-4].max() > 0.05


def test_along_edges_a_photograph_keeps_its_colours():
    colors = np.ascontiguousarray((astronaut()[:128, 150:278] / 255).astype(np.float32).transpose(2, 0, 1))
    errors = [
        np.square(m.interpolate(m.sample(colors)) - colors)[[0, 2]].mean()
        for m in (Mosaic("gradient"), DirectedMosaic(window_px=1), DirectedMosaic())
    ]
    assert errors[2] < errors[1] < errors[0]


def test_noise_of_green_is_more_alike_in_other_colours_than_with_linear_interpolation():
    noise = np.random.default_rng(0).standard_normal((200, 200), dtype=np.float32)
    directed, linear = (m.interpolate(noise).reshape(3, -1) for m in (DirectedMosaic(), Mosaic("gradient")))
    assert (np.corrcoef(directed)[1, [0, 2]] > np.corrcoef(linear)[1, [0, 2]] + 0.05).all()


@pytest.mark.parametrize("red_px", PHASES)
def test_covariances_are_about_those_of_noise(red_px):
    mosaic, rng = DirectedMosaic(red_px), np.random.default_rng(0)
    deviations = np.array([0.5, 1.0, 2.0], np.float32)
    scale = mosaic.sample(np.broadcast_to(deviations.reshape(3, 1, 1), (3, 300, 300)))
    found = np.cov(mosaic.interpolate(scale * rng.standard_normal((300, 300), dtype=np.float32)).reshape(3, -1))
    assert mosaic.covariances @ np.square(deviations) == pytest.approx(found, abs=0.15)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    red_px=st.sampled_from(PHASES),
    window_px=st.sampled_from([1, 3, 5]),
)
def test_any_size(height, width, red_px, window_px):
    raw = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    colors = DirectedMosaic(red_px, window_px).interpolate(raw)
    assert colors.shape == (3, 2, height, width)
    assert colors.dtype == np.float32
    assert np.isfinite(colors).all()


def test_impossible_parameters_are_named():
    with pytest.raises(ParameterError, match=r"^window_px 2: give an odd number"):
        DirectedMosaic(window_px=2)
    with pytest.raises(ParameterError, match=r"^red_px \(0, 2\): give 0 or 1"):
        DirectedMosaic((0, 2))
