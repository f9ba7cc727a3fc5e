"""What a run writes down of itself while it goes on: a line of JSON for each measurement.

Metrics enter, lines are appended to ``metrics.jsonl``. A run that was stopped goes on in the same file.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class JsonLines(Logger):  # type: ignore[misc]
    """Appends ``{"step": ..., "time": ..., metrics}`` to a file, each line at once.

    Parameters
    ----------
    path : Path
    first_step : int
        Lines of later steps are dropped: they were written by what a stop has lost.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        super().__init__()
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] < first_step]
        path.write_text("".join(f"{line}\n" for line in kept))

    @property
    def name(self) -> str:
        """Lightning's name of the logger."""
        return self.path.stem

    @property
    def version(self) -> int:
        """A run has one file."""
        return 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the recipe is in its own file."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line."""
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        line = {"step": step, "time": round(time.time(), 1), **values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
