import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from pellucid.errors import ParameterError
from pellucid.simulation.camera.demosaic import DirectionalMosaic, FullColor, Mosaic

METHODS = ["bilinear", "gradient"]
PHASES = [(row, column) for row in (0, 1) for column in (0, 1)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("red_px", PHASES)
def test_sampled_colors_stay_and_flat_ones_are_found(method, red_px):
    mosaic = Mosaic(method, red_px)
    colors = np.random.default_rng(0).random((3, 10, 12), dtype=np.float32)
    sampled = mosaic.sample(colors)
    row, column = red_px
    assert np.array_equal(sampled[row::2, column::2], colors[0, row::2, column::2])
    assert np.array_equal(sampled[1 - row :: 2, 1 - column :: 2], colors[2, 1 - row :: 2, 1 - column :: 2])
    assert np.array_equal(sampled[row::2, 1 - column :: 2], colors[1, row::2, 1 - column :: 2])
    assert np.array_equal(sampled[1 - row :: 2, column::2], colors[1, 1 - row :: 2, column::2])
    assert np.array_equal(mosaic.sample(mosaic.interpolate(sampled)), sampled)
    flat = np.broadcast_to(np.array([0.2, 0.5, 0.7], np.float32).reshape(3, 1, 1), (3, 9, 11))
    if method == "bilinear":
        assert mosaic.interpolate(mosaic.sample(flat)) == pytest.approx(flat, abs=1e-6)
    gray = np.broadcast_to(np.float32(0.3), (3, 9, 11))
    assert mosaic.interpolate(mosaic.sample(gray)) == pytest.approx(gray, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("red_px", PHASES)
def test_gray_slope(method, red_px):
    rows, columns = np.mgrid[:12, :14].astype(np.float32)
    slope = np.broadcast_to(0.03 * rows + 0.02 * columns, (3, 12, 14))
    found = Mosaic(method, red_px).interpolate(Mosaic(method, red_px).sample(slope))
    assert found[:, 2:-2, 2:-2] == pytest.approx(slope[:, 2:-2, 2:-2], abs=1e-6)


def test_gradient_beats_bilinear_on_photograph():
    from skimage.data import astronaut

    colors = np.ascontiguousarray((astronaut()[:128, 150:278] / 255).astype(np.float32).transpose(2, 0, 1))
    errors = [np.square(Mosaic(m).interpolate(Mosaic(m).sample(colors)) - colors).mean() for m in METHODS]
    # Malvar, He and Cutler report some 5 dB on photographs scanned from film, which are softer.
    assert 10 * np.log10(errors[0] / errors[1]) > 2


def test_published_weights():
    # Malvar, He and Cutler, fig. 2: green at red; red at green in a row of red; red at blue.
    pulse = np.zeros((25, 5, 5), np.float32)
    pulse.reshape(25, 25)[np.arange(25), np.arange(25)] = 1
    responses = 8 * Mosaic("gradient", (0, 0)).interpolate(pulse)[..., 2, 2].reshape(3, 5, 5)
    green = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
    blue_at_red = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
    # Near the edge of so small a mosaic the mirror adds nothing to the middle.
    assert responses[1] == pytest.approx(np.array(green))
    assert responses[2] == pytest.approx(np.array(blue_at_red))
    at_green = 8 * Mosaic("gradient", (0, 1)).interpolate(pulse)[..., 2, 2].reshape(3, 5, 5)
    beside = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]])
    assert at_green[0] == pytest.approx(beside)
    assert at_green[2] == pytest.approx(beside.T)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("red_px", PHASES)
def test_covariances(method, red_px):
    mosaic, rng = Mosaic(method, red_px), np.random.default_rng(0)
    deviations = np.array([0.5, 1.0, 2.0], np.float32)
    scale = mosaic.sample(np.broadcast_to(deviations.reshape(3, 1, 1), (3, 300, 300)))
    found = np.cov(mosaic.interpolate(scale * rng.standard_normal((300, 300), dtype=np.float32)).reshape(3, -1))
    assert mosaic.covariances @ np.square(deviations) == pytest.approx(found, rel=0.05, abs=0.03)


