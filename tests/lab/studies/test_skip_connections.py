import numpy as np
import pytest

from pellucid.lab.pictures import Photographs
from pellucid.lab.plotting import applied
from pellucid.lab.studies.skip_connections import STUDY
from pellucid.lab.study import Effort, Result, Results, Verdict

VERDICTS = [(0.5, Verdict.SUPPORTS), (-0.5, Verdict.CONTRADICTS), (0.0, Verdict.CANNOT_TELL)]


def made_up(*, slope=0.2, edges=1.0, smooth=0.3, spread=0.02, n_seeds=3):
    """Results as of a run, by what skip connections add."""
    results = []
    for arm in STUDY.arms(Effort.QUICK, n_seeds):
        skip = arm.settings["skip"]
        jitter = spread * (arm.seed - 1) * skip
        measured = {
            "psnr": 28 + (edges + smooth) / 2 * skip + jitter,
            "edges": 23 + edges * skip + jitter,
            "smooth": 31 + smooth * skip - jitter,
            "sharpness": 0.5 + slope * skip + jitter,
            "profile": np.linspace(0.3, 0.5 + 0.1 * skip, 25),
            "profile_clean": np.linspace(0.2, 0.7, 25),
        }
        if arm.seed == 0:
            measured |= {name: np.full((16, 8, 3), 99, np.uint8) for name in ("clean", "noisy", "denoised")}
        results.append(Result(arm, measured, 1.0))
    return Results(results)


@pytest.mark.parametrize(("slope", "verdict"), VERDICTS)
def test_blur(slope, verdict):
    found = STUDY.find(made_up(slope=slope))[0]
    assert found.verdict is verdict
    starts = {
        Verdict.SUPPORTS: "Without skip connections edges blur: 50.0% of the slope",
        Verdict.CONTRADICTS: "Edges are sharper without skip connections: 50.0%",
        Verdict.CANNOT_TELL: "Whether skip connections sharpen edges cannot be told",
    }
    assert found.text.startswith(starts[verdict])
    assert f"{slope:+.3f} (" in found.text


@pytest.mark.parametrize(("edges", "verdict"), VERDICTS)
def test_edges(edges, verdict):
    found = STUDY.find(made_up(edges=edges))[1]
    assert found.verdict is verdict
    words = {Verdict.SUPPORTS: "closer to", Verdict.CONTRADICTS: "farther from", Verdict.CANNOT_TELL: "cannot be told"}
    assert words[verdict] in found.text
    assert f"{edges:+.2f} (" in found.text


@pytest.mark.parametrize(("extra", "verdict"), VERDICTS)
def test_edges_against_smooth_areas(extra, verdict):
    found = STUDY.find(made_up(edges=1.0, smooth=1.0 - extra))[2]
    assert found.verdict is verdict
    starts = {Verdict.SUPPORTS: "It is edges", Verdict.CONTRADICTS: "Smooth areas", Verdict.CANNOT_TELL: "Whether"}
    assert found.text.startswith(starts[verdict])


def test_one_seed_cannot_tell():
    found = STUDY.find(made_up(n_seeds=1))
    assert {one.verdict for one in found} == {Verdict.CANNOT_TELL}
    assert all("no interval" in one.text for one in found)


def test_the_table_has_all_measures():
    table = STUDY.tabulate(made_up(edges=1.0))
    assert [len(row) for row in table.rows] == [len(table.head)] * 4
    assert table.rows[1][1].startswith("24.00 (")
    assert table.rows[1][3].startswith("+1.00 (")


def test_an_arm_runs_and_is_drawn():
    across = np.linspace(0, 255, 64)
    ramp = np.broadcast_to(across[None, :, None], (64, 64, 3)).astype(np.uint8)
    photographs = Photographs([ramp], [ramp, np.swapaxes(ramp, 0, 1)], "ramps")
    results = Results([Result(arm, STUDY.run(arm, photographs), 1.0) for arm in STUDY.arms(Effort.QUICK, 1)])
    yes, no = results
    assert yes["psnr"] != no["psnr"]
    np.testing.assert_array_equal(yes["noisy"], no["noisy"])
    assert yes["clean"].shape == (80, 40, 3)
    np.testing.assert_allclose(yes["profile_clean"], no["profile_clean"])
    with applied():
        drawings = STUDY.draw(results)
    titles = [axes.get_title() for axes in drawings["windows"].figure.axes[:4]]
    assert titles == ["clean", "noisy", "with skip connections", "without"]
    assert len(drawings["windows"].figure.axes) == 8
