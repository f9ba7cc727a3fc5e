import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.lab import plots
from pellucid.lab.photographs import Photographs
from pellucid.lab.studies.output_range import STUDY, GradientRecorder, contrast_crop
from pellucid.lab.study import Effort, Result, Results, Verdict
from pellucid.training.nn.heads import Clip, Sigmoid

PENALIZED = "scaled tanh + penalty"
OTHERS = {
    "psnr": 28.0,
    "psnr_black": 30.0,
    "psnr_white": 29.0,
    "psnr_ends": 29.5,
    "zero_first": 0.0,
    "zero_last": 0.0,
    "zero_most": 0.04,
    "reach": 1.0,
    "out_of_range": 0.1,
}


@pytest.fixture
def photographs():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    pixels[:128] = rng.choice([0, 255], (128, 256, 3))
    return Photographs([pixels], [pixels], "noise")


def made_up(*, n_seeds=3, spread=0.01, start=None, **by_output):
    """Results as of a full run: the named outputs, in one start or in all, measure other values than the others."""
    results, black = [], np.zeros((48, 48, 3), np.uint8)
    for arm in STUDY.arms(Effort.FULL, n_seeds):
        output, sign = arm.settings["output"], (-1) ** len(arm.settings["output"])
        special = by_output.get(output.replace(" + ", "_").replace(" ", "_"), {})
        measured = {**OTHERS, **(special if start in (None, arm.settings["start"]) else {})}
        measured = {name: value and value * (1 + sign * spread * (arm.seed - 1)) for name, value in measured.items()}
        n = len(arm.settings["measured_at"])
        curves = {"psnr_curve": np.linspace(9, 28, n), "zero_curve": np.zeros(n)}
        results.append(
            Result(arm, {**measured, **curves, "window": black, "window_clean": black, "window_noisy": black}, 1.0)
        )
    return Results(results)


def findings(results, words):
    return [one for one in STUDY.findings(results) if words in one.text]


@pytest.mark.parametrize(
    ("psnr", "verdict", "words"),
    [
        (8.0, Verdict.SUPPORTS, "dB below that of a linear output"),
        (40.0, Verdict.CONTRADICTS, "dB above that of a linear output"),
        (28.0, Verdict.INCONCLUSIVE, "dB"),
    ],
)
def test_the_clip_is_judged_from_each_start(psnr, verdict, words):
    results = made_up(start="bad", clip={"psnr": psnr, "zero_first": 1.0, "zero_last": 0.5, "zero_most": 1.0})
    (good,), (bad,) = (findings(results, f"Clip, {start} initialisation") for start in ("good", "bad"))
    assert bad.verdict is verdict
    assert words in bad.text
    assert "100.0% of its inputs" in bad.text
    assert "50.0% at the last (with any other activation at most 4.0% at any step)" in bad.text
    assert good.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("sigmoid", "tanh", "verdict"),
    [
        (0.2, 0.3, Verdict.SUPPORTS),
        (1.5, 1.6, Verdict.CONTRADICTS),
        (0.2, 1.6, Verdict.INCONCLUSIVE),
        (0.2, 1.0, Verdict.INCONCLUSIVE),
    ],
)
def test_both_squeezing_maps_must_have_weak_gradients(sigmoid, tanh, verdict):
    (found,) = findings(made_up(sigmoid={"reach": sigmoid}, tanh={"reach": tanh}), "relative to that elsewhere")
    assert found.verdict is verdict
    assert f"{sigmoid:.2f} (" in found.text


@pytest.mark.parametrize(("scaled", "verdict"), [(0.9, Verdict.SUPPORTS), (0.1, Verdict.CONTRADICTS)])
def test_the_scaled_map_is_compared_with_the_plain_one(scaled, verdict):
    results = made_up(tanh={"reach": 0.5}, scaled_tanh={"reach": scaled})
    (found,) = findings(results, "With a(tanh(x) + b)")
    assert found.verdict is verdict
    assert f"the difference to tanh is {scaled - 0.5:+.2f} (" in found.text


@pytest.mark.parametrize(("share", "verdict"), [(0.01, Verdict.SUPPORTS), (0.4, Verdict.CONTRADICTS)])
def test_the_penalty_is_judged_by_what_is_out_of_range(share, verdict):
    results = made_up(linear_penalty={"out_of_range": share}, scaled_tanh_penalty={"out_of_range": share})
    (found,) = findings(results, "out of range before")
    assert found.verdict is verdict
    assert f"10.0% without and {share:.1%} with the penalty for the scaled tanh output" in found.text


@pytest.mark.parametrize(("psnr", "verdict"), [(29.0, Verdict.SUPPORTS), (27.0, Verdict.CONTRADICTS)])
def test_the_mixture_is_compared_with_its_parts(psnr, verdict):
    results = made_up(spread=0.001, scaled_tanh_penalty={"psnr": psnr})
    found = findings(results, "with the penalty is")
    assert [one.verdict for one in found] == [verdict, verdict]
    assert ("above tanh" if psnr > 28 else "below tanh") in found[0].text


