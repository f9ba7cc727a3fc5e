"""The figures of the study of residual connections.

Its results enter, figures leave. It knows nothing of how they were measured.
"""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pellucid.lab.drawing import draw_curves
from pellucid.lab.plotting import GRAY, look, new_figure, plain_numbers
from pellucid.lab.statistics import mean_of
from pellucid.lab.study import Drawing, Results

#: What is compared, in the order of the figures; "he" are plain blocks that start as He et al. propose.
KINDS = {"residual": "residual", "plain": "plain", "he": "plain, He's start"}


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    return {
        "gradient": _draw_gradient(results.where(part="gradient")),
        "training": _draw_training(results.where(part="training")),
        "quality": _draw_quality(results),
        "projection": _draw_projection(results.where(part="projection")),
    }


def _look_of(kind: str, *, marked: bool = False) -> dict[str, Any]:
    return look(list(KINDS).index(kind), marked=marked)


def _draw_gradient(gradient: Results) -> Drawing:
    depths = gradient.values_of("n_blocks")
    n_columns = 2
    n_rows = math.ceil(len(depths) / n_columns)
    figure, panels = new_figure(n_rows, n_columns, sharey=True, height_in=0.8 + 2.4 * n_rows, squeeze=False)
    for panel, n in zip(panels.flat, depths, strict=False):
        for kind, label in KINDS.items():
            norms = np.stack([run.array("norms") for run in gradient.where(kind=kind, n_blocks=n)])
            few = n <= 8
            draw_curves(panel, np.arange(1, n + 1), norms / norms[:, -1:], label, _look_of(kind, marked=few))
        panel.axhline(1, color=GRAY, linewidth=1, zorder=1)
        panel.set(yscale="log", xlabel="block, from the input")
        panel.set_title(f"{n} blocks", loc="left")
        panel.xaxis.get_major_locator().set_params(integer=True)
    for row in panels:
        row[0].set_ylabel("gradient, relative to the last")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(KINDS))
    return Drawing(
        figure,
        "Before training: the norm of the loss's gradient with respect to what leaves each block, relative to the last "
        "block, on a logarithmic axis. Means over the seeds, bands from the lowest to the highest. Read from the right "
        "to the left, as the gradient goes, and look at how much of it is there at the first block.",
    )


def _draw_training(training: Results) -> Drawing:
    depths = training.values_of("n_blocks")
    figure, panels = new_figure(1, len(depths), sharey=True, height_in=3.7, squeeze=False)
    for panel, n in zip(panels.flat, depths, strict=True):
        _draw_losses(panel, training.where(n_blocks=n))
        panel.set_title(f"{n} blocks", loc="left")
    panels.flat[0].set_ylabel("training loss")
    _label_losses(panels.flat[0])
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Drawing(
        figure,
        "Training loss of stacks on one level, on a logarithmic axis: means over the seeds, bands from the lowest to "
        "the highest. Look at how long the plain stacks stay where they start, and at which depth.",
    )


def _draw_losses(panel: Axes, runs: Results) -> None:
    for kind in runs.values_of("kind"):
        losses = np.stack([run.array("losses") for run in runs.where(kind=kind)])
        window = runs.all[0].arm.settings["window"]
        draw_curves(panel, window * (np.arange(losses.shape[1]) + 0.5), losses, KINDS[kind], _look_of(kind))
    panel.set(yscale="log", xlabel="step")


def _label_losses(axes: Axes) -> None:
    """Put numbers on a logarithmic axis of losses that may span less than a power of ten."""
    plain_numbers(axes.yaxis)
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "234568" else "")


def _draw_quality(results: Results) -> Drawing:
    training = results.where(part="training")
    depths = training.values_of("n_blocks")
    figure, axes = new_figure(height_in=3.2)
    for offset, kind in ((0.97, "plain"), (1.03, "residual")):
        means = [mean_of(training.by_seed("psnr", kind=kind, n_blocks=n)) for n in depths]
        halves = [mean.half_width if np.isfinite(mean.half_width) else 0.0 for mean in means]
        # Side by side, so that intervals do not hide each other.
        places = [offset * n for n in depths]
        curve = {**_look_of(kind, marked=True), "markersize": 7}
        axes.errorbar(places, [mean.mean for mean in means], yerr=halves, capsize=4, label=KINDS[kind], **curve)
    axes.set(xscale="log", xlabel="blocks on one level", ylabel="PSNR, dB")
    axes.set_xticks(depths)
    plain_numbers(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawing(
        figure,
        "Mean PSNR of held-out photographs after training, with 95 % intervals over the seeds. Look at what more "
        "blocks bring to a residual stack, and what they do to a plain one.",
    )


def _draw_projection(projected: Results) -> Drawing:
    figure, (norms, losses) = new_figure(1, 2, height_in=3.7)
    for kind in projected.values_of("kind"):
        values = np.stack([run.array("norms") for run in projected.where(kind=kind)])
        blocks = np.arange(1, values.shape[1] + 1)
        draw_curves(norms, blocks, values / values[:, -1:], KINDS[kind], _look_of(kind, marked=True))
    norms.set(yscale="log", xlabel="block, from the input", title="gradient at the start")
    norms.xaxis.get_major_locator().set_params(integer=True)
    _draw_losses(losses, projected)
    losses.set_title("training loss")
    _label_losses(losses)
    figure.legend(*norms.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Drawing(
        figure,
        "Two levels whose blocks change resolution and channels themselves, so that a residual block needs a "
        "projection. Left: the gradient with respect to what leaves each block, relative to the last; the skip "
        "connection takes a part of it past the blocks in the middle, which are those of the lower level. Right: "
        "training.",
    )
