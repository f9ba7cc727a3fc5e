from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from pellucid.evaluation import plot
from pellucid.evaluation.results import Score

#: Seconds per megapixel and PSNR as they come out: some close together, one far away.
TYPICAL = {
    "pellucid": ("pellucid", 0.53, 31.3),
    "pellucid@fp32": ("pellucid", 1.06, 31.31),
    "folder/with/a-model": ("pellucid", 0.2, 31.0),
    "ffdnet": ("published network", 1.8, 31.2),
    "dncnn-25": ("published network", 4.2, 31.3),
    "dncnn-blind": ("published network", 4.2, 31.2),
    "bm3d": ("classical", 76, 30.5),
    "opencv-nlm": ("classical", 1.86, 26.4),
    "skimage-nlm": ("classical", 1.48, 28.85),
    "skimage-wavelet": ("classical", 0.09, 27.97),
    "skimage-tv": ("classical", 0.26, 27.67),
}


def score(method, family, seconds, psnr, sigma=25.0):
    return Score(method, family, sigma, 5, psnr, 0.9, seconds)


def labels(figure):
    return [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("sigmas", [(25,), (15, 25), (15, 25, 50), (5, 15, 25, 50)])
def test_labels_neither_collide_nor_leave_the_panel(sigmas):
    figure = plot.draw([score(m, *rest, sigma) for m, rest in TYPICAL.items() for sigma in sigmas])
    figure.draw_without_rendering()
    for axes in figure.axes[: len(sigmas)]:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(TYPICAL)
        assert not any(Bbox.intersection(a, b) for a, b in combinations(boxes, 2))
        markers = axes.transData.transform([text.xy for text in axes.texts])
        assert not any(box.contains(*marker) for box in boxes for marker in markers)
        for box in boxes:
            inside = Bbox.intersection(box, axes.bbox)
            assert inside is not None
            assert inside.width * inside.height > 0.999 * box.width * box.height


def test_a_panel_for_each_sigma_with_baseline_in_its_title():
    scores = [
        score("noisy", "baseline", 1e-5, 20.17),
        score("m", "classical", 1, 30),
        score("m", "classical", 1, 33, 15.0),
    ]
    titles = [axes.get_title() for axes in plot.draw(scores).axes]
    assert titles == ["sigma 15", "sigma 25   (noisy: 20.17 dB)"]


def test_a_folder_is_labelled_by_its_last_part():
    assert [label.get_text() for label in labels(plot.draw([score("runs/best", "pellucid", 1, 30)]))] == ["best"]


@pytest.mark.parametrize("psnr", [20.0, float("inf")])
def test_only_a_baseline(psnr, tmp_path):
    figure = plot.draw([score("noisy", "baseline", 1e-5, psnr)])
    assert labels(figure) == []
    assert len(plot.save(figure, tmp_path)) == 2


def test_same_scores_same_files(tmp_path):
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths = plot.save(plot.draw([score(m, *rest) for m, rest in TYPICAL.items()]), tmp_path / name)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


@settings(max_examples=15, deadline=None)
@given(points=st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(0, 60)), min_size=1, max_size=8))
def test_any_scores_can_be_drawn(points):
    figure = plot.draw([score(f"m{i}", "classical", *point) for i, point in enumerate(points)])
    assert len(labels(figure)) == len(points)
    assert np.isfinite([label.xyann for label in labels(figure)]).all()
