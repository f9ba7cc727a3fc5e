"""Study: momentum damps oscillations, delays a change of the learning rate, and interacts with weight decay."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import GRAY, line_style, new_figure, plain_numbers
from pellucid.lab.quadratic import (
    TOLERANCE,
    BuildOptimizer,
    Quadratic,
    descend,
    draw_descent,
    sign_changes,
    steps_to_converge,
)
from pellucid.lab.statistics import difference_of, judge, mean_of
from pellucid.lab.studies.gradient_descent import convergence_table
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, Study, Verdict
from pellucid.training.optim import Momentum

_PATH = {"part": "path", "eps": 0.02, "rate": 1.9, "n_steps": 60}
_NOISE = {"part": "noise", "eps": 0.02, "effective_rate": 0.5, "noise": 0.3}
#: The learning rate falls to a tenth, as in many schedules.
_CHANGE = {"part": "rate change", "factor": 0.1}
_DECAY = {"part": "weight decay", "rate": 0.01, "decay": 1e-4, "decay_with_loss": 0.5}
#: See the study of gradient descent.
_ROUNDING = 1e-12


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    eps = (0.1, 0.03) if quick else (0.1, 0.03, 0.01, 0.003, 0.001)
    momenta = (0.0, 0.5, 0.9) if quick else (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
    many = momenta if quick else (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.96, 0.98, 0.99)
    sweep = {"part": "sweep", "eps": eps, "rate": 1.0, "n_steps": 3000 if quick else 20000}
    noise, change = ({**part, "n_steps": 100 if quick else 400} for part in (_NOISE, _CHANGE))
    decay = {**_DECAY, "n_steps": 600 if quick else 4000}
    return [
        *(Arm(f"path-{mu}-seed-{s}", {**_PATH, "momentum": mu}, s) for mu in (0.0, 0.6, 0.9) for s in range(n_seeds)),
        *(Arm(f"noise-{mu}-seed-{s}", {**noise, "momentum": mu}, s) for mu in (0.0, 0.9) for s in range(n_seeds)),
        *(Arm(f"sweep-{mu}", {**sweep, "momentum": mu}) for mu in many),
        *(Arm(f"rate-change-{mu}", {**change, "momentum": mu}) for mu in momenta),
        *(Arm(f"weight-decay-{mu}", {**decay, "momentum": mu}) for mu in momenta),
    ]


def _run(arm: Arm, _: Photographs) -> Measured:
    runs = {
        "path": _run_path,
        "noise": _run_noise,
        "sweep": _run_sweep,
        "rate change": _run_rate_change,
        "weight decay": _run_weight_decay,
    }
    return runs[arm.settings["part"]](arm)


def _run_path(arm: Arm) -> Measured:
    """Minimise from a random start with the lecture's form and with PyTorch's."""
    rate, mu, n_steps = (arm.settings[key] for key in ("rate", "momentum", "n_steps"))
    tilt = np.random.default_rng(arm.seed).uniform(0.15, 0.35)
    start, function = np.array([-math.cos(tilt), math.sin(tilt)]), Quadratic((arm.settings["eps"],))
    path = descend(function, start, _lecture(rate, mu), n_steps)[:, 0]
    pytorch = descend(function, start, _torch(rate, mu), n_steps)[:, 0]
    return {"path": path, "error": np.abs(path - pytorch).max(), "sign_changes": sign_changes(path[:, 1])}


def _run_noise(arm: Arm) -> Measured:
    """Minimise with noisy gradients, at an effective learning rate that does not depend on the momentum."""
    mu, n_steps = arm.settings["momentum"], arm.settings["n_steps"]
    noise = arm.settings["noise"] * np.random.default_rng(arm.seed).standard_normal((n_steps, 2))
    rate = arm.settings["effective_rate"] * (1 - mu)
    path = descend(Quadratic((arm.settings["eps"],)), np.array([-1.0, 0.5]), _lecture(rate, mu), n_steps, noise=noise)
    across = path[:, 0, 1]
    return {"y": across, "turns": sign_changes(np.diff(across)), "spread": across[n_steps // 2 :].std()}


def _run_sweep(arm: Arm) -> Measured:
    """Count the steps to convergence for several condition numbers."""
    build = _lecture(arm.settings["rate"], arm.settings["momentum"])
    start = np.array([-1.0, 1.0]) / math.sqrt(2)
    path = descend(
        Quadratic(tuple(arm.settings["eps"])), start, build, arm.settings["n_steps"], stop_when_converged=True
    )
    return {"steps": steps_to_converge(path)}


def _run_rate_change(arm: Arm) -> Measured:
    """Follow a constant gradient until the step length is constant, then change the rate and measure each step."""
    mu, factor, n_steps = (arm.settings[key] for key in ("momentum", "factor", "n_steps"))
    n_before = math.ceil(40 / (1 - mu))
    steps = {
        name: _lengths(build(1 - mu, mu), n_before, factor, n_steps)
        for name, build in (("lecture", _lecture), ("torch", _torch))
    }
    return {**steps, **{f"delay_{name}": _delay(lengths, factor) for name, lengths in steps.items()}}


def _lengths(build: BuildOptimizer, n_before: int, factor: float, n_after: int) -> list[float]:
    point = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, positions = build([point]), []
    for step in range(n_before + n_after + 1):
        positions.append(float(point.detach()))
        if step == n_before:
            for group in optimizer.param_groups:
                group["lr"] *= factor
        point.grad = torch.ones_like(point)
        optimizer.step()
    return [before - after for before, after in zip(positions[n_before:], positions[n_before + 1 :], strict=False)]


def _delay(lengths: list[float], factor: float) -> int | None:
    """Count the steps until 1 - 1/e of the change, from length 1 to `factor`, has happened."""
    threshold = factor + (1 - factor) / math.e
    return next((k for k, length in enumerate(lengths, start=1) if length <= threshold * (1 + 1e-9)), None)


def _run_weight_decay(arm: Arm) -> Measured:
    """Measure the decay of a weight without gradient, and the equilibrium of a weight whose loss is minimal at 1."""
    rate, mu, decay, n_steps = (arm.settings[key] for key in ("rate", "momentum", "decay", "n_steps"))
    measured: dict[str, float] = {}
    for name, build in (("decoupled", _lecture), ("coupled", _torch)):
        free = _positions(build(rate, mu, decay), n_steps, target=None)
        shrunk = math.log(free[n_steps // 2] / free[n_steps]) / (n_steps - n_steps // 2)
        measured[f"{name}_speed"] = shrunk / (rate * decay)
        pulled = _positions(build(rate, mu, arm.settings["decay_with_loss"]), n_steps, target=1.0)
        measured[f"{name}_rest"] = pulled[-1]
    return measured


def _positions(build: BuildOptimizer, n_steps: int, *, target: float | None) -> list[float]:
    """Train one weight, from 1, on the loss (weight - target)^2 / 2, or on none."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer, positions = build([weight]), [1.0]
    for _ in range(n_steps):
        weight.grad = torch.zeros_like(weight) if target is None else weight.detach() - target
        optimizer.step()
        positions.append(float(weight.detach()))
    return positions


