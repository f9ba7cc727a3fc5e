"""The figures of the study of batch normalization.

Its results enter, figures leave. It knows nothing of how they were measured.
"""

import numpy as np

from pellucid.lab.drawing import draw_curves, draw_windows
from pellucid.lab.plotting import GRAY, label_ends, look, new_figure, plain_numbers
from pellucid.lab.statistics import mean_of
from pellucid.lab.study import Drawing, Results

#: What a network without and with residual connections is called, by the setting `residual`.
BLOCKS = {False: "plain", True: "residual"}
_KINDS = {"none": "without", "batch": "batch norm."}


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    training = results.where(part="training")
    return {
        "scales": _draw_scales(training),
        "training": _draw_training(training),
        "wrong-mode": _draw_wrong_mode(training.where(normalization="batch")),
        "windows": _draw_windows(training.where(normalization="batch", residual=False)),
    }


def _draw_scales(training: Results) -> Drawing:
    figure, panels = new_figure(2, 2, sharex=True, sharey=True, height_in=5.2)
    for row, residual in zip(panels, (False, True), strict=True):
        for panel, when, told in zip(row, ("start", "end"), ("before", "after"), strict=True):
            for index, kind in enumerate(_KINDS):
                runs = training.where(residual=residual, normalization=kind)
                scales = np.stack([run.array(f"scales_at_{when}") for run in runs])
                layers = np.arange(1, scales.shape[1] + 1)
                draw_curves(panel, layers, scales, _KINDS[kind], look(index, marked=True))
            panel.set(yscale="log")
            panel.set_title(f"{BLOCKS[residual]} blocks, {told} training", loc="left")
            plain_numbers(panel.yaxis)
        row[0].set_ylabel("root mean square")
        label_ends(row[1])
    for panel in panels[-1]:
        panel.set_xlabel("convolution, from input to output")
    return Drawing(
        figure,
        "The size of what enters each 3x3 convolution, on a logarithmic axis: means over the seeds, bands from the "
        "lowest to the highest. Look at how level the curves are: a layer far below or above its neighbours takes "
        "steps that are far too small or too large for it.",
    )


def _draw_training(training: Results) -> Drawing:
    figure, panels = new_figure(1, 2, sharey=True, height_in=3.6)
    for panel, residual in zip(panels, (False, True), strict=True):
        for index, kind in enumerate(_KINDS):
            runs = training.where(residual=residual, normalization=kind)
            losses = np.stack([run.array("losses") for run in runs])
            window = runs.all[0].arm.settings["window"]
            steps = window * (np.arange(losses.shape[1]) + 0.5)
            draw_curves(panel, steps, losses, _KINDS[kind], look(index))
        panel.set(yscale="log", xlabel="step")
        panel.set_title(f"{BLOCKS[residual]} blocks", loc="left")
    plain_numbers(panels[0].yaxis)
    panels[0].yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "234568" else "")
    panels[0].set_ylabel("training loss (mean absolute error)")
    label_ends(panels[1])
    return Drawing(
        figure,
        f"Training loss, averaged over {window} steps: means over the seeds, bands from the lowest to the highest. "
        "Look at the first steps of the plain blocks, and at what is left of the difference with residual ones.",
    )


def _draw_wrong_mode(normalized: Results) -> Drawing:
    figure, axes = new_figure(height_in=3.4)
    for index, (residual, shift) in enumerate(((False, 0.97), (True, 1.03))):
        runs = normalized.where(residual=residual)
        sizes = runs.all[0].arm.settings["batch_sizes"]
        lost = np.stack([float(run["right_psnr"]) - run.array("wrong_psnr") for run in runs])
        means = [mean_of(column) for column in lost.T]
        halves = [mean.half_width if np.isfinite(mean.half_width) else 0.0 for mean in means]
        # Side by side, so that intervals do not hide each other.
        places = [shift * size for size in sizes]
        label = f"{BLOCKS[residual]} blocks"
        axes.errorbar(
            places, [mean.mean for mean in means], yerr=halves, capsize=4, label=label, **look(index, marked=True)
        )
    axes.axhline(0, color=GRAY, linewidth=1)
    axes.set(xscale="log", xlabel="squares in a batch", ylabel="PSNR lost, dB")
    axes.set_xticks(sizes)
    plain_numbers(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawing(
        figure,
        "What is lost if one forgets to switch networks with batch normalization to test mode (zero): the same squares "
        "of held-out photographs, in batches of several sizes, with 95 % intervals over the seeds. The fewer squares "
        "share a batch, the less do its mean and deviation say of all images.",
    )


def _draw_windows(normalized: Results) -> Drawing:
    first = normalized.all[0]
    largest = max(first.arm.settings["batch_sizes"])
    columns = {
        "clean": "clean",
        "noisy": "noisy",
        "right": "test mode",
        "wrong_1": "wrong mode,\n1 at a time",
        f"wrong_{largest}": f"wrong mode,\n{largest} at a time",
    }
    side = first.arm.settings["tile_px"]
    strips = {title: np.asarray(first[f"window_{name}"]) for name, title in columns.items()}
    n_windows = strips["clean"].shape[1] // side
    rows = [{title: strip[:, i * side : (i + 1) * side] for title, strip in strips.items()} for i in range(n_windows)]
    return Drawing(
        draw_windows(rows),
        f"Squares of {side} pixels, enlarged, from a smooth one to one with much contrast, denoised by the network of "
        "plain blocks with batch normalization (first seed). In the wrong mode the network takes the mean and the "
        "deviation of what is in the batch for those of all images: look at brightness, contrast and colour.",
    )
