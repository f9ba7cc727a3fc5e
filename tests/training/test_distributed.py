import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pellucid.errors import DataError, ParameterError, RecipeError, TrainingError
from pellucid.training.distributed import World, find_world, joined, on_first_rank
from pellucid.training.distributed import _judge as judge
from pellucid.training.recipe import Recipe
from pellucid.training.trainer import train

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_the_rank_comes_from_torchruns_variables() -> None:
    assert find_world({}) == World(0, 1, 1)
    assert find_world({"MASTER_ADDR": "host"}) == World(0, 1, 1)
    assert find_world(TORCHRUN) == World(3, 4, 2)
    with pytest.raises(ParameterError, match="MASTER_PORT is not set"):
        find_world({key: value for key, value in TORCHRUN.items() if key != "MASTER_PORT"})
    with pytest.raises(ParameterError, match="are numbers"):
        find_world({**TORCHRUN, "RANK": "first"})


def test_a_process_alone_needs_no_group() -> None:
    with joined(World()):
        assert on_first_rank(World(), lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            on_first_rank(World(), lambda: 1 // 0)
    assert not torch.distributed.is_initialized()


def test_the_process_that_explains_the_end_is_found() -> None:
    assert judge([{"result": "w"}, {"result": "w"}], [0, 0]) == "w"
    gone = {"error": "RuntimeError", "message": "RuntimeError: peer is gone"}
    full = {"error": "TrainingError", "message": "f: no space left"}
    with pytest.raises(TrainingError, match=r"^f: no space left$"):
        judge([gone, full], [1, 1])
    with pytest.raises(DataError, match=r"^empty$"):
        judge([{"error": "DataError", "message": "empty"}] * 2, [4, 4])
    with pytest.raises(TrainingError, match=r"process 1 of 2 failed .ended with code -9.: go on with --resume"):
        judge([gone, {}], [1, -9])
    # Rank 0 was still waiting for rank 1.
    with pytest.raises(TrainingError, match=r"process 1 of 2 failed .ended with code -9"):
        judge([{}, {}], [None, -9])
    with pytest.raises(TrainingError, match=r"process 0 of 2 failed .RuntimeError: peer is gone"):
        judge([gone, gone], [1, 1])
    with pytest.raises(KeyboardInterrupt):
        judge([{}, {}], [130, 130])


def test_a_batch_that_cannot_be_shared_is_refused(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.batch_size is 4: make it a multiple of the 3 processes"):
        train(tiny, clean_folder, tmp_path / "run", processes=3)
    with pytest.raises(ParameterError, match=r"processes 0: give at least 1"):
        train(tiny, clean_folder, tmp_path / "run", processes=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "atol"),
    [
        ({"name": "momentum", "lr": 0.01}, 1e-6),
        # Muon lengthens the gradient's shortest directions, and with them what rounding has put there.
        ({"name": "muon", "lr": 2e-3}, 5e-4),
    ],
)
def test_two_processes_take_the_steps_of_one(
    tiny: Recipe, clean_folder: Path, tmp_path: Path, optimizer: dict[str, object], atol: float
) -> None:
    chosen = tiny.optimizer.model_copy(update=optimizer)
    each_step = tiny.model_copy(update={"n_steps": 4, "validate_every": 1, "optimizer": chosen})
    one, two = tmp_path / "one", tmp_path / "two"
    train(each_step, clean_folder, one)
    train(each_step, clean_folder, two, processes=2)
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    n_losses = 0
    for line, other in zip(*lines, strict=True):
        for key in line.keys() - {"time"}:
            assert other[key] == pytest.approx(line[key], abs=1e-5 if key == "loss" else 1e-3)
            n_losses += key == "loss"
    assert n_losses == 4
    weights = [load_file(run / "weights.safetensors") for run in (one, two)]
    for name, values in weights[0].items():
        torch.testing.assert_close(weights[1][name], values, rtol=0, atol=atol)
    assert len(list((two / "pictures").iterdir())) == 4
    assert len(list((two / "events").iterdir())) == 1
    assert json.loads((two / "versions.json").read_text())["sessions"][0]["n_processes"] == 2


@pytest.mark.slow
def test_the_error_of_a_process_is_the_error_of_the_run(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no clean image|no image"):
        train(tiny, tmp_path / "empty", tmp_path / "run", processes=2)
