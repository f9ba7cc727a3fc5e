"""What a person sees of a run on standard error: a bar on a terminal, else a line for each validation.

Steps, losses and validation figures enter; text leaves. It knows nothing of files.
"""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pellucid.training.callbacks.graceful_stop import StepWatch

_MAX_NAMED = 10


def say(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def say_data(n_images: int, n_held_out: int, skipped: Sequence[str]) -> None:
    """Tell what there is to train on, and name what is left out."""
    say(f"data: {n_images} images, {n_held_out} of them held out, {len(skipped)} files skipped")
    for line in skipped[:_MAX_NAMED]:
        say(f"  skipped {line}")
    if len(skipped) > _MAX_NAMED:
        say(f"  and {len(skipped) - _MAX_NAMED} more, all in data.json")


class ProgressLine(pl.Callback):  # type: ignore[misc]
    """Shows how far the run is.

    Parameters
    ----------
    watch : StepWatch
        Knows the loss.
    """

    def __init__(self, watch: StepWatch) -> None:
        self.watch = watch
        self._bar: RichProgress | None = None
        self._began_s, self._first_step = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Start the clock, and the bar if there is a terminal."""
        self._began_s, self._first_step = time.monotonic(), trainer.global_step
        if not sys.stderr.isatty():
            return
        columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._bar.add_task("", total=trainer.max_steps, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            figures = f"{self._rate(trainer):.2f} steps/s  loss {self.watch.loss:.4f}"
            for name, level in _levels(trainer)[:3]:
                figures += f"  {name} {level:.2f}"
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, description=figures)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Tell the figures of a validation; above the bar, where there is one."""
        figures = "  ".join(f"{name} {level:.2f}" for name, level in _levels(trainer))
        elapsed = timedelta(seconds=round(time.monotonic() - self._began_s))
        line = f"step {trainer.global_step}/{trainer.max_steps}  loss {self.watch.loss:.4f}  {figures}  {elapsed}"
        line += f"  {self._rate(trainer):.2f} steps/s"
        if self._bar is None:
            say(line)
        else:
            self._bar.console.print(line, highlight=False)

    def on_train_end(self, *_: Any) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(self, *_: Any) -> None:
        """Take the bar away, so that the error has its line."""
        self._stop()

    def _rate(self, trainer: pl.Trainer) -> float:
        return float(trainer.global_step - self._first_step) / max(time.monotonic() - self._began_s, 1e-9)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _levels(trainer: pl.Trainer) -> list[tuple[str, float]]:
    """List what the last validation measured: ``psnr``, or ``psnr_15`` and so on by the noise."""
    measured = [(name, float(value)) for name, value in trainer.callback_metrics.items() if name.startswith("psnr")]
    return sorted(measured, key=lambda pair: float(pair[0].removeprefix("psnr").removeprefix("_") or 0))
