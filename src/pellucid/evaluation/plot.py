"""A picture of quality against time: the higher and the farther left, the better.

Scores enter, a matplotlib figure and its files leave. It knows nothing of how the scores were measured.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.errors import MissingExtraError
from pellucid.evaluation.results import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

FILE_STEM = "quality_per_time"
#: Colour (of the palette of Okabe and Ito, which colour-blind readers can tell apart), marker and size of
#: each family.
STYLES = {
    "pellucid": ("#0072B2", "o", 70),
    "published network": ("#D55E00", "s", 50),
    "classical": ("#5F5F5F", "^", 50),
}
N_COLUMNS = 3
#: Where a label may stand, in points from its marker, the most readable place first.
PLACES = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
    (6, 7, "left", "bottom"),
    (6, -7, "left", "top"),
    (-6, 7, "right", "bottom"),
    (-6, -7, "right", "top"),
    (0, 20, "center", "bottom"),
    (0, -20, "center", "top"),
)


def draw(scores: Sequence[Score]) -> "Figure":
    """Draw a panel for each noise level: mean PSNR over seconds per megapixel.

    Methods that change nothing have no time worth drawing: their PSNR stands in the panel's title.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)
    except ImportError:
        raise MissingExtraError(
            "plot: needs matplotlib, which is not installed: pip install 'pellucid[evaluate]'"
        ) from None
    sigmas = sorted({score.sigma for score in scores})
    n_columns = min(N_COLUMNS, len(sigmas))
    n_rows = math.ceil(len(sigmas) / n_columns)
    width = 4.6 * n_columns + (1.4 if n_columns == 1 else 0)
    figure = Figure(figsize=(width, 4.2 * n_rows + 0.4), layout="constrained", dpi=150)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True).ravel()
    for axes in panels[len(sigmas) :]:
        axes.set_axis_off()
    for axes, sigma in zip(panels, sigmas, strict=False):
        _draw_panel(axes, [score for score in scores if score.sigma == sigma], sigma)
    for axes in panels[: len(sigmas)]:  # they share one axis of time, which has its full length by now
        _label_times(axes)
    panels[0].set_ylabel("mean PSNR (dB)")
    figure.supxlabel("seconds per megapixel, median (left is faster)", fontsize="medium")
    _draw_legend(figure, scores)
    figure.draw_without_rendering()  # settles the layout, on which the labels' places depend
    figure.set_layout_engine("none")
    for axes in panels[: len(sigmas)]:
        _place_labels(axes)
    return figure


def save(figure: "Figure", folder: Path) -> list[Path]:
    """Write the figure as PNG and SVG; give their paths."""
    import matplotlib as mpl  # noqa: PLC0415

    paths = [folder / f"{FILE_STEM}.{ending}" for ending in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": FILE_STEM}):  # the same scores give the same file
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _draw_panel(axes: "Axes", scores: Sequence[Score], sigma: float) -> None:
    title = f"sigma {sigma:g}"
    for score in scores:
        if score.family == "baseline" or not math.isfinite(score.psnr):
            title += f"   ({score.method}: {score.psnr:.2f} dB)"
            continue
        colour, marker, size = STYLES[score.family]
        point = (score.seconds_per_megapixel, score.psnr)
        axes.scatter(*point, s=size, c=colour, marker=marker, edgecolors="white", linewidths=0.8, zorder=3)
        axes.annotate(Path(score.method).name, point, (0, 0), textcoords="offset points", color=colour, fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.set_xscale("log")
    axes.margins(0.16, 0.12)
    axes.grid(visible=True, which="major", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelbottom=True)


def _label_times(axes: "Axes") -> None:
    """Write times as 0.1 and not as a power of ten, with some between these where there are few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    shortest, longest = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if longest / shortest > 100 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_legend(figure: "Figure", scores: Iterable[Score]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    present = {score.family for score in scores}
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=family)
        for family, (colour, marker, _) in STYLES.items()
        if family in present
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)


def _place_labels(axes: "Axes") -> None:
    from matplotlib.text import Annotation  # noqa: PLC0415

    """Move each label to the first place where it covers nothing and stays in the panel."""
    labels = [child for child in axes.texts if isinstance(child, Annotation)]
    taken = [_marker_box(axes, label.xy) for label in labels]
    for label in labels:
        boxes = [(_overlap(_move(label, place), taken, axes.bbox), index) for index, place in enumerate(PLACES)]
        best = PLACES[min(boxes)[1]]
        taken.append(_move(label, best))


def _move(label: "Annotation", place: tuple[int, int, str, str]) -> "Bbox":
    """Put a label somewhere; give the box that it covers there, in pixels."""
    x, y, horizontal, vertical = place
    label.xyann = (x, y)
    label.set(horizontalalignment=horizontal, verticalalignment=vertical)
    return label.get_window_extent()


def _marker_box(axes: "Axes", point: Any) -> "Bbox":
    from matplotlib.transforms import Bbox  # noqa: PLC0415

    x, y = axes.transData.transform(point)
    radius = 5 * axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _overlap(box: "Bbox", taken: Iterable["Bbox"], panel: "Bbox") -> float:
    """Area of a box that is taken already or lies outside the panel, in square pixels."""
    covered = sum(_area(type(box).intersection(box, other)) for other in taken)
    return covered + box.width * box.height - _area(type(box).intersection(box, panel))


def _area(box: "Bbox | None") -> float:
    return box.width * box.height if box is not None else 0.0
