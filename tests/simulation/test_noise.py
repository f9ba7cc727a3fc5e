import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.simulation.noise import (
    Gaussian,
    PoissonGaussian,
    SaltAndPepper,
    Speckle,
    Uniform,
)

GRAY = np.full((400, 500, 3), 0.5, dtype=np.float32)
ALL = [
    Gaussian(0.1),
    Gaussian(0.1, is_gray=True),
    PoissonGaussian(0.01, 0.02),
    Uniform(0.2),
    SaltAndPepper(0.1),
    Speckle(0.1),
]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("noise", ALL, ids=repr)
def test_same_seed_same_noise(noise):
    clean = GRAY[:40, :50].copy()
    first, second, other = noise(clean, rng(1)), noise(clean, rng(1)), noise(clean, rng(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert np.array_equal(clean, GRAY[:40, :50])


@pytest.mark.parametrize("noise", ALL, ids=repr)
@settings(deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), channels=st.sampled_from([1, 3, 5]))
def test_any_shape(noise, height, width, channels):
    clean = np.linspace(0, 1, height * width * channels, dtype=np.float32).reshape(height, width, channels)
    noisy = noise(clean, rng())
    assert noisy.shape == clean.shape
    assert noisy.dtype == np.float32
    assert np.isfinite(noisy).all()


def test_gaussian_mean_deviation_and_independent_channels():
    residual = Gaussian(0.1)(GRAY, rng()) - GRAY
    assert abs(residual.mean()) < 1e-3
    assert residual.std() == pytest.approx(0.1, rel=0.01)
    correlation = np.corrcoef(residual.reshape(-1, 3).T)
    assert np.abs(correlation - np.eye(3)).max() < 0.01


def test_gray_gaussian_is_the_same_in_all_channels():
    residual = Gaussian(0.1, is_gray=True)(GRAY, rng()) - GRAY
    assert np.array_equal(residual, np.repeat(residual[..., :1], 3, axis=2))
    assert residual.std() == pytest.approx(0.1, rel=0.01)


def test_gaussian_is_not_clipped():
    noisy = Gaussian(0.2)(np.zeros((50, 50, 1), np.float32), rng())
    assert (noisy < 0).mean() == pytest.approx(0.5, abs=0.05)


def test_sigma_zero_changes_nothing():
    assert np.array_equal(Gaussian(0.0)(GRAY, rng()), GRAY)


def test_poisson_variance_is_linear_in_brightness():
    gain, read_sigma = 0.02, 0.05
    levels = np.linspace(0.1, 0.9, 9)
    noise, generator = PoissonGaussian(gain, read_sigma), rng()
    noisy_levels = [noise(np.full((300, 300, 1), level, np.float32), generator) for level in levels]
    slope, intercept = np.polyfit(levels, [noisy.var() for noisy in noisy_levels], 1)
    assert slope == pytest.approx(gain, rel=0.03)
    assert intercept == pytest.approx(read_sigma**2, rel=0.15)
    assert np.array([noisy.mean() for noisy in noisy_levels]) == pytest.approx(levels, abs=2e-3)


def test_uniform_bounds_and_variance():
    residual = Uniform(0.3)(GRAY, rng()) - GRAY
    assert np.abs(residual).max() <= 0.15 + 1e-6
    assert abs(residual.mean()) < 1e-3
    assert residual.var() == pytest.approx(0.3**2 / 12, rel=0.01)


def test_salt_and_pepper_shares():
    noisy = SaltAndPepper(0.2)(GRAY, rng())
    assert (noisy == 0).mean() == pytest.approx(0.1, abs=2e-3)
    assert (noisy == 1).mean() == pytest.approx(0.1, abs=2e-3)
    assert (noisy == 0.5).mean() == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize(("amount", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_salt_and_pepper_extremes(amount, kept):
    assert (SaltAndPepper(amount)(GRAY, rng()) == 0.5).mean() == kept


def test_speckle_grows_with_brightness():
    for level in (0.2, 0.8):
        clean = np.full((300, 300, 1), level, np.float32)
        residual = Speckle(0.1)(clean, rng()) - clean
        assert abs(residual.mean()) < 1e-3
        assert residual.std() == pytest.approx(0.1 * level, rel=0.02)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Gaussian(-0.1), "sigma -0.1"),
        (lambda: Gaussian(float("nan")), "sigma nan"),
        (lambda: Gaussian(float("inf")), "sigma inf"),
        (lambda: PoissonGaussian(0, 0.1), "gain 0"),
        (lambda: PoissonGaussian(0.1, -1), "read_sigma -1"),
        (lambda: Uniform(-1), "width -1"),
        (lambda: SaltAndPepper(1.5), "amount 1.5"),
        (lambda: Speckle(-1), "sigma -1"),
    ],
)
def test_impossible_parameters(make, named):
    with pytest.raises(ParameterError, match=f"^{named}: give a number"):
        make()
