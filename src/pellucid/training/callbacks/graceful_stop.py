"""Abort on a non-finite loss; stop gracefully on signals."""

import math
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from pellucid.errors import TrainingError


class StopRequested(Exception):  # noqa: N818 (not an error: the run can be resumed)
    """A run has stopped on a signal, with a checkpoint of its last step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


class GracefulStop(pl.Callback):  # type: ignore[misc]
    """Shares loss and stop requests between the processes after each step, so that all stop together.

    The first SIGINT or SIGTERM requests a stop at the end of the step, the second interrupts at once. `remedy` returns
    the end of the message about a non-finite loss. `loss` is the mean over all processes of the last step, NaN before
    the first.
    """

    def __init__(self, remedy: Callable[[], str]) -> None:
        self.remedy = remedy
        self.loss, self.is_requested = math.nan, False
        self._has_signal = False
        self._former: dict[int, Any] = {}

    def on_train_start(self, *_: Any) -> None:
        """Install the signal handlers, over those of Lightning, which communicate between processes."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            # Background jobs of a shell ignore interrupts.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._handle)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Share loss and stop requests.

        Raises
        ------
        TrainingError
            The loss is NaN or infinite.
        """
        shared = torch.tensor([float(outputs["loss"]), float(self._has_signal)], dtype=torch.float64)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(shared)
            shared[0] /= trainer.world_size
            # Replaces the loss that the step has logged, which is this process's own.
            module.log("loss", shared[0].float())
        self.loss, self.is_requested = float(shared[0]), bool(shared[1])
        if not math.isfinite(self.loss):
            raise TrainingError(f"the loss became {self.loss} at step {trainer.global_step}; {self.remedy()}")

    def on_train_end(self, *_: Any) -> None:
        """Restore the signal handlers."""
        self._restore()

    def on_exception(self, *_: Any) -> None:
        """Restore the signal handlers."""
        self._restore()

    def _handle(self, *_: Any) -> None:
        if self._has_signal:
            raise KeyboardInterrupt
        self._has_signal = True

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()
