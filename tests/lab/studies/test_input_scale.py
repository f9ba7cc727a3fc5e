import numpy as np
import pytest

from pellucid.lab import plots
from pellucid.lab.photographs import Photographs
from pellucid.lab.studies.input_scale import STUDY
from pellucid.lab.study import Effort, Result, Results, Verdict

SCALED, UNIT, BYTES = "zero mean, unit deviation", "0 to 1", "0 to 255"


@pytest.fixture
def photographs():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return Photographs([pixels], [pixels[:64, :64]], "noise")


def made_up(finals, *, spread=0.02, early=20.0, n_seeds=3, best=0.0015, elsewhere=2.0):
    """Results as of a full run, by the final PSNR of each scale; all rates but one end `elsewhere` dB lower."""
    results = []
    for arm in STUDY.arms(Effort.FULL, n_seeds):
        final = finals[arm.settings["scale"]] + spread * (arm.seed - 1) * (-1 if arm.settings["scale"] == UNIT else 1)
        if arm.settings["rate"] != best:
            final -= elsewhere
        curve = np.linspace(10, final, len(arm.settings["measured_at"]))
        measured = {"psnr": curve, "final": final, "early": early, "mean": 0.0, "deviation": 1.0}
        results.append(Result(arm, measured, 1.0))
    return Results(results)


def finding(results, words):
    return next(one for one in STUDY.findings(results) if words in one.text)


@pytest.mark.parametrize(
    ("unit", "verdict", "verb"),
    [
        (27.0, Verdict.SUPPORTS, "raise"),
        (29.0, Verdict.CONTRADICTS, "lower"),
        (28.0, Verdict.INCONCLUSIVE, "may or may not change"),
    ],
)
def test_the_sentence_follows_the_gain(unit, verdict, verb):
    found = finding(made_up({SCALED: 28.0, UNIT: unit, BYTES: 20.0}), "against an input of 0 to 1")
    assert found.verdict is verdict
    assert f"deviation {verb} the validation PSNR: {28 - unit:+.2f} (" in found.text
    assert "at the best of 4 learning rates" in found.text


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (1.0, Verdict.SUPPORTS, "learns faster"),
        (-1.0, Verdict.CONTRADICTS, "learns more slowly"),
        (0.0, Verdict.INCONCLUSIVE, "neither faster nor more slowly"),
    ],
)
def test_learning_sooner_is_judged_apart(ahead, verdict, words):
    results = made_up({SCALED: 28.0, UNIT: 28.0, BYTES: 28.0})
    for result in results.where(scale=SCALED):
        result.measured["early"] += ahead
    found = finding(results, "difference to an input of 0 to 255")
    assert found.verdict is verdict
    assert words in found.text


def test_one_seed_cannot_tell():
    results = made_up({SCALED: 28.0, UNIT: 20.0, BYTES: 20.0}, n_seeds=1)
    assert {found.verdict for found in STUDY.findings(results)} == {Verdict.INCONCLUSIVE, None}


def test_each_scale_is_taken_at_its_best_rate():
    results = made_up({SCALED: 28.0, UNIT: 27.0, BYTES: 20.0}, spread=0.0)
    for result in results.where(scale=UNIT, rate=0.015):
        result.measured["final"] = 30.0
    assert finding(results, "against an input of 0 to 1").verdict is Verdict.CONTRADICTS
    assert "lowest or highest tested" in finding(results, "best and the worst").text


def test_a_rate_that_breaks_training_is_not_chosen_and_is_told():
    results = made_up({SCALED: 28.0, UNIT: 27.0, BYTES: 20.0})
    results.where(scale=UNIT, rate=0.015).all[0].measured["final"] = None
    found = STUDY.findings(results)
    assert finding(results, "against an input of 0 to 1").verdict is Verdict.SUPPORTS
    assert f"training diverges at some learning rate with {UNIT}" in finding(results, "best and the worst").text
    assert "lowest or highest tested" not in finding(results, "best and the worst").text
    assert not any("nan" in one.text for one in found)
    assert all("nan" not in cell for row in STUDY.table(results).rows for cell in row)


def test_the_first_layer_is_given_what_the_arm_says(photographs):
    given, deviations = {}, {}
    for arm in STUDY.arms(Effort.QUICK, 1):
        measured = STUDY.run(arm, photographs)
        given[arm.settings["scale"]] = measured["mean"]
        deviations[arm.settings["scale"]] = measured["deviation"]
        assert len(measured["psnr"]) == len(arm.settings["measured_at"])
        assert measured["psnr"][-1] == measured["final"]
        assert measured["early"] == measured["psnr"][arm.settings["measured_at"].index(arm.settings["early"])]
    assert given[BYTES] == pytest.approx(255 * given[UNIT], rel=1e-4)
    assert deviations[BYTES] == pytest.approx(255 * deviations[UNIT], rel=1e-4)
    assert given[SCALED] == pytest.approx((given[UNIT] - 0.45) / 0.25, rel=1e-3)
    assert deviations[SCALED] == pytest.approx(deviations[UNIT] / 0.25, rel=1e-4)
    assert 0.3 < given[UNIT] < 0.7


def test_the_figure_tells_its_rates():
    with plots.style_context():
        (figure,) = STUDY.figures(made_up({SCALED: 28.0, UNIT: 27.0, BYTES: 20.0}, n_seeds=1)).values()
    assert "0.0015 for 0 to 255" in figure.caption
    assert "1 seed " in figure.caption
