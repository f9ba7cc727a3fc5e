import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.errors import ParameterError
from pellucid.training.momentum import Momentum

EPSILON = 0.01


def descend(optimizer: torch.optim.Optimizer, place: Tensor, n_steps: int) -> Tensor:
    """Go down (epsilon x^2 + y^2) / 2, the lecture's valley."""
    for _ in range(n_steps):
        optimizer.zero_grad()
        (0.5 * (EPSILON * place[0] ** 2 + place[1] ** 2)).backward()
        optimizer.step()
    return place.detach()


def follow(
    optimizer: torch.optim.Optimizer, place: Tensor, gradients: list[Tensor], rates: list[float]
) -> list[Tensor]:
    """Take one step for each gradient, at its rate; give all the places reached."""
    places = []
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        place.grad = gradient.clone()
        optimizer.step()
        places.append(place.detach().clone())
    return places


def start(*values: float) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def random_gradients(n: int, shape: tuple[int, ...] = (4,)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(n)]


@settings(deadline=None, max_examples=30)
@given(rate=st.floats(1e-3, 1.5), mu=st.floats(0, 0.99), decay=st.floats(0, 0.5), n_steps=st.integers(1, 30))
def test_the_valley_against_its_iteration_in_numpy(rate: float, mu: float, decay: float, n_steps: int) -> None:
    theta, velocity, slopes = np.array([3.0, -2.0]), np.zeros(2), np.array([EPSILON, 1.0])
    for _ in range(n_steps):
        velocity = mu * velocity + rate * slopes * theta
        theta = theta - velocity - rate * decay * theta
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=rate, momentum=mu, weight_decay=decay), place, n_steps)
    np.testing.assert_allclose(reached.numpy(), theta, rtol=1e-9, atol=1e-12)


def test_the_valley_against_its_closed_form() -> None:
    """One step is linear in (theta, v), so r steps are the r-th power of its matrix."""
    rate, mu, n_steps = 0.3, 0.9, 50
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=rate, momentum=mu), place, n_steps)
    for value, first, slope in zip(reached, (3.0, -2.0), (EPSILON, 1.0), strict=True):
        step = np.array([[1 - rate * slope, -mu], [rate * slope, mu]])
        assert float(value) == pytest.approx((np.linalg.matrix_power(step, n_steps) @ [first, 0.0])[0], rel=1e-9)


def test_without_momentum_it_is_the_lectures_gradient_descent() -> None:
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=1.5, momentum=0.0), place, 20)
    expected = torch.tensor([3.0 * (1 - 1.5 * EPSILON) ** 20, -2.0 * (1 - 1.5) ** 20], dtype=torch.float64)
    torch.testing.assert_close(reached, expected, rtol=1e-12, atol=0)


def test_momentum_gets_along_the_valley_where_plain_descent_crawls() -> None:
    plain, swift = start(3.0, -2.0), start(3.0, -2.0)
    crawled = descend(Momentum([plain], lr=1.5, momentum=0.0), plain, 150)
    arrived = descend(Momentum([swift], lr=1.5, momentum=0.8), swift, 150)
    assert arrived.norm() < crawled.norm() / 100


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.95])
def test_equals_torch_while_the_rate_is_constant(mu: float) -> None:
    gradients, rates = random_gradients(40), [0.05] * 40
    ours, theirs = start(1, 2, 3, 4), start(1, 2, 3, 4)
    mine = follow(Momentum([ours], lr=0.05, momentum=mu), ours, gradients, rates)
    reference = follow(torch.optim.SGD([theirs], lr=0.05, momentum=mu), theirs, gradients, rates)
    torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)


def test_differs_from_torch_after_a_change_of_rate_by_the_past_gradients_alone() -> None:
    """Step k after the change is longer by mu^k (old - new) b, with b torch's sum of gradients at the change."""
    mu, old, new, n_before, n_after = 0.9, 0.1, 0.01, 15, 25
    gradients, rates = random_gradients(n_before + n_after), [old] * n_before + [new] * n_after
    ours, theirs = start(1, 2, 3, 4), start(1, 2, 3, 4)
    mine = follow(Momentum([ours], lr=old, momentum=mu), ours, gradients, rates)
    reference = follow(torch.optim.SGD([theirs], lr=old, momentum=mu), theirs, gradients, rates)
    past = sum(mu ** (n_before - 1 - j) * gradients[j] for j in range(n_before))
    for k in range(1, n_after + 1):
        longer = (old - new) * past * sum(mu**i for i in range(1, k + 1))
        torch.testing.assert_close(reference[n_before + k - 1] - mine[n_before + k - 1], longer, rtol=1e-9, atol=1e-12)


