"""Checkpoints: atomic, finite, without pickled code, and read back from the newest one that is not damaged."""

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
from pellucid.training.callbacks.graceful_stop import GracefulStop, StopRequested
from pellucid.training.run_dir import CHECKPOINTS, disk_errors, write_file

_NAME = re.compile(r"(?:.*-)?step=(\d+)\.ckpt")
_MUST_BE_FINITE = ("state_dict", "current_model_state", "optimizer_states")


class AtomicCheckpointIO(CheckpointIO):  # type: ignore[misc]
    """Writes Lightning's checkpoints atomically.

    Lightning moves a file from the system's temporary folder, which is not atomic across disks, and does not sync it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a checkpoint.

        Raises
        ------
        TrainingError
            It holds NaN or infinite weights (nothing is written), or the disk is full.
        """
        step = checkpoint["global_step"]
        if not _is_finite([checkpoint.get(part, {}) for part in _MUST_BE_FINITE]):
            raise TrainingError(
                f"{path}: the weights are not finite after step {step}: not written; {divergence_remedy(Path(path))}"
            )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_file(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, tensors and plain values only."""
        return _read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint, if it exists."""
        Path(path).unlink(missing_ok=True)


class ValidationCheckpoint(Checkpoint):  # type: ignore[misc]
    """Saves a checkpoint after each validation, keeps the newest two, and ends a run that is to stop."""

    N_KEPT = 2

    def __init__(self, folder: Path, stop: GracefulStop) -> None:
        self.folder, self.stop = folder, stop

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop if requested, unless a validation follows, whose metrics would be lost."""
        if self.stop.is_requested and trainer.global_step % trainer.val_check_batch:
            self._save(trainer)
            raise StopRequested(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save; the validation's metrics are written by now, so that a resumed run neither loses nor repeats them."""
        self._save(trainer)
        if self.stop.is_requested:
            raise StopRequested(trainer.global_step)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")
        if trainer.is_global_zero:
            with disk_errors(self.folder):
                for old in _newest_first(self.folder)[self.N_KEPT :]:
                    old.unlink(missing_ok=True)


def newest_checkpoint(run: Path) -> Path | None:
    """Find the checkpoint with the most steps in a run folder."""
    return next(iter(_newest_first(run / CHECKPOINTS)), None)


def find_checkpoint(run: Path) -> tuple[Path | None, int]:
    """Find the newest readable checkpoint of a run folder, None if there is none, and its step.

    Damaged checkpoints are reported on stderr; if all are damaged, that is a TrainingError.
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


def divergence_remedy(checkpoint: Path) -> str:
    """Say what to do about a run that diverged; `checkpoint` is any path in its ``checkpoints`` folder."""
    last = newest_checkpoint(checkpoint.parent.parent)
    kept = f"{last.name} is kept" if last else "there is no checkpoint yet"
    start = "from its weights (pellucid export, --set init_from=MODELDIR) " if last else ""
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
