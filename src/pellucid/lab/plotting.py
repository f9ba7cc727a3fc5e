"""How the figures of the laboratory look: colours, dashes, markers and sizes.

Nothing enters; matplotlib settings, empty figures and the looks of curves leave. It knows nothing of what is drawn.
Curves differ in colour, in dash and in marker, so that colour-blind readers and gray printers can tell them apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: The palette of Okabe and Ito ("Color Universal Design", 2008), without its yellow, which is hard to see on white.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
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
def applied() -> Iterator[None]:
    """Draw and save in the laboratory's style; settings of others are put back afterwards."""
    with mpl.rc_context(SETTINGS):
        yield


def new_figure(n_rows: int = 1, n_columns: int = 1, *, height_in: float = 3.6, **options: Any) -> tuple[Figure, Any]:
    """Make an empty figure of the report's width.

    Parameters
    ----------
    n_rows, n_columns : int
    height_in : float
        Of the whole figure, in inches; it is 7.6 inches wide.
    **options
        Of `matplotlib.figure.Figure.subplots`.

    Returns
    -------
    figure : Figure
    axes : Axes, or an array of them
        As of `Figure.subplots`.
    """
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, **options)


def look(index: int, *, marked: bool = False) -> dict[str, Any]:
    """Give the looks of the curve number `index` of a figure, for ``axes.plot``; the eighth looks like the first."""
    index %= len(COLOURS)
    return {
        "color": COLOURS[index],
        "linestyle": DASHES[index],
        **({"marker": MARKERS[index], "markeredgecolor": "white", "markeredgewidth": 0.6} if marked else {}),
    }


def plain_numbers(axis: Any) -> None:
    """Write the ticks of a logarithmic axis as 0.1 and 1,000 rather than as powers of ten."""
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:g}"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def label_ends(axes: Axes, *, gap: float = 1.25) -> None:
    """Write each curve's label beside its last point, in its colour, in place of a legend; labels do not collide.

    To be called when all is drawn and the limits are set.

    Parameters
    ----------
    axes : Axes
    gap : float
        The least distance between labels, in font sizes.
    """
    figure = axes.get_figure(root=True)
    curves = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if figure is None or not curves:
        return
    figure.draw_without_rendering()  # settles the size of the axes
    size_pt = float(mpl.rcParams["legend.fontsize"])
    least = gap * size_pt * figure.dpi / 72 / axes.bbox.height
    ends = [_end_of(axes, line) for line in curves]
    heights = _spread(np.array([y for _, y in ends]), least)
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


def _end_of(axes: Axes, line: Any) -> tuple[float, float]:
    """Find a curve's last point that is drawn, in fractions of the axes."""
    points = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return 1.0, 0.5
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(points[-1]))
    return float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1))


def _spread(wanted: Any, least: float) -> Any:
    """Move heights in [0, 1] as little as needs be until they are `least` apart (pool adjacent violators)."""
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
