import math
import re

import numpy as np
import pytest
import torch

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.studies.optimizers import STUDY, best_runs, mean_between, psnr_or_nan
from pellucid.lab.study import Effort, Result, Results, Verdict


@pytest.fixture
def photographs():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Photographs([pixels], [pixels[:32, :32]], "noise")


#: What the others measure, at their better rate.
OTHERS = {"early": 0.06, "final": 0.05, "psnr": 28.0, "shifted_psnr": 24.0}


def made_up(*, spread=0.0, effort=Effort.FULL, **by_optimizer):
    """Results as of a run: the rate of factor 1 is the best; `spread` is what seeds do to Adam, relative to a value."""
    results = []
    for arm in STUDY.arms(effort, 3):
        name, factor = arm.settings["optimizer"], arm.settings["factor"]
        measured = OTHERS | by_optimizer.get(name, {})
        if name == "adam":
            measured = {key: value * (1 + spread * (arm.seed - 1)) for key, value in measured.items()}
        if factor != 1:
            measured = {**measured, "final": 9.0}
        losses = np.linspace(0.1, measured["final"], arm.settings["n_steps"] // arm.settings["window"])
        results.append(Result(arm, {**measured, "losses": losses, "seconds": 2.0}, 1.0))
    return Results(results)


def finding(results, start):
    return next(one for one in STUDY.findings(results) if one.text.startswith(start))


def test_every_optimizer_has_the_same_number_of_rates():
    arms = STUDY.arms(Effort.FULL, 3)
    rates = {}
    for arm in arms:
        rates.setdefault(arm.settings["optimizer"], set()).add(arm.settings["rate"])
    assert {len(one) for one in rates.values()} == {4}
    assert list(rates) == ["sgd", "momentum", "rmsprop", "adagrad", "adam"]
    assert len(arms) == 5 * 4 * 3


def test_the_rate_of_the_lowest_training_loss_is_best_runs():
    results = made_up()
    assert {r.all[0].arm.settings["factor"] for r in best_runs(results).values()} == {1.0}
    assert all(len(r.all) == 3 for r in best_runs(results).values())
    for result in results.where(optimizer="sgd", factor=0.3):
        result.measured["final"] = 0.01
    assert best_runs(results)["sgd"].all[0].arm.settings["factor"] == 0.3
    results.where(optimizer="sgd", factor=0.3).all[0].measured["final"] = None
    assert best_runs(results)["sgd"].all[0].arm.settings["factor"] == 1.0


def test_the_choice_is_told():
    results = made_up()
    inside = finding(results, "Of 4 learning rates each")
    assert "inside the grid for all" in inside.text
    assert "45 of 60 runs diverged" in inside.text
    for result in results.where(optimizer="adam", factor=3.0):
        result.measured["final"] = 0.001
    assert "at the edge of the grid for Adam" in finding(results, "Of 4 learning rates each").text


@pytest.mark.parametrize(
    ("early", "spread", "verdict"),
    [
        (0.05, 0.001, Verdict.SUPPORTS),
        (0.07, 0.001, Verdict.CONTRADICTS),
        (0.06, 0.1, Verdict.INCONCLUSIVE),
    ],
)
def test_fast_descent(early, spread, verdict):
    assert finding(made_up(adam=OTHERS | {"early": early}, spread=spread), "Fast descent").verdict is verdict


def test_fast_descent_is_measured_against_the_best_of_the_others():
    results = made_up(adam=OTHERS | {"early": 0.05}, momentum=OTHERS | {"early": 0.04})
    found = finding(results, "Fast descent")
    assert "The best other optimizer is momentum with 0.0400" in found.text
    assert found.verdict is Verdict.CONTRADICTS


def test_slow():
    results = made_up(adam=OTHERS | {"final": 0.04}, spread=0.001)
    n_steps = results.all[0].arm.settings["n_steps"]
    found = finding(results, "SGD is slow")
    n_steps_of_adam = re.search(r"Adam reaches it after ([\d,]+)", found.text)
    assert n_steps_of_adam
    # From 0.1 to 0.04 on a straight line, 0.05 is passed after five sixths of the way.
    assert int(n_steps_of_adam[1].replace(",", "")) == pytest.approx(5 / 6 * n_steps, rel=0.03)
    assert found.verdict is Verdict.SUPPORTS


def test_not_slow():
    found = finding(made_up(adam=OTHERS | {"final": 0.06}, spread=0.001), "SGD is slow")
    assert "never reaches it" in found.text
    assert found.verdict is Verdict.CONTRADICTS


@pytest.mark.parametrize(
    ("psnr", "spread", "verdict"),
    [
        (29.0, 0.0, Verdict.SUPPORTS),
        (27.9, 0.0, Verdict.SUPPORTS),
        (27.5, 0.0, Verdict.CONTRADICTS),
        (28.0, 0.1, Verdict.INCONCLUSIVE),
    ],
)
def test_quite_good(psnr, spread, verdict):
    assert finding(made_up(adam=OTHERS | {"psnr": psnr}, spread=spread), "Quite good").verdict is verdict


@pytest.mark.parametrize(
    ("psnr", "shifted", "spread", "verdict"),
    [
        (28.0, 23.0, 0.0001, Verdict.SUPPORTS),
        # Loses more, but is still better: SGD had less to lose.
        (30.0, 25.0, 0.0001, Verdict.INCONCLUSIVE),
        (28.0, 25.0, 0.0001, Verdict.CONTRADICTS),
        (28.0, 24.0, 0.1, Verdict.INCONCLUSIVE),
    ],
)
def test_robust(psnr, shifted, spread, verdict):
    results = made_up(adam=OTHERS | {"psnr": psnr, "shifted_psnr": shifted}, spread=spread)
    assert finding(results, "Robust").verdict is verdict


def test_figures_and_table():
    results = made_up()
    for result in results.where(factor=3.0):
        result.measured["final"] = None
    with style_context():
        assert set(STUDY.figures(results)) == {"descent", "rates", "quality"}
    table = STUDY.table(results)
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert table.rows[-1][:2] == ["Adam", "0.003"]


def test_one_seed_makes_no_verdict():
    results = Results([result for result in made_up() if result.arm.seed == 0])
    assert {found.verdict for found in STUDY.findings(results)} <= {None, Verdict.INCONCLUSIVE}


def test_a_share_of_the_run():
    assert mean_between(np.arange(80.0), 0.1, 0.2) == np.arange(8, 16).mean()
    assert mean_between(np.arange(80.0), 0.9, 1.0) == np.arange(72, 80).mean()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_is_measured(photographs, optimizer):
    arm = next(a for a in STUDY.arms(Effort.QUICK, 1) if a.settings["optimizer"] == optimizer)
    measured = STUDY.run(arm, photographs)
    assert len(measured["losses"]) == 10
    assert measured["final"] == measured["losses"][-1]
    assert measured["psnr"] > measured["shifted_psnr"] > 5


def test_a_network_that_diverged_has_no_psnr(photographs):
    class Diverged(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([1.0, math.inf]))

    assert math.isnan(psnr_or_nan(Diverged(), photographs, 25, 25))
