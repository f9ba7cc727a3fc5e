"""Levels that are told too high."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.simulation.sigma import SEEN_IN_TEXTURE, TIMES, overstate


@given(seed=st.integers(0, 2**32), low=st.floats(0, 0.05), high=st.floats(0.05, 0.2))
def test_never_less_than_there_is_nor_more_than_the_most(seed: int, low: float, high: float) -> None:
    sigma = np.linspace(low, high, 48, dtype=np.float32).reshape(6, 8, 1)
    told = overstate(sigma, 0.3, np.random.default_rng(seed))
    assert told.shape == sigma.shape
    assert told.dtype == np.float32
    assert told.max() <= np.float32(0.3)
    is_even = np.ptp(told) == 0
    level = np.float32(np.sqrt(np.mean(np.square(sigma)))) if is_even else sigma
    assert (told >= np.minimum(level, np.float32(0.3)) * np.float32(1 - 1e-6)).all()


def test_factors_are_spread_evenly_on_a_logarithmic_scale() -> None:
    rng = np.random.default_rng(0)
    sigma = np.float32(10.0)  # beside which what is added does not show
    factors = np.log([overstate(sigma, np.inf, rng) / sigma for _ in range(4000)])
    assert np.quantile(factors, [0.01, 0.25, 0.5, 0.75, 0.99]) == pytest.approx(
        np.log(TIMES) * np.array([0.01, 0.25, 0.5, 0.75, 0.99]), abs=0.04
    )


def test_every_second_patch_without_noise_is_told_some() -> None:
    rng = np.random.default_rng(0)
    told = np.array([overstate(np.float32(0), 1.0, rng) for _ in range(4000)])
    assert np.mean(told > 0) == pytest.approx(0.5, abs=0.03)
    assert told[told > 0].mean() == pytest.approx(SEEN_IN_TEXTURE, rel=0.1)


def test_every_second_map_is_even() -> None:
    rng = np.random.default_rng(0)
    sigma = np.linspace(0.01, 0.05, 64, dtype=np.float32).reshape(8, 8, 1)
    is_even = [np.ptp(overstate(sigma, 1.0, rng)) == 0 for _ in range(1000)]
    assert np.mean(is_even) == pytest.approx(0.5, abs=0.06)
