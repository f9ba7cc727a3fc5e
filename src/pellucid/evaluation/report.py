"""Report a benchmark: summary table, CSV and JSON files, and a plot of quality against time."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from pellucid.errors import OutputError, require_extra
from pellucid.io.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

JSON_FILE, CSV_FILE, PLOT_STEM = "evaluation.json", "evaluation.csv", "quality_per_time"
#: Colour (of the palette of Okabe and Ito, for colour-blind readers), marker and size of each family.
STYLES = {
    "pellucid": ("#0072B2", "o", 70),
    "published network": ("#D55E00", "s", 50),
    "classical": ("#5F5F5F", "^", 50),
}
N_COLUMNS = 3
#: Offsets of a label from its marker in points, and its alignment; the most readable first.
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


@dataclass(frozen=True)
class Measurement:
    """One method on one image at one noise level: PSNR in dB, SSIM, and wall-clock time."""

    method: str
    image: str
    #: Standard deviation of the noise, 0..255 scale.
    sigma: float
    psnr: float
    ssim: float
    seconds: float
    megapixels: float


@dataclass(frozen=True)
class Failure:
    """A method that raised on an image, or an image that could not be used (`method` is then empty)."""

    method: str
    image: str
    sigma: float | None
    message: str


@dataclass(frozen=True)
class Skipped:
    """A method, or some of its noise levels, that was skipped, and why."""

    method: str
    reason: str


@dataclass(frozen=True)
class Score:
    """One method at one noise level (0..255 scale): means of PSNR and SSIM and median time over images."""

    method: str
    family: str
    sigma: float
    n_images: int
    psnr: float
    ssim: float
    seconds_per_megapixel: float


@dataclass(frozen=True)
class Evaluation:
    """The outcome of a benchmark."""

    rows: Sequence[Measurement]
    failures: Sequence[Failure]
    skipped: Sequence[Skipped]
    #: The family of each method that ran, in the order of the arguments.
    families: Mapping[str, str]
    #: How it was measured: settings, versions, processor.
    protocol: Mapping[str, Any]
    #: Whether it was stopped early; the rows are those measured until then.
    interrupted: bool = False

    def summary(self) -> list[Score]:
        """Average over images: a score for each method, in the order of the arguments, and noise level."""
        groups: dict[tuple[str, float], list[Measurement]] = {}
        for row in self.rows:
            groups.setdefault((row.method, row.sigma), []).append(row)
        order = list(self.families)
        keys = sorted(groups, key=lambda key: (order.index(key[0]), key[1]))
        return [_score(groups[key], self.families[key[0]]) for key in keys]

    def as_dict(self) -> dict[str, Any]:
        """Convert to values for JSON; numbers that are not finite become None."""
        return {
            "protocol": dict(self.protocol),
            "interrupted": self.interrupted,
            "summary": [_finite(asdict(score)) for score in self.summary()],
            "rows": [_finite(asdict(row)) for row in self.rows],
            "failures": [asdict(failure) for failure in self.failures],
            "skipped": [asdict(skipped) for skipped in self.skipped],
        }

    def write(self, folder: Path) -> list[Path]:
        """Write rows as CSV, everything as JSON, and a plot of quality per time as PNG and SVG, if there are rows.

        Raises
        ------
        OutputError
            The folder already has an evaluation, or cannot be written.
        MissingExtraError
            matplotlib is not installed. CSV and JSON have been written by then.
        """
        check_vacant(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be created ({error.strerror}): name another folder") from None
        paths = [folder / CSV_FILE, folder / JSON_FILE]
        write_atomic(paths[0], self._to_csv().encode())
        write_atomic(paths[1], (json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n").encode())
        if self.rows:
            paths += save_plot(plot_scores(self.summary()), folder)
        return paths

    def _to_csv(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Measurement))
        writer.writerows(astuple(row) for row in self.rows)
        return file.getvalue()


def check_vacant(folder: Path) -> None:
    """Raise OutputError for a folder that has an evaluation: hours of measurements are not overwritten."""
    if (folder / JSON_FILE).exists():
        raise OutputError(f"{folder}: already has an evaluation: name another folder")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder: name another one")


def format_table(scores: Sequence[Score]) -> str:
    """Format scores as text: a line for each method, with PSNR and SSIM at each noise level, and time.

    A method that succeeded on fewer images than others is marked, since their means are not comparable.
    """
    sigmas = sorted({score.sigma for score in scores})
    by_key = {(score.method, score.sigma): score for score in scores}
    methods = list(dict.fromkeys(score.method for score in scores))
    most = max((score.n_images for score in scores), default=0)
    width = max([len("method"), *map(len, methods)])
    head = "".join(f"   {f'sigma {sigma:g}':<14}" for sigma in sigmas)
    units = "".join(f"   {'PSNR':>6}  {'SSIM':>6}" for _ in sigmas)
    lines = [f"{'':<{width}}{head}".rstrip(), f"{'method':<{width}}{units}   s/Mpixel"]
    for method in methods:
        found = [by_key.get((method, sigma)) for sigma in sigmas]
        cells = "".join(
            f"   {score.psnr:6.2f}  {score.ssim:6.4f}" if score else f"   {'-':>6}  {'-':>6}" for score in found
        )
        time = median(score.seconds_per_megapixel for score in found if score)
        fewest = min(score.n_images for score in found if score)
        remark = f"   (on {fewest} of {most} images)" if fewest < most else ""
        lines.append(f"{method:<{width}}{cells}   {time:8.3f}{remark}")
    return "\n".join(lines)


def _score(rows: Sequence[Measurement], family: str) -> Score:
    return Score(
        method=rows[0].method,
        family=family,
        sigma=rows[0].sigma,
        n_images=len(rows),
        psnr=fmean(row.psnr for row in rows),
        ssim=fmean(row.ssim for row in rows),
        seconds_per_megapixel=median(row.seconds / row.megapixels for row in rows),
    )


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def plot_scores(scores: Sequence[Score]) -> "Figure":
    """Plot mean PSNR against seconds per megapixel, a panel for each noise level.

    The PSNR of the noisy images, which have no time, is in the panel's title.
    """
    require_extra("plot", "evaluate", "matplotlib")
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)

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
    for axes in panels[: len(sigmas)]:  # only now, since they share one time axis
        _label_times(axes)
    panels[0].set_ylabel("mean PSNR (dB)")
    figure.supxlabel("seconds per megapixel, median (left is faster)", fontsize="medium")
    _draw_legend(figure, scores)
    figure.draw_without_rendering()  # computes the layout, which the labels' places depend on
    figure.set_layout_engine("none")
    for axes in panels[: len(sigmas)]:
        _place_labels(axes)
    return figure


def save_plot(figure: "Figure", folder: Path) -> list[Path]:
    """Write a figure as PNG and SVG, without a date; return their paths."""
    import matplotlib as mpl  # noqa: PLC0415

    paths = [folder / f"{PLOT_STEM}.{suffix}" for suffix in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": PLOT_STEM}):
        for path, metadata in zip(paths, (None, {"Date": None}), strict=True):
            content = io.BytesIO()
            figure.savefig(content, format=path.suffix[1:], metadata=metadata)
            write_atomic(path, content.getvalue())
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
    """Write times as 0.1 instead of a power of ten, with more ticks where there are few decades."""
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
    """Move each label to the first place where it covers nothing and stays in the panel."""
    from matplotlib.text import Annotation  # noqa: PLC0415

    labels = [child for child in axes.texts if isinstance(child, Annotation)]
    taken = [_marker_box(axes, label.xy) for label in labels]
    for label in labels:
        boxes = [(_overlap(_move(label, place), taken, axes.bbox), index) for index, place in enumerate(PLACES)]
        best = PLACES[min(boxes)[1]]
        taken.append(_move(label, best))


def _move(label: "Annotation", place: tuple[int, int, str, str]) -> "Bbox":
    """Move a label; return its box in pixels."""
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
    """Area of a box that is taken or outside the panel, in square pixels."""
    covered = sum(_area(type(box).intersection(box, other)) for other in taken)
    return covered + box.width * box.height - _area(type(box).intersection(box, panel))


def _area(box: "Bbox | None") -> float:
    return box.width * box.height if box is not None else 0.0
