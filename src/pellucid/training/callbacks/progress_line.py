"""Progress on standard error: a bar on a terminal, and a line for each validation."""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl

from pellucid.progress import ProgressBar
from pellucid.training.callbacks.graceful_stop import GracefulStop

_MAX_NAMED = 10


def say(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def say_data(n_images: int, n_held_out: int, skipped: Sequence[str]) -> None:
    """Report the images, and name the first files that are skipped."""
    say(f"data: {n_images} images, {n_held_out} of them held out, {len(skipped)} files skipped")
    for line in skipped[:_MAX_NAMED]:
        say(f"  skipped {line}")
    if len(skipped) > _MAX_NAMED:
        say(f"  and {len(skipped) - _MAX_NAMED} more, all in data.json")


class ProgressLine(pl.Callback):  # type: ignore[misc]
    """Shows steps, speed, PSNR, and the loss that `stop` has recorded."""

    def __init__(self, stop: GracefulStop) -> None:
        self.stop = stop
        self.bar: ProgressBar | None = None
        self._start_s, self._first_step = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Start the clock and the bar."""
        self._start_s, self._first_step = time.monotonic(), trainer.global_step
        self.bar = ProgressBar(total=trainer.max_steps)
        self.bar.update(trainer.global_step, trainer.max_steps)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Update the bar."""
        if self.bar is not None and self.bar.is_shown:
            self.bar.update(trainer.global_step, trainer.max_steps, self.note(trainer))

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Print the metrics of a validation."""
        figures = "  ".join(f"{name} {level:.2f}" for name, level in _levels(trainer))
        elapsed = timedelta(seconds=round(time.monotonic() - self._start_s))
        line = f"step {trainer.global_step}/{trainer.max_steps}  loss {self.stop.loss:.4f}  {figures}  {elapsed}"
        line += f"  {self._rate(trainer):.2f} steps/s"
        (say if self.bar is None else self.bar.print)(line)

    def on_train_end(self, *_: Any) -> None:
        """Remove the bar."""
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Remove the bar, so that the error has its own line."""
        self._close()

    def note(self, trainer: pl.Trainer) -> str:
        """Describe speed, loss and the last validation."""
        figures = (f"{name} {level:.2f}" for name, level in _levels(trainer)[:3])
        return "  ".join([f"{self._rate(trainer):.2f} steps/s", f"loss {self.stop.loss:.4f}", *figures])

    def _rate(self, trainer: pl.Trainer) -> float:
        return float(trainer.global_step - self._first_step) / max(time.monotonic() - self._start_s, 1e-9)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _levels(trainer: pl.Trainer) -> list[tuple[str, float]]:
    """List the PSNR of the last validation by sigma: ``psnr``, or ``psnr_15`` and so on."""
    measured = [(name, float(value)) for name, value in trainer.callback_metrics.items() if name.startswith("psnr")]
    return sorted(measured, key=lambda pair: float(pair[0].removeprefix("psnr").removeprefix("_") or 0))
