"""Checkpoints: written whole, never with values that are not finite, and read back from the newest sound one.

A trainer's state enters, ``checkpoints/step=N.ckpt`` leaves, and the other way round. It knows nothing of what the
state means. No code is run from a file: torch reads tensors and plain values only.
"""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO

from pellucid.errors import TrainingError
from pellucid.training.callbacks.graceful_stop import StepWatch, Stopped
from pellucid.training.run_dir import CHECKPOINTS, write_whole, writing

_NAME = re.compile(r"(?:.*-)?step=(\d+)\.ckpt")
#: The parts of a checkpoint that must be finite for a run to go on from it, and to be exported.
_MUST_BE_FINITE = ("state_dict", "current_model_state", "optimizer_states")


class WholeCheckpoints(CheckpointIO):  # type: ignore[misc]
    """How Lightning writes and reads checkpoints: whole or not at all.

    Lightning's own way makes a file in the system's folder for temporary files and moves it, which is not one step
    where that folder is on another disk, and forces nothing to the disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a checkpoint.

        Raises
        ------
        TrainingError
            It holds NaN or infinite weights (nothing is written), or the disk does not take it.
        """
        step = checkpoint["global_step"]
        if not _is_finite([checkpoint.get(part, {}) for part in _MUST_BE_FINITE]):
            raise TrainingError(
                f"{path}: the weights are no longer finite after step {step}: not written; {lower_rate(Path(path))}"
            )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, tensors and plain values only."""
        return _read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):  # type: ignore[misc]
    """Saves a checkpoint after each validation, keeps the newest two, and ends a run that is asked to stop.

    Parameters
    ----------
    folder : Path
        The run's ``checkpoints`` folder.
    watch : StepWatch
        Knows whether a stop was asked for.
    """

    N_KEPT = 2

    def __init__(self, folder: Path, watch: StepWatch) -> None:
        self.folder, self.watch = folder, watch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop at once if that was asked for, unless a validation follows, whose figures would be lost."""
        if self.watch.is_stopping and trainer.global_step % trainer.val_check_batch:
            self._save(trainer)
            raise Stopped(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save; the validation's figures are in the metrics by now, so that none is written twice or never."""
        self._save(trainer)
        if self.watch.is_stopping:
            raise Stopped(trainer.global_step)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")
        if trainer.is_global_zero:
            with writing(self.folder):
                for old in _newest_first(self.folder)[self.N_KEPT :]:
                    old.unlink(missing_ok=True)


def newest_checkpoint(run: Path) -> Path | None:
    """Find the checkpoint of a run with the most steps; None where there is none."""
    return next(iter(_newest_first(run / CHECKPOINTS)), None)


def find_sound_checkpoint(run: Path) -> tuple[Path | None, int]:
    """Find the newest checkpoint of a run that can be read; damaged ones are named on stderr and passed over.

    Parameters
    ----------
    run : Path
        A run folder.

    Returns
    -------
    path : Path or None
        None where the run was stopped before its first checkpoint.
    n_steps : int
        Steps taken by then; 0 where there is no checkpoint.

    Raises
    ------
    TrainingError
        There are checkpoints and all are damaged.
    """
    paths = _newest_first(run / CHECKPOINTS)
    damaged: list[str] = []
    for path in paths:
        try:
            checkpoint = _read(path)
        except TrainingError as error:
            damaged.append(str(error))
            continue
        for line in damaged:
            print(f"{line}; going on from {path.name}", file=sys.stderr)
        return path, int(checkpoint["global_step"])
    if damaged:
        raise TrainingError(
            f"{run}: all {len(paths)} checkpoints are damaged: {damaged[0]}: start a new run in another folder"
        )
    return None, 0


def lower_rate(checkpoint: Path) -> str:
    """Say what to do about weights that went astray, and which checkpoint is left.

    Parameters
    ----------
    checkpoint : Path
        Any path in the run's ``checkpoints`` folder.
    """
    last = newest_checkpoint(checkpoint.parent.parent)
    kept = f"{last.name} is kept" if last else "there is no checkpoint yet"
    start = "from its weights (pellucid export, --set initial=MODELDIR) " if last else ""
    return f"{kept}: start a new run {start}with a lower optimizer.lr"


def _newest_first(folder: Path) -> list[Path]:
    steps = {path: int(match[1]) for path in folder.glob("*.ckpt") if (match := _NAME.fullmatch(path.name))}
    return sorted(steps, key=lambda path: steps[path], reverse=True)


def _read(path: Path) -> dict[str, Any]:
    # Damaged bytes make torch raise nearly anything: OSError, RuntimeError, UnpicklingError, KeyError, EOFError ...
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"global_step", "state_dict"} - checkpoint.keys()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise TrainingError(f"{path}: damaged checkpoint ({reason})") from None
    if missing:
        raise TrainingError(f"{path}: damaged checkpoint (no {', '.join(sorted(missing))})")
    return dict(checkpoint)


def _is_finite(state: Any) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(state) if tensor.is_floating_point())


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)
