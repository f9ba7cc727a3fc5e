import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pellucid.errors import ParameterError
from pellucid.lab.statistics import difference_of, judge, mean_of
from pellucid.lab.study import Verdict


def test_students_interval():
    # Of 1, 2, 3: t = 4.3027 for two degrees of freedom, s = 1.
    interval = mean_of([1, 2, 3])
    assert interval.mean == 2
    assert interval.half_width == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert f"{interval:+.2f}" == "+2.00 (-0.48 to +4.48)"


def test_the_interval_holds_the_truth_so_often():
    draws = np.random.default_rng(0).standard_normal((2000, 4))
    hits = np.mean([interval.low <= 0 <= interval.high for interval in map(mean_of, draws)])
    assert 0.935 < hits < 0.965


@given(arrays(np.float64, st.integers(2, 8), elements=st.floats(-1e6, 1e6)), st.floats(-1e3, 1e3))
def test_shifts_with_the_values(values, shift):
    before, after = mean_of(values), mean_of(values + shift)
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-6)
    assert after.half_width == pytest.approx(before.half_width, abs=1e-4)
    assert before.low <= before.mean <= before.high


def test_one_seed_cannot_tell():
    interval = mean_of({0: 5.0})
    assert f"{interval:.1f}" == "5.0 (one seed, no interval)"
    assert judge(interval) is Verdict.INCONCLUSIVE


def test_a_value_that_is_not_a_number_cannot_tell():
    assert judge(mean_of([1.0, math.nan, 1.0])) is Verdict.INCONCLUSIVE


def test_differences_cancel_what_the_seed_does():
    difference = difference_of({0: 10.0, 1: 20.0}, {1: 19.0, 0: 9.0})
    assert (difference.low, difference.high) == (1, 1)
    assert judge(difference) is Verdict.SUPPORTS
    assert judge(difference_of({0: 9.0, 1: 19.0}, {1: 20.0, 0: 10.0})) is Verdict.CONTRADICTS


def test_seeds_must_agree():
    with pytest.raises(ParameterError, match=r"seeds \[0\] and \[1\]"):
        difference_of({0: 1.0}, {1: 1.0})
    with pytest.raises(ParameterError, match="no value"):
        mean_of([])
