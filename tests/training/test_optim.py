from collections import OrderedDict
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from pellucid.errors import RecipeError
from pellucid.training import optim
from pellucid.training.momentum import Momentum
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.optim import Muon, build_optimizer, orthogonalize
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
def test_orthogonalize_evens_out_singular_values_and_keeps_vectors(
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


def test_biases_move_as_torch_adamw_moves_them() -> None:
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


def test_the_step_of_a_kernel_has_the_size_of_an_adamw_step() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    before = kernel.detach().clone()
    optimizer = Muon([kernel], [], lr=1e-2)
    kernel.grad = torch.randn_like(kernel)
    optimizer.step()
    size = float((kernel.detach() - before).square().mean().sqrt())
    assert size == pytest.approx(0.2e-2, rel=0.2)


def test_weight_decay_shrinks_kernels_by_the_rate_alone() -> None:
    kernel = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([kernel], [], lr=0.1, weight_decay=0.5)
    kernel.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(kernel.detach(), torch.full((4, 4), 0.95))


def test_a_network_is_divided_into_kernels_and_the_rest() -> None:
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


def test_a_projection_is_a_kernel_and_a_normalisation_is_not() -> None:
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
def test_every_name_of_a_recipe_moves_every_parameter_down_its_gradient(name: str) -> None:
    network = tiny_network()
    before, after = walk(network, build_optimizer(network, choice(name)), 1)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert ((after[key] - before[key]) * parameter.grad).sum() < 0, key


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_reaches_every_optimizer(name: str) -> None:
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
def test_weight_decay_is_a_multiplication_beside_the_step(name: str) -> None:
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
def test_weight_decay_is_refused_where_it_would_be_mixed_into_the_gradient(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"^optimizer.weight_decay is 0.1, but '{name}' .*muon, adamw, sgd, momentum$"
    ):
        build_optimizer(tiny_network(), choice(name, weight_decay=0.1))
