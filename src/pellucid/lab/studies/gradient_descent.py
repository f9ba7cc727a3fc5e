"""Study: gradient descent zig-zags down a long valley, and turning the valley does not help.

See `lab.study`; no photographs are needed.
"""

import math

import numpy as np
import torch

from pellucid.lab.contours import draw_valley
from pellucid.lab.pictures import Photographs
from pellucid.lab.plotting import GRAY, label_ends, look, new_figure, plain_numbers
from pellucid.lab.statistics import difference_of, mean_of
from pellucid.lab.study import Arm, Drawing, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.valley import ARRIVED, Build, Points, Valley, descend, sign_changes, steps_to_arrive

#: Of the paths: a valley that is ten times as long as wide, and a rate just below the bound of 2.
_EPS, _RATE, _N_STEPS = 0.01, 1.9, 60
#: Paths that differ by less than this share of their start's distance agree to rounding: some thousand times the
#: spacing of float64 at 1, since each of the steps rounds.
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
    """Go down from a random start: the valley as it is, and a copy of it, turned and shifted at random."""
    eps, rate, n_steps = (arm.settings[key] for key in ("eps", "rate", "n_steps"))
    rng = np.random.default_rng(arm.seed)
    start = np.array([-math.cos(tilt := rng.uniform(0.15, 0.35)), math.sin(tilt)])
    angle, centre = rng.uniform(0.3, 1.2), tuple(rng.uniform(-2, 2, 2).tolist())
    plain, copy = Valley((eps,)), Valley((eps,), angle, centre)
    path = descend(plain, start, _sgd(rate), n_steps)[:, 0]
    path_of_copy = descend(copy, start, _sgd(rate), n_steps)[:, 0]
    # Far enough to arrive, whatever the start.
    n_long = math.ceil(2 * math.log(ARRIVED) / math.log(abs(1 - eps * rate)))
    steps = [steps_to_arrive(descend(valley, start, _sgd(rate), n_long), valley.centre)[0] for valley in (plain, copy)]
    return {
        "path": path,
        "path_of_copy": path_of_copy,
        "angle": angle,
        "centre": centre,
        "error": _largest(path - _closed_form(start, eps, rate, n_steps)),
        "error_of_copy": _largest(copy.turned_back(path_of_copy) - path),
        "steps": steps[0],
        "steps_of_copy": steps[1],
        "sign_changes_x": sign_changes(path[:, 0]),
        "sign_changes_y": sign_changes(path[:, 1]),
    }


def _run_sweep(arm: Arm) -> Measured:
    """Count the steps until arrival in valleys of several shapes."""
    eps, rate = arm.settings["eps"], arm.settings["rate"]
    start = np.array([-1.0, 1.0]) / math.sqrt(2)
    path = descend(Valley(tuple(eps)), start, _sgd(rate), arm.settings["n_steps"], until_arrived=True)
    return {"steps": steps_to_arrive(path)}


def _sgd(rate: float) -> Build:
    return lambda points: torch.optim.SGD(points, lr=rate)


def _closed_form(start: Points, eps: float, rate: float, n_steps: int) -> Points:
    """Give the lecture's x_r = (1 - eps eta)^r x_0 and y_r = (1 - eta)^r y_0."""
    return start * np.array([1 - eps * rate, 1 - rate]) ** np.arange(n_steps + 1)[:, None]


def _largest(difference: Points) -> float:
    return float(np.abs(difference).max())


def _draw(results: Results) -> dict[str, Drawing]:
    return {"zig-zag": _draw_path(results), "steps": _draw_sweep(results), "copies": _draw_copies(results)}