def test_full_color():
    colors = np.random.default_rng(0).random((2, 3, 5, 4), dtype=np.float32)
    sampled = np.stack([FullColor().sample(image) for image in colors])
    assert np.array_equal(FullColor().interpolate(sampled), colors.transpose(1, 0, 2, 3))
    assert np.array_equal(FullColor().covariances @ np.array([1, 2, 3], np.float32), np.diag([1, 2, 3]))


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), method=st.sampled_from(METHODS), red_px=st.sampled_from(PHASES)
)
def test_any_size(height, width, method, red_px):
    mosaic = Mosaic(method, red_px)
    raw = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    colors = mosaic.interpolate(raw)
    assert colors.shape == (3, 2, height, width)
    assert colors.dtype == np.float32
    assert np.isfinite(colors).all()


def test_impossible_parameters():
    with pytest.raises(ParameterError, match=r"^method 'best': give one of bilinear, gradient"):
        Mosaic("best")
    with pytest.raises(ParameterError, match=r"^red_px \(0, 2\): give 0 or 1"):
        Mosaic("bilinear", (0, 2))


@pytest.mark.parametrize("red_px", PHASES)
def test_directional_sampled_colors_and_gray_slope(red_px):
    mosaic = DirectionalMosaic(red_px)
    colors = np.random.default_rng(0).random((3, 10, 12), dtype=np.float32)
    sampled = mosaic.sample(colors)
    assert np.array_equal(sampled, Mosaic("bilinear", red_px).sample(colors))
    assert mosaic.sample(mosaic.interpolate(sampled)) == pytest.approx(sampled, abs=1e-6)
    rows, columns = np.mgrid[:12, :14].astype(np.float32)
    slope = np.broadcast_to(0.03 * rows + 0.02 * columns, (3, 12, 14))
    assert mosaic.interpolate(mosaic.sample(slope))[:, 3:-3, 3:-3] == pytest.approx(slope[:, 3:-3, 3:-3], abs=1e-6)


@pytest.mark.parametrize("red_px", PHASES)
def test_directional_follows_stripes(red_px):
    stripes = np.tile(np.repeat(np.array([0.2, 0.8], np.float32), 2), 6)[:, None].repeat(24, axis=1)
    for gray in (stripes, stripes.T):
        colors = np.broadcast_to(gray, (3, 24, 24))
        mosaic, plain = DirectionalMosaic(red_px), Mosaic("gradient", red_px)
        assert mosaic.interpolate(mosaic.sample(colors))[:, 4:-4, 4:-4] == pytest.approx(
            colors[:, 4:-4, 4:-4], abs=1e-6
        )
        assert np.abs(plain.interpolate(plain.sample(colors)) - colors)[:, 4:-4, 4:-4].max() > 0.05


def test_directional_beats_gradient_on_photograph():
    colors = np.ascontiguousarray((astronaut()[:128, 150:278] / 255).astype(np.float32).transpose(2, 0, 1))
    errors = [
        np.square(m.interpolate(m.sample(colors)) - colors)[[0, 2]].mean()
        for m in (Mosaic("gradient"), DirectionalMosaic(window_px=1), DirectionalMosaic())
    ]
    assert errors[2] < errors[1] < errors[0]


def test_directional_noise_is_correlated_between_colors():
    noise = np.random.default_rng(0).standard_normal((200, 200), dtype=np.float32)
    directed, linear = (m.interpolate(noise).reshape(3, -1) for m in (DirectionalMosaic(), Mosaic("gradient")))
    assert (np.corrcoef(directed)[1, [0, 2]] > np.corrcoef(linear)[1, [0, 2]] + 0.05).all()


@pytest.mark.parametrize("red_px", PHASES)
def test_directional_covariances(red_px):
    mosaic, rng = DirectionalMosaic(red_px), np.random.default_rng(0)
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
def test_directional_any_size(height, width, red_px, window_px):
    raw = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    colors = DirectionalMosaic(red_px, window_px).interpolate(raw)
    assert colors.shape == (3, 2, height, width)
    assert colors.dtype == np.float32
    assert np.isfinite(colors).all()


def test_directional_impossible_parameters():
    with pytest.raises(ParameterError, match=r"^window_px 2: give an odd number"):
        DirectionalMosaic(window_px=2)
    with pytest.raises(ParameterError, match=r"^red_px \(0, 2\): give 0 or 1"):
        DirectionalMosaic((0, 2))
