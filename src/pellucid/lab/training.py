"""Short trainings for studies: the package's own network, loss and optimizer in a plain loop with hooks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.evaluation.metrics import psnr
from pellucid.lab.photographs import Pixels, to_unit
from pellucid.simulation.noise import Gaussian
from pellucid.training.datasets import Batch, patch_sampler
from pellucid.training.module import DenoisingModule
from pellucid.training.recipe import Recipe, parse_recipe

Image = NDArray[np.float32]
#: Called after the backward pass and before the optimizer's step: step (from 0), module, batch, loss.
StepHook = Callable[[int, DenoisingModule, Batch, float], None]
#: Called once on the initialised module, before its optimizer is created.
PrepareHook = Callable[[DenoisingModule], None]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "network": {"channels": 3, "widths": [16, 32], "depths": [1, 1]},
    "data": {"patch_px": 48, "batch_size": 8, "noise": [{"kind": "gaussian", "sigma_min": 25.0, "sigma_max": 25.0}]},
    "optimizer": {"name": "adam", "lr": 2e-3, "warmup_steps": 20},
}
#: For studies of the network rather than of the optimizer: better than Adam after as many steps.
MUON = {"name": "muon", "lr": 3e-3}


@dataclass(frozen=True)
class Fit:
    """A finished training."""

    #: With its last weights, in evaluation mode.
    module: DenoisingModule
    #: Of each step, before its update; not finite where the training diverged.
    losses: list[float]
    seconds: float

    def mean_losses(self, window: int) -> NDArray[np.float64]:
        """Average the losses over consecutive windows of steps."""
        means: NDArray[np.float64] = np.array(self.losses).reshape(-1, window).mean(axis=1)
        return means


def small_recipe(*, seed: int, n_steps: int, **tables: Mapping[str, Any] | str | float) -> Recipe:
    """Return the recipe that studies start from: a small network, Gaussian noise of sigma 25, Adam, fp32.

    Further keys are those of the recipe; ``network``, ``data`` and ``optimizer`` are merged with the defaults.

    Raises
    ------
    RecipeError
        A key is unknown or has a wrong value.

    Examples
    --------
    >>> small_recipe(seed=0, n_steps=300, network={"skip": False}, loss="l2").network.skip
    False
    """
    table: dict[str, Any] = {"name": "lab", "summary": "A study's network", "precision": "fp32", **_DEFAULTS}
    for key, value in tables.items():
        table[key] = {**_DEFAULTS[key], **value} if key in _DEFAULTS and isinstance(value, Mapping) else value
    return parse_recipe({**table, "seed": seed, "max_steps": n_steps}, "lab")


def fit(
    recipe: Recipe,
    images: Sequence[Pixels],
    *,
    prepare: PrepareHook | None = None,
    on_step: StepHook | None = None,
) -> Fit:
    """Train a network on images (H, W, C); the same recipe, images and machine give the same network.

    `prepare` may change the initial weights and register hooks on layers; `on_step` may read gradients.
    """
    torch.manual_seed(recipe.seed)
    module = DenoisingModule(recipe)
    module.log = _log_nothing  # LightningModule.log needs a trainer
    if prepare is not None:
        prepare(module)
    sampler, size = patch_sampler(images, recipe), recipe.data.batch_size
    chosen = module.configure_optimizers()
    optimizer, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    losses: list[float] = []
    module.train()
    start_s = time.perf_counter()
    for step in range(recipe.max_steps):
        batch = sampler.batch(step * size, size)
        losses.append(_backward(module, batch, step))
        if on_step is not None:
            on_step(step, module, batch, losses[-1])
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.optimizer.clip_norm)
        optimizer.step()
        schedule.step()
    return Fit(module.eval(), losses, time.perf_counter() - start_s)


def add_noise(image: Pixels, sigma: float, seed: int = 0) -> Image:
    """Add white Gaussian noise; `sigma` is on the 0..255 scale, the result float32 on the [0, 1] scale, not clipped."""
    return Gaussian(sigma / 255)(to_unit(image), np.random.default_rng(seed))


@torch.no_grad()
def denoise(module: DenoisingModule, noisy: Image, sigma: float) -> Image:
    """Denoise an image (H, W, C) on the [0, 1] scale; the module's mode is not changed, the result not clipped.

    H and W are multiples of the network's stride; `sigma`, given to the network, is on the 0..255 scale.
    """
    denoised: Image = module.denoise(noisy_batch(noisy, sigma))[0].permute(1, 2, 0).numpy()
    return denoised


def noisy_batch(noisy: Image, sigma: float) -> Batch:
    """Return a batch of one image (H, W, C) and its noise level, as `DenoisingModule.denoise` expects it."""
    tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    return {"noisy": tensor, "clean": tensor, "cond_sigma": torch.full((1, 1, *tensor.shape[2:]), sigma / 255)}


def denoise_all(
    module: DenoisingModule, images: Sequence[Pixels], sigma: float, *, cond_sigma: float | None = None
) -> list[tuple[Image, Image, Image]]:
    """Add noise to images and denoise them; return clean, noisy and denoised images, the last ones clipped to [0, 1].

    Every network gets the same noise, whatever its seed. `cond_sigma` is the level given to the network, by default the
    true one.
    """
    triples = []
    for index, image in enumerate(images):
        noisy = add_noise(image, sigma, seed=index)
        denoised = np.clip(denoise(module, noisy, sigma if cond_sigma is None else cond_sigma), 0, 1)
        triples.append((to_unit(image), noisy, denoised))
    return triples


def validation_psnr(module: DenoisingModule, images: Sequence[Pixels], sigma: float) -> float:
    """Return the mean PSNR, in dB, of denoised images; see :func:`denoise_all`."""
    return float(np.mean([psnr(clean, denoised) for clean, _, denoised in denoise_all(module, images, sigma)]))


def _backward(module: DenoisingModule, batch: Batch, step: int) -> float:
    module.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=module.recipe.precision == "bf16"):
        loss = module.training_step(batch, step)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _log_nothing(*_: Any, **__: Any) -> None:
    """Replace `LightningModule.log`."""
