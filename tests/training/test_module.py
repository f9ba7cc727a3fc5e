from typing import Any

import pytest
import torch

from pellucid.errors import RecipeError
from pellucid.training.datasets import Batch
from pellucid.training.module import DenoisingModule, mix_sigma
from pellucid.training.recipe import Recipe, parse_recipe
from tests.training.conftest import TINY


def seeing(**changes: Any) -> Recipe:
    network = {**TINY["network"], "estimator": {"width": 8, "n_blocks": 1}}  # type: ignore[dict-item]
    return parse_recipe({**TINY, "network": network, **changes}, "seeing")


def batch(size: int = 4) -> Batch:
    torch.manual_seed(1)
    clean, sigma = torch.rand(size, 3, 32, 32), torch.full((size, 1, 32, 32), 0.1)
    return {
        "clean": clean,
        "noisy": clean + 0.1 * torch.randn_like(clean),
        "cond_sigma": sigma,
        "true_sigma": sigma.clone(),
    }


def trained_a_step(recipe: Recipe, data: Batch) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Take one step; give the loss and the weights before and after."""
    torch.manual_seed(0)
    module = DenoisingModule(recipe)
    module.log = lambda *_args, **_options: None
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    optimizer = module.configure_optimizers()["optimizer"]
    loss = module.training_step(data, 0)
    loss.backward()
    optimizer.step()
    return float(loss.detach()), before, module.network.state_dict()


def test_mix_sigma_uses_every_second_estimate() -> None:
    data, estimate = batch(), torch.full((4, 1, 32, 32), 0.3)
    told = mix_sigma(data, estimate)
    assert told[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.3, 0.1, 0.3])


def test_mix_sigma_skips_kept_noise() -> None:
    data, estimate = batch(), torch.full((4, 1, 32, 32), 0.3)
    data["cond_sigma"][1] = 0.05
    assert mix_sigma(data, estimate)[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.05, 0.1, 0.3])


def test_train_all() -> None:
    _, before, after = trained_a_step(seeing(), batch())
    for part in ("estimator.head.weight", "head.weight"):
        assert not torch.equal(before[part], after[part])


def test_denoiser_loss_does_not_train_estimator() -> None:
    """The estimator learns the same whatever the clean images are."""
    data, other = batch(), batch()
    other["clean"] = 1 - other["clean"]
    first, second = (trained_a_step(seeing(), each) for each in (data, other))
    assert first[0] != second[0]
    for name, value in first[2].items():
        if name.startswith("estimator."):
            torch.testing.assert_close(value, second[2][name])


def test_train_estimator_only() -> None:
    _, before, after = trained_a_step(seeing(train_only="estimator"), batch())
    for name, value in before.items():
        if not name.startswith("estimator."):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["estimator.head.weight"], after["estimator.head.weight"])


def test_denoise_loss_trains_estimator_only() -> None:
    """What it learns depends on the clean images then."""
    data, other = batch(), batch()
    other["clean"] = 1 - other["clean"]
    recipe = seeing(train_only="estimator", denoise_loss_weight=1.0, loss="log_l2")
    (_, before, after), (_, _, differently) = (trained_a_step(recipe, each) for each in (data, other))
    for name, value in before.items():
        if not name.startswith("estimator."):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(after["estimator.head.weight"], differently["estimator.head.weight"])
    alone = {**before, "head.weight": before["head.weight"] + 1}
    plain = seeing(train_only="estimator")
    assert loss_with(recipe, before, data) != loss_with(recipe, alone, data)
    assert loss_with(plain, before, data) == loss_with(plain, alone, data)


def test_denoise_loss_weight_needs_estimator_training() -> None:
    with pytest.raises(RecipeError, match="train_only = 'estimator'"):
        seeing(denoise_loss_weight=1.0)


def test_the_denoiser_learns_alone() -> None:
    """And is told the estimate all the same."""
    loss, before, after = trained_a_step(seeing(train_only="denoiser"), batch())
    for name, value in before.items():
        if name.startswith("estimator."):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["head.weight"], after["head.weight"])
    told_other = {name: value + name.startswith("estimator.tail.bias") for name, value in before.items()}
    assert loss != loss_with(seeing(train_only="denoiser"), told_other, batch())


def loss_with(recipe: Recipe, weights: dict[str, torch.Tensor], data: Batch) -> float:
    module = DenoisingModule(recipe)
    module.log = lambda *_args, **_options: None
    module.network.load_state_dict(weights)
    return float(module.training_step(data, 0).detach())


@pytest.mark.parametrize("change", [{"train_only": "estimator"}, {"train_only": "denoiser"}])
def test_train_only_needs_an_estimator(change: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match=r"\[network.estimator\]"):
        parse_recipe({**TINY, **change}, "tiny")
