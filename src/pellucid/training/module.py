"""The Lightning module: network, training and validation steps, optimizer."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pellucid.training.datasets import Batch
from pellucid.training.losses import LOSSES, out_of_range
from pellucid.training.nn.noise_estimator import NoiseEstimator, estimation_error, estimation_loss, smooth_patches
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.optim import build_optimizer, build_schedule
from pellucid.training.recipe import NetworkRecipe, Recipe


def build_network(shape: NetworkRecipe) -> DenoisingAutoencoder:
    """Make a recipe's network, with random weights."""
    options = shape.model_dump(exclude={"channels", "widths", "depths", "estimator"})
    chosen = shape.estimator
    estimator = None if chosen is None else NoiseEstimator(shape.channels, chosen.width, chosen.n_blocks)
    return DenoisingAutoencoder(shape.channels, shape.widths, shape.depths, **options, estimator=estimator)


class DenoisingModule(pl.LightningModule):  # type: ignore[misc]
    """A denoising autoencoder in training.

    Parameters
    ----------
    recipe : Recipe
    val_names : sequence of str
        Name of the PSNR of each validation batch; batches of one name are averaged.
    """

    def __init__(self, recipe: Recipe, val_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.val_names = val_names
        self.recipe = recipe
        network = build_network(recipe.network)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # DDP waits for the gradient of every parameter that requires one.
        if recipe.train_only == "estimator":
            self.network.requires_grad_(False)
        if self.network.estimator is not None:
            self.network.estimator.requires_grad_(recipe.train_only != "denoiser")
        self.loss = LOSSES[recipe.loss]

    def denoise(self, batch: Batch, cond_sigma: Tensor | None = None) -> Tensor:
        """Denoise a batch with its own sigma, or with another map (N, 1, H, W); float32, not clipped."""
        sigma = batch["cond_sigma"] if cond_sigma is None else cond_sigma
        denoised: Tensor = batch["noisy"] - self.network(batch["noisy"], sigma).float()
        return denoised

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Compute the loss of a batch."""
        if self.network.estimator is None:
            return self._denoising_loss(self.denoise(batch), batch)
        estimate = self.network.estimator(batch["noisy"]).float()
        error = estimation_loss(estimate, batch["true_sigma"])
        self.log("noise_loss", error)
        if self.recipe.train_only == "estimator":
            return error + self._guided_loss(batch, estimate) if self.recipe.denoise_loss_weight else error
        # Detached: the denoiser's loss does not train the estimator.
        loss = self._denoising_loss(self.denoise(batch, mix_sigma(batch, estimate.detach())), batch)
        return loss if self.recipe.train_only == "denoiser" else loss + error

    def _guided_loss(self, batch: Batch, estimate: Tensor) -> Tensor:
        """Weighted loss of denoising with the estimate, through the frozen denoiser."""
        smooth = smooth_patches(estimate, self.recipe.network.channels)
        return self.recipe.denoise_loss_weight * self._denoising_loss(self.denoise(batch, smooth), batch)

    def _denoising_loss(self, denoised: Tensor, batch: Batch) -> Tensor:
        loss = self.loss(denoised, batch["clean"])
        if self.recipe.range_penalty:
            loss = loss + self.recipe.range_penalty * out_of_range(denoised)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the PSNR of a batch; with an estimator, also that of blind denoising, and the estimation error."""
        name, size = self.val_names[batch_idx], len(batch["noisy"])
        self.log(name, _mean_psnr(self.denoise(batch), batch["clean"]), batch_size=size)
        if self.network.estimator is None:
            return
        estimate = self.network.estimator(batch["noisy"]).float()
        self.log(f"blind_{name}", _mean_psnr(self.denoise(batch, estimate), batch["clean"]), batch_size=size)
        self.log("val_noise_error", estimation_error(estimate, batch["true_sigma"]), batch_size=size)

    def configure_optimizers(self) -> Any:
        """Build the recipe's optimizer and schedule."""
        choice = self.recipe.optimizer
        alone: nn.Module | None = self.network.estimator if self.recipe.train_only == "estimator" else None
        optimizer = build_optimizer(self.network if alone is None else alone, choice)
        schedule = build_schedule(optimizer, choice, self.recipe.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def mix_sigma(batch: Batch, estimate: Tensor) -> Tensor:
    """Replace the true sigma by the estimate in every second image, unless its sigma is inflated or noise is kept.

    A denoiser that sees only the truth relies on every error of the estimate; one that never sees it ignores its input.
    """
    is_true = (batch["cond_sigma"] == batch["true_sigma"]).flatten(1).all(dim=1)
    is_second = torch.arange(len(estimate), device=estimate.device) % 2 == 1
    return torch.where((is_true & is_second)[:, None, None, None], estimate, batch["cond_sigma"])


def _mean_psnr(denoised: Tensor, clean: Tensor) -> Tensor:
    error = (denoised.clamp(0, 1) - clean).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error)).mean()