def _draw_path(results: Results) -> Drawing:
    result = results.where(part="path").all[0]
    eps, rate = result.arm.settings["eps"], result.arm.settings["rate"]
    path = result.array("path")
    figure, (valley, steps) = new_figure(1, 2, width_ratios=(1.5, 1))
    draw_valley(valley, Valley((eps,)), path)
    valley.set(title=f"the path from above, {len(path) - 1} steps", xlabel="x", ylabel="y", aspect="equal")
    exact = _closed_form(path[0], eps, rate, len(path) - 1)
    for index, name in enumerate("xy"):
        curve = look(index)
        steps.plot(exact[:, index], label=name, **curve)
        steps.plot(path[:, index], color=curve["color"], marker="os"[index], markersize=3.5, linestyle="none")
    steps.set(title="closed form (lines), SGD (marks)", xlabel="step")
    label_ends(steps)
    return Drawing(
        figure,
        f"Gradient descent with rate η = {rate} in the valley of ε = {eps}. The side to side motion in y dies out "
        f"while x, along the valley, has come {1 - abs(path[-1, 0] / path[0, 0]):.0%} of its way after {len(path) - 1} "
        "steps. Marks are the steps of torch.optim.SGD, lines the lecture's closed form.",
    )


def _draw_sweep(results: Results) -> Drawing:
    sweep = results.where(part="sweep")
    rates = np.array([result.arm.settings["rate"] for result in sweep])
    steps = np.stack([result.array("steps") for result in sweep])
    figure, axes = new_figure(height_in=4.2)
    fine = np.linspace(rates.min(), 1.999, 400)
    for index, eps in enumerate(sweep.all[0].arm.settings["eps"]):
        curve = look(index, marked=True)
        slowest = np.maximum(np.abs(1 - fine), np.abs(1 - eps * fine))
        with np.errstate(divide="ignore"):
            axes.plot(
                fine, np.maximum(1, np.log(ARRIVED) / np.log(slowest)), color=curve["color"], linewidth=1, alpha=0.5
            )
        axes.plot(rates, steps[:, index], label=f"ε = {eps:g}", **{**curve, "linestyle": "none"})
    axes.axvline(2, color=GRAY, linewidth=1)
    axes.set(yscale="log", xlabel="rate η", ylabel=f"steps until within {ARRIVED:g} of the start's distance")
    axes.set_title("bound of |1 − η| < 1: η = 2", loc="right", color=GRAY, fontsize="small")
    plain_numbers(axes.yaxis)
    figure.legend(loc="outside right upper", reverse=True)  # in the order of the curves at the left
    return Drawing(
        figure,
        "Steps until arrival, from the same start. Marks are counted, lines are the slower of the two rates of decay, "
        "|1 − η| and |1 − εη|. Runs that do not arrive have no mark.",
    )


def _draw_copies(results: Results) -> Drawing:
    result = results.where(part="path").all[0]
    eps, angle, centre = result.arm.settings["eps"], result["angle"], tuple(result["centre"])
    figure, panels = new_figure(1, 2, height_in=3.5)
    draw_valley(panels[0], Valley((eps,)), result.array("path"))
    draw_valley(panels[1], Valley((eps,), angle, centre), result.array("path_of_copy"))
    panels[0].set_title(f"as it is: {result['steps']} steps")
    panels[1].set_title(f"turned by {math.degrees(angle):.0f}° and shifted: {result['steps_of_copy']} steps")
    for panel in panels:
        panel.set(aspect="equal", xlabel="x", ylabel="y")
    return Drawing(
        figure,
        f"The same descent in the valley and in a turned and shifted copy, and the steps until arrival. Turned back, "
        f"the second path differs from the first by at most {result['error_of_copy']:.0e}.",
    )


