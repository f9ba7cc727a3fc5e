"""What a training step is: the network, its loss and its optimizer, for Lightning to drive.

Batches of noisy and clean patches enter, losses and metrics leave. It knows nothing of files.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pellucid.training.datasets import Batch
from pellucid.training.losses import LOSSES, out_of_range
from pellucid.training.nn.noise_estimator import NoiseEstimator, estimation_error, estimation_loss
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.optim import build_optimizer
from pellucid.training.recipe import NetworkRecipe, Recipe
from pellucid.training.schedules import SCHEDULES
from pellucid.training.settling import settle_patches


def build_network(shape: NetworkRecipe) -> DenoisingAutoencoder:
    """Make the network that a recipe describes, with random weights."""
    options = shape.model_dump(exclude={"channels", "widths", "depths", "estimator"})
    beside = shape.estimator
    estimator = None if beside is None else NoiseEstimator(shape.channels, beside.width, beside.n_blocks)
    return DenoisingAutoencoder(shape.channels, shape.widths, shape.depths, **options, estimator=estimator)


class DenoisingModule(pl.LightningModule):  # type: ignore[misc]
    """A denoising autoencoder in training.

    Parameters
    ----------
    recipe : Recipe
    validation_names : sequence of str
        For each batch of the validation, the name under which its PSNR is recorded; batches of one name are averaged.
    """

    def __init__(self, recipe: Recipe, validation_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.validation_names = validation_names
        self.recipe = recipe
        network = build_network(recipe.network)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Between processes, each parameter that could learn is waited for.
        if recipe.trained == "estimator":
            self.network.requires_grad_(False)
        if self.network.estimator is not None:
            self.network.estimator.requires_grad_(recipe.trained != "denoiser")
        self.loss = LOSSES[recipe.loss]

    def denoise(self, batch: Batch, level: Tensor | None = None) -> Tensor:
        """Give the denoised images of a batch, shape ``(N, C, H, W)``, float32, not clipped.

        The network is told `level`, (N, 1, H, W), by default the truth.
        """
        told = batch["sigma"] if level is None else level
        denoised: Tensor = batch["noisy"] - self.network(batch["noisy"], told).float()
        return denoised

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Give the loss of one batch."""
        if self.network.estimator is None:
            return self._denoising_loss(self.denoise(batch), batch)
        estimate = self.network.estimator(batch["noisy"]).float()
        error = estimation_loss(estimate, batch["present"])
        self.log("noise_loss", error)
        if self.recipe.trained == "estimator":
            return error + self._misled(batch, estimate) if self.recipe.misled_weight else error
        # While both learn, no gradient crosses from one to the other: neither error weighs against the other.
        loss = self._denoising_loss(self.denoise(batch, _told(batch, estimate.detach())), batch)
        return loss if self.recipe.trained == "denoiser" else loss + error

    def _misled(self, batch: Batch, estimate: Tensor) -> Tensor:
        """Give the weighted loss of the denoiser that is told the estimate: it learns nothing, the estimator does."""
        told = settle_patches(estimate, self.recipe.network.channels)
        return self.recipe.misled_weight * self._denoising_loss(self.denoise(batch, told), batch)

    def _denoising_loss(self, denoised: Tensor, batch: Batch) -> Tensor:
        loss = self.loss(denoised, batch["clean"])
        if self.recipe.range_penalty:
            loss = loss + self.recipe.range_penalty * out_of_range(denoised)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Record the mean PSNR of a batch's images, clipped to [0, 1], under the batch's name.

        With an estimator, also the PSNR when the denoiser is told the estimate, and how far the estimator is off.
        """
        name, size = self.validation_names[batch_idx], len(batch["noisy"])
        self.log(name, _mean_psnr(self.denoise(batch), batch["clean"]), batch_size=size)
        if self.network.estimator is None:
            return
        estimate = self.network.estimator(batch["noisy"]).float()
        self.log(f"blind_{name}", _mean_psnr(self.denoise(batch, estimate), batch["clean"]), batch_size=size)
        self.log("held_out_noise_error", estimation_error(estimate, batch["present"]), batch_size=size)

    def _trained(self) -> nn.Module:
        """Give the part of the network that learns."""
        alone: nn.Module | None = self.network.estimator if self.recipe.trained == "estimator" else None
        return self.network if alone is None else alone

    def configure_optimizers(self) -> Any:
        """Build the recipe's optimizer and schedule."""
        choice = self.recipe.optimizer
        factor = partial(
            SCHEDULES[choice.schedule],
            n_steps=self.recipe.n_steps,
            n_warmup=choice.n_warmup,
            final=choice.final_lr,
        )
        optimizer = build_optimizer(self._trained(), choice)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _told(batch: Batch, estimate: Tensor) -> Tensor:
    """Tell every second image's denoiser the estimate instead of the truth, where it would be told the truth.

    Not where some noise is to be kept, nor where the level is overstated.

    A denoiser that has only ever been told the truth believes every error of the estimator; one that has never been
    told it heeds nobody.
    """
    is_true = (batch["sigma"] == batch["present"]).flatten(1).all(dim=1)
    is_second = torch.arange(len(estimate), device=estimate.device) % 2 == 1
    return torch.where((is_true & is_second)[:, None, None, None], estimate, batch["sigma"])


def _mean_psnr(denoised: Tensor, clean: Tensor) -> Tensor:
    error = (denoised.clamp(0, 1) - clean).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error)).mean()
