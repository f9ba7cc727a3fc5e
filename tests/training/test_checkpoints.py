import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid.errors import TrainingError
from pellucid.training.checkpoints import AtomicCheckpointIO, find_checkpoint, newest_checkpoint


def checkpoint(step: int, **more: Any) -> dict[str, Any]:
    return {"global_step": step, "state_dict": {"w": torch.arange(1000.0)}, **more}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three sound checkpoints."""
    for step in (500, 1000, 1500):
        AtomicCheckpointIO().save_checkpoint(checkpoint(step), tmp_path / "checkpoints" / f"step={step}.ckpt")
    return tmp_path


def test_newest_checkpoint(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "notes.ckpt").touch()
    assert newest_checkpoint(run) == run / "checkpoints" / "step=1500.ckpt"
    assert newest_checkpoint(tmp_path / "none") is None
    # The name that Lightning's own checkpoints have.
    (run / "checkpoints" / "epoch=0-step=2000.ckpt").touch()
    assert newest_checkpoint(run) == run / "checkpoints" / "epoch=0-step=2000.ckpt"


def test_round_trip(run: Path) -> None:
    path, n_steps = find_checkpoint(run)
    assert n_steps == 1500
    state = AtomicCheckpointIO().load_checkpoint(path)["state_dict"]
    assert torch.equal(state["w"], torch.arange(1000.0))
    assert find_checkpoint(run / "none") == (None, 0)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (os.mkdir, (str(self.path),))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"no checkpoint at all" * 100)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


def trapped(path: Path) -> None:
    torch.save({"global_step": 1500, "state_dict": {}, "trap": Trap(path.with_name("sprung"))}, path)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(path.with_name("sprung"))))


def of_another_kind(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


DAMAGES = [truncated, emptied, garbled, zeroed, trapped, pickled, of_another_kind]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_checkpoint_is_skipped(
    run: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(run / "checkpoints" / "step=1500.ckpt")
    path, n_steps = find_checkpoint(run)
    assert (path, n_steps) == (run / "checkpoints" / "step=1000.ckpt", 1000)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "step=1500.ckpt: damaged" in said
    assert "going on from step=1000.ckpt" in said
    assert not (run / "checkpoints" / "sprung").exists()


def test_all_checkpoints_damaged(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        truncated(path)
    with pytest.raises(TrainingError, match="all 3 checkpoints are damaged") as caught:
        find_checkpoint(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["state_dict", "current_model_state", "optimizer_states"])
def test_non_finite_weights_are_not_written(run: Path, part: str, value: float) -> None:
    bad = {"a": torch.zeros(3), "b": [torch.tensor([1.0, value])], "count": torch.tensor(3)}
    before = sorted((run / "checkpoints").iterdir())
    with pytest.raises(TrainingError, match=r"after step 1501: not written; step=1500.ckpt is kept.*lower opt"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(1501, **{part: bad}), run / "checkpoints" / "step=1501.ckpt")
    assert sorted((run / "checkpoints").iterdir()) == before
