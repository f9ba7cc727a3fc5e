import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from pellucid.errors import ParameterError, RecipeError
from pellucid.training.distributed import World, find_world, on_first_rank, process_group
from pellucid.training.recipe import Recipe
from pellucid.training.trainer import train

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_find_world() -> None:
    assert find_world({}) == World(0, 1, 1)
    assert find_world({"MASTER_ADDR": "host"}) == World(0, 1, 1)
    assert find_world(TORCHRUN) == World(3, 4, 2)
    with pytest.raises(ParameterError, match="MASTER_PORT is not set"):
        find_world({key: value for key, value in TORCHRUN.items() if key != "MASTER_PORT"})
    with pytest.raises(ParameterError, match="are not numbers"):
        find_world({**TORCHRUN, "RANK": "first"})


def test_single_process() -> None:
    with process_group(World()):
        assert on_first_rank(World(), lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            on_first_rank(World(), lambda: 1 // 0)
    assert not torch.distributed.is_initialized()


def test_batch_not_divisible(tiny: Recipe, clean_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=r"data\.batch_size is 4: make it a multiple of the 3 processes"):
        train(tiny, clean_folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Train in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    words = [*command, "-m", "pellucid", "train", *arguments]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "atol"),
    [
        ({"name": "momentum", "lr": 0.01}, 1e-6),
        # Muon lengthens the gradient's shortest directions, and with them what rounding has put there.
        ({"name": "muon", "lr": 2e-3}, 5e-4),
    ],
)
def test_two_processes_equal_one(
    tiny: Recipe, clean_folder: Path, tmp_path: Path, optimizer: dict[str, object], atol: float
) -> None:
    chosen = tiny.optimizer.model_copy(update=optimizer)
    each_step = tiny.model_copy(update={"max_steps": 4, "val_interval": 1, "optimizer": chosen})
    one, two = tmp_path / "one", tmp_path / "two"
    train(each_step, clean_folder, one)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tomli_w.dumps(each_step.model_dump(exclude_none=True)))
    done = torchrun(recipe, "--data", clean_folder, "--out", two)
    assert done.returncode == 0, done.stderr
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
    assert len(list((two / "samples").iterdir())) == 4
    assert len(list((two / "events").iterdir())) == 1
    assert json.loads((two / "versions.json").read_text())["sessions"][0]["n_processes"] == 2


@pytest.mark.slow
def test_two_stages_in_two_processes(tiny_stages: Path, clean_folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        done = torchrun(tiny_stages, "--data", clean_folder, "--out", out)
        assert done.returncode == 0, done.stderr
    for lost in ("weights.safetensors", "stage-2/weights.safetensors", "stage-2/checkpoints/step=6.ckpt"):
        (two / lost).unlink()
    done = torchrun(tiny_stages, "--data", clean_folder, "--out", two, "--resume")
    assert done.returncode == 0, done.stderr
    weights = [load_file(run / "weights.safetensors") for run in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_an_error_ends_all_processes(tiny_stages: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = torchrun(tiny_stages, "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert done.returncode != 0
    assert f"{tmp_path / 'empty'}: no image found" in done.stderr