def test_what_cannot_be_measured_is_said_so():
    nothing = {"psnr_white": None, "psnr_ends": None, "reach": None}
    results = made_up(linear=nothing, sigmoid=nothing, scaled_tanh=nothing)
    assert not any("nan" in one.text for one in STUDY.findings(results))
    assert findings(results, "pixels near black and white")[0].verdict is Verdict.INCONCLUSIVE
    row = next(row for row in STUDY.table(results).rows if row[0] == "sigmoid")
    assert row[4] == "–"


def test_one_seed_cannot_tell():
    results = made_up(n_seeds=1, clip={"psnr": 3.0})
    assert {found.verdict for found in STUDY.findings(results)} == {Verdict.INCONCLUSIVE}


def test_all_figures_are_drawn_even_of_one_seed_and_what_is_far_is_written():
    with plots.style_context():
        figures = STUDY.figures(made_up(n_seeds=1, start="bad", clip={"psnr": 7.84}, linear={"psnr_white": None}))
    assert list(figures) == ["maps", "training", "quality", "windows"]
    assert "mean of 1 seed and" in figures["training"].caption
    overall, black, *_ = figures["quality"].figure.axes
    assert [text.get_text() for text in overall.texts] == ["◂ 7.8"]
    assert overall.get_xlim()[0] > 20
    assert not black.texts


def measured(photographs, output, start):
    arm = next(a for a in STUDY.arms(Effort.QUICK, 1) if (a.settings["output"], a.settings["start"]) == (output, start))
    return STUDY.run(arm, photographs)


def test_a_clip_that_starts_outside_gets_no_gradient(photographs):
    bad, good = (measured(photographs, "clip", start) for start in ("bad", "good"))
    assert bad["zero_curve"] == [1.0, 1.0, 1.0]
    assert bad["psnr_curve"][0] == bad["psnr_curve"][-1]
    assert bad["window"].max() == 0
    assert np.isnan(bad["reach"])
    assert good["zero_first"] <= good["zero_most"] < 0.1
    assert good["psnr_curve"][0] != good["psnr_curve"][-1]
    assert good["out_of_range"] == bad["out_of_range"] == 0


def test_a_linear_output_that_starts_outside_gets_its_gradient(photographs):
    bad = measured(photographs, "linear", "bad")
    assert bad["zero_first"] < 0.01
    assert bad["reach"] == pytest.approx(1)
    assert bad["out_of_range"] > 0.9
    assert bad["psnr_black"] > bad["psnr_ends"] > bad["psnr_white"]


@pytest.mark.parametrize(("layer", "reach"), [(Clip(), 0.0), (Sigmoid(), 0.5)])
def test_reach_is_the_gradient_at_the_ends_relative_to_elsewhere(layer, reach):
    """Half of all samples are black, and their values lie where the map is flatter than at its middle."""
    gradients = GradientRecorder(near=0.05)
    flat = -1.0 if reach == 0 else np.log(3 - 2 * np.sqrt(2))  # f(1 - f) is 1/8 there
    values = torch.tensor([flat, layer.middle], dtype=torch.float64, requires_grad=True)
    layer.register_forward_pre_hook(gradients.keep)
    layer(values * 1).sum().backward()
    with torch.no_grad():
        layer(values)  # a measurement on the way, which is to be ignored
    gradients.record({"clean": torch.tensor([0.0, 0.5])})
    assert gradients.reach() == pytest.approx(reach)
    assert gradients.zero == [0.5 if reach == 0 else 0.0]


def test_the_window_has_both_black_and_white():
    gray = np.full((96, 112, 3), 0.5, np.float32)
    image = gray.copy()
    image[:48, :48] = 0  # black alone
    image[48:72, 64:112], image[72:96, 64:112] = 0, 1
    assert contrast_crop([gray, image], 0.05) == (1, slice(48, 96), slice(64, 112))


@given(height=st.integers(48, 130), width=st.integers(48, 130))
@settings(max_examples=15, deadline=None)
def test_the_window_lies_inside(height, width):
    image = np.random.default_rng(height * width).random((height, width, 3), np.float32)
    _, rows, columns = contrast_crop([image], 0.05)
    assert image[rows, columns].shape == (48, 48, 3)


def test_every_output_is_trained_from_both_starts():
    arms = STUDY.arms(Effort.FULL, 3)
    assert len(arms) == 7 * 2 * 3
    penalized = {arm.settings["output"] for arm in arms if arm.settings["penalty"]}
    assert penalized == {"linear + penalty", PENALIZED}
    assert {arm.settings["shift"] for arm in arms if arm.settings["start"] == "good"} == {0.0}
