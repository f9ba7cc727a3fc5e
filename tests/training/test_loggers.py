import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pellucid.errors import TrainingError
from pellucid.training.loggers import EventLogger, JsonlLogger


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_jsonl_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonlLogger(path, first_step=0)
    for step in (0, 49):  # Lightning's steps
        lines.log_metrics({"loss": 0.5, "epoch": 0}, step)
    assert steps(path) == [1, 50]
    assert json.loads(path.read_text().splitlines()[0]).keys() == {"step", "time", "loss"}


def test_jsonl_drops_lost_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonlLogger(path, first_step=0)
    for step in range(10):
        lines.log_metrics({"loss": 0.5}, step)
    with path.open("ab") as file:
        file.write(b'{"step": 3, "lo\xc3')
    JsonlLogger(path, first_step=4).log_metrics({"loss": 0.25}, 4)
    assert steps(path) == [1, 2, 3, 4, 5]


def test_tensorboard_purges_lost_steps(tmp_path: Path) -> None:
    before = EventLogger(tmp_path / "events", first_step=0)
    for step in range(6):
        before.log_metrics({"loss": 1.0, "epoch": 0}, step)
    before.experiment.close()
    after = EventLogger(tmp_path / "events", first_step=4)
    after.log_metrics({"loss": 2.0}, 4)
    after.experiment.add_image("grid", np.zeros((20, 30, 3), np.uint8), 5, dataformats="HWC")
    after.save()
    after.experiment.close()
    assert all(path.name.startswith("events.out.tfevents") for path in (tmp_path / "events").iterdir())
    seen = EventAccumulator(str(tmp_path / "events"))
    seen.Reload()
    assert [(event.step, event.value) for event in seen.Scalars("loss")] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)]
    (image,) = seen.Images("grid")
    assert (image.step, image.width, image.height) == (5, 30, 20)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_disk(tmp_path: Path) -> None:
    lines = JsonlLogger(tmp_path / "metrics.jsonl", 0)
    lines.path = Path("/dev/full")
    with pytest.raises(TrainingError, match=r"^/dev/full: no space left on the disk: free some") as caught:
        lines.log_metrics({"loss": 1.0}, 0)
    assert "\n" not in str(caught.value)
