"""Loggers of a run, which drop on resuming what was logged after the checkpoint."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loggers.logger import Logger

from pellucid.training.run_dir import disk_errors, write_file


class JsonlLogger(Logger):  # type: ignore[misc]
    """Appends ``{"step": ..., "time": ..., metrics}`` to a file.

    ``step`` is the number of steps taken, ``time`` the seconds since 1970. Lightning's `CSVLogger` would delete the
    metrics of a run that is resumed. Lines after `first_step`, and one that is incomplete, are dropped.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        super().__init__()
        self.path = path
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= first_step]
        write_file(path, "".join(f"{line}\n" for line in kept).encode())

    @property
    def name(self) -> str:
        """Lightning's name of the logger."""
        return self.path.stem

    @property
    def version(self) -> int:
        """A run has one file."""
        return 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the recipe has its own file."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line; Lightning's `step` counts from 0."""
        line = {"step": (step or 0) + 1, "time": round(time.time(), 1), **_without_epoch(metrics)}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class EventLogger(TensorBoardLogger):  # type: ignore[misc]
    """Writes TensorBoard events, by the number of steps taken; those after `first_step` are purged."""

    def __init__(self, folder: Path, first_step: int) -> None:
        super().__init__(
            folder.parent, name="", version=folder.name, default_hp_metric=False, purge_step=first_step + 1
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a point of each metric's curve; Lightning's `step` counts from 0."""
        super().log_metrics(_without_epoch(metrics), (step or 0) + 1)

    def save(self) -> None:
        """Flush the events, without Lightning's file of hyperparameters."""
        self.experiment.flush()


def _without_epoch(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if key != "epoch"}


def _step_of(line: str) -> float:
    """Read a line's step; infinite for an incomplete line."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
