import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from pellucid.errors import TrainingError
from pellucid.training import run_dir
from pellucid.training.recipe import PREVIOUS_STAGE, Recipe, parse_recipe
from tests.training.conftest import TINY


def test_create_twice(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    run_dir.create([tiny], out)
    assert Recipe.model_validate_json((out / "recipe.json").read_text()) == tiny
    before = (out / "recipe.json").read_bytes()
    with pytest.raises(TrainingError, match="already holds a run: name another folder, or pass --resume"):
        run_dir.create([tiny.model_copy(update={"seed": 1})], out)
    assert (out / "recipe.json").read_bytes() == before


def test_create_in_used_folder(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(TrainingError, match="is not an empty folder: name another"):
        run_dir.create([tiny], tmp_path)
    with pytest.raises(TrainingError, match="is not an empty folder"):
        run_dir.create([tiny], tmp_path / "thesis.tex")
    with pytest.raises(TrainingError, match="no run to resume: start it without --resume"):
        run_dir.resume([tiny], tmp_path)


def test_create_after_kill(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / ".pellucid-0.json").write_text("{")
    run_dir.create([tiny], tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".pellucid-1.ckpt").touch()
    run_dir.resume([tiny], tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "recipe.json"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"max_steps": 24}, "max_steps is 24 and was 12 when the run began"),
        ({"seed": 3}, "seed"),
        ({"optimizer": {**TINY["optimizer"], "lr": 0.5}}, "optimizer.lr is 0.5"),
        ({"network": {**TINY["network"], "widths": [16, 48]}}, "network.widths"),
        ({"data": {**TINY["data"], "noise": [{"kind": "uniform"}]}}, "data.noise"),
    ],
)
def test_other_recipe_is_refused(tiny: Recipe, tmp_path: Path, change: dict[str, object], key: str) -> None:
    run_dir.create([tiny], tmp_path)
    with pytest.raises(TrainingError, match=key) as caught:
        run_dir.resume([parse_recipe({**TINY, **change}, "other")], tmp_path)
    assert "--set init_from=" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_that_may_change(tmp_path: Path) -> None:
    constant = {**TINY, "optimizer": {"schedule": "constant"}}
    run_dir.create([parse_recipe(constant, "r")], tmp_path)
    longer = parse_recipe({**constant, "max_steps": 100, "val_interval": 7}, "r")
    run_dir.resume([longer], tmp_path)
    assert Recipe.model_validate_json((tmp_path / "recipe.json").read_text()) == longer


def test_damaged_recipe(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"name": "ti')
    with pytest.raises(TrainingError, match=r"recipe\.json: cannot be read"):
        run_dir.resume([tiny], tmp_path)


def test_record_versions(tmp_path: Path) -> None:
    run_dir.record_versions(tmp_path, seed=7, first_step=0, n_processes=1)
    run_dir.record_versions(tmp_path, seed=7, first_step=500, n_processes=2)
    noted = json.loads((tmp_path / "versions.json").read_text())
    assert noted["seed"] == 7
    assert [session["first_step"] for session in noted["sessions"]] == [0, 500]
    assert {"python", "torch", "pytorch-lightning", "numpy", "pellucid", "commit", "dirty"} <= noted["sessions"][
        0
    ].keys()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_source_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"commit": None, "dirty": None}
    assert run_dir.source_commit(tmp_path) == nothing
    git(tmp_path, "init", "--quiet")
    assert run_dir.source_commit(tmp_path) == nothing
    (tmp_path / "a.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert run_dir.source_commit(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a.py").write_text("1")
    assert run_dir.source_commit(tmp_path) == {"commit": commit, "dirty": True}
    # An environment inside someone's repository is not that repository's code.
    (tmp_path / ".gitignore").write_text("venv")
    (tmp_path / "venv").mkdir()
    assert run_dir.source_commit(tmp_path / "venv") == nothing
    monkeypatch.setenv("PATH", "")
    assert run_dir.source_commit(tmp_path) == nothing


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "no space left on the disk"), (errno.EIO, "cannot be")])
def test_disk_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, remedy: str) -> None:
    path = tmp_path / "a.json"
    run_dir.write_file(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(TrainingError, match=rf"a\.json: {remedy}.*go on with --resume$"):
        run_dir.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_stages_are_compared_one_by_one(tiny: Recipe, tmp_path: Path) -> None:
    second = tiny.model_copy(update={"init_from": PREVIOUS_STAGE})
    run_dir.create([tiny, second], tmp_path)
    assert run_dir.read_recipe(tmp_path / "recipe.json") == (tiny, second)
    run_dir.resume([tiny, second], tmp_path)
    with pytest.raises(TrainingError, match="has 1 stages and the run's own has 2"):
        run_dir.resume([tiny], tmp_path)
    with pytest.raises(TrainingError, match="seed is 9"):
        run_dir.resume([tiny, second.model_copy(update={"seed": 9})], tmp_path)
