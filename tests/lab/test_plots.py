import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from pellucid.lab import plots
from pellucid.lab.plots import draw_crops, draw_curves, draw_intervals, line_style, new_figure
from pellucid.lab.statistics import Interval


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.2))
def test_spread_labels_do_not_collide_and_keep_their_order(wanted, least):
    wanted = np.array(wanted)
    heights = plots.spread_labels(wanted, least)
    order = np.argsort(wanted, kind="stable")
    assert np.all(np.diff(heights[order]) >= least - 1e-9)
    assert heights.mean() == pytest.approx(wanted.mean(), abs=1e-9)


def test_labels_far_apart_stay_in_place():
    np.testing.assert_allclose(plots.spread_labels(np.array([0.9, 0.1]), 0.1), [0.9, 0.1])


def test_labels_of_curves_do_not_overlap():
    with plots.style_context():
        figure, axes = plots.new_figure()
        for index in range(6):
            axes.plot([0, 1], [0, 1 + index / 1000], label=f"curve {index}", **plots.line_style(index))
        plots.label_ends(axes)
        figure.draw_without_rendering()
    # Without the lines that lead to the labels, which may cross.
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 6
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.width for box in boxes)


def test_looks_differ_without_colour():
    looks = [plots.line_style(index, marked=True) for index in range(7)]
    assert len({look["color"] for look in looks}) == 7
    assert len({look["marker"] for look in looks}) == 7
    assert len({str(look["linestyle"]) for look in looks[:6]}) == 6


def test_settings_are_put_back():
    before = mpl.rcParams["axes.grid"]
    with plots.style_context():
        assert mpl.rcParams["axes.grid"]
    assert mpl.rcParams["axes.grid"] == before


def test_plain_numbers():
    with plots.style_context():
        _, axes = plots.new_figure()
        axes.set(yscale="log", ylim=(0.01, 2e4))
        plots.plain_numbers(axes.yaxis)
        assert axes.yaxis.get_major_formatter()(10000.0) == "10,000"
        assert axes.yaxis.get_major_formatter()(0.1) == "0.1"


def test_curves_of_seeds():
    _, axes = new_figure()
    draw_curves(axes, [0, 1, 2], [[1, 2, np.nan], [3, 4, 5]], "both", line_style(0))
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [2, 3, 5])
    assert line.get_label() == "both"
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().y0 == 1
    assert band.get_paths()[0].get_extents().y1 == 5


def test_intervals_are_rows_from_the_top():
    _, axes = new_figure()
    draw_intervals(axes, {"a": Interval(1, 0.5, 1.5, 3), "b": Interval(2, -math.inf, math.inf, 1)}, with_zero=True)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim() == (1.5, -0.5)
    spans = [bars.get_segments()[0][:, 0].tolist() for bars in axes.collections]
    assert spans == [[0.5, 1.5], [2, 2]]


def test_windows_are_shown_pixel_by_pixel():
    windows = {name: np.full((4, 4, 3), level, np.uint8) for level, name in enumerate(("noisy", "clean"))}
    figure = draw_crops([windows, windows, windows])
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:2]] == ["noisy", "clean"]
    np.testing.assert_array_equal(figure.axes[5].get_images()[0].get_array(), windows["clean"])
