"""Drawings that several studies share: curves of several seeds, means with intervals, windows of images.

Numbers and images enter, marks on axes leave. It knows nothing of what was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pellucid.lab.plotting import COLOURS, GRAY, MARKERS, WIDTH_IN
from pellucid.lab.statistics import Interval


def draw_curves(axes: Axes, x: Any, curves: Any, label: str, look: Mapping[str, Any]) -> None:
    """Draw the mean of several seeds' curves, and a band from the lowest to the highest.

    Parameters
    ----------
    axes : Axes
    x : array-like, shape (n,)
    curves : array-like, shape (n_seeds, n)
        NaN is left out, so that a curve may end early.
    label : str
    look : mapping
        Of `style.look`.
    """
    values = np.ma.masked_invalid(np.asarray(curves, dtype=np.float64))
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(x, values.mean(axis=0), label=label, **look)


def draw_intervals(axes: Axes, intervals: Mapping[str, Interval], *, with_zero: bool = False) -> None:
    """Draw means as points with their intervals, one below the other, with their names at the left.

    Parameters
    ----------
    axes : Axes
    intervals : mapping of str to Interval
        Infinite intervals are drawn as points.
    with_zero : bool
        Mark zero by a line: for differences.
    """
    rows = range(len(intervals))
    for row, interval in zip(rows, intervals.values(), strict=True):
        half = interval.half_width if np.isfinite(interval.half_width) else 0.0
        colour, marker = COLOURS[row % len(COLOURS)], MARKERS[row % len(MARKERS)]
        axes.errorbar(interval.mean, row, xerr=half, color=colour, marker=marker, markersize=7, capsize=4)
    if with_zero:
        axes.axvline(0, color=GRAY, linewidth=1)
    axes.set_yticks(rows, list(intervals))
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def draw_windows(rows: Sequence[Mapping[str, NDArray[np.uint8]]]) -> Figure:
    """Show small windows of images side by side, enlarged without smoothing.

    Parameters
    ----------
    rows : sequence of mapping of str to ndarray (S, S, 3), uint8
        A mapping for each window: what each column shows of it. All rows have the same columns.
    """
    names = list(rows[0])
    figure = Figure(figsize=(WIDTH_IN, WIDTH_IN / len(names) * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(len(rows), len(names), squeeze=False)
    for row, windows in zip(panels, rows, strict=True):
        for panel, name in zip(row, names, strict=True):
            panel.imshow(windows[name])
            panel.set_axis_off()
    for panel, name in zip(panels[0], names, strict=True):
        panel.set_title(name)
    return figure
