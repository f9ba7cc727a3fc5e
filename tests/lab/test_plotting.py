import itertools

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from pellucid.lab import plotting


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.2))
def test_spread_labels_do_not_collide_and_keep_their_order(wanted, least):
    wanted = np.array(wanted)
    heights = plotting._spread(wanted, least)
    order = np.argsort(wanted, kind="stable")
    assert np.all(np.diff(heights[order]) >= least - 1e-9)
    assert heights.mean() == pytest.approx(wanted.mean(), abs=1e-9)


def test_labels_far_apart_stay_in_place():
    np.testing.assert_allclose(plotting._spread(np.array([0.9, 0.1]), 0.1), [0.9, 0.1])


def test_labels_of_curves_do_not_overlap():
    with plotting.applied():
        figure, axes = plotting.new_figure()
        for index in range(6):
            axes.plot([0, 1], [0, 1 + index / 1000], label=f"curve {index}", **plotting.look(index))
        plotting.label_ends(axes)
        figure.draw_without_rendering()
    # Without the lines that lead to the labels, which may cross.
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 6
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.width for box in boxes)


def test_looks_differ_without_colour():
    looks = [plotting.look(index, marked=True) for index in range(7)]
    assert len({look["color"] for look in looks}) == 7
    assert len({look["marker"] for look in looks}) == 7
    assert len({str(look["linestyle"]) for look in looks[:6]}) == 6


def test_settings_are_put_back():
    before = mpl.rcParams["axes.grid"]
    with plotting.applied():
        assert mpl.rcParams["axes.grid"]
    assert mpl.rcParams["axes.grid"] == before


def test_plain_numbers():
    with plotting.applied():
        _, axes = plotting.new_figure()
        axes.set(yscale="log", ylim=(0.01, 2e4))
        plotting.plain_numbers(axes.yaxis)
        assert axes.yaxis.get_major_formatter()(10000.0) == "10,000"
        assert axes.yaxis.get_major_formatter()(0.1) == "0.1"
