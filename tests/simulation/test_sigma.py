import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.simulation.sigma import INFLATION_MAX, INFLATION_OFFSET, inflate_sigma, local_sigma


@given(seed=st.integers(0, 2**32), low=st.floats(0, 0.05), high=st.floats(0.05, 0.2))
def test_inflated_sigma_is_bounded(seed: int, low: float, high: float) -> None:
    sigma = np.linspace(low, high, 48, dtype=np.float32).reshape(6, 8, 1)
    inflated = inflate_sigma(sigma, 0.3, np.random.default_rng(seed))
    assert inflated.shape == sigma.shape
    assert inflated.dtype == np.float32
    assert inflated.max() <= np.float32(0.3)
    is_flat = np.ptp(inflated) == 0
    level = np.float32(np.sqrt(np.mean(np.square(sigma)))) if is_flat else sigma
    assert (inflated >= np.minimum(level, np.float32(0.3)) * np.float32(1 - 1e-6)).all()


def test_inflation_is_log_uniform() -> None:
    rng = np.random.default_rng(0)
    sigma = np.float32(10.0)  # beside which what is added does not show
    factors = np.log([inflate_sigma(sigma, np.inf, rng) / sigma for _ in range(4000)])
    assert np.quantile(factors, [0.01, 0.25, 0.5, 0.75, 0.99]) == pytest.approx(
        np.log(INFLATION_MAX) * np.array([0.01, 0.25, 0.5, 0.75, 0.99]), abs=0.04
    )


def test_every_second_zero_is_inflated() -> None:
    rng = np.random.default_rng(0)
    inflated = np.array([inflate_sigma(np.float32(0), 1.0, rng) for _ in range(4000)])
    assert np.mean(inflated > 0) == pytest.approx(0.5, abs=0.03)
    assert inflated[inflated > 0].mean() == pytest.approx(INFLATION_OFFSET, rel=0.1)


def test_every_second_map_is_flattened() -> None:
    rng = np.random.default_rng(0)
    sigma = np.linspace(0.01, 0.05, 64, dtype=np.float32).reshape(8, 8, 1)
    is_flat = [np.ptp(inflate_sigma(sigma, 1.0, rng)) == 0 for _ in range(1000)]
    assert np.mean(is_flat) == pytest.approx(0.5, abs=0.06)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def test_local_sigma_of_white_noise() -> None:
    sigma = np.linspace(0.02, 0.1, 150, dtype=np.float32)[None, :, None]
    clean = np.zeros((150, 150, 3), np.float32)
    found = local_sigma(noise(150, 150, 3) * sigma, clean)
    assert found.shape == (150, 150, 1)
    assert found.dtype == np.float32
    ratio = found[:, 10:-10] / sigma[:, 10:-10]
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.std() == pytest.approx(0.027, abs=0.012)


def test_local_sigma_of_no_noise() -> None:
    clean = noise(9, 5, 1)
    assert np.array_equal(local_sigma(clean, clean), np.zeros((9, 5, 1), np.float32))


def test_local_sigma_of_one_pixel() -> None:
    noisy = noise(6, 7, 1)
    assert local_sigma(noisy, np.zeros_like(noisy), 1) == pytest.approx(np.abs(noisy))


def test_local_sigma_errors() -> None:
    clean = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(ParameterError, match=r"^window_px 4: give an odd number"):
        local_sigma(clean, clean, 4)
    with pytest.raises(ParameterError, match=r"^noisy image of shape \(8, 8, 3\): give a clean one"):
        local_sigma(clean, clean[:4])
