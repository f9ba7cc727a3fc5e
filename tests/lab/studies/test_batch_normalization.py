import copy

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.studies.batch_normalization import STUDY, TILE_PX, activation_scales, compare_modes
from pellucid.lab.study import Effort, Result, Results, Verdict
from pellucid.lab.training import small_recipe
from pellucid.training.module import DenoisingModule


@pytest.fixture
def photographs():
    across = np.linspace(0, 255, 96)
    ramp = np.broadcast_to(across[None, :, None], (96, 96, 3)).astype(np.uint8)
    return Photographs([ramp], [ramp, np.full_like(ramp, 200)], "ramp")


def made_up(*, error=1e-15, span=10.0, gain=0.5, cost=3.0, hidden=2.0, spread=0.02):
    """Results as of a run: what batch normalization does to the scales and the PSNR, and what the wrong mode costs."""
    results = []
    for arm in STUDY.arms(Effort.QUICK, 3):
        if arm.settings["part"] == "identity":
            measured = {"exact_error": error, "plain_error": 5e-6, "eps": 1e-5}
        else:
            batch = arm.settings["normalization"] == "batch"
            jitter = spread * arm.seed * batch
            scales = [1.0, 1.0 if batch else span * (1 + 0.01 * arm.seed)]
            measured = {
                "scales_at_start": scales,
                "scales_at_end": scales,
                "losses": [0.1, 0.09, 0.08, 0.07, 0.06, 0.05],
                "psnr": 28 + gain * batch + jitter,
                "seconds": 1.5 if batch else 1.0,
            }
            if batch:
                costs = np.linspace(cost, cost - hidden, 5)
                measured |= {"right_psnr": 29.0 + jitter, "wrong_psnr": 29.0 - costs}
                strip = np.zeros((TILE_PX, 3 * TILE_PX, 3), np.uint8)
                names = ("clean", "noisy", "right", "wrong_1", "wrong_16")
                measured |= {f"window_{name}": strip for name in names}
        results.append(Result(arm, measured, 1.0))
    return Results(results)


def finding(results, start):
    return next(one for one in STUDY.findings(results) if one.text.startswith(start))


def test_identity():
    assert finding(made_up(), "γ = s").verdict is Verdict.SUPPORTS
    wrong = finding(made_up(error=1e-3), "γ = s")
    assert wrong.verdict is Verdict.CONTRADICTS
    assert "1e-03 of the largest value, which is not rounding" in wrong.text


@pytest.mark.parametrize("blocks", ["plain", "residual"])
@pytest.mark.parametrize(("span", "verdict"), [(10.0, Verdict.SUPPORTS), (1.0, Verdict.INCONCLUSIVE)])
def test_scales(blocks, span, verdict):
    assert finding(made_up(span=span), f"With {blocks} blocks").verdict is verdict


def test_scales_that_grow_contradict():
    results = made_up(span=1.0)
    for result in results.where(part="training", normalization="batch"):
        result.measured["scales_at_end"][0] = 0.1 + 0.001 * result.arm.seed
    found = finding(results, "With plain blocks")
    assert found.verdict is Verdict.CONTRADICTS


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [
        (0.5, 0.02, Verdict.SUPPORTS),
        (-0.5, 0.02, Verdict.CONTRADICTS),
        (0.0, 5.0, Verdict.INCONCLUSIVE),
    ],
)
def test_quality(gain, spread, verdict):
    found = finding(made_up(gain=gain, spread=spread), "Training with plain blocks")
    assert found.verdict is verdict
    assert "1.50 times as long" in found.text


@pytest.mark.parametrize(
    ("cost", "spread", "verdict"),
    [
        (3.0, 0.02, Verdict.SUPPORTS),
        (-3.0, 0.02, Verdict.CONTRADICTS),
        (0.0, 5.0, Verdict.INCONCLUSIVE),
    ],
)
def test_wrong_mode(cost, spread, verdict):
    assert finding(made_up(cost=cost, spread=spread), "The wrong mode").verdict is verdict


def test_batch_size():
    assert "still detects" in finding(made_up(cost=3, hidden=2), "Larger batches").text
    assert "may not detect" in finding(made_up(cost=3, hidden=3), "Larger batches").text
    assert finding(made_up(cost=3, hidden=-1), "Larger batches may not hide it").verdict is None


def test_figures_and_table():
    results = made_up()
    with style_context():
        assert set(STUDY.figures(results)) == {"scales", "training", "wrong-mode", "windows"}
    table = STUDY.table(results)
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert len(table.rows) == 4


def test_gamma_and_beta_give_the_input_back(photographs):
    arm = next(arm for arm in STUDY.arms(Effort.QUICK, 1) if arm.settings["part"] == "identity")
    measured = STUDY.run(arm, photographs)
    assert measured["exact_error"] < 1e-13 < measured["plain_error"] < 1e-3


def tiny_module():
    torch.manual_seed(0)
    network = {"widths": [4], "depths": [2], "normalization": "batch", "residual": False}
    return DenoisingModule(small_recipe(seed=0, n_steps=1, network=network, data={"patch_px": 16, "batch_size": 2}))


def test_scales_are_those_of_the_layers_inputs():
    module = tiny_module()
    rng = torch.Generator().manual_seed(0)
    batch = {"noisy": torch.rand(2, 3, 16, 16, generator=rng), "cond_sigma": torch.full((2, 1, 16, 16), 0.1)}
    before = copy.deepcopy(module.state_dict())
    scales = activation_scales(module.network, batch)
    assert len(scales) == 5
    # After batch normalization and a rectifier, about half of a unit variance is left.
    assert scales[1] == pytest.approx(0.5**0.5, rel=0.15)
    assert scales[3] == pytest.approx(0.5**0.5, rel=0.15)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_the_modes_differ_and_leave_the_statistics_alone(photographs):
    module = tiny_module()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(0.3)
    with torch.no_grad():
        module.network.tail.weight.mul_(10)
    before = copy.deepcopy(module.state_dict())
    measured = compare_modes(module, photographs, (1, 4), 25)
    assert measured["right_psnr"] != pytest.approx(measured["wrong_psnr"][0], abs=1e-3)
    assert measured["wrong_psnr"][0] != pytest.approx(measured["wrong_psnr"][1], abs=1e-3)
    assert measured["window_wrong_4"].shape == (TILE_PX, 3 * TILE_PX, 3)
    assert not np.array_equal(measured["window_right"], measured["window_wrong_1"])
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_a_training_is_measured(photographs):
    arm = next(arm for arm in STUDY.arms(Effort.QUICK, 1) if arm.settings.get("normalization") == "batch")
    measured = STUDY.run(arm, photographs)
    assert len(measured["scales_at_start"]) == len(measured["scales_at_end"]) == 13
    assert len(measured["wrong_psnr"]) == 5
    assert len(measured["losses"]) == 6
