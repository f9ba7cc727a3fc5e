import numpy as np
import pytest
import torch

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.studies.residual_connections import STUDY, encoder_blocks, gradient_norms
from pellucid.lab.study import Effort, Result, Results, Verdict
from pellucid.lab.training import small_recipe
from pellucid.training.datasets import patch_sampler
from pellucid.training.module import DenoisingModule


@pytest.fixture
def photographs():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Photographs([pixels], [pixels[:32, :32]], "noise")


def made_up(*, plain_share=1e-6, residual_share=1.0, he_share=0.5, gain=0.0, spread=0.02, deep_gain=0.0):
    """Results as of a run, with a gain in dB of residual blocks, and a share of the gradient that arrives."""
    results = []
    for arm in STUDY.arms(Effort.QUICK, 3):
        kind, n = arm.settings["kind"], arm.settings["n_blocks"]
        share = {"plain": plain_share, "residual": residual_share, "he": he_share}[kind] * (1 + 0.01 * arm.seed)
        residual = kind == "residual"
        value = 28 + spread * arm.seed * residual + gain * residual + deep_gain * (n > 2) * residual
        measured = {"norms": [share, *[1.0] * (n - 1)], "losses": [0.1, 0.08, 0.07, 0.06], "psnr": value}
        results.append(Result(arm, measured, 1.0))
    return Results(results)


def finding(results, start):
    return next(one for one in STUDY.findings(results) if one.text.startswith(start))


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ({}, Verdict.SUPPORTS),
        ({"plain_share": 1.0, "residual_share": 1e-4}, Verdict.CONTRADICTS),
        ({"plain_share": 1e5}, Verdict.SUPPORTS),
        ({"plain_share": 1.0}, Verdict.INCONCLUSIVE),
    ],
)
def test_the_gradient_decides(shares, verdict):
    assert finding(made_up(**shares), "At initialisation").verdict is verdict


def test_what_arrives_is_told():
    text = finding(made_up(plain_share=1e-6), "At initialisation").text
    assert "with 4 blocks, the first block's gradient is 1e-06 of the last one's" in text
    assert "and 1.01 in the residual one" in text


def test_he_initialisation():
    assert finding(made_up(he_share=1e-3), "Initialisation alone").verdict is Verdict.SUPPORTS
    assert finding(made_up(he_share=1.0), "Initialisation matters").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("start", ["After training", "A projection"])
@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [
        (0.5, 0.02, Verdict.SUPPORTS),
        (-0.5, 0.02, Verdict.CONTRADICTS),
        (0.0, 5.0, Verdict.INCONCLUSIVE),
    ],
)
def test_quality_decides(start, gain, spread, verdict):
    assert finding(made_up(gain=gain, spread=spread), start).verdict is verdict


def test_depth_is_compared_with_depth():
    better, worse = (finding(made_up(deep_gain=gain), "Going from 2 blocks to 4") for gain in (0.3, -0.3))
    assert (better.verdict, worse.verdict) == (Verdict.SUPPORTS, Verdict.CONTRADICTS)
    assert "increase the gain from depth by +0.30" in better.text
    assert finding(made_up(), "Going").verdict is Verdict.INCONCLUSIVE


def test_figures_and_table():
    results = made_up()
    with style_context():
        assert set(STUDY.figures(results)) == {"gradient", "training", "quality", "projection"}
    table = STUDY.table(results)
    assert [row[:3] for row in table.rows] == [
        ["one level", "2", "1e-06"],
        ["one level", "4", "1e-06"],
        ["two levels, projections", "2", "1e-06"],
    ]
    assert {len(row) for row in table.rows} == {len(table.head)}


def test_norms_are_those_of_autograd(photographs):
    recipe = small_recipe(
        seed=1,
        n_steps=1,
        network={"widths": [4], "depths": [3], "residual": False},
        data={"patch_px": 16, "batch_size": 2},
    )
    torch.manual_seed(1)
    module = DenoisingModule(recipe)
    batch = patch_sampler(photographs.train, recipe).batch(0, 2)
    norms = gradient_norms(module, batch)
    assert len(norms) == len(encoder_blocks(module)) == 3
    # By hand: the gradient at the last block's output is what the tail hands back.
    network, outputs = module.network, []
    network.encoder[0].register_forward_hook(lambda _, __, output: outputs.append(output))
    loss = module.loss(module.denoise(batch), batch["clean"])
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert norms[-1] == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert norms[0] < norms[-1]


def test_residual_blocks_carry_the_gradient(photographs):
    arms = {
        arm.settings["kind"]: arm
        for arm in STUDY.arms(Effort.QUICK, 1)
        if arm.settings["part"] == "gradient" and arm.settings["n_blocks"] == 4
    }
    shares = {}
    for kind, arm in arms.items():
        norms = STUDY.run(arm, photographs)["norms"]
        shares[kind] = norms[0] / norms[-1]
    assert 0.5 < shares["residual"] < 2
    assert shares["plain"] < 0.1 < shares["he"]


def test_a_training_is_measured(photographs):
    arm = next(arm for arm in STUDY.arms(Effort.QUICK, 1) if arm.settings["part"] == "projection")
    measured = STUDY.run(arm, photographs)
    assert len(measured["losses"]) == arm.settings["n_steps"] / arm.settings["window"]
    assert 5 < measured["psnr"] < 40
    assert len(measured["norms"]) == 6
