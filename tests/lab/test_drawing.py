import math

import numpy as np

from pellucid.lab.drawing import draw_curves, draw_intervals, draw_windows
from pellucid.lab.plotting import look, new_figure
from pellucid.lab.statistics import Interval


def test_curves_of_seeds():
    _, axes = new_figure()
    draw_curves(axes, [0, 1, 2], [[1, 2, np.nan], [3, 4, 5]], "both", look(0))
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
    figure = draw_windows([windows, windows, windows])
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:2]] == ["noisy", "clean"]
    np.testing.assert_array_equal(figure.axes[5].get_images()[0].get_array(), windows["clean"])