def test_a_new_rate_shows_only_after_some_steps() -> None:
    """Under a steady gradient torch's steps shrink at once; ours approach the new length as mu^k does."""
    mu, old, new, n_before, n_after = 0.9, 0.1, 0.01, 400, 30
    gradients, rates = [torch.ones(1, dtype=torch.float64)] * (n_before + n_after), [old] * n_before + [new] * n_after
    ours, theirs = start(0), start(0)
    mine = follow(Momentum([ours], lr=old, momentum=mu), ours, gradients, rates)
    reference = follow(torch.optim.SGD([theirs], lr=old, momentum=mu), theirs, gradients, rates)
    for k in range(1, n_after + 1):
        at = n_before + k - 1
        assert float(reference[at - 1] - reference[at]) == pytest.approx(new / (1 - mu))
        assert float(mine[at - 1] - mine[at]) == pytest.approx((new + mu**k * (old - new)) / (1 - mu))
    n_memory = round(1 / (1 - mu))
    still_to_go = mu**n_memory
    assert still_to_go == pytest.approx(1 / math.e, abs=0.03)


@settings(deadline=None, max_examples=30)
@given(rate=st.floats(1e-3, 1.0), mu=st.floats(0, 0.99), decay=st.floats(0, 0.5))
def test_without_gradient_each_step_multiplies_the_weights(rate: float, mu: float, decay: float) -> None:
    place = start(1, -2)
    places = follow(
        Momentum([place], lr=rate, momentum=mu, weight_decay=decay), place, [torch.zeros(2).double()] * 10, [rate] * 10
    )
    for r, reached in enumerate(places, 1):
        expected = torch.tensor([1.0, -2.0], dtype=torch.float64) * (1 - rate * decay) ** r
        torch.testing.assert_close(reached, expected, rtol=1e-12, atol=0)


def test_coupled_decay_is_not_that_multiplication() -> None:
    """What torch does, and the reason why it is not done here: mu changes how much the weights decay."""
    rate, decay, nothing = 0.1, 0.5, [torch.zeros(1).double()] * 10
    reached = {}
    for mu in (0.0, 0.9):
        place = start(1)
        optimizer = torch.optim.SGD([place], lr=rate, momentum=mu, weight_decay=decay)
        reached[mu] = float(follow(optimizer, place, nothing, [rate] * 10)[-1])
    assert reached[0.0] == pytest.approx((1 - rate * decay) ** 10)
    assert reached[0.9] < reached[0.0] - 0.5


def test_decay_leaves_the_velocity_alone() -> None:
    gradients, rates = random_gradients(5), [0.1] * 5
    velocities = []
    for decay in (0.0, 0.5):
        place = start(1, 2, 3, 4)
        optimizer = Momentum([place], lr=0.1, weight_decay=decay)
        follow(optimizer, place, gradients, rates)
        velocities.append(optimizer.state[place]["velocity"])
    assert torch.equal(*velocities)


def test_goes_on_from_a_saved_state() -> None:
    gradients, rates = random_gradients(10), [0.1] * 10
    whole = start(1, 2, 3, 4)
    expected = follow(Momentum([whole], lr=0.1), whole, gradients, rates)[-1]
    first = start(1, 2, 3, 4)
    stopped = Momentum([first], lr=0.1)
    follow(stopped, first, gradients[:6], rates[:6])
    second = torch.nn.Parameter(first.detach().clone())
    resumed = Momentum([second], lr=0.2)
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(follow(resumed, second, gradients[6:], rates[6:])[-1], expected)


def test_a_closure_gives_the_gradient_and_the_loss() -> None:
    place = start(2.0)

    def closure() -> Tensor:
        place.grad = None
        loss = (place**2).sum()
        loss.backward()
        return loss

    assert Momentum([place], lr=0.1).step(closure) == 4.0
    assert place.item() == pytest.approx(1.6)


def test_parameters_without_gradient_stay() -> None:
    place = start(1, 2)
    Momentum([place], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(place.detach(), torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("lr", math.nan), ("momentum", 1.0), ("momentum", -0.1), ("weight_decay", -1.0)],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"{name} is {value}: make it"):
        Momentum([start(1)], **{"lr": 0.1, name: value})
