import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.errors import ParameterError, RecipeError
from pellucid.training import optim
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.optim import Momentum, Muon, build_optimizer, fastest_precision, lr_factor, orthogonalize
from pellucid.training.recipe import OptimizerRecipe

NAMES = get_args(OptimizerRecipe.model_fields["name"].annotation)
DECAYING = ("muon", "adamw", "sgd", "momentum")


def choice(name: str, **values: float) -> OptimizerRecipe:
    return OptimizerRecipe.model_validate({"name": name, **values})


def tiny_network() -> nn.Sequential:
    """A network with a head, a tail, a hidden kernel, a projection, and a batch normalisation; always the same."""
    torch.manual_seed(0)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        head=nn.Conv2d(1, 4, 3, padding=1),
        body=nn.Conv2d(4, 8, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(8),
        projection=nn.Conv2d(8, 4, 1),
        tail=nn.Conv2d(4, 1, 3, padding=1),
    )
    return nn.Sequential(parts)


def walk(network: nn.Module, optimizer: torch.optim.Optimizer, n_steps: int) -> list[dict[str, Tensor]]:
    """Take steps along gradients that do not depend on the weights; give the weights before and after each."""
    generator = torch.Generator().manual_seed(1)
    places = [{name: p.detach().clone() for name, p in network.named_parameters()}]
    for _ in range(n_steps):
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        places.append({name: p.detach().clone() for name, p in network.named_parameters()})
    return places


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize("shape", [(16, 16), (16, 100), (100, 16)])
def test_orthogonalize(
    shape: tuple[int, int], precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim, "fastest_precision", lambda: precision)
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    matrix = left @ torch.diag(values.clamp_min(0.3)) @ right
    result = orthogonalize(matrix)
    assert result.dtype == dtype
    result = result.float()
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The nearest orthogonal matrix to G = U S V is U V; the result must point its way.
    assert torch.cosine_similarity(result.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_muon_biases_follow_adam() -> None:
    torch.manual_seed(0)
    start = torch.randn(10)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([], [ours], lr=2e-3, adam_lr_ratio=0.5)
    reference = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    for step in range(20):
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            ((parameter - step) ** 2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_step_size() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    before = kernel.detach().clone()
    optimizer = Muon([kernel], [], lr=1e-2)
    kernel.grad = torch.randn_like(kernel)
    optimizer.step()
    size = float((kernel.detach() - before).square().mean().sqrt())
    assert size == pytest.approx(0.2e-2, rel=0.2)


def test_muon_weight_decay() -> None:
    kernel = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([kernel], [], lr=0.1, weight_decay=0.5)
    kernel.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(kernel.detach(), torch.full((4, 4), 0.95))


def test_muon_parameter_groups() -> None:
    network = DenoisingAutoencoder(3, (8, 16), (1, 1))
    kernels, others = (group["params"] for group in build_optimizer(network, choice("muon")).param_groups)
    assert {id(p) for p in kernels} | {id(p) for p in others} == {id(p) for p in network.parameters()}
    assert all(p.ndim == 4 for p in kernels)
    assert any(p is network.head.weight for p in others)
    assert any(p is network.tail.weight for p in others)


def test_descends_where_plain_steps_zigzag() -> None:
    """A least-squares problem of condition 1000: the loss falls by 100 in 200 steps."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 16) * torch.logspace(-1.5, 0, 16)
    target = inputs @ torch.randn(16, 8)
    weights = torch.nn.Parameter(torch.zeros(16, 8))
    optimizer = Muon([weights], [], lr=0.3)
    losses = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 200)
        optimizer.zero_grad()
        loss = (inputs @ weights - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100


def test_muon_groups_of_projection_and_norm() -> None:
    network = tiny_network()
    kernels, others = (group["params"] for group in build_optimizer(network, choice("muon")).param_groups)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(p)] for p in kernels} == {"body.weight", "projection.weight"}
    assert {"norm.weight", "norm.bias", "projection.bias"} < {names[id(p)] for p in others}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("muon", Muon, {"momentum": 0.7, "weight_decay": 0.0}),
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999)}),
        ("adam", torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ("sgd", torch.optim.SGD, {"momentum": 0}),
        ("momentum", Momentum, {"momentum": 0.7}),
        ("torch_momentum", torch.optim.SGD, {"momentum": 0.7, "dampening": 0, "nesterov": False}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0}),
        ("adagrad", torch.optim.Adagrad, {"lr_decay": 0}),
    ],
)
def test_a_name_gives_its_optimizer(name: str, kind: type, expected: dict[str, Any]) -> None:
    optimizer = build_optimizer(tiny_network(), choice(name, lr=0.01, momentum=0.7))
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert {"lr": group["lr"]} | {key: group[key] for key in expected} == {"lr": 0.01} | expected


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_descends(name: str) -> None:
    network = tiny_network()
    before, after = walk(network, build_optimizer(network, choice(name)), 1)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert ((after[key] - before[key]) * parameter.grad).sum() < 0, key


@pytest.mark.parametrize("name", NAMES)
def test_schedule_reaches_every_optimizer(name: str) -> None:
    network = tiny_network()
    optimizer = build_optimizer(network, choice(name))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    walk(network, optimizer, 1)
    schedule.step()
    past_velocity = 0 if name != "momentum" else 300  # its past steps keep their rate until they fade
    *_, before, after = walk(network, optimizer, 1 + past_velocity)
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", DECAYING)
def test_decoupled_weight_decay(name: str) -> None:
    """With the same gradients, a step with decay is the step without it, from weights times 1 - lr decay."""
    rate, decay = 0.01, 0.5
    free, held = tiny_network(), tiny_network()
    plain = walk(free, build_optimizer(free, choice(name, lr=rate)), 5)
    decayed = walk(held, build_optimizer(held, choice(name, lr=rate, weight_decay=decay)), 5)
    for r in range(5):
        for key, weights in decayed[r].items():
            kept = 1 - rate * decay if name != "muon" or key in ("body.weight", "projection.weight") else 1.0
            expected = weights * kept + plain[r + 1][key] - plain[r][key]
            torch.testing.assert_close(decayed[r + 1][key], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(DECAYING)))
def test_coupled_weight_decay_is_refused(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"^optimizer.weight_decay is 0.1, but '{name}' .*muon, adamw, sgd, momentum$"
    ):
        build_optimizer(tiny_network(), choice(name, weight_decay=0.1))


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
def test_momentum_against_numpy(rate: float, mu: float, decay: float, n_steps: int) -> None:
    theta, velocity, slopes = np.array([3.0, -2.0]), np.zeros(2), np.array([EPSILON, 1.0])
    for _ in range(n_steps):
        velocity = mu * velocity + rate * slopes * theta
        theta = theta - velocity - rate * decay * theta
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=rate, momentum=mu, weight_decay=decay), place, n_steps)
    np.testing.assert_allclose(reached.numpy(), theta, rtol=1e-9, atol=1e-12)


def test_momentum_against_closed_form() -> None:
    """One step is linear in (theta, v), so r steps are the r-th power of its matrix."""
    rate, mu, n_steps = 0.3, 0.9, 50
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=rate, momentum=mu), place, n_steps)
    for value, first, slope in zip(reached, (3.0, -2.0), (EPSILON, 1.0), strict=True):
        step = np.array([[1 - rate * slope, -mu], [rate * slope, mu]])
        assert float(value) == pytest.approx((np.linalg.matrix_power(step, n_steps) @ [first, 0.0])[0], rel=1e-9)


def test_zero_momentum_is_gradient_descent() -> None:
    place = start(3.0, -2.0)
    reached = descend(Momentum([place], lr=1.5, momentum=0.0), place, 20)
    expected = torch.tensor([3.0 * (1 - 1.5 * EPSILON) ** 20, -2.0 * (1 - 1.5) ** 20], dtype=torch.float64)
    torch.testing.assert_close(reached, expected, rtol=1e-12, atol=0)


def test_momentum_is_faster_in_a_valley() -> None:
    plain, swift = start(3.0, -2.0), start(3.0, -2.0)
    crawled = descend(Momentum([plain], lr=1.5, momentum=0.0), plain, 150)
    arrived = descend(Momentum([swift], lr=1.5, momentum=0.8), swift, 150)
    assert arrived.norm() < crawled.norm() / 100


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.95])
def test_momentum_equals_torch_at_constant_rate(mu: float) -> None:
    gradients, rates = random_gradients(40), [0.05] * 40
    ours, theirs = start(1, 2, 3, 4), start(1, 2, 3, 4)
    mine = follow(Momentum([ours], lr=0.05, momentum=mu), ours, gradients, rates)
    reference = follow(torch.optim.SGD([theirs], lr=0.05, momentum=mu), theirs, gradients, rates)
    torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)


def test_momentum_differs_from_torch_after_rate_change() -> None:
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


def test_momentum_after_rate_change() -> None:
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
def test_momentum_decay_without_gradient(rate: float, mu: float, decay: float) -> None:
    place = start(1, -2)
    places = follow(
        Momentum([place], lr=rate, momentum=mu, weight_decay=decay), place, [torch.zeros(2).double()] * 10, [rate] * 10
    )
    for r, reached in enumerate(places, 1):
        expected = torch.tensor([1.0, -2.0], dtype=torch.float64) * (1 - rate * decay) ** r
        torch.testing.assert_close(reached, expected, rtol=1e-12, atol=0)


def test_coupled_decay_differs() -> None:
    """What torch does, and the reason why it is not done here: mu changes how much the weights decay."""
    rate, decay, nothing = 0.1, 0.5, [torch.zeros(1).double()] * 10
    reached = {}
    for mu in (0.0, 0.9):
        place = start(1)
        optimizer = torch.optim.SGD([place], lr=rate, momentum=mu, weight_decay=decay)
        reached[mu] = float(follow(optimizer, place, nothing, [rate] * 10)[-1])
    assert reached[0.0] == pytest.approx((1 - rate * decay) ** 10)
    assert reached[0.9] < reached[0.0] - 0.5


def test_decay_does_not_change_velocity() -> None:
    gradients, rates = random_gradients(5), [0.1] * 5
    velocities = []
    for decay in (0.0, 0.5):
        place = start(1, 2, 3, 4)
        optimizer = Momentum([place], lr=0.1, weight_decay=decay)
        follow(optimizer, place, gradients, rates)
        velocities.append(optimizer.state[place]["velocity"])
    assert torch.equal(*velocities)


def test_momentum_state_dict() -> None:
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


def test_momentum_closure() -> None:
    place = start(2.0)

    def closure() -> Tensor:
        place.grad = None
        loss = (place**2).sum()
        loss.backward()
        return loss

    assert Momentum([place], lr=0.1).step(closure) == 4.0
    assert place.item() == pytest.approx(1.6)


def test_momentum_skips_parameters_without_gradient() -> None:
    place = start(1, 2)
    Momentum([place], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(place.detach(), torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("lr", math.nan), ("momentum", 1.0), ("momentum", -0.1), ("weight_decay", -1.0)],
)
def test_momentum_refuses_bad_values(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"{name} is {value}: make it"):
        Momentum([start(1)], **{"lr": 0.1, name: value})


names = st.sampled_from(get_args(OptimizerRecipe.model_fields["schedule"].annotation))
finals = st.floats(0, 1)
lengths = st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def factors(schedule: str, steps: Iterable[int], max_steps: int, warmup_steps: int, final: float = 0.0) -> list[float]:
    return [
        lr_factor(step, schedule=schedule, max_steps=max_steps, warmup_steps=warmup_steps, final=final)
        for step in steps
    ]


@given(name=names, step=st.integers(0, 10**6), n=st.integers(1, 10**6), warm=st.integers(1, 10**6), final=finals)
def test_learning_rate_factors_lie_in_the_unit_interval(name: str, step: int, n: int, warm: int, final: float) -> None:
    assert 0.0 <= factors(name, [step], n, warm, final)[0] <= 1.0


@given(name=names, n_steps=st.integers(1, 60), warm=st.integers(1, 60), final=finals)
def test_warm_up_is_linear(name: str, n_steps: int, warm: int, final: float) -> None:
    rise = factors(name, range(warm), n_steps, warm, final)
    assert rise == pytest.approx([(step + 1) / warm for step in range(warm)])
    assert rise[-1] == 1.0


@given(name=names, length=lengths, final=finals)
def test_no_schedule_rises_after_the_warm_up(name: str, length: tuple[int, int], final: float) -> None:
    n_steps, warm = length
    rates = factors(name, range(warm - 1, n_steps + 5), n_steps, warm, final)
    assert all(a >= b - 1e-15 for a, b in pairwise(rates))


@pytest.mark.parametrize("name", ["cosine", "linear", "steps", "constant"])
@given(length=lengths, final=finals, past=st.integers(0, 1000))
def test_final_learning_rate(name: str, length: tuple[int, int], final: float, past: int) -> None:
    n_steps, warm = length
    expected = {"cosine": final, "linear": final, "steps": max(final, 0.01), "constant": 1.0}
    assert factors(name, [n_steps + past], n_steps, warm, final) == pytest.approx([expected[name]])


def test_cosine_schedule() -> None:
    rates = factors("cosine", range(1001), 1000, 100, 0.01)
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == 1.0
    assert rates[325] == pytest.approx(0.505 + 0.495 * 0.5**0.5)  # a quarter of the way: cos(pi / 4)
    assert rates[550] == pytest.approx(0.505)


def test_linear_schedule() -> None:
    rates = factors("linear", range(100, 1001), 1000, 100, 0.1)
    assert [a - b for a, b in pairwise(rates)] == pytest.approx([0.001] * 900)


@pytest.mark.parametrize(
    ("final", "expected"), [(0.0, [1, 1, 0.1, 0.1, 0.01, 0.01]), (0.05, [1, 1, 0.1, 0.1, 0.05, 0.05])]
)
def test_step_schedule(final: float, expected: list[float]) -> None:
    assert factors("steps", (100, 499, 500, 749, 750, 1000), 1000, 100, final) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_fastest_precision(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fastest_precision() == expected