def _lecture(rate: float, mu: float, weight_decay: float = 0.0) -> BuildOptimizer:
    return lambda points: Momentum(points, lr=rate, momentum=mu, weight_decay=weight_decay)


def _torch(rate: float, mu: float, weight_decay: float = 0.0) -> BuildOptimizer:
    return lambda points: torch.optim.SGD(points, lr=rate, momentum=mu, weight_decay=weight_decay)


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {
        "paths": _draw_paths(results.where(part="path")),
        "noise": _draw_noise(results.where(part="noise")),
        "steps": _draw_sweep(results.where(part="sweep")),
        "rate-change": _draw_rate_change(results.where(part="rate change")),
        "weight-decay": _draw_weight_decay(results.where(part="weight decay")),
    }


def _draw_paths(paths: Results) -> CaptionedFigure:
    momenta, settings = paths.values_of("momentum"), paths.settings
    firsts = [paths.where(momentum=mu).first for mu in momenta]
    everywhere = np.vstack([first.array("path") for first in firsts])
    figure, panels = new_figure(len(momenta), 1, height_in=6.6, sharex=True, sharey=True)
    for panel, mu, first in zip(panels, momenta, firsts, strict=True):
        draw_descent(panel, Quadratic((settings["eps"],)), first.array("path"), view=everywhere)
        panel.set_ylabel("y")
        panel.set_title(f"μ = {mu:g}: the sign of y changes at {first['sign_changes']:.0%} of the steps", loc="left")
    panels[-1].set_xlabel("x")
    return CaptionedFigure(
        figure,
        f"The first {settings['n_steps']} steps with η = {settings['rate']} and ε = {settings['eps']}. Momentum adds "
        "up the steps along the valley; too much of it overshoots the minimum (star) and oscillates.",
    )


