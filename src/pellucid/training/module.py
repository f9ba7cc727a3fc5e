"""What a training step is: the network, its loss and its optimizer, for Lightning to drive.

Batches of noisy and clean patches enter, losses and metrics leave. It knows nothing of files.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from pellucid.training.losses import LOSSES, out_of_range
from pellucid.training.networks import DenoisingAutoencoder
from pellucid.training.optimizers import build_optimizer
from pellucid.training.recipe import NetworkRecipe, Recipe
from pellucid.training.samples import Batch
from pellucid.training.schedules import SCHEDULES


def build_network(shape: NetworkRecipe) -> DenoisingAutoencoder:
    """Make the network that a recipe describes, with random weights."""
    options = shape.model_dump(exclude={"channels", "widths", "depths"})
    return DenoisingAutoencoder(shape.channels, shape.widths, shape.depths, **options)


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
        self.loss = LOSSES[recipe.loss]

    def denoise(self, batch: Batch) -> Tensor:
        """Give the denoised images of a batch, shape ``(N, C, H, W)``, float32, not clipped."""
        denoised: Tensor = batch["noisy"] - self.network(batch["noisy"], batch["sigma"]).float()
        return denoised

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Give the loss of one batch."""
        denoised = self.denoise(batch)
        loss = self.loss(denoised, batch["clean"])
        if self.recipe.range_penalty:
            loss = loss + self.recipe.range_penalty * out_of_range(denoised)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Record the mean PSNR of a batch's images, clipped to [0, 1], under the batch's name."""
        error = (self.denoise(batch).clamp(0, 1) - batch["clean"]).square().mean(dim=(1, 2, 3))
        psnr = (-10 * torch.log10(error)).mean()
        self.log(self.validation_names[batch_idx], psnr, batch_size=len(error))

    def configure_optimizers(self) -> Any:
        """Build the recipe's optimizer and schedule."""
        choice = self.recipe.optimizer
        factor = partial(
            SCHEDULES[choice.schedule],
            n_steps=self.recipe.n_steps,
            n_warmup=choice.n_warmup,
            final=choice.final_lr,
        )
        optimizer = build_optimizer(self.network, choice)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
