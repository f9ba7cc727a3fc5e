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
import torch
from safetensors.torch import load_file

from pellucid import io
from pellucid.errors import TrainingError
from pellucid.training.callbacks import dead_channels
from pellucid.training.checkpoints import newest_checkpoint
from pellucid.training.export import export_model, load_trained, to_toml
from pellucid.training.pretrained import read_weights
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.trainer import train
from tests.training.conftest import TINY

pytestmark = pytest.mark.slow


def test_a_run_leaves_weights_metrics_and_its_recipe(run: Path, tiny: Recipe) -> None:
    assert Recipe.model_validate_json((run / "recipe.json").read_text()) == tiny
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    levels = [row["psnr_25"] for row in rows if "psnr_25" in row]
    assert len(levels) == tiny.n_steps // tiny.validate_every
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


def test_a_run_shows_how_it_comes_on(run: Path, tiny: Recipe) -> None:
    grids = sorted(path.name for path in (run / "pictures").iterdir())
    assert grids == ["grid-00000004.png", "grid-00000008.png", "grid-00000012.png"]
    pages = [io.read(run / "pictures" / name).pages[0] for name in grids]
    assert all(page.shape == pages[0].shape for page in pages)
    side = 216
    left = 8 + 2 * (side + 8)
    assert np.array_equal(pages[0][-8 - side : -8, left : left + side], pages[2][-8 - side : -8, left : left + side])
    assert not np.array_equal(pages[0], pages[2])
    assert json.loads((run / "data.json").read_text())["n_images"] == 6
    assert json.loads((run / "versions.json").read_text())["seed"] == tiny.seed
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step=12.ckpt", "step=8.ckpt"]
    assert not list(run.rglob(".*"))


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_with_the_same_weights(
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


def test_a_run_resumed_at_its_end_gives_the_same_weights(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path
) -> None:
    ended = shutil.copytree(run, tmp_path / "ended")
    (ended / "weights.safetensors").unlink()
    train(tiny, clean_folder, ended, resume=True)
    assert same_weights(run, ended)


def test_a_run_that_is_asked_to_stop_says_how_to_go_on_and_does_so_exactly(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(to_toml(TINY))
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


def test_a_disk_that_fills_up_loses_nothing(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "full"
    force = os.fsync

    def fill_up(descriptor: int) -> None:
        if "step=8" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
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


def test_a_loss_that_becomes_nan_keeps_the_last_good_checkpoint(
    tiny: Recipe, clean_folder: Path, tmp_path: Path
) -> None:
    wild = tiny.optimizer.model_copy(update={"name": "sgd", "lr": 1e30, "n_warmup": 1})
    recipe = tiny.model_copy(update={"optimizer": wild, "validate_every": 1, "n_steps": 50})
    with pytest.raises(TrainingError, match=r"(step=\d+\.ckpt is kept|there is no checkpoint).*lower optimizer\.lr"):
        train(recipe, clean_folder, tmp_path / "wild")
    newest = newest_checkpoint(tmp_path / "wild")
    assert newest is not None
    state = torch.load(newest, weights_only=True)
    for part in ("state_dict", "current_model_state"):
        assert all(bool(value.isfinite().all()) for value in state[part].values())
    assert not (tmp_path / "wild" / "weights.safetensors").exists()


def test_other_data_is_refused_on_resuming(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for index in range(4):
        shutil.copy(clean_folder / f"{index}.png", fewer)
    with pytest.raises(TrainingError, match="n_images is 4 and the run was begun with 6"):
        train(tiny, fewer, tmp_path / "run", resume=True)


#: Runs the command, and kills its own process in the middle of writing a file.
KILLED_WHILE_WRITING = """
import os, signal, sys
from pellucid.cli import main

name, force = sys.argv.pop(1), os.fsync

def kill(descriptor):
    if name in os.readlink(f"/proc/self/fd/{descriptor}"):
        os.ftruncate(descriptor, 5000)
        os.kill(os.getpid(), signal.SIGKILL)
    force(descriptor)

os.fsync = kill
main()
"""


def test_a_run_killed_again_and_again_ends_with_the_weights_of_one_that_was_not(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(to_toml(TINY))
    out = tmp_path / "killed"
    arguments = ["train", recipe, "--data", clean_folder, "--out", out]
    # In the middle of writing the first checkpoint, when there is none to go on from.
    script = [sys.executable, "-c", KILLED_WHILE_WRITING]
    killed = subprocess.run([*script, ".step=4.ckpt.part", *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in (out / "checkpoints").iterdir()] == [".step=4.ckpt.part"]
    # From outside, as soon as the figures of the second validation are out.
    command = [sys.executable, "-m", "pellucid", *arguments, "--resume"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not any(line["step"] == 8 and "psnr_25" in line for line in whole_lines(out / "metrics.jsonl")):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    # In the middle of writing the last one.
    killed = subprocess.run([*script, ".step=12.ckpt.part", *arguments, "--resume"], capture_output=True, check=False)
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


def test_pairs_of_folders_train_and_are_validated_on(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    rng = np.random.default_rng(0)
    for path in clean_folder.iterdir():
        clean = io.read(path).pages[0]
        levels = clean.astype(np.float32) / np.iinfo(clean.dtype).max * 255 + 20 * rng.standard_normal(clean.shape)
        page = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        io.write(io.Picture((page,), (None,), "png"), noisy / path.name)
    out = tmp_path / "pairs"
    train(tiny, clean_folder, out, noisy=noisy)
    rows = [line for line in metrics(out) if "psnr" in line]
    assert len(rows) == 3
    assert all(15 < line["psnr"] < 40 for line in rows)
    told = json.loads((out / "data.json").read_text())["sigma_max"]
    assert 20 < told < 27
    assert load_trained(out).sigma_max == told


def test_other_noise_is_validated_as_one(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    table = {**TINY, "n_steps": 1, "validate_every": 1}
    data = {**TINY["data"], "noise": [{"kind": "speckle"}, {"kind": "poisson_gaussian"}]}  # type: ignore[dict-item]
    out = tmp_path / "speckle"
    train(parse_recipe({**table, "data": data}, "speckle"), clean_folder, out)
    assert {key for line in metrics(out) for key in line} == {"step", "time", "loss", "psnr"}


def test_a_model_of_another_shape_is_no_start(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"initial 'color': its .* give the recipe's \[network\] the model's shape"):
        train(tiny.model_copy(update={"initial": "color"}), clean_folder, tmp_path / "other")


def test_silent_channels_start_anew_and_a_resumed_run_does_the_same(
    run: Path,
    tiny: Recipe,
    clean_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = load_trained(run)
    bias = trained.network.encoder[1][0].conv1.bias
    torch.nn.init.constant_(bias, -1e3)
    model = export_model(trained, tmp_path / "model")
    monkeypatch.setattr(dead_channels, "REVIVE_EVERY", 6)
    again = tiny.model_copy(update={"initial": str(model)})
    out = train(again, clean_folder, tmp_path / "again").parent
    assert f"{len(bias)} hidden channels fire at nothing and start anew" in capsys.readouterr().err
    assert load_file(out / "weights.safetensors")["encoder.1.0.conv1.bias"].min() > -1

    stopped = shutil.copytree(out, tmp_path / "stopped")
    for name in ("weights.safetensors", "checkpoints/step=12.ckpt"):
        (stopped / name).unlink()
    # What is revived at the twelfth step of this one and of the other is the same.
    train(again, clean_folder, stopped, resume=True)
    assert same_weights(out, stopped)
    assert without_time(out) == without_time(stopped)
    shares = [line["silent_share"] for line in metrics(out) if "silent_share" in line]
    assert shares
    assert max(shares) < 0.5


def test_a_share_of_the_start_is_kept(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    model = export_model(load_trained(run), tmp_path / "model")
    first, weights = read_weights(model), {}
    for share in (0.0, 0.75):
        again = tiny.model_copy(update={"initial": str(model), "initial_share": share, "seed": 5})
        weights[share] = load_file(train(again, clean_folder, tmp_path / str(share)))
    for name, value in weights[0.75].items():
        assert not torch.equal(weights[0.0][name], first[name])
        torch.testing.assert_close(value, 0.25 * weights[0.0][name] + 0.75 * first[name], rtol=1e-3, atol=1e-6)