def _draw_noise(noisy: Results) -> CaptionedFigure:
    momenta, settings = noisy.values_of("momentum"), noisy.settings
    figure, panels = new_figure(len(momenta), 1, height_in=3.8, sharex=True, sharey=True)
    for index, (panel, mu) in enumerate(zip(panels, momenta, strict=True)):
        first = noisy.where(momentum=mu).first
        panel.plot(first.array("y")[:150], color=line_style(index)["color"], linewidth=1.3)
        panel.set_title(f"μ = {mu:g}, η = {settings['effective_rate'] * (1 - mu):g}", loc="left")
        panel.set_ylabel("y")
    panels[-1].set_xlabel("step")
    return CaptionedFigure(
        figure,
        "The position across the valley with independent noise on each gradient. Both runs have the same effective "
        "learning rate, η/(1 − μ).",
    )


def _draw_sweep(sweep: Results) -> CaptionedFigure:
    momenta, settings = np.array(sweep.values_of("momentum")), sweep.settings
    steps = sweep.stack("steps")
    figure, axes = new_figure(height_in=4.2)
    fine = np.linspace(0, momenta.max(), 400)
    for index, eps in enumerate(settings["eps"]):
        style = line_style(index, marked=True)
        axes.plot(fine, _predicted(fine, eps, settings["rate"]), color=style["color"], linewidth=1, alpha=0.5)
        axes.plot(momenta, steps[:, index], label=f"ε = {eps:g}", **{**style, "linestyle": "none"})
    axes.set(yscale="log", xlabel="momentum μ", ylabel=f"steps to {TOLERANCE:g} of the initial distance")
    plain_numbers(axes.yaxis)
    figure.legend(loc="outside right upper", reverse=True)  # in the order of the curves at the left
    return CaptionedFigure(
        figure,
        f"Steps to convergence at η = {settings['rate']:g}. Markers are measured; lines follow from the eigenvalues of "
        "one step. Where the lines coincide, the decay of the velocity alone limits convergence.",
    )


def _predicted(momenta: NDArray[np.float64], eps: float, rate: float) -> NDArray[np.float64]:
    """Predict the steps to convergence from the largest eigenvalue of one step.

    The position along an axis of curvature c obeys ``z^2 - (1 + mu - rate c) z + mu = 0`` (Polyak 1964).
    """
    radius = np.zeros_like(momenta)
    for curvature in (eps, 1.0):
        half = (1 + momenta - rate * curvature) / 2
        root = np.sqrt((half**2 - momenta).astype(complex))
        radius = np.maximum.reduce([radius, np.abs(half + root), np.abs(half - root)])
    with np.errstate(divide="ignore"):
        steps: NDArray[np.float64] = np.maximum(1, np.log(TOLERANCE) / np.log(radius))
    return steps


