import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from pellucid import find_model, io
from pellucid.errors import TrainingError
from pellucid.training.checkpoints import newest_checkpoint
from pellucid.training.export import export_model, load_trained
from pellucid.training.pretrained import read_weights
from pellucid.training.recipe import Recipe, load_recipe, parse_recipe
from pellucid.training.trainer import train
from tests.training.conftest import TINY

pytestmark = pytest.mark.slow


def test_run_folder(run: Path, tiny: Recipe) -> None:
    assert Recipe.model_validate_json((run / "recipe.json").read_text()) == tiny
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    levels = [row["psnr_25"] for row in rows if "psnr_25" in row]
    assert len(levels) == tiny.max_steps // tiny.val_interval
    assert np.isfinite(levels).all()
    assert list((run / "events").iterdir())
    assert newest_checkpoint(run) is not None


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_time(run: Path) -> list[dict[str, float]]:
    return [{key: value for key, value in line.items() if key != "time"} for line in metrics(run)]


def test_samples_and_records(run: Path, tiny: Recipe) -> None:
    grids = sorted(path.name for path in (run / "samples").iterdir())
    assert grids == ["grid-00000004.png", "grid-00000008.png", "grid-00000012.png"]
    pages = [io.read(run / "samples" / name).pages[0] for name in grids]
    assert all(page.shape == pages[0].shape for page in pages)
    side = 216
    left = 8 + 2 * (side + 8)
    assert np.array_equal(pages[0][-8 - side : -8, left : left + side], pages[2][-8 - side : -8, left : left + side])
    assert not np.array_equal(pages[0], pages[2])
    assert json.loads((run / "data.json").read_text())["n_images"] == 6
    assert json.loads((run / "versions.json").read_text())["seed"] == tiny.seed
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step=12.ckpt", "step=8.ckpt"]
    assert not list(run.rglob(".*"))


