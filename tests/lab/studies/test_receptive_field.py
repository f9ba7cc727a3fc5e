import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.statistics import Interval, judge
from pellucid.lab.studies.receptive_field import STUDY, effective_radius, farthest, gradient_map, mean_gradient
from pellucid.lab.study import Effort, Result, Results, Verdict
from pellucid.lab.training import fit, small_recipe
from pellucid.training.module import build_network

VERDICTS = [(0.5, Verdict.SUPPORTS), (-0.5, Verdict.CONTRADICTS), (0.0, Verdict.INCONCLUSIVE)]
RADII = (13, 23, 51, 107)


def made_up(*, weak=0.1, strong=0.5, smooth_more=0.3, reach_more=10, spread=0.02, n_seeds=3):
    """Results as of a run, by what the widest field adds to the narrowest."""
    results = []
    for arm in STUDY.arms(Effort.QUICK, n_seeds):
        wide, levels = (arm.settings["levels"] - 1) / 3, arm.settings["levels"]
        jitter, other = spread * np.random.default_rng([arm.seed, levels]).standard_normal(2)
        measured = {
            "macs_per_px": 9800.0 + levels,
            "radius_px": RADII[levels - 1],
            "farthest_px": RADII[levels - 1] - 2,
            "fit_seconds": 0.2,
            "weak_reach": 4 + levels + arm.seed % 2,
            "strong_reach": 4 + levels + reach_more,
        }
        for noise, base, gain in (("weak", 32, weak), ("strong", 26, strong)):
            measured[f"{noise}_psnr"] = base + gain * wide + jitter
            measured[f"{noise}_edges"] = base - 4 + (gain - smooth_more / 2) * wide + jitter
            measured[f"{noise}_smooth"] = base + 3 + (gain + smooth_more / 2) * wide + other
            if arm.seed == 0:
                measured[f"{noise}_map"] = np.full((31, 31, 3), 99, np.uint8)
        results.append(Result(arm, measured, 1.0))
    return Results(results)


def judge_text(text, before):
    """Judge the interval that follows some words of a sentence."""
    low, high = map(float, re.search(re.escape(before) + r"\S+ \((\S+) to (\S+)\)", text).groups())
    return judge(Interval((low + high) / 2, low, high, 3))


def test_networks_cost_the_same_and_look_ever_farther():
    arms = STUDY.arms(Effort.FULL, 1)
    networks = [
        build_network(
            small_recipe(
                seed=0,
                n_steps=1,
                network={"widths": list(arm.settings["widths"]), "depths": list(arm.settings["depths"])},
            ).network
        )
        for arm in arms
    ]
    costs = [network.macs_per_px for network in networks]
    assert max(costs) < 1.05 * min(costs)
    assert tuple(network.radius_px for network in networks) == RADII


def test_costs_and_bounds_are_told():
    found = STUDY.findings(made_up())[0]
    assert found.text.startswith("The costs agree within 0.0%: 9.8 to 9.8 kMAC/px. No gradient")
    results = made_up()
    results.all[0].measured["macs_per_px"] = 19600.0
    results.all[0].measured["farthest_px"] = RADII[0] + 1
    found = STUDY.findings(results)[0]
    assert "within 100.0%: 9.8 to 19.6" in found.text
    assert "Against the theory, a gradient" in found.text


@pytest.mark.parametrize(("gain", "verdict"), VERDICTS)
@pytest.mark.parametrize(("noise", "level"), [("weak", 15), ("strong", 50)])
def test_quality(noise, level, gain, verdict):
    found = STUDY.findings(made_up(**{noise: gain}))[1 if noise == "weak" else 2]
    assert found.verdict is verdict
    assert found.text.startswith(f"At sigma {level}, from a radius of 13 to one of 107 pixels")
    if gain:
        assert f"the best radius is {107 if gain > 0 else 13} pixels" in found.text


@pytest.mark.parametrize(("more", "verdict"), VERDICTS)
def test_strong_noise_against_weak(more, verdict):
    results = made_up(weak=1.0, strong=1.0 + more)
    for result in results:  # luck that both levels share would cancel
        result.measured["weak_psnr"] += 0.02 * np.random.default_rng([9, result.arm.seed]).standard_normal()
    found = STUDY.findings(results)[3]
    assert found.verdict is None
    assert judge_text(found.text, "this gain changes by ") is verdict