def _draw_rate_change(changes: Results) -> CaptionedFigure:
    factor, n_shown = changes.settings["factor"], 60
    figure, panels = new_figure(1, 2, sharey=True, width_ratios=(1, 1), height_in=3.4)
    shown = [result for result in changes if result.arm.settings["momentum"] >= 0.5]
    for panel, name, title in zip(panels, ("lecture", "torch"), ("the lecture's form", "PyTorch's form"), strict=True):
        for index, result in enumerate(shown):
            lengths = [1.0, *result.array(name)[:n_shown]]
            panel.plot(
                range(len(lengths)), lengths, label=f"μ = {result.arm.settings['momentum']:g}", **line_style(index)
            )
        panel.axhline(factor, color=GRAY, linewidth=1)
        panel.set(title=title, xlabel="steps after the change", ylim=(0, 1.05))
    panels[0].set_ylabel("step length")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    return CaptionedFigure(
        figure,
        f"Step length along a constant gradient after the learning rate fell to {factor:g} of its value (gray line). "
        "In PyTorch's form the learning rate multiplies past gradients too.",
    )


def _draw_weight_decay(decays: Results) -> CaptionedFigure:
    momenta = np.array(decays.values_of("momentum"))
    memory = 1 / (1 - momenta)
    figure, (speed, rest) = new_figure(1, 2, height_in=3.4)
    for index, (name, label) in enumerate((("coupled", "L2 regularisation"), ("decoupled", "decoupled weight decay"))):
        style = line_style(index, marked=True)
        speed.plot(memory, [result[f"{name}_speed"] for result in decays], label=label, **style)
        rest.plot(memory, [result[f"{name}_rest"] for result in decays], **style)
    speed.set(xscale="log", yscale="log", title="decay rate, in units of ηλ")
    rest.set(xscale="log", title="equilibrium of the weight")
    plain_numbers(speed.yaxis)
    for axes in (speed, rest):
        plain_numbers(axes.xaxis)
        axes.set_xlabel("memory of the velocity in steps, 1/(1 − μ)")
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return CaptionedFigure(
        figure,
        "Left: decay rate of a weight without gradient, with the decay added to the gradient (L2 regularisation) and "
        "decoupled from it. Right: the equilibrium of loss and decay, for a loss whose minimum is at 1.",
    )


def _findings(results: Results) -> list[Finding]:
    return [
        *_smoothing_findings(results),
        _speed_finding(results.where(part="sweep")),
        _delay_finding(results.where(part="rate change")),
        *_decay_findings(results.where(part="weight decay")),
    ]


def _smoothing_findings(results: Results) -> list[Finding]:
    paths, noisy = results.where(part="path"), results.where(part="noise")
    error, most = max(float(result["error"]) for result in paths), max(paths.values_of("momentum"))
    plain, smooth = paths.by_seed("sign_changes", momentum=0.0), paths.by_seed("sign_changes", momentum=most)
    turns, turns_smooth = noisy.by_seed("turns", momentum=0.0), noisy.by_seed("turns", momentum=most)
    fewer, calmer = difference_of(plain, smooth), difference_of(turns, turns_smooth)
    return [
        Finding(
            f"At a constant learning rate, the lecture's form and PyTorch's differ by at most {error:.0e}, which "
            f"{'is' if error < _ROUNDING else 'is not'} rounding (below {_ROUNDING:.0e})."
        ),
        Finding(
            f"Zig-zags are damped: at η = {paths.settings['rate']} the gradient across the valley changes its sign at "
            f"{mean_of(plain).mean:.0%} of the steps without momentum and at {mean_of(smooth).mean:.0%} with μ = "
            f"{most:g}, a difference of {fewer:.0%}.",
            judge(fewer),
        ),
        Finding(
            f"Noise is smoothed: with noisy gradients and equal effective learning rates, {mean_of(turns).mean:.0%} of "
            f"all steps reverse direction without momentum and {mean_of(turns_smooth).mean:.0%} with μ = {most:g}, a "
            f"difference of {calmer:.0%}.",
            judge(calmer),
        ),
    ]


