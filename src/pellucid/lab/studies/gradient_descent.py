"""Study: gradient descent on an ill-conditioned quadratic zig-zags and is slow, and rotating it does not help."""

import math

import numpy as np
import torch

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import GRAY, label_ends, line_style, new_figure, plain_numbers
from pellucid.lab.quadratic import (
    TOLERANCE,
    BuildOptimizer,
    Points,
    Quadratic,
    descend,
    draw_descent,
    sign_changes,
    steps_to_converge,
)
from pellucid.lab.statistics import difference_of, mean_of
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study, Verdict

#: For the paths: condition number 100, and a learning rate just below the bound of 2.
_EPS, _RATE, _N_STEPS = 0.01, 1.9, 60
#: Largest relative difference of paths that counts as rounding: a few thousand times float64's spacing at 1.
_ROUNDING = 1e-12


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    paths = {"part": "path", "eps": _EPS, "rate": _RATE, "n_steps": _N_STEPS}
    eps = (1.0, 0.3, 0.1) if quick else (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    rates = (0.5, 1.9, 2.1) if quick else (0.25, 0.5, 1.0, 1.5, 1.75, 1.9, 1.97, 1.99, 2.01, 2.1)
    sweep = {"part": "sweep", "eps": eps, "n_steps": 2000 if quick else 40000}
    return [
        *(Arm(f"path-seed-{seed}", paths, seed) for seed in range(n_seeds)),
        *(Arm(f"rate-{rate}", {**sweep, "rate": rate}) for rate in rates),
    ]


def _run(arm: Arm, _: Photographs) -> Measured:
    return _run_path(arm) if arm.settings["part"] == "path" else _run_sweep(arm)


def _run_path(arm: Arm) -> Measured:
    """Minimise from a random start: the plain quadratic, and a randomly rotated and shifted copy."""
    eps, rate, n_steps = (arm.settings[key] for key in ("eps", "rate", "n_steps"))
    rng = np.random.default_rng(arm.seed)
    start = np.array([-math.cos(tilt := rng.uniform(0.15, 0.35)), math.sin(tilt)])
    angle, centre = rng.uniform(0.3, 1.2), tuple(rng.uniform(-2, 2, 2).tolist())
    plain, copy = Quadratic((eps,)), Quadratic((eps,), angle, centre)
    path = descend(plain, start, _sgd(rate), n_steps)[:, 0]
    path_of_copy = descend(copy, start, _sgd(rate), n_steps)[:, 0]
    # Enough steps to converge from any start.
    n_long = math.ceil(2 * math.log(TOLERANCE) / math.log(abs(1 - eps * rate)))
    steps = [steps_to_converge(descend(one, start, _sgd(rate), n_long), one.centre)[0] for one in (plain, copy)]
    return {
        "path": path,
        "path_of_copy": path_of_copy,
        "angle": angle,
        "centre": centre,
        "error": _largest(path - _closed_form(start, eps, rate, n_steps)),
        "error_of_copy": _largest(copy.inverse_transform(path_of_copy) - path),
        "steps": steps[0],
        "steps_of_copy": steps[1],
        "sign_changes_x": sign_changes(path[:, 0]),
        "sign_changes_y": sign_changes(path[:, 1]),
    }


def _run_sweep(arm: Arm) -> Measured:
    """Count the steps to convergence for several condition numbers."""
    start = np.array([-1.0, 1.0]) / math.sqrt(2)
    function, optimizer = Quadratic(tuple(arm.settings["eps"])), _sgd(arm.settings["rate"])
    return {
        "steps": steps_to_converge(
            descend(function, start, optimizer, arm.settings["n_steps"], stop_when_converged=True)
        )
    }


def _sgd(rate: float) -> BuildOptimizer:
    return lambda points: torch.optim.SGD(points, lr=rate)


def _closed_form(start: Points, eps: float, rate: float, n_steps: int) -> Points:
    """Evaluate the lecture's x_r = (1 - eps eta)^r x_0 and y_r = (1 - eta)^r y_0."""
    return start * np.array([1 - eps * rate, 1 - rate]) ** np.arange(n_steps + 1)[:, None]


def _largest(difference: Points) -> float:
    return float(np.abs(difference).max())


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {"zig-zag": _draw_path(results), "steps": _draw_sweep(results), "copies": _draw_copies(results)}


def _draw_path(results: Results) -> CaptionedFigure:
    result = results.where(part="path").first
    eps, rate = result.arm.settings["eps"], result.arm.settings["rate"]
    path = result.array("path")
    figure, (contours, steps) = new_figure(1, 2, width_ratios=(1.5, 1))
    draw_descent(contours, Quadratic((eps,)), path)
    contours.set(title=f"path of {len(path) - 1} steps", xlabel="x", ylabel="y", aspect="equal")
    exact = _closed_form(path[0], eps, rate, len(path) - 1)
    for index, name in enumerate("xy"):
        style = line_style(index)
        steps.plot(exact[:, index], label=name, **style)
        steps.plot(path[:, index], color=style["color"], marker="os"[index], markersize=3.5, linestyle="none")
    steps.set(title="closed form (lines), SGD (markers)", xlabel="step")
    label_ends(steps)
    return CaptionedFigure(
        figure,
        f"Gradient descent with learning rate η = {rate} and ε = {eps}. The oscillation in y dies out, while x, along "
        f"the valley, has covered {1 - abs(path[-1, 0] / path[0, 0]):.0%} of its distance after {len(path) - 1} steps. "
        "Markers: torch.optim.SGD; lines: the lecture's closed form.",
    )


def _draw_sweep(results: Results) -> CaptionedFigure:
    sweep = results.where(part="sweep")
    rates, steps = np.array(sweep.values_of("rate")), sweep.stack("steps")
    figure, axes = new_figure(height_in=4.2)
    fine = np.linspace(rates.min(), 1.999, 400)
    for index, eps in enumerate(sweep.settings["eps"]):
        style = line_style(index, marked=True)
        slowest = np.maximum(np.abs(1 - fine), np.abs(1 - eps * fine))
        with np.errstate(divide="ignore"):
            predicted = np.maximum(1, np.log(TOLERANCE) / np.log(slowest))
        axes.plot(fine, predicted, color=style["color"], linewidth=1, alpha=0.5)
        axes.plot(rates, steps[:, index], label=f"ε = {eps:g}", **{**style, "linestyle": "none"})
    axes.axvline(2, color=GRAY, linewidth=1)
    axes.set(yscale="log", xlabel="learning rate η", ylabel=f"steps to {TOLERANCE:g} of the initial distance")
    axes.set_title("bound of |1 − η| < 1: η = 2", loc="right", color=GRAY, fontsize="small")
    plain_numbers(axes.yaxis)
    figure.legend(loc="outside right upper", reverse=True)  # in the order of the curves at the left
    return CaptionedFigure(
        figure,
        "Steps to convergence from the same start. Markers are measured; lines follow from the slower of the two decay "
        "rates, |1 − η| and |1 − εη|. Runs that do not converge have no marker.",
    )


def _draw_copies(results: Results) -> CaptionedFigure:
    result = results.where(part="path").first
    eps, angle, centre = result.arm.settings["eps"], result["angle"], tuple(result["centre"])
    figure, panels = new_figure(1, 2, height_in=3.5)
    draw_descent(panels[0], Quadratic((eps,)), result.array("path"))
    draw_descent(panels[1], Quadratic((eps,), angle, centre), result.array("path_of_copy"))
    panels[0].set_title(f"original: {result['steps']} steps")
    panels[1].set_title(f"rotated by {math.degrees(angle):.0f}° and shifted: {result['steps_of_copy']} steps")
    for panel in panels:
        panel.set(aspect="equal", xlabel="x", ylabel="y")
    return CaptionedFigure(
        figure,
        "The same descent on the quadratic and on a rotated and shifted copy, with the steps to convergence. Mapped "
        f"back, the second path differs from the first by at most {result['error_of_copy']:.0e}.",
    )


def _findings(results: Results) -> list[Finding]:
    paths = results.where(part="path")
    error = max(float(result["error"]) for result in paths)
    along = mean_of(paths.by_seed("sign_changes_x"))
    across = mean_of(paths.by_seed("sign_changes_y"))
    gain = difference_of(paths.by_seed("steps"), paths.by_seed("steps_of_copy"))
    drift = max(float(result["error_of_copy"]) for result in paths)
    not_faster = Verdict.CONTRADICTS if gain.low > 0 else Verdict.INCONCLUSIVE
    return [
        Finding(
            f"The closed form holds: over {paths.settings['n_steps']} steps from {len(paths.all)} random starts, SGD "
            f"in float64 differs from it by at most {error:.1e} of the initial distance (rounding is below "
            f"{_ROUNDING:.0e}).",
            Verdict.SUPPORTS if error < _ROUNDING else Verdict.CONTRADICTS,
        ),
        Finding(
            f"Sign changes reveal the zig-zag: at η = {paths.settings['rate']} the sign of y, and so of its gradient, "
            f"changes at {across.mean:.0%} of all steps, that of x at {along.mean:.0%}.",
            Verdict.SUPPORTS if across.mean > 0.5 and along.mean == 0 else Verdict.CONTRADICTS,
        ),
        *_sweep_findings(results.where(part="sweep")),
        Finding(
            f"Rotating and shifting the function saves {gain:.1f} steps of {mean_of(paths.by_seed('steps')).mean:.0f}; "
            f"mapped back, the paths differ by at most {drift:.1e}.",
            Verdict.SUPPORTS if gain.high <= 0 and drift < _ROUNDING else not_faster,
        ),
    ]


def _sweep_findings(sweep: Results) -> list[Finding]:
    eps, rates, steps = np.array(sweep.settings["eps"]), np.array(sweep.values_of("rate")), sweep.stack("steps")
    inside, converged = np.abs(1 - rates) < 1, np.isfinite(steps)
    fewest = np.nanmin(np.where(inside[:, None], steps, np.nan), axis=0)
    ratio, expected = fewest[-1] / fewest[1], eps[1] / eps[-1]
    holds = converged[inside].all() and not converged[~inside].any()
    return [
        Finding(
            f"The bound holds: of the runs with |1 − η| < 1, {converged[inside].sum()} of {converged[inside].size} "
            f"converge, of those beyond it {converged[~inside].sum()} of {converged[~inside].size}.",
            Verdict.SUPPORTS if holds else Verdict.CONTRADICTS,
        ),
        Finding(
            f"Ill conditioning is slow: at the best of {inside.sum()} learning rates, ε = {eps[1]:g} takes "
            f"{fewest[1]:,.0f} steps and ε = {eps[-1]:g} takes {fewest[-1]:,.0f}, {ratio:,.0f} times as many for an ε "
            f"that is {expected:,.0f} times smaller.",
            Verdict.SUPPORTS if ratio > expected / 2 else Verdict.CONTRADICTS,
        ),
    ]


def convergence_table(sweep: Results, setting: str, symbol: str) -> ResultTable:
    """Tabulate the steps to convergence: a row for each `eps`, a column for each value of a setting."""
    rows = [
        [f"{eps:g}", *("never" if r["steps"][i] is None else f"{r['steps'][i]:,}" for r in sweep)]
        for i, eps in enumerate(sweep.settings["eps"])
    ]
    return ResultTable(["steps at ε =", *(f"{symbol} = {value:g}" for value in sweep.values_of(setting))], rows)


STUDY = Study(
    name="gradient-descent",
    version=1,
    title="Gradient descent on an ill-conditioned function",
    question="How does gradient descent move along a narrow valley, and does the valley's orientation matter?",
    claim="On f(x, y) = (εx² + y²)/2 the gradient is large across the valley and small along it. Each step multiplies "
    "x by 1 − εη and y by 1 − η. The learning rate η is bounded by |1 − η| < 1, so that y, whose sign changes with "
    "each step, converges soon and x extremely slowly. Rotating and shifting the function does not help.",
    method="torch.optim.SGD minimises the function in float64 with gradients from autograd. Paths from random starts "
    "are compared with the closed form, and with those on randomly rotated and shifted copies of the function. For "
    "several condition numbers and learning rates we count the steps until the point stays within a thousandth of its "
    "initial distance from the minimum.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=lambda results: convergence_table(results.where(part="sweep"), "rate", "η"),
    needs_photographs=False,
)
