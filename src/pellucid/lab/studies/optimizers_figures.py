"""The figures of the study of optimizers, and the choice of each one's rate.

Its results enter, figures leave. It knows nothing of how they were measured.
"""

import math

import numpy as np
from matplotlib.axes import Axes

from pellucid.lab.drawing import draw_curves, draw_intervals
from pellucid.lab.plotting import GRAY, label_ends, look, new_figure, plain_numbers
from pellucid.lab.statistics import mean_of
from pellucid.lab.study import Drawing, Results

NAMES = {"sgd": "SGD", "momentum": "momentum", "rmsprop": "RMSProp", "adagrad": "AdaGrad", "adam": "Adam"}
#: Windows averaged for a curve: single ones are as restless as the patches are different.
_SMOOTHING = 4
#: Runs that end with a loss so many times the best one are drawn as failed.
_FAILED = 2.5


def chosen(results: Results) -> dict[str, Results]:
    """Give, by optimizer, the runs at the rate whose training loss at the end is lowest, averaged over the seeds.

    A rate at which any run diverged is taken only if there is no other.
    """
    best = {}
    for name in results.values_of("optimizer"):
        runs = results.where(optimizer=name)
        best[name] = runs.where(rate=min(runs.values_of("rate"), key=lambda rate, runs=runs: _ending(runs, rate)))  # type: ignore[misc]
    return best


def _ending(runs: Results, rate: float) -> float:
    mean = mean_of(runs.by_seed("final", rate=rate)).mean
    return mean if math.isfinite(mean) else math.inf


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    return {"descent": _draw_descent(results), "rates": _draw_rates(results), "quality": _draw_quality(results)}


def _draw_descent(results: Results) -> Drawing:
    figure, (by_step, by_second) = new_figure(1, 2, sharey=True, height_in=4.0)
    for index, (name, runs) in enumerate(chosen(results).items()):
        curves = np.stack([_smooth(run.array("losses")) for run in runs])
        settings = runs.all[0].arm.settings
        steps = settings["window"] * (np.arange(curves.shape[1]) + (_SMOOTHING + 1) / 2)
        seconds = float(np.mean([run["seconds"] for run in runs])) / settings["n_steps"]
        draw_curves(by_step, steps, curves, NAMES[name], look(index))
        draw_curves(by_second, seconds * steps, curves, NAMES[name], look(index))
    for axes, unit in ((by_step, "steps"), (by_second, "seconds")):
        axes.set(xscale="log", yscale="log", xlabel=unit)
        plain_numbers(axes.xaxis)
        plain_numbers(axes.yaxis)
    _tick_losses(by_step)
    by_step.set_ylabel("training loss (mean absolute error)")
    label_ends(by_second)
    return Drawing(
        figure,
        "Training loss at each optimizer's best rate: means over the seeds, bands from the lowest to the highest. Both "
        f"axes are logarithmic; each point averages {_SMOOTHING * settings['window']} steps. Look at how far apart the "
        "curves are at the left, and how far at the right. Where left and right panel look alike, a step of one costs "
        "what a step of another does.",
    )


def _smooth(losses: np.ndarray) -> np.ndarray:
    return np.convolve(losses, np.full(_SMOOTHING, 1 / _SMOOTHING), mode="valid")


def _tick_losses(axes: Axes) -> None:
    """Put readable ticks on a logarithmic axis of losses that spans less than two powers of ten."""
    low, high = axes.get_ylim()
    ticks = np.array([m * 10.0**e for e in range(-3, 3) for m in (1, 1.5, 2, 3, 4, 5, 6, 8)])
    axes.set_yticks(ticks[(ticks >= low) & (ticks <= high)])
    axes.set_ylim(low, high)


def _draw_rates(results: Results) -> Drawing:
    best = chosen(results)
    lowest = min(_ending(runs, runs.all[0].arm.settings["rate"]) for runs in best.values())
    figure, axes = new_figure(height_in=4.0)
    for index, name in enumerate(best):
        runs = results.where(optimizer=name)
        factors = runs.values_of("factor")
        ends = np.array([[float(run.array("final")) for run in runs.where(factor=factor)] for factor in factors]).T
        ends = np.minimum(np.where(np.isfinite(ends), ends, np.inf), _FAILED * lowest)
        draw_curves(axes, factors, ends, NAMES[name], look(index, marked=True))
        factor = best[name].all[0].arm.settings["factor"]
        axes.plot(
            factor,
            ends[:, factors.index(factor)].mean(),
            "o",
            markersize=13,
            markerfacecolor="none",
            color=look(index)["color"],
        )
    axes.axhline(_FAILED * lowest, color=GRAY, linewidth=1, zorder=1)
    axes.text(min(factors), _FAILED * lowest, "diverged, or worse than this", color=GRAY, va="bottom")
    axes.set(xscale="log", xlabel="rate, relative to the middle of the optimizer's grid", ylabel="final training loss")
    axes.set_xticks(factors)
    plain_numbers(axes.xaxis)
    label_ends(axes)
    usual = ", ".join(f"{NAMES[n]} {_usual(results, n):g}" for n in best)
    return Drawing(
        figure,
        "The loss of the last tenth of the run against the rate: means over the seeds, bands from the lowest to the "
        f"highest. 1 stands for these rates: {usual}. Rings mark the rates that all else is measured at. Losses above "
        f"the gray line, {_FAILED * lowest:.3f}, and runs that diverged are drawn on it. Flat curves "
        "forgive a wrong rate.",
    )


def _usual(results: Results, name: str) -> float:
    settings = results.where(optimizer=name).all[0].arm.settings
    return float(f"{settings['rate'] / settings['factor']:.3g}")


def _draw_quality(results: Results) -> Drawing:
    best, settings = chosen(results), results.all[0].arm.settings
    figure, panels = new_figure(1, 2, sharey=True, height_in=3.2)
    titles = (
        f"noise of the training, {settings['sigma']:g}",
        f"stronger noise, {settings['shifted_sigma']:g}, not told",
    )
    for panel, what, title in zip(panels, ("psnr", "shifted_psnr"), titles, strict=True):
        draw_intervals(panel, {NAMES[name]: mean_of(runs.by_seed(what)) for name, runs in best.items()})
        panel.set(title=title, xlabel="PSNR of held-out photographs, dB")
    return Drawing(
        figure,
        "Mean PSNR of held-out photographs with 95 % intervals over the seeds, at each optimizer's best rate. Look at "
        "whether the order at the right is the order at the left: a robust network holds up where it was not trained. "
        "The scales of the two panels differ.",
    )
