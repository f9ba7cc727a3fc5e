"""A training run: from a recipe and a folder of images to weights.

A Recipe and a folder of clean images enter; a run folder with checkpoints, metrics, pictures and the averaged weights
leaves. What a network, a batch or a checkpoint is, it leaves to others: here they are put together.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from safetensors.torch import save

from pellucid.errors import ParameterError, RecipeError, TrainingError
from pellucid.training import run_dir
from pellucid.training.batch_stream import BatchStream
from pellucid.training.callbacks.dead_channels import Revival
from pellucid.training.callbacks.ema import WeightAverage
from pellucid.training.callbacks.graceful_stop import StepWatch, Stopped
from pellucid.training.callbacks.progress_line import ProgressLine, say, say_data
from pellucid.training.callbacks.sample_grid import Pictures
from pellucid.training.checkpoints import (
    Checkpoints,
    WholeCheckpoints,
    find_sound_checkpoint,
    lower_rate,
)
from pellucid.training.datamodule import HeldOut, Split, choose_examples, split_data
from pellucid.training.datasets import Batch
from pellucid.training.distributed import World, find_world, joined, launch, on_first_rank
from pellucid.training.loggers import EventFile, JsonLines
from pellucid.training.module import DenoisingModule
from pellucid.training.precision import fastest_precision
from pellucid.training.pretrained import mixed_with_start, start_from
from pellucid.training.recipe import Recipe
from pellucid.training.run_dir import WEIGHTS_FILE

#: Losses are written down each so many steps, or as often as there is a validation.
LOSS_EVERY = 50
#: What fires at none of so many patches is taken to fire at nothing.
N_LISTENED = 64


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    noisy: Path | None = None,
    resume: bool = False,
    processes: int = 1,
) -> Path:
    """Train by a recipe.

    Started by torchrun, or whatever sets its variables, this process trains as one of those.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        Folder of clean images.
    out : Path
        The run folder; made here. With several machines, on a disk that all of them share if the run is to be resumed.
    noisy : Path, optional
        Folder of noisy images, one for each clean one and named like it; without it noise is made by the recipe.
    resume : bool
        Go on from the run folder's newest sound checkpoint. A run that was killed, at whatever moment, and resumed
        ends with the same weights as one that was not (same machine and number of processes, fp32).
    processes : int
        How many processes of this machine share each batch. Each is started afresh.

    Returns
    -------
    Path
        The averaged weights, ``out/weights.safetensors``.

    Raises
    ------
    TrainingError
        `out` already holds a run and `resume` is false; there is no run to resume, or it was begun by another recipe or
        on other data; all its checkpoints are damaged; the loss or the weights are no longer finite; the disk is full.
    RecipeError
        The batch cannot be shared evenly by the processes.
    DataError
        The folder has no usable image.
    KeyboardInterrupt
        The run was asked to stop (SIGINT, SIGTERM); a checkpoint of its last step was saved.
    """
    world = find_world(os.environ)
    if processes < 1 or (processes > 1 and world.n_ranks > 1):
        raise ParameterError(f"processes {processes}: give at least 1, and none when torchrun starts the processes")
    n_ranks = processes * world.n_ranks
    if recipe.data.batch_size % n_ranks:
        raise RecipeError(
            f"data.batch_size is {recipe.data.batch_size}: make it a multiple of the {n_ranks} processes that share it"
        )
    if recipe.precision == "auto":
        recipe = recipe.model_copy(update={"precision": fastest_precision()})
    if processes > 1:
        paths = {"data": str(data), "out": str(out), "noisy": None if noisy is None else str(noisy)}
        return Path(launch({"recipe": recipe.model_dump(mode="json"), **paths, "resume": resume}, processes))
    with joined(world):
        return _Run(recipe, out, world).go(data, noisy, resume=resume)


@dataclass(frozen=True)
class _Run:
    """One process's part in a run."""

    recipe: Recipe
    out: Path
    world: World

    def go(self, data: Path, noisy: Path | None, *, resume: bool) -> Path:
        """Prepare, fit, and write the weights."""
        checkpoint, first_step = on_first_rank(self.world, lambda: self._prepare(resume=resume))
        pl.seed_everything(self.recipe.seed, verbose=False)
        split = split_data(self.recipe, data, noisy)
        module = DenoisingModule(self.recipe, split.names)
        if self.recipe.initial and checkpoint is None:
            start_from(module.network, self.recipe.initial, self.recipe.initial_estimator)
        on_first_rank(self.world, lambda: self._tell(module, split, data))
        share = self.recipe.data.batch_size // self.world.n_ranks
        stream = BatchStream(
            split.patches, share, first_step=first_step, rank=self.world.rank, n_ranks=self.world.n_ranks
        )
        watch = StepWatch(lambda: lower_rate(self.out / run_dir.CHECKPOINTS))
        average = WeightAverage(self.recipe.optimizer.ema_decay)
        with closing(stream), _quiet(), self._stoppable():
            revival = Revival(split.patches.batch(0, N_LISTENED), average, self.recipe.seed)
            trainer = self._trainer(watch, average, revival, split.held_out, first_step)
            trainer.fit(module, stream, HeldOut(split.held_out), ckpt_path=checkpoint, weights_only=True)
        on_first_rank(self.world, lambda: self._write_weights(module, average))
        return self.out / WEIGHTS_FILE

    def _prepare(self, *, resume: bool) -> tuple[Path | None, int]:
        """Make the run folder, or find the checkpoint to go on from and the steps taken by then."""
        if resume:
            run_dir.go_on(self.recipe, self.out)
            found = find_sound_checkpoint(self.out)
        else:
            run_dir.begin(self.recipe, self.out)
            found = (None, 0)
        run_dir.note_versions(self.out, seed=self.recipe.seed, first_step=found[1], n_processes=self.world.n_ranks)
        return found

    def _tell(self, module: DenoisingModule, split: Split, data: Path) -> None:
        """Tell what is trained on what, and refuse other data than the run was begun with."""
        say_data(split.record.n_images, split.n_held_out, split.record.skipped)
        n_parameters = sum(p.numel() for p in module.network.parameters())
        say(
            f"network: {n_parameters:,} parameters, {module.network.macs_per_px / 1e3:.1f} kMAC/px, "
            f"trained in {self.recipe.precision}; run: {self.out}"
        )
        path = self.out / run_dir.DATA_FILE
        facts = {"folder": str(data), "n_held_out": split.n_held_out, **asdict(split.record)}
        if path.exists():
            begun = json.loads(path.read_text(encoding="utf-8"))
            for key in ("n_images", "n_pixels", "n_held_out"):
                if begun.get(key) != facts[key]:
                    raise TrainingError(
                        f"{data}: {key} is {facts[key]} and the run was begun with {begun.get(key)}: "
                        "give it the same images, or start a new run"
                    )
        run_dir.write_whole(path, json.dumps(facts, indent=2).encode() + b"\n")
        examples = choose_examples(split.held_out, module.network.stride_px)
        run_dir.write_whole(self.out / run_dir.EXAMPLES_FILE, save(examples))

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Turn the ways in which a fit is interrupted into one, and say how to go on."""
        try:
            yield
        except Stopped as stop:
            if self.world.rank == 0:
                say(f"stopped after step {stop.n_steps}, checkpoint saved: go on with --resume")
            raise KeyboardInterrupt from None
        except SystemExit:  # what Lightning makes of a KeyboardInterrupt
            raise KeyboardInterrupt from None

    def _trainer(
        self, watch: StepWatch, average: WeightAverage, revival: Revival, held_out: Sequence[Batch], first_step: int
    ) -> pl.Trainer:
        recipe, out = self.recipe, self.out
        callbacks: list[pl.Callback] = [watch, average, revival, Checkpoints(out / run_dir.CHECKPOINTS, watch)]
        loggers: list[Any] = []
        if self.world.rank == 0:
            events = EventFile(out / run_dir.EVENTS, first_step)
            loggers = [JsonLines(out / run_dir.METRICS_FILE, first_step), events]
            pictures = Pictures(out / run_dir.PICTURES, events, held_out, recipe.n_steps)
            callbacks += [pictures, ProgressLine(watch)]
        return pl.Trainer(
            accelerator="cpu",
            precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
            max_steps=recipe.n_steps,
            gradient_clip_val=recipe.optimizer.clip_norm,
            val_check_interval=recipe.validate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=min(LOSS_EVERY, recipe.validate_every),
            callbacks=callbacks,
            logger=loggers or False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            **_spread(self.world),
        )

    def _write_weights(self, module: DenoisingModule, average: WeightAverage) -> None:
        state = {
            name.removeprefix("network."): value.contiguous()
            for name, value in average.averages.items()
            if name.startswith("network.")
        }
        if self.recipe.initial_share:
            start = (self.recipe.initial, self.recipe.initial_estimator)
            state = mixed_with_start(state, module.network, self.recipe.initial_share, *start)
        path = self.out / WEIGHTS_FILE
        if not all(bool(value.isfinite().all()) for value in state.values()):
            raise TrainingError(
                f"{path}: the weights are no longer finite: not written; {lower_rate(self.out / run_dir.CHECKPOINTS)}"
            )
        run_dir.write_whole(path, save(state, metadata={"recipe": self.recipe.model_dump_json()}))


def _spread(world: World) -> dict[str, Any]:
    """Give the trainer's options for one process or for several; each process is one of Lightning's devices."""
    if world.n_ranks == 1:
        return {"devices": 1, "plugins": [WholeCheckpoints()]}
    return {
        "devices": world.n_local,
        "num_nodes": world.n_ranks // world.n_local,
        "strategy": DDPStrategy(process_group_backend="gloo"),
        "plugins": [WholeCheckpoints(), TorchElasticEnvironment()],
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice about worker processes from users: the stream has its thread."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        # Every process validates on everything: their figures are the same.
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
        try:
            yield
        finally:
            logger.setLevel(level)
