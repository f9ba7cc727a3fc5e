"""What a training step is: the network, its loss and its optimizer, for Lightning to drive.

Batches of noisy and clean patches enter, losses and metrics leave. It knows nothing of files.
"""

from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from pellucid.training.data import Batch
from pellucid.training.losses import LOSSES
from pellucid.training.networks import DenoisingAutoencoder
from pellucid.training.optimizers import muon
from pellucid.training.recipe import Recipe
from pellucid.training.schedules import warmup_cosine


class DenoisingModule(pl.LightningModule):  # type: ignore[misc]
    """A denoising autoencoder in training.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        shape = recipe.network
        network = DenoisingAutoencoder(shape.channels, shape.widths, shape.depths)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = LOSSES[recipe.loss]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Give the loss of one batch."""
        denoised = batch["noisy"] - self.network(batch["noisy"], batch["sigma"]).float()
        loss = self.loss(denoised, batch["clean"])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Record the mean PSNR of a batch whose images all have one noise level, by that level."""
        denoised = batch["noisy"] - self.network(batch["noisy"], batch["sigma"]).float()
        error = (denoised.clamp(0, 1) - batch["clean"]).square().mean(dim=(1, 2, 3))
        psnr = (-10 * torch.log10(error)).mean()
        level = round(float(batch["sigma"].flatten()[0]) * 255)
        self.log(f"psnr_{level}", psnr, prog_bar=True, batch_size=len(error))

    def configure_optimizers(self) -> Any:
        """Build the recipe's optimizer and schedule."""
        choice = self.recipe.optimizer
        optimizer: torch.optim.Optimizer
        if choice.name == "muon":
            optimizer = muon(self.network, lr=choice.lr, weight_decay=choice.weight_decay)
        else:
            optimizer = torch.optim.AdamW(self.network.parameters(), lr=choice.lr, weight_decay=choice.weight_decay)
        factor = partial(warmup_cosine, n_steps=self.recipe.n_steps, n_warmup=choice.n_warmup, final=choice.final_lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
