import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pellucid import Denoiser, find_model
from pellucid.errors import TrainingError
from pellucid.inference.noise_map import CELL_PX, LIMITS, estimate_cells, smooth_window
from pellucid.training.export import export_model, fold_batch_norm, load_trained
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.pretrained import read_weights
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.trainer import train
from tests.training.conftest import TINY

pytestmark = pytest.mark.slow


def test_exported_model_equals_torch(run: Path, tmp_path: Path) -> None:
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


def test_init_from_exported_model(run: Path, tmp_path: Path, tiny: Recipe, clean_folder: Path) -> None:
    folder = export_model(load_trained(run), tmp_path / "model")
    weights, state = read_weights(folder), load_trained(run).network.state_dict()
    assert weights.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-6)
    short = tiny.model_copy(update={"max_steps": 1, "val_interval": 1, "init_from": str(folder)})
    train(short, clean_folder, tmp_path / "again")
    again, before = (
        [
            line["psnr_25"]
            for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
            if "psnr_25" in line
        ]
        for folder in (tmp_path / "again", run)
    )
    assert again[-1] == pytest.approx(before[-1], abs=0.3)


def test_export_unfinished_run(run: Path, tmp_path: Path) -> None:
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    ended = load_trained(unfinished)
    (unfinished / "weights.safetensors").unlink()
    trained = load_trained(unfinished)
    assert trained.n_steps == 12
    for name, value in ended.network.state_dict().items():
        torch.testing.assert_close(trained.network.state_dict()[name], value)


def test_card(run: Path, tiny: Recipe, tmp_path: Path) -> None:
    folder = export_model(load_trained(run), tmp_path / "model")
    card = find_model(folder)
    assert card.sigma_max == 55
    assert card.training["n_images"] == 6
    assert 0 < card.training["largest_difference_from_torch_on_noise"] < 1e-2
    assert 0 < card.training["largest_difference_from_torch_on_images"] < 1e-2
    recipe = folder / str(card.training["recipe"])
    assert Recipe.model_validate_json(recipe.read_text()) == tiny


def test_export_folds_batch_norm(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    shape = {**TINY["network"], "normalization": "batch", "resampling": "block"}  # type: ignore[dict-item]
    recipe = parse_recipe({**TINY, "network": shape}, "tiny")
    train(recipe, clean_folder, tmp_path / "normal")
    trained = load_trained(tmp_path / "normal")
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in trained.network.modules())
    folder = export_model(trained, tmp_path / "model")
    assert b"BatchNormalization" not in (folder / "model.onnx").read_bytes()
    noisy = np.random.default_rng(0).random((24, 32, 3), dtype=np.float32)
    denoised = Denoiser(folder, precision="fp32").denoise(noisy, sigma=0.1)
    with torch.no_grad():
        tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None]
        expected = tensor - trained.network(tensor, torch.full((1, 1, 24, 32), 0.1))
    assert np.abs(denoised - expected[0].permute(1, 2, 0).numpy()).max() < 2e-3


