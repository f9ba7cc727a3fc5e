import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.lab.quadratic import Quadratic, descend, sign_changes, steps_to_converge


def sgd(rate):
    return lambda points: torch.optim.SGD(points, lr=rate)


@given(st.floats(-4, 4), st.floats(-5, 5), st.floats(-5, 5))
def test_turning_back_undoes_turning(angle, x, y):
    valley = Quadratic((0.1,), angle, (1.0, -2.0))
    point = np.array([x, y])
    np.testing.assert_allclose(valley.inverse_transform(valley.transform(point)), point, atol=1e-12)


def test_a_turned_valley_is_as_high_at_turned_points():
    plain, copy = Quadratic((0.2,)), Quadratic((0.2,), 0.7, (3.0, 1.0))
    point = np.array([[1.5, -0.5]])
    heights = [float(v.loss(torch.from_numpy(v.transform(point)))) for v in (plain, copy)]
    assert heights[0] == pytest.approx(0.5 * (0.2 * 1.5**2 + 0.5**2))
    assert heights[1] == pytest.approx(heights[0])


def test_each_valley_has_a_descent_of_its_own():
    path = descend(Quadratic((0.5, 0.1)), np.array([1.0, 1.0]), sgd(1.0), 3)
    np.testing.assert_allclose(path[:, 0, 0], 0.5 ** np.arange(4))
    np.testing.assert_allclose(path[:, 1, 0], 0.9 ** np.arange(4))
    assert path.shape == (4, 2, 2)


def test_a_lost_point_ends_the_descent_and_noise_moves_it():
    assert len(descend(Quadratic((1.0,)), np.array([1.0, 1.0]), sgd(12.0), 500)) < 20
    noise = np.full((1, 2), 0.5)
    np.testing.assert_allclose(descend(Quadratic((1.0,)), np.array([1.0, 1.0]), sgd(1.0), 1, noise=noise)[1, 0], -0.5)


def test_steps_until_a_point_stays():
    distance = [1, 1e-4, 0.5, 1e-4, 1e-4]
    path = np.stack([np.array([[d, 0.0], [1.0, 0.0]]) for d in distance])
    assert steps_to_converge(path) == [3, None]
    shifted = path + np.array([4.0, 5.0])
    assert steps_to_converge(shifted, (4.0, 5.0)) == [3, None]


def test_arrival_ends_the_descent():
    path = descend(Quadratic((1.0,)), np.array([1.0, 0.0]), sgd(0.5), 1000, stop_when_converged=True)
    assert len(path) < 25
    assert steps_to_converge(path) == [math.ceil(math.log2(1000))]


def test_sign_changes():
    assert sign_changes(np.array([1.0, -1.0, 0.0, 1.0, 2.0])) == pytest.approx(2 / 3)
    assert math.isnan(sign_changes(np.array([1.0])))
