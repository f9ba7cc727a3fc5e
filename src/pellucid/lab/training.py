"""Short trainings for studies: the package's own network, loss and optimizer, in a plain loop that can be watched.

A recipe and photographs enter; a trained module, its losses and its time leave. It knows nothing of studies, and has
none of what long runs need: no checkpoints, no averaged weights, no validation.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.evaluation.metrics import psnr
from pellucid.io import Samples
from pellucid.simulation.noise import Gaussian
from pellucid.training.datasets import Batch, patch_sampler
from pellucid.training.module import DenoisingModule
from pellucid.training.recipe import Recipe, parse_recipe

Image = NDArray[np.float32]
#: Called after each step's gradients are there and before the weights move: step from 0, module, batch, loss.
Watch = Callable[[int, DenoisingModule, Batch, float], None]
#: Called once, on the module with its first weights, before there is an optimizer.
Prepare = Callable[[DenoisingModule], None]

_SMALL: dict[str, dict[str, Any]] = {
    "network": {"channels": 3, "widths": [16, 32], "depths": [1, 1]},
    "data": {"patch_px": 48, "batch_size": 8, "noise": [{"kind": "gaussian", "sigma_min": 25.0, "sigma_max": 25.0}]},
    "optimizer": {"name": "adam", "lr": 2e-3, "warmup_steps": 20},
}
#: For studies of what a network can do, not of how it gets there: in as many steps it gets further than Adam.
#: docs/training-log.md has how far, under 2026-11-27.
MUON = {"name": "muon", "lr": 3e-3}


@dataclass(frozen=True)
class Fit:
    """A training that has ended.

    Attributes
    ----------
    module : DenoisingModule
        With its last weights, in evaluation mode.
    losses : list of float
        Of each step, before it. They may be infinite or NaN: a training that diverges goes on to its end.
    seconds : float
    """

    module: DenoisingModule
    losses: list[float]
    seconds: float


def small_recipe(*, seed: int, n_steps: int, **tables: Mapping[str, Any] | str | float) -> Recipe:
    """Make the recipe that studies start from: a small network, Gaussian noise of level 25, Adam, fp32.

    Parameters
    ----------
    seed, n_steps : int
    **tables
        Keys of a recipe. Those of the tables ``network``, ``data`` and ``optimizer`` replace single keys of it.

    Raises
    ------
    RecipeError
        A key is unknown or has a wrong value.

    Examples
    --------
    >>> small_recipe(seed=0, n_steps=300, network={"skip": False}, loss="l2").network.skip
    False
    """
    table: dict[str, Any] = {"name": "lab", "summary": "A study's network", "precision": "fp32", **_SMALL}
    for key, value in tables.items():
        table[key] = {**_SMALL[key], **value} if key in _SMALL and isinstance(value, Mapping) else value
    return parse_recipe({**table, "seed": seed, "max_steps": n_steps}, "lab")


def fit(
    recipe: Recipe,
    photographs: Sequence[Samples],
    *,
    prepare: Prepare | None = None,
    watch: Watch | None = None,
) -> Fit:
    """Train a network by a recipe; the same recipe, photographs and machine give the same network.

    Parameters
    ----------
    recipe : Recipe
        Its seed decides the first weights and the patches.
    photographs : sequence of ndarray (H, W, C), uint8
    prepare : callable, optional
        See :data:`Prepare`; it may change the first weights, and put hooks on layers.
    watch : callable, optional
        See :data:`Watch`; it may read gradients, and must leave them as they are.
    """
    torch.manual_seed(recipe.seed)
    module = DenoisingModule(recipe)
    module.log = _log_nothing  # what Lightning's trainer would take
    if prepare is not None:
        prepare(module)
    sampler, size = patch_sampler(photographs, recipe), recipe.data.batch_size
    chosen = module.configure_optimizers()
    optimizer, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    losses: list[float] = []
    module.train()
    began_s = time.perf_counter()
    for step in range(recipe.max_steps):
        batch = sampler.batch(step * size, size)
        losses.append(_backward(module, batch, step))
        if watch is not None:
            watch(step, module, batch, losses[-1])
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.optimizer.clip_norm)
        optimizer.step()
        schedule.step()
    return Fit(module.eval(), losses, time.perf_counter() - began_s)


def noisy_copy(image: Samples, sigma: float, seed: int = 0) -> Image:
    """Add white Gaussian noise; `sigma` is on the 0..255 scale, the copy float32 on the [0, 1] scale, not clipped."""
    clean = image.astype(np.float32) / np.float32(255)
    return Gaussian(sigma / 255)(clean, np.random.default_rng(seed))


@torch.no_grad()
def denoise(module: DenoisingModule, noisy: Image, sigma: float) -> Image:
    """Denoise an image in float32; the module's mode is left as it is.

    Parameters
    ----------
    module : DenoisingModule
    noisy : ndarray, shape (H, W, C), float32, on the [0, 1] scale
        H and W are multiples of the network's stride.
    sigma : float
        What the network is told, on the 0..255 scale.

    Returns
    -------
    ndarray, shape (H, W, C), float32
        Not clipped.
    """
    tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
    told = torch.full((1, 1, *tensor.shape[2:]), sigma / 255)
    denoised: Image = module.denoise({"noisy": tensor, "clean": tensor, "cond_sigma": told})[0].permute(1, 2, 0).numpy()
    return denoised


def held_out_psnr(module: DenoisingModule, photographs: Sequence[Samples], sigma: float) -> float:
    """Give the mean PSNR, in dB, over photographs with noise of one level on the 0..255 scale; results are clipped.

    Every network sees the same noise, whatever its seed.
    """
    return float(
        np.mean(
            [
                psnr(
                    image.astype(np.float32) / np.float32(255),
                    np.clip(denoise(module, noisy_copy(image, sigma, seed=index), sigma), 0, 1),
                )
                for index, image in enumerate(photographs)
            ]
        )
    )


def _backward(module: DenoisingModule, batch: Batch, step: int) -> float:
    """Compute the loss of a batch and its gradients."""
    module.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=module.recipe.precision == "bf16"):
        loss = module.training_step(batch, step)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _log_nothing(*_: Any, **__: Any) -> None:
    """Take the place of `LightningModule.log`, which needs a trainer."""