def _speed_finding(sweep: Results) -> Finding:
    eps, momenta = sweep.settings["eps"], sweep.values_of("momentum")
    steps = sweep.stack("steps")[:, -1]
    best, last = int(np.nanargmin(steps)), len(momenta) - 1
    return Finding(
        f"Momentum accelerates: with ε = {eps[-1]:g} and η = 1, convergence takes {_count(steps[0])} steps without "
        f"momentum and {_count(steps[best])} with μ = {momenta[best]:g}, the best value tested; with μ = "
        f"{momenta[last]:g} it takes {_count(steps[last])}.",
        Verdict.SUPPORTS if best > 0 else Verdict.CONTRADICTS,
    )


def _delay_finding(changes: Results) -> Finding:
    momenta = np.array(changes.values_of("momentum"))
    lecture, pytorch = (
        np.array([result.array(f"delay_{name}") for result in changes]) for name in ("lecture", "torch")
    )
    ratios = lecture * (1 - momenta)
    delays = ", ".join(f"{_count(k)} steps at μ = {mu:g}" for k, mu in zip(lecture[1:], momenta[1:], strict=True))
    return Finding(
        f"A change of the learning rate acts late: in the lecture's form 1 − 1/e of its effect takes {delays}, which "
        f"is {ratios.min():.2f} to {ratios.max():.2f} times 1/(1 − μ). In PyTorch's form it takes at most "
        f"{_count(pytorch.max())}.",
        Verdict.SUPPORTS if (lecture[1:] > 1).all() and np.all(np.diff(lecture) > 0) else Verdict.CONTRADICTS,
    )


def _decay_findings(decays: Results) -> list[Finding]:
    momenta = decays.values_of("momentum")
    values = {
        f"{name}_{what}": np.array([float(result[f"{name}_{what}"]) for result in decays])
        for name in ("coupled", "decoupled")
        for what in ("speed", "rest")
    }
    decay = decays.settings["decay_with_loss"]
    needs_care = values["coupled_speed"].max() > 1.1 * values["coupled_speed"].min()
    shifts = np.ptp(values["decoupled_rest"]) > 0.01
    return [
        Finding(
            "Weight decay needs care: added to the gradient it shrinks a weight without gradient "
            f"{values['coupled_speed'][0]:.2f} times as fast as ηλ at μ = {momenta[0]:g} and "
            f"{values['coupled_speed'][-1]:.1f} times at μ = {momenta[-1]:g}; decoupled, between "
            f"{values['decoupled_speed'].min():.2f} and {values['decoupled_speed'].max():.2f} times.",
            Verdict.SUPPORTS if needs_care else Verdict.CONTRADICTS,
        ),
        Finding(
            f"The equilibrium of a weight whose loss is minimal at 1 lies, with λ = {decay:g}, between "
            f"{values['coupled_rest'].min():.3f} and {values['coupled_rest'].max():.3f} if the decay is added to the "
            f"gradient, and between {values['decoupled_rest'].min():.3f} and {values['decoupled_rest'].max():.3f} if "
            f"it is decoupled: momentum {'then amplifies the loss but not the decay' if shifts else 'has no effect'}.",
            Verdict.SUPPORTS if shifts else Verdict.INCONCLUSIVE,
        ),
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "too many"


STUDY = Study(
    name="momentum",
    version=1,
    title="Momentum",
    question="How does momentum change the path, the convergence, a change of the learning rate, and weight decay?",
    claim="A moving average of the gradient, v ← μv + η∇E and θ ← θ − v, discourages zig-zags. A larger μ smooths "
    "more. With a very large μ it takes several steps before a change of the learning rate has an effect. Implementing "
    "weight decay correctly requires care when momentum is present.",
    method="The lecture's form and PyTorch's (torch.optim.SGD) minimise the quadratic of the study of gradient descent "
    "in float64: from random starts, with noisy gradients, and for many μ. For the change of the learning rate, both "
    "follow a constant gradient until their step length is constant; then the rate falls to a tenth. Weight decay is "
    "measured on one weight, without a gradient and with a loss whose minimum is at 1: as L2 regularisation, added to "
    "the gradient as PyTorch does, and decoupled from it.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=lambda results: convergence_table(results.where(part="sweep"), "momentum", "μ"),
    needs_photographs=False,
)
