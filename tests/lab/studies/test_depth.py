import numpy as np
import pytest

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.studies.depth import STUDY
from pellucid.lab.study import Effort, Result, Results, Verdict

VERDICTS = [(0.6, Verdict.SUPPORTS), (-0.6, Verdict.CONTRADICTS), (0.0, Verdict.INCONCLUSIVE)]


def made_up(*, skip=1.0, deep=0.3, interaction=0.0, spread=0.02, n_seeds=3):
    """Results as of a run, by what skip connections and depth add on average, and by what depth adds more with them."""
    results = []
    for arm in STUDY.arms(Effort.QUICK, n_seeds):
        has_skip, is_deep = arm.settings["skip"], arm.settings["depth"] == "deep"
        # Each of the four networks has luck of its own, so that no effect comes without an interval.
        luck = spread * np.random.default_rng([arm.seed, has_skip, is_deep]).standard_normal()
        both = (0.5 if is_deep else -0.5) * (0.5 if has_skip else -0.5)
        measured = {
            "psnr": 28 + skip * has_skip + deep * is_deep + interaction * both + luck,
            "macs_per_px": 12000.0 if is_deep else 9000.0,
            "radius_px": 51 if is_deep else 23,
            "fit_seconds": 0.2,
        }
        if arm.seed == 0:
            measured |= {name: np.full((16, 8, 3), 99, np.uint8) for name in ("clean", "noisy", "denoised")}
        results.append(Result(arm, measured, 1.0))
    return Results(results)


@pytest.mark.parametrize(("skip", "verdict"), VERDICTS)
def test_skip(skip, verdict):
    found = STUDY.findings(made_up(skip=skip))[0]
    assert found.verdict is verdict
    assert found.text.startswith("Skip connections add ")


@pytest.mark.parametrize(("deep", "verdict"), VERDICTS)
def test_deep(deep, verdict):
    with_skip, without = STUDY.findings(made_up(deep=deep))[1:3]
    assert with_skip.verdict is without.verdict is verdict


def test_depth_may_help_with_skip_and_harm_without():
    with_skip, without = STUDY.findings(made_up(deep=0.0, interaction=1.0, spread=1e-4))[1:3]
    assert with_skip.text.startswith("With skip connections, depth adds +0.50 (")
    assert with_skip.verdict is Verdict.SUPPORTS
    assert without.text.startswith("Without skip connections, depth adds -0.50 (")
    assert without.verdict is Verdict.CONTRADICTS


@pytest.mark.parametrize(("more", "verdict"), VERDICTS)
def test_which_helps_more(more, verdict):
    found = STUDY.findings(made_up(skip=0.3 + more, deep=0.3))[3]
    assert found.verdict is verdict
    assert found.text.startswith("On average, skip connections add ")


@pytest.mark.parametrize(("interaction", "verdict"), VERDICTS)
def test_interaction(interaction, verdict):
    found = STUDY.findings(made_up(interaction=interaction))[4]
    assert found.verdict is None
    assert found.text.startswith("Depth adds ")
    assert found.text.endswith(" dB more with skip connections than without.")


@pytest.mark.parametrize(
    ("skip", "deep", "sentence"),
    [
        (1.2, 0.2, "skip helps, a lot; deep helps a little on average"),
        (0.2, 1.2, "skip helps a little; deep helps, a lot on average"),
        (-1.2, -0.2, "skip harms, a lot; deep harms a little on average"),
        (0.0, 0.0, "skip has no conclusive effect; deep has no conclusive effect on average"),
    ],
)
def test_the_sentence_follows(skip, deep, sentence):
    text = STUDY.findings(made_up(skip=skip, deep=deep))[5].text
    assert f"In the lecture's words: {sentence}" in text
    assert "0.5 dB or more" in text


def test_effects_are_paired():
    """What a seed does to all networks alike widens no interval."""
    results = made_up(spread=1e-6)
    for result in results:
        result.measured["psnr"] += 5 * result.arm.seed
    assert [one.verdict for one in STUDY.findings(results)[:4]] == [Verdict.SUPPORTS] * 4
    assert "+1.00 (+1.00 to +1.00)" in STUDY.findings(results)[0].text


def test_one_seed_cannot_tell():
    assert {one.verdict for one in STUDY.findings(made_up(n_seeds=1))} == {Verdict.INCONCLUSIVE, None}


def test_the_table_has_all_networks():
    table = STUDY.table(made_up(skip=2.0, deep=0.0, spread=0.0))
    assert [row[0] for row in table.rows] == ["shallow, skip", "shallow, no skip", "deep, skip", "deep, no skip"]
    assert [row[1][:5] for row in table.rows] == ["30.00", "28.00", "30.00", "28.00"]
    assert [row[3] for row in table.rows] == ["23", "23", "51", "51"]


def test_figures_show_what_was_measured():
    with style_context():
        figures = STUDY.figures(made_up(skip=2.0, deep=0.0, spread=0.0))
    lines = [container.lines[0].get_ydata().astype(float) for container in figures["psnr"].figure.axes[0].containers]
    np.testing.assert_allclose(lines, [[30, 30], [28, 28]])
    labels = [label.get_text() for label in figures["effects"].figure.axes[0].get_yticklabels()]
    assert labels[0].startswith("skip")
    assert len(labels) == 6
    assert len(figures["windows"].figure.axes) == 2 * 6


def test_an_arm_runs():
    ramp = np.broadcast_to(np.linspace(0, 255, 64)[None, :, None], (64, 64, 3)).astype(np.uint8)
    photographs = Photographs([ramp], [ramp], "ramp")
    arms = STUDY.arms(Effort.QUICK, 1)
    measured = [STUDY.run(arm, photographs) for arm in arms]
    assert len({one["psnr"] for one in measured}) == 4
    assert [one["radius_px"] for one in measured] == [23, 23, 51, 51]
    assert measured[0]["denoised"].shape == (40, 40, 3)
