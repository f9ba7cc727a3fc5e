"""A training run: from a recipe and a folder of images to weights.

A Recipe and a folder of clean images enter; a run folder with checkpoints, metrics and the averaged weights leaves.
"""

import json
import logging
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from safetensors.torch import save_file

from pellucid.errors import TrainingError
from pellucid.evaluation.noise import GaussianRange
from pellucid.training.averaging import WeightAverage
from pellucid.training.data import Batch, BatchStream, PatchSampler, load_images
from pellucid.training.module import DenoisingModule
from pellucid.training.recipe import Recipe
from pellucid.training.records import JsonLines
from pellucid.training.warmstart import read_weights

#: Noise levels of validation, on the 0..255 scale.
VALIDATION_SIGMAS = (15.0, 25.0, 50.0)
VALIDATION_PATCH_PX = 256
RECIPE_FILE, WEIGHTS_FILE, METRICS_FILE = "recipe.json", "weights.safetensors", "metrics.jsonl"


def train(recipe: Recipe, data: Path, out: Path, *, resume: bool = False) -> Path:
    """Train by a recipe.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        Folder of clean images.
    out : Path
        The run folder; made here.
    resume : bool
        Go on from the run folder's newest checkpoint.

    Returns
    -------
    Path
        The averaged weights, ``out/weights.safetensors``.

    Raises
    ------
    TrainingError
        `out` already holds a run and `resume` is false, or there is no run to resume.
    DataError
        The folder has no usable image.
    """
    checkpoint = _prepare(recipe, out, resume)
    pl.seed_everything(recipe.seed, verbose=False)
    module = DenoisingModule(recipe)
    if recipe.initial and checkpoint is None:
        module.network.load_state_dict(read_weights(recipe.initial))
    patches, held_out = _split(recipe, data)
    first_step = 0
    if checkpoint is not None:
        first_step = int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    stream = BatchStream(patches, recipe.data.batch_size, first_step=first_step)
    with _quiet():
        trainer = _trainer(recipe, out, first_step)
        trainer.fit(module, stream, _Loader(held_out), ckpt_path=checkpoint, weights_only=True)
    if trainer.global_step < recipe.n_steps:
        raise KeyboardInterrupt
    weights = out / WEIGHTS_FILE
    state = {k: v.contiguous() for k, v in module.network.state_dict().items()}
    save_file(state, weights, metadata={"recipe": recipe.model_dump_json()})
    return weights


def _prepare(recipe: Recipe, out: Path, resume: bool) -> Path | None:
    """Make the run folder, or find the checkpoint to go on from."""
    if resume:
        newest = newest_checkpoint(out)
        if newest is None:
            raise TrainingError(f"{out}: no checkpoint to resume from: start the run without --resume")
        return newest
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: already holds a run: name another folder, or pass --resume to go on with it")
    out.mkdir(parents=True, exist_ok=True)
    (out / RECIPE_FILE).write_text(recipe.model_dump_json(indent=2) + "\n")
    versions = {"python": platform.python_version(), "torch": torch.__version__, "lightning": pl.__version__}
    (out / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
    return None


def newest_checkpoint(run: Path) -> Path | None:
    """Find the checkpoint of a run with the most steps."""
    return max(run.glob("checkpoints/*.ckpt"), key=lambda path: int(path.stem.rpartition("=")[2]), default=None)


def _split(recipe: Recipe, data: Path) -> tuple[PatchSampler, list[Batch]]:
    """Load the images; keep each so-many-th for validation, as fixed noisy crops at each level."""
    loaded = load_images(data, n_channels=recipe.network.channels, min_px=recipe.data.patch_px)
    every = recipe.data.held_out_every
    shown = [image for i, image in enumerate(loaded.images) if i % every]
    kept = [image for i, image in enumerate(loaded.images) if not i % every]
    noise = GaussianRange(recipe.data.sigma_min / 255, recipe.data.sigma_max / 255)
    patches = PatchSampler(shown or kept, recipe.data.patch_px, noise, recipe.seed, recipe.data.kept_share)
    return patches, list(_validation_batches(kept, 2 ** len(recipe.network.widths)))


def _validation_batches(held_out: Sequence[NDArray[np.uint8] | NDArray[np.uint16]], stride_px: int) -> Iterator[Batch]:
    for sigma in VALIDATION_SIGMAS:
        for index, image in enumerate(held_out):
            side = min(VALIDATION_PATCH_PX, *image.shape[:2]) // stride_px * stride_px
            sampler = PatchSampler([image], side, GaussianRange(sigma / 255, sigma / 255), seed=0)
            yield sampler.batch(index, 1)


class _Loader(torch.utils.data.DataLoader[Batch]):
    """Serves batches that are already made, in order."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__(_Listed(batches), batch_size=None)


@dataclass(frozen=True)
class _Listed(torch.utils.data.Dataset[Batch]):
    batches: list[Batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice about worker processes from users: the stream has its thread."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message="The dirpath has changed")  # a run folder may be moved
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        try:
            yield
        finally:
            logger.setLevel(level)


def _trainer(recipe: Recipe, out: Path, first_step: int) -> pl.Trainer:
    checkpoints = ModelCheckpoint(
        dirpath=out / "checkpoints", every_n_train_steps=recipe.validate_every, save_top_k=2, monitor="step", mode="max"
    )
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        max_steps=recipe.n_steps,
        gradient_clip_val=recipe.optimizer.clip_norm,
        val_check_interval=recipe.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        callbacks=[checkpoints, WeightAverage(recipe.optimizer.ema_decay)],
        logger=[JsonLines(out / METRICS_FILE, first_step), TensorBoardLogger(out, name="events", version="")],
        enable_model_summary=False,
    )
