import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pellucid.errors import TrainingError
from pellucid.training.loggers import EventFile, JsonLines


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_each_measurement_is_a_line_that_counts_steps_taken(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path, first_step=0)
    for step in (0, 49):  # Lightning's steps
        lines.log_metrics({"loss": 0.5, "epoch": 0}, step)
    assert steps(path) == [1, 50]
    assert json.loads(path.read_text().splitlines()[0]).keys() == {"step", "time", "loss"}


def test_what_a_stop_has_lost_is_dropped_and_so_is_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path, first_step=0)
    for step in range(10):
        lines.log_metrics({"loss": 0.5}, step)
    with path.open("ab") as file:
        file.write(b'{"step": 3, "lo\xc3')
    JsonLines(path, first_step=4).log_metrics({"loss": 0.25}, 4)
    assert steps(path) == [1, 2, 3, 4, 5]


def test_tensorboard_reads_the_events_and_forgets_the_lost_ones(tmp_path: Path) -> None:
    before = EventFile(tmp_path, first_step=0)
    for step in range(6):
        before.log_metrics({"loss": 1.0, "epoch": 0}, step)
    after = EventFile(tmp_path, first_step=4)
    after.log_metrics({"loss": 2.0}, 4)
    after.log_picture("grid", b"png", (20, 30, 3), 5)
    seen = EventAccumulator(str(tmp_path))
    seen.Reload()
    assert [(event.step, event.value) for event in seen.Scalars("loss")] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)]
    (image,) = seen.Images("grid")
    assert (image.step, image.width, image.height, image.encoded_image_string) == (5, 30, 20, b"png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    lines, events = JsonLines(tmp_path / "metrics.jsonl", 0), EventFile(tmp_path, 0)
    for record in (lines, events):
        record.path = Path("/dev/full")
        with pytest.raises(TrainingError, match=r"^/dev/full: no space left on the disk: free some") as caught:
            record.log_metrics({"loss": 1.0}, 0)
        assert "\n" not in str(caught.value)
