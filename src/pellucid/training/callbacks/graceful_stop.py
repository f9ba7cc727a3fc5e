"""Watches each step of a run: whether the loss is still a number, and whether someone has asked to stop.

Losses and signals enter; a mean loss, a flag and an error leave. With several processes all see the same of both after
each step, since one that stopped alone would leave the others waiting for it for ever. It knows nothing of files.
"""

import math
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from pellucid.errors import TrainingError


class Stopped(Exception):  # noqa: N818 (nothing is wrong: a stop was asked for, and the run can go on)
    """A run has stopped because it was asked to, with a checkpoint of its last step.

    Attributes
    ----------
    n_steps : int
        Steps taken.
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__(f"stopped after step {n_steps}")
        self.n_steps = n_steps


class StepWatch(pl.Callback):  # type: ignore[misc]
    """Ends a run whose loss is not finite, and takes note of SIGINT and SIGTERM.

    The first signal asks for a stop at the end of the step, the second one interrupts at once.

    Parameters
    ----------
    remedy : callable
        Gives the end of the error's message.

    Attributes
    ----------
    loss : float
        Of the last step, the mean over all processes; NaN before the first.
    is_stopping : bool
        A stop was asked for, in any of the processes.
    """

    def __init__(self, remedy: Callable[[], str]) -> None:
        self.remedy = remedy
        self.loss, self.is_stopping = math.nan, False
        self._is_asked = False
        self._former: dict[int, Any] = {}

    def on_train_start(self, *_: Any) -> None:
        """Take over the signals; Lightning has set its own by now, which would talk to the other processes."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever starts a run in the background may have interrupts ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._ask)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Share loss and wish to stop between the processes, and look at both.

        Raises
        ------
        TrainingError
            The loss is NaN or infinite.
        """
        told = torch.tensor([float(outputs["loss"]), float(self._is_asked)], dtype=torch.float64)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(told)
            told[0] /= trainer.world_size
            # Over the loss of this process's own share, which the step has recorded.
            module.log("loss", told[0].float())
        self.loss, self.is_stopping = float(told[0]), bool(told[1])
        if not math.isfinite(self.loss):
            raise TrainingError(f"the loss became {self.loss} at step {trainer.global_step}; {self.remedy()}")

    def on_train_end(self, *_: Any) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(self, *_: Any) -> None:
        """Give the signals back."""
        self._give_back()

    def _ask(self, *_: Any) -> None:
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True

    def _give_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()
