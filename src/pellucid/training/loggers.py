"""What a run writes down of itself while it goes on: lines of JSON, and events for TensorBoard.

Metrics and pictures enter; lines are appended to ``metrics.jsonl`` and records to a file in ``events``. A run that was
stopped goes on in the same files' place: what was measured after its checkpoint is dropped.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from pellucid.training.run_dir import write_whole, writing


class _Record(Logger):  # type: ignore[misc]
    """A logger of Lightning's that writes one file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

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


class JsonLines(_Record):
    """Appends ``{"step": ..., "time": ..., metrics}`` to a file, each line at once.

    ``step`` counts the steps taken, ``time`` the seconds since 1970.

    Parameters
    ----------
    path : Path
    first_step : int
        Lines of later steps are dropped: they were written by what a stop has lost. So is a line that a stop tore.

    Raises
    ------
    TrainingError
        The disk does not take it.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        super().__init__(path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= first_step]
        write_whole(path, "".join(f"{line}\n" for line in kept).encode())

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line; Lightning's `step` counts from 0."""
        line = {"step": (step or 0) + 1, "time": round(time.time(), 1), **_wanted(metrics)}
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class EventFile(_Record):
    """Writes TensorBoard's events, each record at once and from this thread.

    The writer that comes with TensorBoard has a thread of its own, which on a full disk dies with a traceback.

    Parameters
    ----------
    folder : Path
    first_step : int
        TensorBoard is told to forget what former files of the folder say of later steps.

    Raises
    ------
    TrainingError
        The disk does not take it.

    References
    ----------
    The format: tensorboard/compat/proto/event.proto, and the framing in its record_writer.py.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        super().__init__(folder / f"events.out.tfevents.{time.time():.6f}.pellucid")
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if first_step:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=first_step + 1, session_log=start))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a point of each metric's curve; Lightning's `step` counts from 0."""
        values = [Summary.Value(tag=key, simple_value=value) for key, value in _wanted(metrics).items()]
        self._write(Event(wall_time=time.time(), step=(step or 0) + 1, summary=Summary(value=values)))

    def log_picture(self, tag: str, png: bytes, shape: tuple[int, ...], step: int) -> None:
        """Write a picture.

        Parameters
        ----------
        tag : str
        png : bytes
            The content of an RGB PNG file.
        shape : tuple (H, W, 3)
        step : int
            Steps taken.
        """
        image = Summary.Image(height=shape[0], width=shape[1], colorspace=3, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        with writing(self.path), self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _wanted(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if key != "epoch"}


def _step_of(line: str) -> float:
    """Read a line's step; a torn line lies after all others."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
