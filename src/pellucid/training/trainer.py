"""Training runs: the stages of a recipe, each from images to averaged weights, exactly resumable."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from safetensors.torch import save

from pellucid.errors import RecipeError, TrainingError
from pellucid.training import run_dir
from pellucid.training.callbacks.dead_channels import RESET_INTERVAL, DeadChannelReset
from pellucid.training.callbacks.ema import WeightEMA
from pellucid.training.callbacks.graceful_stop import GracefulStop, StopRequested
from pellucid.training.callbacks.progress_line import ProgressLine, say, say_data
from pellucid.training.callbacks.sample_grid import SampleGrid
from pellucid.training.checkpoints import AtomicCheckpointIO, ValidationCheckpoint, divergence_remedy, find_checkpoint
from pellucid.training.datamodule import DenoisingDataModule, choose_examples
from pellucid.training.distributed import World, find_world, on_first_rank, process_group
from pellucid.training.loggers import EventLogger, JsonlLogger
from pellucid.training.module import DenoisingModule
from pellucid.training.optim import fastest_precision
from pellucid.training.pretrained import Weights, average_with_initial, initialize, load_weights, read_weights
from pellucid.training.recipe import PREVIOUS_STAGE, Recipe
from pellucid.training.run_dir import WEIGHTS_FILE

LOG_INTERVAL = 50
#: Patches on which channels without output count as dead.
N_MONITORED = 64


def train(
    recipe: Recipe | Sequence[Recipe],
    data: Path,
    out: Path,
    *,
    noisy: Path | None = None,
    resume: bool = False,
    reset_interval: int = RESET_INTERVAL,
) -> Path:
    """Train by a recipe; with several processes, under torchrun.

    Parameters
    ----------
    recipe : Recipe, or sequence of Recipe
        One stage or several, each of which starts from the averaged weights of the one before.
    data : Path
        Folder of clean images.
    out : Path
        The run folder. Several stages are runs of their own in its folders ``stage-1``, ``stage-2`` and so on. With
        several machines, on a disk that all of them share.
    noisy : Path, optional
        Folder of noisy images, each named like its clean one; without it, the recipe's noise is added.
    resume : bool
        Go on from the newest readable checkpoint. A run that was killed at any moment and resumed ends with the same
        weights as one that was not (same machine and number of processes, fp32).
    reset_interval : int
        Steps between resets of dead channels.

    Returns
    -------
    Path
        The averaged weights, ``out/weights.safetensors``.

    Raises
    ------
    TrainingError
        `out` already holds a run and `resume` is false; there is no run to resume, or it has another recipe or other
        data; all its checkpoints are damaged; loss or weights are not finite; the disk is full.
    RecipeError
        The batch cannot be shared evenly by the processes.
    DataError
        The folder has no usable image.
    KeyboardInterrupt
        A stop was requested by SIGINT or SIGTERM; a checkpoint of the last step was saved.
    """
    stages = (recipe,) if isinstance(recipe, Recipe) else tuple(recipe)
    world = find_world(os.environ)
    for stage in stages:
        if stage.data.batch_size % world.n_ranks:
            raise RecipeError(
                f"data.batch_size is {stage.data.batch_size}: make it a multiple of the {world.n_ranks} processes "
                "that share it"
            )
    resolved = [
        stage.model_copy(update={"precision": fastest_precision()}) if stage.precision == "auto" else stage
        for stage in stages
    ]
    with process_group(world):
        on_first_rank(world, lambda: (run_dir.resume if resume else run_dir.create)(resolved, out))
        if len(resolved) == 1:
            return _Run(resolved[0], out, world, reset_interval).go(data, noisy)
        return _train_stages(resolved, data, out, noisy, world, reset_interval)


def _train_stages(
    stages: Sequence[Recipe], data: Path, out: Path, noisy: Path | None, world: World, reset_interval: int
) -> Path:
    """Train the stages that are not finished, and copy the weights of the last one."""
    weights = out / WEIGHTS_FILE
    for number, stage in enumerate(stages, 1):
        folder = run_dir.stage_dir(out, number)
        former, weights = weights if number > 1 else None, folder / WEIGHTS_FILE
        if on_first_rank(world, weights.is_file):
            continue
        if world.rank == 0:
            say(f"stage {number} of {len(stages)}")
        on_first_rank(world, lambda: run_dir.write_recipe([stage], folder / run_dir.RECIPE_FILE))  # noqa: B023
        _Run(stage, folder, world, reset_interval, former).go(data, noisy)
    on_first_rank(world, lambda: run_dir.write_file(out / WEIGHTS_FILE, weights.read_bytes()))
    return out / WEIGHTS_FILE


@dataclass(frozen=True)
class _Run:
    """One process's part in a stage; `former` are the weights of the previous stage."""

    recipe: Recipe
    out: Path
    world: World
    reset_interval: int
    former: Path | None = None

    def go(self, data: Path, noisy: Path | None) -> Path:
        """Prepare, fit, and write the weights."""
        checkpoint, first_step = on_first_rank(self.world, self._find_checkpoint)
        pl.seed_everything(self.recipe.seed, verbose=False)
        datamodule = DenoisingDataModule(self.recipe, data, noisy)
        module = DenoisingModule(self.recipe, datamodule.val_names)
        if self.recipe.init_from and checkpoint is None:
            initialize(module.network, self._initial_weights(), f"init_from '{self.recipe.init_from}'")
        on_first_rank(self.world, lambda: self._report(module, datamodule, data))
        datamodule.open_stream(first_step=first_step, rank=self.world.rank, n_ranks=self.world.n_ranks)
        stop = GracefulStop(lambda: divergence_remedy(self.out / run_dir.CHECKPOINTS))
        average = WeightEMA()
        with closing(datamodule), _quiet(), self._stoppable():
            monitored = datamodule.sampler.batch(0, N_MONITORED)
            reset = DeadChannelReset(monitored, average, self.recipe.seed, self.reset_interval)
            checkpoints = ValidationCheckpoint(self.out / run_dir.CHECKPOINTS, stop)
            callbacks = [stop, average, reset, checkpoints]
            trainer = self._trainer(callbacks, datamodule, first_step)
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        on_first_rank(self.world, lambda: self._write_weights(module, average))
        return self.out / WEIGHTS_FILE

    def _find_checkpoint(self) -> tuple[Path | None, int]:
        found = find_checkpoint(self.out)
        seed, n_processes = self.recipe.seed, self.world.n_ranks
        run_dir.record_versions(self.out, seed=seed, first_step=found[1], n_processes=n_processes)
        return found

    def _initial_weights(self) -> Weights:
        if self.recipe.init_from == PREVIOUS_STAGE and self.former is not None:
            return load_weights(self.former)
        return read_weights(self.recipe.init_from)

    def _report(self, module: DenoisingModule, datamodule: DenoisingDataModule, data: Path) -> None:
        """Report data and network, and refuse other data than the run began with."""
        say_data(datamodule.n_images, datamodule.n_held_out, datamodule.skipped)
        n_parameters = sum(p.numel() for p in module.network.parameters())
        say(
            f"network: {n_parameters:,} parameters, {module.network.macs_per_px / 1e3:.1f} kMAC/px, "
            f"trained in {self.recipe.precision}; run: {self.out}"
        )
        path = self.out / run_dir.DATA_FILE
        facts = {"folder": str(data), **datamodule.summary()}
        _refuse_other_data(facts, path, ("n_images", "n_pixels", "n_held_out"))
        if self.former is not None:
            # What is usable depends on the size of the patches, which may differ between stages.
            _refuse_other_data(facts, self.former.with_name(run_dir.DATA_FILE), ("n_files",))
        run_dir.write_file(path, json.dumps(facts, indent=2).encode() + b"\n")
        examples = choose_examples(datamodule.val_batches, module.network.stride_px)
        run_dir.write_file(self.out / run_dir.EXAMPLES_FILE, save(examples))

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Turn all interruptions of a fit into KeyboardInterrupt, and say how to go on."""
        try:
            yield
        except StopRequested as stop:
            if self.world.rank == 0:
                say(f"stopped after step {stop.step}, checkpoint saved: go on with --resume")
            raise KeyboardInterrupt from None
        except SystemExit:  # what Lightning makes of a KeyboardInterrupt
            raise KeyboardInterrupt from None

    def _trainer(self, callbacks: list[Any], datamodule: DenoisingDataModule, first_step: int) -> pl.Trainer:
        recipe, out = self.recipe, self.out
        loggers: list[Any] = []
        if self.world.rank == 0:
            events = EventLogger(out / run_dir.EVENTS, first_step)
            loggers = [JsonlLogger(out / run_dir.METRICS_FILE, first_step), events]
            grid = SampleGrid(out / run_dir.SAMPLES, events, datamodule.val_batches)
            callbacks = [*callbacks, grid, ProgressLine(callbacks[0])]
        return pl.Trainer(
            accelerator="cpu",
            precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
            max_steps=recipe.max_steps,
            gradient_clip_val=recipe.optimizer.clip_norm,
            val_check_interval=recipe.val_interval,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=min(LOG_INTERVAL, recipe.val_interval),
            callbacks=callbacks,
            logger=loggers or False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            **_parallel_options(self.world),
        )

    def _write_weights(self, module: DenoisingModule, average: WeightEMA) -> None:
        state = {
            name.removeprefix("network."): value.contiguous()
            for name, value in average.averages.items()
            if name.startswith("network.")
        }
        if self.recipe.init_average:
            state = average_with_initial(state, module.network, self.recipe.init_average, self._initial_weights())
        path = self.out / WEIGHTS_FILE
        if not all(bool(value.isfinite().all()) for value in state.values()):
            remedy = divergence_remedy(self.out / run_dir.CHECKPOINTS)
            raise TrainingError(f"{path}: the weights are not finite: not written; {remedy}")
        run_dir.write_file(path, save(state, metadata={"recipe": self.recipe.model_dump_json()}))


def _refuse_other_data(facts: Mapping[str, Any], path: Path, keys: Sequence[str]) -> None:
    """Compare facts about the data with those that were recorded, if any."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else facts
    for key in keys:
        if before.get(key) != facts[key]:
            raise TrainingError(
                f"{facts['folder']}: {key} is {facts[key]} and was {before.get(key)} when the run began: give it the "
                "same images, or start a new run"
            )


def _parallel_options(world: World) -> dict[str, Any]:
    """Choose the trainer's options for one process or several; each process is one of Lightning's devices."""
    if world.n_ranks == 1:
        return {"devices": 1, "plugins": [AtomicCheckpointIO()]}
    return {
        "devices": world.n_local,
        "num_nodes": world.n_ranks // world.n_local,
        "strategy": DDPStrategy(process_group_backend="gloo"),
        "plugins": [AtomicCheckpointIO(), TorchElasticEnvironment()],
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advertisements and its advice about worker processes: the stream has its own thread."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        # Every process validates on everything: their metrics are equal.
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
        try:
            yield
        finally:
            logger.setLevel(level)
