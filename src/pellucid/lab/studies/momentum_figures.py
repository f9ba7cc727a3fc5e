"""The figures of the study of momentum.

Its results enter, figures leave. It knows nothing of how they were measured.
"""

import numpy as np
from numpy.typing import NDArray

from pellucid.lab.contours import draw_valley
from pellucid.lab.plotting import GRAY, look, new_figure, plain_numbers
from pellucid.lab.study import Drawing, Results
from pellucid.lab.valley import ARRIVED, Valley


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    return {
        "paths": _draw_paths(results.where(part="path")),
        "noise": _draw_noise(results.where(part="noise")),
        "steps": _draw_sweep(results.where(part="sweep")),
        "rate-change": _draw_rate_change(results.where(part="rate change")),
        "weight-decay": _draw_weight_decay(results.where(part="weight decay")),
    }


def _draw_paths(paths: Results) -> Drawing:
    momenta, settings = paths.values_of("momentum"), paths.all[0].arm.settings
    firsts = [paths.where(momentum=mu).all[0] for mu in momenta]
    everywhere = np.vstack([first.array("path") for first in firsts])
    figure, panels = new_figure(len(momenta), 1, height_in=6.6, sharex=True, sharey=True)
    for panel, mu, first in zip(panels, momenta, firsts, strict=True):
        draw_valley(panel, Valley((settings["eps"],)), first.array("path"), view=everywhere)
        panel.set_ylabel("y")
        panel.set_title(f"μ = {mu:g}: the sign of y changes at {first['sign_changes']:.0%} of the steps", loc="left")
    panels[-1].set_xlabel("x")
    return Drawing(
        figure,
        f"The first {settings['n_steps']} steps with η = {settings['rate']} in the valley of ε = {settings['eps']}. "
        "Momentum lets the steps along the valley add up; too much of it runs past the minimum (star) and comes back.",
    )


def _draw_noise(noisy: Results) -> Drawing:
    momenta, settings = noisy.values_of("momentum"), noisy.all[0].arm.settings
    figure, panels = new_figure(len(momenta), 1, height_in=3.8, sharex=True, sharey=True)
    for index, (panel, mu) in enumerate(zip(panels, momenta, strict=True)):
        first = noisy.where(momentum=mu).all[0]
        panel.plot(first.array("y")[:150], color=look(index)["color"], linewidth=1.3)
        panel.set_title(f"μ = {mu:g}, η = {settings['effective_rate'] * (1 - mu):g}", loc="left")
        panel.set_ylabel("y")
    panels[-1].set_xlabel("step")
    return Drawing(
        figure,
        "The position across the valley when each gradient has noise of its own. Both runs follow a steady gradient at "
        "the same speed, η/(1 − μ).",
    )


def _draw_sweep(sweep: Results) -> Drawing:
    momenta, settings = np.array(sweep.values_of("momentum")), sweep.all[0].arm.settings
    steps = np.stack([result.array("steps") for result in sweep])
    figure, axes = new_figure(height_in=4.2)
    fine = np.linspace(0, momenta.max(), 400)
    for index, eps in enumerate(settings["eps"]):
        curve = look(index, marked=True)
        axes.plot(fine, _predicted(fine, eps, settings["rate"]), color=curve["color"], linewidth=1, alpha=0.5)
        axes.plot(momenta, steps[:, index], label=f"ε = {eps:g}", **{**curve, "linestyle": "none"})
    axes.set(yscale="log", xlabel="momentum μ", ylabel=f"steps until within {ARRIVED:g} of the start's distance")
    plain_numbers(axes.yaxis)
    figure.legend(loc="outside right upper", reverse=True)  # in the order of the curves at the left
    return Drawing(
        figure,
        f"Steps until arrival at η = {settings['rate']:g}. Marks are counted, lines follow from the eigenvalues of one "
        "step. Where the lines of several valleys are one, all that counts is how slowly the velocity forgets.",
    )


def _predicted(momenta: NDArray[np.float64], eps: float, rate: float) -> NDArray[np.float64]:
    """Give the steps in which the slowest of all motions falls to the threshold.

    The position along an axis of curvature c obeys ``z^2 - (1 + mu - rate c) z + mu = 0`` (Polyak 1964).
    """
    radius = np.zeros_like(momenta)
    for curvature in (eps, 1.0):
        half = (1 + momenta - rate * curvature) / 2
        root = np.sqrt((half**2 - momenta).astype(complex))
        radius = np.maximum.reduce([radius, np.abs(half + root), np.abs(half - root)])
    with np.errstate(divide="ignore"):
        steps: NDArray[np.float64] = np.maximum(1, np.log(ARRIVED) / np.log(radius))
    return steps


def _draw_rate_change(changes: Results) -> Drawing:
    factor, n_shown = changes.all[0].arm.settings["factor"], 60
    figure, panels = new_figure(1, 2, sharey=True, width_ratios=(1, 1), height_in=3.4)
    shown = [result for result in changes if result.arm.settings["momentum"] >= 0.5]
    for panel, name, title in zip(panels, ("lecture", "torch"), ("the lecture's form", "torch's form"), strict=True):
        for index, result in enumerate(shown):
            lengths = [1.0, *result.array(name)[:n_shown]]
            panel.plot(range(len(lengths)), lengths, label=f"μ = {result.arm.settings['momentum']:g}", **look(index))
        panel.axhline(factor, color=GRAY, linewidth=1)
        panel.set(title=title, xlabel="steps after the change", ylim=(0, 1.05))
    panels[0].set_ylabel("length of the step")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    return Drawing(
        figure,
        f"The length of the steps along a steady gradient after the rate fell to {factor:g} of what it was (gray "
        "line). In torch's form the rate multiplies past gradients too.",
    )


def _draw_weight_decay(decays: Results) -> Drawing:
    momenta = np.array(decays.values_of("momentum"))
    memory = 1 / (1 - momenta)
    figure, (speed, rest) = new_figure(1, 2, height_in=3.4)
    for index, (name, label) in enumerate((("coupled", "mixed into the gradient"), ("decoupled", "decoupled"))):
        curve = look(index, marked=True)
        speed.plot(memory, [result[f"{name}_speed"] for result in decays], label=label, **curve)
        rest.plot(memory, [result[f"{name}_rest"] for result in decays], **curve)
    speed.set(xscale="log", yscale="log", title="speed of decay, in units of ηλ")
    rest.set(xscale="log", title="where the weight comes to rest")
    plain_numbers(speed.yaxis)
    for axes in (speed, rest):
        plain_numbers(axes.xaxis)
        axes.set_xlabel("steps that velocity remembers, 1/(1 − μ)")
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Drawing(
        figure,
        "Left: how fast a weight without gradient decays, if the decay goes through the velocity and if it does not. "
        "Right: where a weight that the loss pulls to 1 comes to rest, which is where loss and decay balance.",
    )
