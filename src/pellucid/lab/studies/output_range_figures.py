"""The figures of the study of the output's range.

Its results enter, figures leave; the curves of the maps come from the maps themselves. It knows nothing of how the
results were measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from pellucid.lab.drawing import draw_curves, draw_windows
from pellucid.lab.plotting import FAINT, look, new_figure, plain_numbers
from pellucid.lab.statistics import mean_of
from pellucid.lab.study import Drawing, Results
from pellucid.training.nn.heads import ScaledTanh, build_head

#: A map has the same colour and dash in all figures; the penalty has looks of its own.
_MAPS = {"linear": 0, "clip": 2, "sigmoid": 3, "tanh": 4, "scaled tanh": 5}


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    return {
        "maps": _draw_maps(),
        "training": _draw_training(results),
        "quality": _draw_quality(results),
        "windows": _draw_windows(results),
    }


def _draw_maps() -> Drawing:
    a, b = ScaledTanh().a, ScaledTanh().b
    figure, (maps, slopes, against) = new_figure(1, 3, height_in=3.4)
    for name, index in _MAPS.items():
        output = build_head(name.replace(" ", "_"))
        # From the value that gives a middle gray, so that all maps cross in one point.
        x = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
        y = output(x + output.middle)
        (slope,) = torch.autograd.grad(y.sum(), x)
        offset, value, gradient = (tensor.detach().numpy() for tensor in (x, y, slope))
        # The linear map lies under the clip for a part of its way.
        curve = look(index) | ({"linewidth": 4, "alpha": 0.4} if name == "linear" else {})
        maps.plot(offset, value, label=name, **curve)
        slopes.plot(offset, gradient, **curve)
        against.plot(value, gradient, **curve)
    for axes in (maps, slopes):
        axes.set_xlabel("x, from middle gray")
    maps.axhspan(0, 1, color=FAINT, zorder=0)
    maps.set(title="the map", ylim=(-0.4, 1.4))
    against.axvspan(0, 1, color=FAINT, zorder=0)
    against.set(title="gradient against output", xlabel="output", xlim=(-0.4, 1.4), ylim=(-0.05, 1.08))
    slopes.set(title="its gradient", ylim=(-0.05, 1.08))
    figure.legend(*maps.get_legend_handles_labels(), loc="outside lower center", ncols=len(_MAPS))
    return Drawing(
        figure,
        "The maps, and the gradient that each lets through. The range of pixels is shaded; scaled tanh is "
        f"a(tanh(x) + b) with a = {a:.2g} and b = {b:.2g}. Look at the right: where the output is 0 or 1, the "
        "gradients of sigmoid and tanh are gone and that of the scaled tanh is not; the clip has none at all once the "
        "value is out.",
    )


def _looks(results: Results) -> dict[str, dict[str, Any]]:
    """Give each output its looks, marked: those of its map if there is no penalty."""
    free = iter(index for index in range(7) if index not in _MAPS.values())
    return {
        name: look(_MAPS[name] if name in _MAPS else next(free), marked=True) for name in results.values_of("output")
    }


def _draw_training(results: Results) -> Drawing:
    starts, settings = results.values_of("start"), results.all[0].arm.settings
    steps = np.array(settings["measured_at"]) + 1
    figure, panels = new_figure(2, len(starts), height_in=6.0, sharex=True, sharey="row", squeeze=False)
    for column, start in enumerate(starts):
        for name, curve in _looks(results).items():
            arms = results.where(output=name, start=start)
            draw_curves(panels[0, column], steps, [r.array("psnr_curve") for r in arms], name, curve)
            draw_curves(panels[1, column], steps, [r.array("zero_curve") for r in arms], name, curve)
        panels[0, column].set_title(f"{start} start")
        panels[1, column].set(xscale="log", xlabel="step", ylim=(-0.04, 1.04))
        plain_numbers(panels[1, column].xaxis)
    panels[0, 0].set_ylabel("held-out PSNR, dB")
    panels[1, 0].set_ylabel("share of zero gradients")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    n_seeds = len(results.where(output="clip", start=starts[0]).all)
    return Drawing(
        figure,
        "Above: PSNR of held-out photographs while training from both starts, mean of "
        f"{n_seeds} {'seed' if n_seeds == 1 else 'seeds'} and band from the lowest to the highest. Below: the share of "
        "values before the map that get a gradient of exactly zero, until the next mark. At one, nothing is learned.",
    )


_PANELS = (
    ("psnr", "PSNR, dB\nall samples"),
    ("psnr_black", "PSNR, dB\nnear black"),
    ("psnr_white", "PSNR, dB\nnear white"),
    ("out_of_range", "out of range,\n% of samples"),
)


def _draw_quality(results: Results) -> Drawing:
    outputs, starts = results.values_of("output"), results.values_of("start")
    figure, panels = new_figure(1, len(_PANELS), height_in=3.9, sharey=True)
    for axes, (name, title) in zip(panels, _PANELS, strict=True):
        lowest = -np.inf if name == "out_of_range" else _lowest_shown(results, name)
        for index, start in enumerate(starts):
            _draw_points(axes, results.where(start=start), name, index, lowest)
        axes.set_title(title)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(outputs)), outputs)
    panels[0].set_ylim(len(outputs) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(starts))
    near = results.all[0].arm.settings["near"]
    return Drawing(
        figure,
        f"After training, with 95 % intervals: PSNR of what is saved, that is of values clipped to 0 and 1, and the "
        f"share of values that have to be clipped. Near black and white: clean values within {near:g} of 0 and of 1. "
        "Compare the circles with the squares of one row: what a bad start costs. A number at the left edge is a mark "
        "too far away to be shown.",
    )


def _draw_points(axes: Axes, results: Results, name: str, index: int, lowest: float) -> None:
    """Draw means and intervals of one start, a little above or below the row's middle; write those below `lowest`."""
    unit, looks = 100 if name == "out_of_range" else 1, {**look(index, marked=True), "linestyle": "none"}
    intervals = [mean_of(results.by_seed(name, output=output)) for output in results.values_of("output")]
    means = np.array([unit * interval.mean for interval in intervals])
    halves = [unit * interval.half_width if np.isfinite(interval.half_width) else 0.0 for interval in intervals]
    rows, shown = np.arange(len(means)) + 0.3 * (index - 0.5), np.where(means < lowest, np.nan, means)
    axes.errorbar(shown, rows, xerr=halves, color=looks["color"], fmt="none", capsize=2.5)
    axes.plot(shown, rows, label=f"{results.all[0].arm.settings['start']} start", **{**looks, "markersize": 6})
    at_edge = {"transform": axes.get_yaxis_transform(), "color": looks["color"], "va": "center", "fontsize": "small"}
    for mean, row in zip(means, rows, strict=True):
        if mean < lowest:
            axes.text(0.02, row, f"◂ {mean:.1f}", **at_edge)


