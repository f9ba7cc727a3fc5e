"""Plot style and shared plots: curves of several seeds, means with intervals, image crops.

Curves differ in colour, dash and marker, so that they can be distinguished without colour.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pellucid.lab.statistics import Interval

#: The palette of Okabe and Ito ("Color Universal Design", 2008), without its yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY, FAINT = "#5F5F5F", "#E4E4E4"
WIDTH_IN = 7.6

SETTINGS: Any = {  # matplotlib's type lists every key
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
}


@contextmanager
def style_context() -> Iterator[None]:
    """Apply the plot style inside the context."""
    with mpl.rc_context(SETTINGS):
        yield


def new_figure(n_rows: int = 1, n_columns: int = 1, *, height_in: float = 3.6, **options: Any) -> tuple[Figure, Any]:
    """Create an empty figure, 7.6 inches wide, and its axes; `options` are those of `Figure.subplots`."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, **options)


def line_style(index: int, *, marked: bool = False) -> dict[str, Any]:
    """Return the colour, dash and marker of a figure's curve number `index`, for ``axes.plot``; they repeat after 7."""
    index %= len(COLOURS)
    return {
        "color": COLOURS[index],
        "linestyle": DASHES[index],
        **({"marker": MARKERS[index], "markeredgecolor": "white", "markeredgewidth": 0.6} if marked else {}),
    }


def draw_curves(axes: Axes, x: Any, curves: Any, label: str, style: Mapping[str, Any]) -> None:
    """Draw the mean of curves (n_seeds, n), and a band from minimum to maximum; NaN is left out."""
    values = np.ma.masked_invalid(np.asarray(curves, dtype=np.float64))
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(x, values.mean(axis=0), label=label, **style)


def draw_error_bars(axes: Axes, x: Any, intervals: Iterable[Interval], *, capsize: float = 4, **style: Any) -> None:
    """Draw means with vertical confidence intervals at positions `x`; infinite intervals are omitted."""
    intervals = list(intervals)
    means, errors = [one.mean for one in intervals], [one.error for one in intervals]
    axes.errorbar(x, means, yerr=errors, capsize=capsize, **style)


def draw_intervals(axes: Axes, intervals: Mapping[str, Interval], *, with_zero: bool = False) -> None:
    """Draw means with horizontal confidence intervals, one row each, named at the left.

    `with_zero` marks zero by a line, for differences.
    """
    rows = range(len(intervals))
    for row, interval in zip(rows, intervals.values(), strict=True):
        colour, marker = COLOURS[row % len(COLOURS)], MARKERS[row % len(MARKERS)]
        axes.errorbar(interval.mean, row, xerr=interval.error, color=colour, marker=marker, markersize=7, capsize=4)
    if with_zero:
        axes.axvline(0, color=GRAY, linewidth=1)
    axes.set_yticks(rows, list(intervals))
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def draw_crops(rows: Sequence[Mapping[str, NDArray[np.uint8]]]) -> Figure:
    """Draw crops (S, S, 3) enlarged without smoothing: a row for each mapping, whose keys are the columns."""
    names = list(rows[0])
    figure = Figure(figsize=(WIDTH_IN, WIDTH_IN / len(names) * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(len(rows), len(names), squeeze=False)
    for row, crops in zip(panels, rows, strict=True):
        for panel, name in zip(row, names, strict=True):
            panel.imshow(crops[name])
            panel.set_axis_off()
    for panel, name in zip(panels[0], names, strict=True):
        panel.set_title(name)
    return figure


def plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis with 0.1 and 1,000 instead of powers of ten."""
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:g}"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def label_minor_ticks(axis: Any) -> None:
    """Label a logarithmic axis that may span less than one decade: 0.02, 0.03, 0.04 and so on."""
    plain_numbers(axis)
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "234568" else "")


def label_ends(axes: Axes, *, gap: float = 1.25) -> None:
    """Label each curve beside its last point instead of in a legend; labels do not overlap.

    Call it after everything is drawn and the limits are set. `gap` is the minimum distance of labels in font sizes.
    """
    figure = axes.get_figure(root=True)
    curves = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if figure is None or not curves:
        return
    figure.draw_without_rendering()  # computes the size of the axes
    size_pt = float(mpl.rcParams["legend.fontsize"])
    least = gap * size_pt * figure.dpi / 72 / axes.bbox.height
    ends = [_last_point(axes, line) for line in curves]
    heights = spread_labels(np.array([y for _, y in ends]), least)
    for line, (x, y), height in zip(curves, ends, heights, strict=True):
        colour = line.get_color()
        axes.annotate(
            str(line.get_label()),
            (x, y),
            (1.04, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=size_pt,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 2},
        )


def _last_point(axes: Axes, line: Any) -> tuple[float, float]:
    """Return a curve's last finite point in fractions of the axes."""
    points = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return 1.0, 0.5
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(points[-1]))
    return float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1))


def spread_labels(wanted: Any, least: float) -> Any:
    """Move heights in [0, 1] as little as possible until they are `least` apart (pool adjacent violators)."""
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[float]] = []  # of each block of touching labels: sum of its wanted starts, number of labels
    for rank, height in enumerate(wanted[order]):
        blocks.append([height - rank * least, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, n = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += n
    placed = np.repeat([total / n for total, n in blocks], [int(n) for _, n in blocks])
    heights = np.empty_like(wanted)
    heights[order] = placed + least * np.arange(len(wanted))
    return heights
