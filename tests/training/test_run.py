import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pellucid import Denoiser, find_model
from pellucid.errors import TrainingError
from pellucid.training.export import export_model, load_trained
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.run import newest_checkpoint, train
from pellucid.training.warmstart import read_weights

from .conftest import TINY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(clean_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(parse_recipe(TINY, "tiny"), clean_folder, out)
    return out


def test_a_run_leaves_weights_metrics_and_its_recipe(run: Path, tiny: Recipe) -> None:
    assert Recipe.model_validate_json((run / "recipe.json").read_text()) == tiny
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    levels = [row["psnr_25"] for row in rows if "psnr_25" in row]
    assert len(levels) == tiny.n_steps // tiny.validate_every
    assert np.isfinite(levels).all()
    assert list((run / "events").iterdir())
    assert newest_checkpoint(run) is not None


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(run, stopped)
    (stopped / "weights.safetensors").unlink()
    last = newest_checkpoint(stopped)
    assert last is not None
    last.unlink()
    assert "step=8" in str(newest_checkpoint(stopped))
    train(tiny, clean_folder, stopped, resume=True)
    whole, resumed = (load_file(folder / "weights.safetensors") for folder in (run, stopped))
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name
    metrics = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (run, stopped)]
    for before, after in zip(*metrics, strict=True):
        assert {**before, "time": 0} == {**after, "time": 0}


def test_the_exported_model_does_what_the_trained_one_does(run: Path, tmp_path: Path) -> None:
    folder = export_model(load_trained(run), tmp_path / "model")
    card = find_model(folder)
    assert (card.name, card.channels, card.stride_px) == ("tiny", 3, 4)
    assert card.training["n_steps"] == 12
    noisy = np.random.default_rng(0).random((40, 52, 3), dtype=np.float32)
    denoised = Denoiser(folder, precision="fp32", tile_px=400).denoise(noisy, sigma=0.1)
    network = load_trained(run).network
    with torch.no_grad():
        tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
        expected = tensor - network(tensor, torch.full((1, 1, 40, 52), 0.1))
    assert np.abs(denoised - expected[0].permute(1, 2, 0).numpy()).max() < 2e-3


def test_weights_are_read_back_from_a_model_to_train_on(
    run: Path, tmp_path: Path, tiny: Recipe, clean_folder: Path
) -> None:
    folder = export_model(load_trained(run), tmp_path / "model")
    weights, state = read_weights(folder), load_trained(run).network.state_dict()
    assert weights.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-6)
    short = tiny.model_copy(update={"n_steps": 1, "validate_every": 1, "initial": str(folder)})
    train(short, clean_folder, tmp_path / "again")
    first = json.loads((tmp_path / "again" / "metrics.jsonl").read_text().splitlines()[0])
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert first["psnr_25"] == pytest.approx(last["psnr_25"], abs=0.3)


def test_a_run_without_its_end_is_exported_from_its_newest_checkpoint(run: Path, tmp_path: Path) -> None:
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    ended = load_trained(unfinished)
    (unfinished / "weights.safetensors").unlink()
    trained = load_trained(unfinished)
    assert trained.n_steps == 12
    for name, value in ended.network.state_dict().items():
        torch.testing.assert_close(trained.network.state_dict()[name], value)


def test_refusals(run: Path, tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="already holds a run"):
        train(tiny, clean_folder, run)
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        train(tiny, clean_folder, tmp_path / "new", resume=True)
    with pytest.raises(TrainingError, match="not a training run"):
        load_trained(tmp_path)