def test_incomplete_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a complete training run"):
        load_trained(tmp_path)
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "examples.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(TrainingError, match="not a complete training run"):
        load_trained(broken)
    whole = shutil.copytree(run, tmp_path / "whole")
    (whole / "weights.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(TrainingError, match=r"damaged .* delete it and resume"):
        load_trained(whole)


def test_export_of_estimator(tiny: Recipe, clean_folder: Path, tmp_path: Path) -> None:
    shape = {**TINY["network"], "estimator": {"width": 8, "n_blocks": 1}}  # type: ignore[dict-item]
    short = {**TINY, "max_steps": 2, "val_interval": 2, "network": shape}
    train(parse_recipe(short, "seeing"), clean_folder, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    folder = export_model(trained, tmp_path / "model")
    card, estimator = find_model(folder), trained.network.estimator
    assert card.estimator is not None
    assert estimator is not None
    assert card.estimator.n_parameters == sum(p.numel() for p in estimator.parameters())
    assert card.n_parameters == sum(p.numel() for p in trained.network.parameters()) - card.estimator.n_parameters
    assert card.estimator.halo_px >= estimator.radius_px

    noisy = np.random.default_rng(0).random((40, 48, 3), dtype=np.float32)
    with torch.no_grad():
        seen = estimator(torch.from_numpy(noisy).permute(2, 0, 1)[None])[0, 0].numpy()
    cells = estimate_cells(noisy, lambda _: seen[..., None])
    settled = smooth_window(cells, limit=LIMITS[3], kept=(slice(0, 10), slice(0, 12)))[..., 0]
    expected = settled.repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    denoiser = Denoiser(folder, precision="fp32", tile_px=400)
    np.testing.assert_allclose(denoiser.estimate_map(noisy), expected, atol=2e-3)

    weights, state = read_weights(folder), trained.network.state_dict()
    assert weights.keys() == state.keys()
    again = parse_recipe({**short, "init_from": str(folder), "train_only": "estimator"}, "again")
    train(again, clean_folder, tmp_path / "again")
    for name, value in load_trained(tmp_path / "again").network.state_dict().items():
        if not name.startswith("estimator."):
            torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-6)
    assert "val_noise_error" in (tmp_path / "again" / "metrics.jsonl").read_text()


Batch = tuple[torch.Tensor, torch.Tensor]


def batch(seed: int, n: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 16, 16, generator=generator), torch.full((n, 1, 16, 16), 0.1)


def trained(steps: int = 5, **options: Any) -> DenoisingAutoencoder:
    """Give a network whose statistics and weights are no longer those of its start."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, (6, 8), (2, 2), **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for step in range(steps):
        noisy, sigma = batch(step)
        optimizer.zero_grad()
        (network(noisy, sigma) - 0.3).square().mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("resampling", ["convolution", "block"])
@pytest.mark.parametrize("residual", [True, False])
def test_fold_batch_norm(resampling: str, residual: bool) -> None:
    network = trained(normalization="batch", resampling=resampling, residual=residual)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network)
    assert not folded.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    # The one that was given is as it was.
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    noisy, sigma = batch(99)
    network.eval()
    torch.testing.assert_close(folded(noisy, sigma), network(noisy, sigma), atol=1e-5, rtol=0)
    # Statistics that had not moved would be folded right by anything.
    fresh = trained(0, normalization="batch", resampling=resampling, residual=residual).eval()
    assert (fresh(noisy, sigma) - network(noisy, sigma)).abs().max() > 1e-2


def test_folded_weights_fit_plain_network() -> None:
    folded = fold_batch_norm(trained(normalization="batch", resampling="block"))
    plain = DenoisingAutoencoder(3, (6, 8), (2, 2), resampling="block").eval()
    plain.load_state_dict(folded.state_dict(), strict=True)
    assert torch.equal(plain(*batch(99)), folded(*batch(99)))


def test_fold_without_normalization() -> None:
    network = trained()
    folded = fold_batch_norm(network)
    assert folded is not network
    for name, value in folded.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_batch_norm_modes() -> None:
    network = trained(normalization="batch")
    noisy, sigma = batch(99)
    in_training = network(noisy, sigma).detach()
    assert (in_training[:1] - network(noisy[:1], sigma[:1])).abs().max() > 1e-3
    network.eval()
    statistics = copy.deepcopy(dict(network.named_buffers()))
    whole = network(noisy, sigma).detach()
    assert (whole - in_training).abs().max() > 1e-3
    assert torch.equal(network(noisy, sigma), whole)
    torch.testing.assert_close(network(noisy[:1], sigma[:1]), whole[:1], atol=1e-6, rtol=1e-5)
    for name, value in network.named_buffers():
        assert torch.equal(value, statistics[name]), name