def test_resume_after_damaged_checkpoint(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = shutil.copytree(run, tmp_path / "stopped")
    (stopped / "weights.safetensors").unlink()
    newest = newest_checkpoint(stopped)
    assert newest is not None
    newest.write_bytes(newest.read_bytes()[:10_000])
    train(tiny, clean_folder, stopped, resume=True)
    assert "step=12.ckpt: damaged" in capsys.readouterr().err
    assert same_weights(run, stopped)
    assert without_time(run) == without_time(stopped)


def test_resume_at_the_end(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    ended = shutil.copytree(run, tmp_path / "ended")
    (ended / "weights.safetensors").unlink()
    train(tiny, clean_folder, ended, resume=True)
    assert same_weights(run, ended)


def test_resume_after_sigint(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tomli_w.dumps(TINY))
    out = tmp_path / "asked"
    command = [sys.executable, "-m", "pellucid", "train", recipe, "--data", clean_folder, "--out", out]
    # A process of its own, as users have it.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (out / "checkpoints" / "step=4.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130, told
    said = re.search(r"stopped after step (\d+), checkpoint saved: go on with --resume", told)
    assert said is not None
    newest = newest_checkpoint(out)
    assert newest is not None
    assert newest.name == f"step={said[1]}.ckpt"
    assert 4 <= int(said[1]) < 12
    train(tiny, clean_folder, out, resume=True)
    assert same_weights(run, out)
    assert without_time(run) == without_time(out)


def test_resume_after_full_disk(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, n_synced = tmp_path / "full", {"ckpt": 0}
    force = os.fsync

    def fill_up(descriptor: int) -> None:
        n_synced["ckpt"] += Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".ckpt"
        if n_synced["ckpt"] == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        force(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(TrainingError, match=r"step=8\.ckpt: no space left on the disk: free some") as caught:
            train(tiny, clean_folder, out)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step=4.ckpt"]
    train(tiny, clean_folder, out, resume=True)
    assert same_weights(run, out)


def test_nan_keeps_last_checkpoint(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    wild = tiny.optimizer.model_copy(update={"name": "sgd", "lr": 1e30, "warmup_steps": 1})
    recipe = tiny.model_copy(update={"optimizer": wild, "val_interval": 1, "max_steps": 50})
    with pytest.raises(TrainingError, match=r"(step=\d+\.ckpt is kept|there is no checkpoint).*lower optimizer\.lr"):
        train(recipe, clean_folder, tmp_path / "wild")
    newest = newest_checkpoint(tmp_path / "wild")
    assert newest is not None
    state = torch.load(newest, weights_only=True)
    for part in ("state_dict", "current_model_state"):
        assert all(bool(value.isfinite().all()) for value in state[part].values())
    assert not (tmp_path / "wild" / "weights.safetensors").exists()


def test_other_data_is_refused(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for index in range(4):
        shutil.copy(clean_folder / f"{index}.png", fewer)
    with pytest.raises(TrainingError, match="n_images is 4 and was 6 when the run began"):
        train(tiny, fewer, tmp_path / "run", resume=True)


#: Runs the command, and kills its own process in the middle of writing the n-th file of a suffix.
KILLED_WHILE_WRITING = """
import os, signal, sys
from pellucid.cli import main

suffix, left, force = sys.argv.pop(1), [int(sys.argv.pop(1))], os.fsync

def kill(descriptor):
    left[0] -= os.readlink(f"/proc/self/fd/{descriptor}").endswith(suffix)
    if left[0] == 0:
        os.ftruncate(descriptor, 5000)
        os.kill(os.getpid(), signal.SIGKILL)
    force(descriptor)

os.fsync = kill
main()
"""


def test_resume_after_kills(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tomli_w.dumps(TINY))
    out = tmp_path / "killed"
    arguments = ["train", recipe, "--data", clean_folder, "--out", out]
    # In the middle of writing the first checkpoint, when there is none to go on from.
    script = [sys.executable, "-c", KILLED_WHILE_WRITING]
    killed = subprocess.run([*script, ".ckpt", "1", *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (leftover,) = (out / "checkpoints").iterdir()
    assert leftover.name.startswith(".pellucid-")
    # From outside, as soon as the figures of the second validation are out.
    command = [sys.executable, "-m", "pellucid", *arguments, "--resume"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not any(line["step"] == 8 and "psnr_25" in line for line in whole_lines(out / "metrics.jsonl")):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    # In the middle of writing the last one.
    killed = subprocess.run([*script, ".ckpt", "1", *arguments, "--resume"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    train(tiny, clean_folder, out, resume=True)
    assert same_weights(run, out)
    assert without_time(run) == without_time(out)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step=12.ckpt", "step=8.ckpt"]


def whole_lines(path: Path) -> list[dict[str, float]]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_refusals(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="already holds a run"):
        train(tiny, clean_folder, run)
    with pytest.raises(TrainingError, match="no run to resume"):
        train(tiny, clean_folder, tmp_path / "new", resume=True)


def test_train_on_pairs(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    rng = np.random.default_rng(0)
    for path in clean_folder.iterdir():
        clean = io.read(path).pages[0]
        levels = clean.astype(np.float32) / np.iinfo(clean.dtype).max * 255 + 20 * rng.standard_normal(clean.shape)
        page = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        io.write(io.Image((page,), (None,), "png"), noisy / path.name)
    out = tmp_path / "pairs"
    train(tiny, clean_folder, out, noisy=noisy)
    rows = [line for line in metrics(out) if "psnr" in line]
    assert len(rows) == 3
    assert all(15 < line["psnr"] < 40 for line in rows)
    told = json.loads((out / "data.json").read_text())["sigma_max"]
    assert 20 < told < 27
    assert load_trained(out).sigma_max == told


def test_validation_of_other_noise(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    table = {**TINY, "max_steps": 1, "val_interval": 1}
    data = {**TINY["data"], "noise": [{"kind": "speckle"}, {"kind": "poisson_gaussian"}]}  # type: ignore[dict-item]
    out = tmp_path / "speckle"
    train(parse_recipe({**table, "data": data}, "speckle"), clean_folder, out)
    assert {key for line in metrics(out) for key in line} == {"step", "time", "loss", "psnr"}


def test_init_from_other_shape(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"init_from 'color': its .* give the recipe's \[network\] the same shape"):
        train(tiny.model_copy(update={"init_from": "color"}), clean_folder, tmp_path / "other")


def test_dead_channels_are_reset_and_resumed(
    run: Path,
    tiny: Recipe,
    clean_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = load_trained(run)
    bias = trained.network.encoder[1][0].conv1.bias
    torch.nn.init.constant_(bias, -1e3)
    model = export_model(trained, tmp_path / "model")
    again = tiny.model_copy(update={"init_from": str(model)})
    out = train(again, clean_folder, tmp_path / "again", reset_interval=6).parent
    assert f"{len(bias)} dead channels were re-initialized" in capsys.readouterr().err
    assert load_file(out / "weights.safetensors")["encoder.1.0.conv1.bias"].min() > -1

    stopped = shutil.copytree(out, tmp_path / "stopped")
    for name in ("weights.safetensors", "checkpoints/step=12.ckpt"):
        (stopped / name).unlink()
    # What is revived at the twelfth step of this one and of the other is the same.
    train(again, clean_folder, stopped, resume=True, reset_interval=6)
    assert same_weights(out, stopped)
    assert without_time(out) == without_time(stopped)
    shares = [line["dead_channel_ratio"] for line in metrics(out) if "dead_channel_ratio" in line]
    assert shares
    assert max(shares) < 0.5


def test_init_average(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    model = export_model(load_trained(run), tmp_path / "model")
    first, weights = read_weights(model), {}
    for share in (0.0, 0.75):
        again = tiny.model_copy(update={"init_from": str(model), "init_average": share, "seed": 5})
        weights[share] = load_file(train(again, clean_folder, tmp_path / str(share)))
    for name, value in weights[0.75].items():
        assert not torch.equal(weights[0.0][name], first[name])
        torch.testing.assert_close(value, 0.25 * weights[0.0][name] + 0.75 * first[name], rtol=1e-3, atol=1e-6)


def test_stages(tiny_stages: Path, clean_folder: Path, tmp_path: Path) -> None:
    stages = load_recipe(tiny_stages)
    out = tmp_path / "stages"
    weights = load_file(train(stages, clean_folder, out))
    train(stages[0], clean_folder, tmp_path / "first")
    assert same_weights(out / "stage-1", tmp_path / "first")
    assert same_weights(out / "stage-2", out)
    first = load_file(out / "stage-1" / "weights.safetensors")
    assert weights.keys() > first.keys()
    assert not any(torch.equal(weights[name], value) for name, value in first.items() if name.endswith("weight"))
    trained = load_trained(out)
    assert (trained.stages, trained.n_steps) == (stages, 14)
    card = find_model(export_model(trained, tmp_path / "model"))
    assert (card.training["started_from"], card.training["n_steps"]) == ("random weights", 14)
    (out / "stage-2" / "weights.safetensors").unlink()
    assert load_trained(out).n_steps == 14
    shutil.rmtree(out / "stage-2")
    assert load_trained(out).stages == stages[:1]


def test_resume_stages_after_kills(tiny_stages: Path, clean_folder: Path, tmp_path: Path) -> None:
    expected, out = tmp_path / "expected", tmp_path / "killed"
    train(load_recipe(tiny_stages), clean_folder, expected)
    arguments = ["train", tiny_stages, "--data", clean_folder, "--out", out]
    script = [sys.executable, "-c", KILLED_WHILE_WRITING]
    # While writing the recipe; the second checkpoint of stage 1; its weights; the recipe of stage 2; its last
    # checkpoint; its weights; the weights of the whole run.
    moments = [(".json", 1), (".ckpt", 2), (".safetensors", 2), (".json", 2), (".ckpt", 2)]
    moments += [(".safetensors", 2), (".safetensors", 1)]
    for number, (suffix, n) in enumerate(moments):
        resume = ["--resume"] if number > 1 else []
        command = [*map(str, [*script, suffix, n, *arguments, *resume])]
        killed = subprocess.run(command, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, (suffix, n, killed.stderr)
    train(load_recipe(tiny_stages), clean_folder, out, resume=True)
    assert same_weights(expected, out)
    for stage in ("stage-1", "stage-2"):
        assert without_time(expected / stage) == without_time(out / stage)
    assert not list(out.rglob(".*"))


def test_other_data_is_refused_between_stages(tiny_stages: Path, clean_folder: Path, tmp_path: Path) -> None:
    stages = load_recipe(tiny_stages)
    train(stages, clean_folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "stage-2")
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for index in range(4):
        shutil.copy(clean_folder / f"{index}.png", fewer)
    with pytest.raises(TrainingError, match="n_files is 4 and was 6 when the run began"):
        train(stages, fewer, tmp_path / "run", resume=True)