@pytest.mark.parametrize(("more", "verdict"), VERDICTS)
def test_smooth_areas_against_edges(more, verdict):
    for found, level in zip(STUDY.findings(made_up(smooth_more=more))[4:6], (15, 50), strict=True):
        assert found.verdict is verdict
        assert found.text.startswith(f"At sigma {level}, the largest field changes the PSNR of smooth areas by ")


def test_each_noise_level_has_its_own_verdict():
    results = made_up(smooth_more=0.5)
    for result in results:
        result.measured["weak_smooth"] = result.measured["weak_edges"] - 0.3 * result.arm.settings["levels"]
    weak, strong = STUDY.findings(results)[4:6]
    assert weak.verdict is Verdict.CONTRADICTS
    assert strong.verdict is Verdict.SUPPORTS


@pytest.mark.parametrize("more", [9, -9, 0])
def test_effective_radius(more):
    found = STUDY.findings(made_up(reach_more=more))[6]
    assert found.verdict is None
    assert "radius of 107 pixels, 90% of the gradient lies within 8 pixels at sigma 15" in found.text
    assert f"within {8 + more} at sigma 50" in found.text


def test_the_table_has_all_fields():
    table = STUDY.table(made_up(weak=3.0, spread=0.0))
    assert [row[0] for row in table.rows] == [str(radius) for radius in RADII]
    assert [row[4][:5] for row in table.rows] == ["32.00", "33.00", "34.00", "35.00"]
    assert all(len(row) == len(table.head) for row in table.rows)


def test_figures_show_what_was_measured():
    with style_context():
        figures = STUDY.figures(made_up(weak=3.0, spread=0.0))
    weak = figures["quality"].figure.axes[0]
    (line,) = (container.lines[0] for container in weak.containers)
    np.testing.assert_allclose(line.get_xydata().astype(float), np.transpose([RADII, [32, 33, 34, 35]]))
    kinds = figures["kinds"].figure.axes[0].containers
    assert [container.get_label() for container in kinds] == ["all pixels", "edges", "smooth areas"]
    assert float(kinds[2].lines[0].get_ydata()[-1]) == pytest.approx(3.15)
    titles = [axes.get_title() for axes in figures["effective-field"].figure.axes[:8]]
    assert titles[0] == "5 of 13 px"
    assert titles[-1] == "18 of 107 px"


@given(st.integers(1, 30), st.integers(0, 30), st.floats(0.01, 0.99))
def test_reach_of_a_square(middle, radius, share):
    radius = min(radius, middle)
    gradient = np.zeros((2 * middle + 1, 2 * middle + 1))
    gradient[middle - radius : middle + radius + 1, middle - radius : middle + radius + 1] = 1 / (2 * radius + 1) ** 2
    found = effective_radius(gradient, share)
    assert found <= radius
    assert (2 * found + 1) ** 2 >= share * (2 * radius + 1) ** 2 - 1e-6
    assert found == 0 or (2 * found - 1) ** 2 < share * (2 * radius + 1) ** 2 + 1e-6
    assert farthest(gradient) == radius


def test_gradient_is_that_of_the_network():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    network = {"widths": [4], "depths": [1]}
    module = fit(small_recipe(seed=0, n_steps=2, network=network, data={"patch_px": 16}), [image]).module
    gradient = mean_gradient(module, Photographs([image], [image], ""), 25.0, 6)
    assert gradient.sum() == pytest.approx(1)
    assert gradient.shape == (49, 49)
    assert np.unravel_index(gradient.argmax(), gradient.shape) == (24, 24)
    # Places of either parity were taken, so that the bound is met on some side but never passed.
    assert module.network.radius_px - 1 <= farthest(gradient) <= module.network.radius_px


def test_maps_are_logarithmic():
    gradient = np.zeros((241, 241))
    gradient[120, 120:124] = 1, 0.1, 1e-5, 1e-9
    image = gradient_map(gradient)
    assert image.shape == (113, 113, 3)
    assert image[56, 56:61, 0].tolist() == [255, 204, 0, 0, 0]
    assert gradient_map(gradient[100:141, 100:141]).shape == (41, 41, 3)


def test_an_arm_runs():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    measured = [STUDY.run(arm, Photographs([image], [image], "")) for arm in STUDY.arms(Effort.QUICK, 1)]
    assert [one["radius_px"] for one in measured] == list(RADII)
    assert len({one["weak_psnr"] for one in measured}) == 4
    assert measured[0]["weak_psnr"] != measured[0]["strong_psnr"]
    assert all(one["farthest_px"] <= one["radius_px"] for one in measured)
    assert measured[0]["strong_map"].shape == (49, 49, 3)