def _find(results: Results) -> list[Finding]:
    paths = results.where(part="path")
    first = paths.all[0].arm.settings
    error = max(float(result["error"]) for result in paths)
    along = mean_of(paths.by_seed("sign_changes_x"))
    across = mean_of(paths.by_seed("sign_changes_y"))
    gain = difference_of(paths.by_seed("steps"), paths.by_seed("steps_of_copy"))
    drift = max(float(result["error_of_copy"]) for result in paths)
    return [
        Finding(
            f"The closed form holds: over {first['n_steps']} steps from {len(paths.all)} random starts, SGD in float64 "
            f"differs from it by at most {error:.1e} of the start's distance (rounding is below {_ROUNDING:.0e}).",
            Verdict.SUPPORTS if error < _ROUNDING else Verdict.CONTRADICTS,
        ),
        Finding(
            f"Signs tell of trouble: at η = {first['rate']} the sign of y, and so of its gradient, changes at "
            f"{across.mean:.0%} of all steps, that of x at {along.mean:.0%}.",
            Verdict.SUPPORTS if across.mean > 0.5 and along.mean == 0 else Verdict.CONTRADICTS,
        ),
        *_find_in_sweep(results.where(part="sweep")),
        Finding(
            f"Turning and shifting the valley saves {gain:.1f} steps of {mean_of(paths.by_seed('steps')).mean:.0f}; "
            f"carried back, the paths differ by at most {drift:.1e}.",
            Verdict.SUPPORTS if gain.high <= 0 and drift < _ROUNDING else _judge_help(gain.low),
        ),
    ]


def _judge_help(least_gain: float) -> Verdict:
    """Judge the claim that something does not help, by the low end of what it gains."""
    return Verdict.CONTRADICTS if least_gain > 0 else Verdict.CANNOT_TELL


def _find_in_sweep(sweep: Results) -> list[Finding]:
    eps = np.array(sweep.all[0].arm.settings["eps"])
    rates = np.array([result.arm.settings["rate"] for result in sweep])
    steps = np.stack([result.array("steps") for result in sweep])
    inside, arrived = np.abs(1 - rates) < 1, np.isfinite(steps)
    fewest = np.nanmin(np.where(inside[:, None], steps, np.nan), axis=0)
    ratio, expected = fewest[-1] / fewest[1], eps[1] / eps[-1]
    holds = arrived[inside].all() and not arrived[~inside].any()
    return [
        Finding(
            f"The bound holds: of the runs with |1 − η| < 1, {arrived[inside].sum()} of {arrived[inside].size} arrive, "
            f"of those beyond it {arrived[~inside].sum()} of {arrived[~inside].size}.",
            Verdict.SUPPORTS if holds else Verdict.CONTRADICTS,
        ),
        Finding(
            f"Long valleys are slow: at the best of {inside.sum()} rates, ε = {eps[1]:g} takes {fewest[1]:,.0f} steps "
            f"and ε = {eps[-1]:g} takes {fewest[-1]:,.0f}, "
            f"{ratio:,.0f} times as many for an ε that is {expected:,.0f} times smaller.",
            Verdict.SUPPORTS if ratio > expected / 2 else Verdict.CONTRADICTS,
        ),
    ]


def _tabulate(results: Results) -> Table:
    sweep = results.where(part="sweep")
    rates = [result.arm.settings["rate"] for result in sweep]
    rows = [
        [f"{eps:g}", *("never" if r["steps"][i] is None else f"{r['steps'][i]:,}" for r in sweep)]
        for i, eps in enumerate(sweep.all[0].arm.settings["eps"])
    ]
    return Table(["steps at ε =", *(f"η = {rate:g}" for rate in rates)], rows)


STUDY = Study(
    name="gradient-descent",
    version=1,
    title="Gradient descent is a bad idea",
    question="How does gradient descent go down a long valley, and does it matter how the valley lies?",
    claim="In the valley f(x, y) = (εx² + y²)/2 the gradient is large across and small along. Each step multiplies x "
    "by 1 − εη and y by 1 − η. The rate η is bounded by |1 − η| < 1, so that y, whose sign changes with each step, "
    "converges soon and x extremely slowly. Turning and shifting the function does not help.",
    method="torch.optim.SGD goes down the valley in float64 with the gradients of autograd. Paths from random starts "
    "are compared with the closed form, and with those in copies of the valley that are turned and shifted at random. "
    "For valleys of several lengths and several rates we count the steps until the point is within a thousandth of its "
    "first distance and stays there.",
    arms=_arms,
    run=_run,
    draw=_draw,
    find=_find,
    tabulate=_tabulate,
    needs_photographs=False,
)