def _lowest_shown(results: Results, name: str) -> float:
    """Find below what a value lies so far off that, were it shown, all others would lie on one another."""
    settings = [(output, start) for output in results.values_of("output") for start in results.values_of("start")]
    means = [mean_of(results.by_seed(name, output=output, start=start)).mean for output, start in settings]
    low, middle, high = np.nanquantile(means, (0.25, 0.5, 1))
    return float(middle - max(3 * (high - low), 1.0))


def _draw_windows(results: Results) -> Drawing:
    starts = results.values_of("start")
    rows = [_row(results.where(start=start)) for start in starts]
    figure = draw_windows(rows)
    panels = np.array(figure.axes).reshape(len(rows), -1)
    for panel, name in zip(panels[0], rows[0], strict=True):
        panel.set_title(name.replace(" + ", "\n+ "), fontsize="small")
    for row, start in zip(panels, starts, strict=True):
        row[0].text(-0.08, 0.5, f"{start} start", transform=row[0].transAxes, rotation=90, va="center", ha="right")
    figure.set_figheight(figure.get_figheight() + 0.15)
    return Drawing(
        figure,
        "One window of a held-out photograph, the one with most of both black and white, after training from both "
        f"starts with seed {results.all[0].arm.seed}; enlarged without smoothing. Look for windows that have stayed "
        "black, and for dark and bright parts that are gray.",
    )


def _row(results: Results) -> Mapping[str, Any]:
    firsts = {name: results.where(output=name).all[0] for name in results.values_of("output")}
    first = next(iter(firsts.values()))
    return {
        "clean": first["window_clean"],
        "noisy": first["window_noisy"],
        **{name: result["window"] for name, result in firsts.items()},
    }
