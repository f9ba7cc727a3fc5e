import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pellucid.evaluation.metrics import psnr
from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import style_context
from pellucid.lab.studies.skip_connections import (
    STUDY,
    busiest_corner,
    crops_of,
    edge_pixels,
    edge_profile,
    gradient,
    psnr_on,
    sharpness,
    smooth_pixels,
)
from pellucid.lab.study import Effort, Result, Results, Verdict

VERDICTS = [(0.5, Verdict.SUPPORTS), (-0.5, Verdict.CONTRADICTS), (0.0, Verdict.INCONCLUSIVE)]


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
    found = STUDY.findings(made_up(slope=slope))[0]
    assert found.verdict is verdict
    assert found.text.startswith("Sharpness: 50.0% of the slope of edges remains without")
    assert f"{slope:+.3f} (" in found.text


@pytest.mark.parametrize(("edges", "verdict"), VERDICTS)
def test_edges(edges, verdict):
    found = STUDY.findings(made_up(edges=edges))[1]
    assert found.verdict is verdict
    assert found.text.startswith("Accuracy: ")
    assert f"{edges:+.2f} (" in found.text


@pytest.mark.parametrize(("extra", "verdict"), VERDICTS)
def test_edges_against_smooth_areas(extra, verdict):
    found = STUDY.findings(made_up(edges=1.0, smooth=1.0 - extra))[2]
    assert found.verdict is verdict
    assert found.text.startswith("Location: ")


def test_one_seed_cannot_tell():
    found = STUDY.findings(made_up(n_seeds=1))
    assert {one.verdict for one in found} == {Verdict.INCONCLUSIVE}
    assert all("no interval" in one.text for one in found)


def test_the_table_has_all_measures():
    table = STUDY.table(made_up(edges=1.0))
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
    with style_context():
        figures = STUDY.figures(results)
    titles = [axes.get_title() for axes in figures["windows"].figure.axes[:4]]
    assert titles == ["clean", "noisy", "with skip connections", "without"]
    assert len(figures["windows"].figure.axes) == 8


SIZES = st.integers(12, 40)


def step_edge(turns=0, side=49):
    """Dark at the left, bright at the right and between them one column of the crest; then turned by quarters."""
    image = np.full((side, side, 3), 0.2, np.float32)
    image[:, side // 2] = 0.45
    image[:, side // 2 + 1 :] = 0.7
    return np.rot90(image, turns)


def blurred(image, sigma_px):
    return ndimage.gaussian_filter(image, (sigma_px, sigma_px, 0))


@given(SIZES, SIZES, st.integers(0, 99))
def test_masks_hold_their_shares(height, width, seed):
    image = np.random.default_rng(seed).random((height, width, 3), np.float32)
    edges, smooth = edge_pixels(image), smooth_pixels(image)
    assert edges.mean() == pytest.approx(0.05, abs=0.01)
    assert smooth.mean() == pytest.approx(0.5, abs=0.01)
    assert not (edges & smooth).any()
    strength = np.hypot(*gradient(image))
    assert strength[edges].min() >= strength[~edges].max()
    assert strength[smooth].max() <= strength[~smooth].min()


def test_gradients_are_per_pixel():
    rows, columns = np.mgrid[:20, :30]
    plane = (0.02 * rows - 0.01 * columns)[..., None].repeat(3, axis=2)
    along_y, along_x = gradient(plane)
    np.testing.assert_allclose(along_y, 0.02)
    np.testing.assert_allclose(along_x, -0.01)


def test_psnr_of_a_mask_is_that_of_its_pixels():
    rng = np.random.default_rng(0)
    clean, denoised = (rng.random((20, 24, 3), np.float32) for _ in range(2))
    everywhere = np.ones((20, 24), bool)
    assert psnr_on(everywhere, clean, denoised) == pytest.approx(psnr(clean, denoised))
    half = everywhere.copy()
    half[10:] = False
    assert psnr_on(half, clean, denoised) == pytest.approx(psnr(clean[:10], denoised[:10]))


@pytest.mark.parametrize("turns", range(4))
def test_sharpness_falls_with_blur(turns):
    clean = step_edge(turns)
    assert sharpness(clean, clean) == pytest.approx(1)
    less, least = (sharpness(clean, blurred(clean, sigma_px)) for sigma_px in (1, 3))
    assert 1 > less > least > 0
    assert sharpness(clean, np.float32(0.5) * clean) == pytest.approx(0.5)
    assert sharpness(clean, 1 - clean) == pytest.approx(-1)


def test_noise_does_not_pass_for_sharpness():
    clean = step_edge(side=129)
    soft = blurred(clean, 2)
    noisy = soft + np.random.default_rng(0).normal(0, 0.2, clean.shape).astype(np.float32)
    edges = edge_pixels(clean)
    plain_ratio = np.hypot(*gradient(noisy))[edges].sum() / np.hypot(*gradient(clean))[edges].sum()
    assert sharpness(clean, noisy) == pytest.approx(sharpness(clean, soft), abs=0.1)
    assert plain_ratio > sharpness(clean, soft) + 0.2


@pytest.mark.parametrize("turns", range(4))
def test_profiles_go_from_dark_to_bright(turns):
    clean = blurred(step_edge(turns), 1)
    offsets = np.arange(-5.0, 6.0)
    profile, soft = edge_profile(clean, clean, offsets), edge_profile(clean, blurred(clean, 2), offsets)
    assert profile[[0, -1]] == pytest.approx([0.2, 0.7], abs=0.01)
    assert (np.diff(profile) > -1e-6).all()
    steepest, steepest_of_soft = np.diff(profile).max(), np.diff(soft).max()
    assert steepest_of_soft < 0.7 * steepest
    # Only crests are crossed: the pixels beside them would shift and so smear the profile.
    np.testing.assert_allclose(profile, blurred(step_edge(), 1)[24, 19:30, 0], atol=1e-3)


@settings(deadline=None)
@given(SIZES, SIZES, st.integers(1, 12), st.data())
def test_the_busiest_window_is_the_one_with_most_edges(height, width, side, data):
    image = np.zeros((height, width, 3), np.float32)
    row, column = (data.draw(st.integers(0, size - 1)) for size in (height, width))
    image[row, column] = 1
    image += np.random.default_rng(0).random(image.shape, np.float32) * np.float32(1e-3)
    edges = edge_pixels(image)
    counts = {
        (top, left): edges[top : top + side, left : left + side].sum()
        for top in range(height - side + 1)
        for left in range(width - side + 1)
    }
    assert counts[busiest_corner(image, side)] == max(counts.values())


@given(st.integers(1, 4))
def test_crops_are_where_the_clean_image_has_edges(n):
    rng = np.random.default_rng(n)
    cleans = [rng.random((48, 64, 3), np.float32) for _ in range(n)]
    triples = [(clean, clean * np.float32(3) - np.float32(1), clean) for clean in cleans]
    crops = crops_of(triples)
    assert list(crops) == ["clean", "noisy", "denoised"]
    for clean, crop in zip(cleans, np.split(crops["noisy"], n), strict=True):
        top, left = busiest_corner(clean, 40)
        cut = np.clip(clean * np.float32(3) - np.float32(1), 0, 1)[top : top + 40, left : left + 40]
        np.testing.assert_array_equal(crop, np.rint(cut * 255).astype(np.uint8))
