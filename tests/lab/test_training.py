import numpy as np
import pytest
import torch

from pellucid.errors import RecipeError
from pellucid.lab.training import add_noise, denoise, fit, small_recipe, validation_psnr

TINY = {"network": {"widths": [8], "depths": [1]}, "data": {"patch_px": 16, "batch_size": 2}}


@pytest.fixture
def ramp():
    across = np.linspace(0, 255, 64)
    return np.broadcast_to(across[None, :, None], (64, 64, 3)).astype(np.uint8)


def test_a_fit_learns_and_repeats(ramp):
    recipe = small_recipe(seed=1, n_steps=15, optimizer={"lr": 5e-3, "warmup_steps": 2}, **TINY)
    first, second = (fit(recipe, [ramp]) for _ in range(2))
    assert first.losses == second.losses
    assert len(first.losses) == 15
    assert np.mean(first.losses[-4:]) < 0.92 * np.mean(first.losses[:4])
    assert not first.module.training
    assert first.seconds > 0
    untrained = fit(small_recipe(seed=1, n_steps=1, optimizer={"lr": 1e-30}, **TINY), [ramp])
    assert validation_psnr(first.module, [ramp], 25) > validation_psnr(untrained.module, [ramp], 25) + 0.5
    assert fit(small_recipe(seed=2, n_steps=1, **TINY), [ramp]).losses != first.losses[:1]


def test_gradients_can_be_watched(ramp):
    seen = []

    def on_step(step, module, batch, loss):
        norms = [p.grad.norm() for p in module.parameters() if p.grad is not None]
        seen.append((step, float(torch.stack(norms).norm()), batch["noisy"].shape, loss))

    result = fit(small_recipe(seed=0, n_steps=3, **TINY), [ramp], on_step=on_step)
    assert [entry[0] for entry in seen] == [0, 1, 2]
    assert [entry[3] for entry in seen] == result.losses
    assert seen[0][1] > 0
    assert seen[0][2] == (2, 3, 16, 16)


def test_the_rate_follows_the_recipe(ramp):
    still = small_recipe(seed=0, n_steps=5, optimizer={"name": "sgd", "lr": 1e-30}, **TINY)
    moving = small_recipe(seed=0, n_steps=5, optimizer={"name": "sgd", "lr": 1e-1}, **TINY)
    frozen, moved = (fit(recipe, [ramp]).module.state_dict() for recipe in (still, moving))
    start = fit(small_recipe(seed=0, n_steps=1, optimizer={"name": "sgd", "lr": 1e-30}, **TINY), [ramp]).module
    assert all(torch.equal(frozen[key], value) for key, value in start.state_dict().items())
    assert not all(torch.equal(moved[key], value) for key, value in start.state_dict().items())


def test_the_mode_is_left_alone(ramp):
    module = fit(small_recipe(seed=0, n_steps=1, **TINY), [ramp]).module.train()
    denoised = denoise(module, add_noise(ramp, 25), 25)
    assert module.training
    assert denoised.shape == (64, 64, 3)
    assert denoised.dtype == np.float32


def test_noise_is_what_was_asked_for(ramp):
    noisy = add_noise(ramp, 25, seed=3)
    np.testing.assert_array_equal(noisy, add_noise(ramp, 25, seed=3))
    assert (noisy - ramp / 255).std() * 255 == pytest.approx(25, rel=0.03)


def test_keys_of_a_table_are_replaced_one_by_one():
    recipe = small_recipe(seed=4, n_steps=9, network={"skip": False}, loss="l2")
    assert (recipe.network.skip, recipe.network.widths) == (False, (16, 32))
    assert (recipe.seed, recipe.max_steps, recipe.loss) == (4, 9, "l2")
    with pytest.raises(RecipeError, match=r"unknown key 'network\.skips'"):
        small_recipe(seed=0, n_steps=1, network={"skips": False})
