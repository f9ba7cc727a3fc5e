"""Study: momentum smooths the path, delays the effect of a new rate, and makes weight decay a choice.

The figures are in `momentum_figures`. See `lab.study`; no photographs are needed.
"""

import math
from typing import Any

import numpy as np
import torch

from pellucid.lab.pictures import Photographs
from pellucid.lab.statistics import difference_of, judge, mean_of
from pellucid.lab.studies.momentum_figures import draw
from pellucid.lab.study import Arm, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.valley import Build, Valley, descend, sign_changes, steps_to_arrive
from pellucid.training.optim import Momentum

_PATH = {"part": "path", "eps": 0.02, "rate": 1.9, "n_steps": 60}
_NOISE = {"part": "noise", "eps": 0.02, "effective_rate": 0.5, "noise": 0.3}
#: The new rate is a tenth of the old one, as in many schedules.
_CHANGE = {"part": "rate change", "factor": 0.1}
_DECAY = {"part": "weight decay", "rate": 0.01, "decay": 1e-4, "decay_with_loss": 0.5}
#: As for the study of gradient descent.
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
    """Go down from a random start by the lecture's form, and by torch's."""
    rate, mu, n_steps = (arm.settings[key] for key in ("rate", "momentum", "n_steps"))
    tilt = np.random.default_rng(arm.seed).uniform(0.15, 0.35)
    start, valley = np.array([-math.cos(tilt), math.sin(tilt)]), Valley((arm.settings["eps"],))
    path = descend(valley, start, _lecture(rate, mu), n_steps)[:, 0]
    torchs = descend(valley, start, _torch(rate, mu), n_steps)[:, 0]
    return {"path": path, "error": np.abs(path - torchs).max(), "sign_changes": sign_changes(path[:, 1])}


def _run_noise(arm: Arm) -> Measured:
    """Go down with noise on the gradient, at a rate that follows a steady gradient as fast, whatever the momentum."""
    mu, n_steps = arm.settings["momentum"], arm.settings["n_steps"]
    noise = arm.settings["noise"] * np.random.default_rng(arm.seed).standard_normal((n_steps, 2))
    rate = arm.settings["effective_rate"] * (1 - mu)
    path = descend(Valley((arm.settings["eps"],)), np.array([-1.0, 0.5]), _lecture(rate, mu), n_steps, noise=noise)
    across = path[:, 0, 1]
    return {"y": across, "turns": sign_changes(np.diff(across)), "spread": across[n_steps // 2 :].std()}


def _run_sweep(arm: Arm) -> Measured:
    """Count the steps until arrival in valleys of several shapes."""
    build = _lecture(arm.settings["rate"], arm.settings["momentum"])
    start = np.array([-1.0, 1.0]) / math.sqrt(2)
    path = descend(Valley(tuple(arm.settings["eps"])), start, build, arm.settings["n_steps"], until_arrived=True)
    return {"steps": steps_to_arrive(path)}


def _run_rate_change(arm: Arm) -> Measured:
    """Follow a steady gradient until the steps are steady, then change the rate and measure each step."""
    mu, factor, n_steps = (arm.settings[key] for key in ("momentum", "factor", "n_steps"))
    n_before = math.ceil(40 / (1 - mu))
    steps = {
        name: _lengths(build(1 - mu, mu), n_before, factor, n_steps)
        for name, build in (("lecture", _lecture), ("torch", _torch))
    }
    return {**steps, **{f"delay_{name}": _delay(lengths, factor) for name, lengths in steps.items()}}


def _lengths(build: Build, n_before: int, factor: float, n_after: int) -> list[float]:
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
    """Count the steps until the share 1 - 1/e of the change, from length 1 to `factor`, is made."""
    threshold = factor + (1 - factor) / math.e
    return next((k for k, length in enumerate(lengths, start=1) if length <= threshold * (1 + 1e-9)), None)


def _run_weight_decay(arm: Arm) -> Measured:
    """Decay a weight that has no gradient, and find where a weight that the loss wants at 1 comes to rest."""
    rate, mu, decay, n_steps = (arm.settings[key] for key in ("rate", "momentum", "decay", "n_steps"))
    measured: dict[str, float] = {}
    for name, build in (("decoupled", _lecture), ("coupled", _torch)):
        free = _positions(build(rate, mu, decay), n_steps, wanted=None)
        shrunk = math.log(free[n_steps // 2] / free[n_steps]) / (n_steps - n_steps // 2)
        measured[f"{name}_speed"] = shrunk / (rate * decay)
        pulled = _positions(build(rate, mu, arm.settings["decay_with_loss"]), n_steps, wanted=1.0)
        measured[f"{name}_rest"] = pulled[-1]
    return measured


def _positions(build: Build, n_steps: int, *, wanted: float | None) -> list[float]:
    """Move one weight from 1 under the loss (weight - wanted)^2 / 2, or none."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer, positions = build([weight]), [1.0]
    for _ in range(n_steps):
        weight.grad = torch.zeros_like(weight) if wanted is None else weight.detach() - wanted
        optimizer.step()
        positions.append(float(weight.detach()))
    return positions


def _lecture(rate: float, mu: float, weight_decay: float = 0.0) -> Build:
    return lambda points: Momentum(points, lr=rate, momentum=mu, weight_decay=weight_decay)


def _torch(rate: float, mu: float, weight_decay: float = 0.0) -> Build:
    return lambda points: torch.optim.SGD(points, lr=rate, momentum=mu, weight_decay=weight_decay)


def _find(results: Results) -> list[Finding]:
    return [
        *_find_smoothing(results),
        _find_speed(results.where(part="sweep")),
        _find_delay(results.where(part="rate change")),
        *_find_decay(results.where(part="weight decay")),
    ]


def _find_smoothing(results: Results) -> list[Finding]:
    paths, noisy = results.where(part="path"), results.where(part="noise")
    error, most = max(float(result["error"]) for result in paths), max(paths.values_of("momentum"))
    plain, smooth = paths.by_seed("sign_changes", momentum=0.0), paths.by_seed("sign_changes", momentum=most)
    turns, turns_smooth = noisy.by_seed("turns", momentum=0.0), noisy.by_seed("turns", momentum=most)
    fewer, calmer = difference_of(plain, smooth), difference_of(turns, turns_smooth)
    return [
        Finding(
            f"While the rate is constant, the lecture's form and torch's differ by at most {error:.0e}, which "
            f"{'is' if error < _ROUNDING else 'is not'} rounding (below {_ROUNDING:.0e})."
        ),
        Finding(
            f"The zig-zag shrinks: at η = {paths.all[0].arm.settings['rate']} the gradient across changes its sign at "
            f"{mean_of(plain).mean:.0%} of the steps without momentum and at {mean_of(smooth).mean:.0%} with "
            f"μ = {most:g}, a difference of {fewer:.0%}.",
            judge(fewer),
        ),
        Finding(
            f"Noise is smoothed: with noisy gradients and equal speed along a steady one, {mean_of(turns).mean:.0%} of "
            f"all steps turn back without momentum and {mean_of(turns_smooth).mean:.0%} with μ = {most:g}, a "
            f"difference of {calmer:.0%}.",
            judge(calmer),
        ),
    ]


def _find_speed(sweep: Results) -> Finding:
    eps, momenta = sweep.all[0].arm.settings["eps"], sweep.values_of("momentum")
    steps = np.stack([result.array("steps") for result in sweep])[:, -1]
    best, last = int(np.nanargmin(steps)), len(momenta) - 1
    return Finding(
        f"In the valley of ε = {eps[-1]:g}, at η = 1, {_count(steps[0])} steps are needed without momentum and "
        f"{_count(steps[best])} with μ = {momenta[best]:g}, the best of those tried; with μ = {momenta[last]:g} it is "
        f"{_count(steps[last])}.",
        Verdict.SUPPORTS if best > 0 else Verdict.CONTRADICTS,
    )


def _find_delay(changes: Results) -> Finding:
    momenta = np.array(changes.values_of("momentum"))
    lecture, torchs = (np.array([result.array(f"delay_{name}") for result in changes]) for name in ("lecture", "torch"))
    ratios = lecture * (1 - momenta)
    told = ", ".join(f"{_count(k)} steps at μ = {mu:g}" for k, mu in zip(lecture[1:], momenta[1:], strict=True))
    return Finding(
        f"A new rate shows late: in the lecture's form 1 − 1/e of its effect takes {told}, which is {ratios.min():.2f} "
        f"to {ratios.max():.2f} times 1/(1 − μ). In torch's form it takes at most {_count(torchs.max())}.",
        Verdict.SUPPORTS if (lecture[1:] > 1).all() and np.all(np.diff(lecture) > 0) else Verdict.CONTRADICTS,
    )


def _find_decay(decays: Results) -> list[Finding]:
    momenta = decays.values_of("momentum")
    values = {
        f"{name}_{what}": np.array([float(result[f"{name}_{what}"]) for result in decays])
        for name in ("coupled", "decoupled")
        for what in ("speed", "rest")
    }
    pull = decays.all[0].arm.settings["decay_with_loss"]
    needs_care = values["coupled_speed"].max() > 1.1 * values["coupled_speed"].min()
    shifts = np.ptp(values["decoupled_rest"]) > 0.01
    return [
        Finding(
            f"Weight decay needs care: mixed into the gradient it shrinks a weight without gradient "
            f"{values['coupled_speed'][0]:.2f} times as fast as ηλ at μ = {momenta[0]:g} and "
            f"{values['coupled_speed'][-1]:.1f} times at μ = {momenta[-1]:g}; decoupled, between "
            f"{values['decoupled_speed'].min():.2f} and {values['decoupled_speed'].max():.2f} times.",
            Verdict.SUPPORTS if needs_care else Verdict.CONTRADICTS,
        ),
        Finding(
            f"A weight that the loss pulls to 1 rests, with λ = {pull:g}, between {values['coupled_rest'].min():.3f} "
            f"and {values['coupled_rest'].max():.3f} if the decay is mixed in, and between "
            f"{values['decoupled_rest'].min():.3f} and {values['decoupled_rest'].max():.3f} if it is decoupled: "
            f"momentum {'then strengthens the loss but not the decay' if shifts else 'makes no difference'}.",
            Verdict.SUPPORTS if shifts else Verdict.CANNOT_TELL,
        ),
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "too many to count"


def _tabulate(results: Results) -> Table:
    sweep = results.where(part="sweep")
    rows: list[list[str]] = [
        [f"{eps:g}", *("never" if r["steps"][i] is None else f"{r['steps'][i]:,}" for r in sweep)]
        for i, eps in enumerate(sweep.all[0].arm.settings["eps"])
    ]
    momenta: list[Any] = sweep.values_of("momentum")
    return Table(["steps at ε =", *(f"μ = {mu:g}" for mu in momenta)], rows)


STUDY = Study(
    name="momentum",
    version=1,
    title="Momentum",
    question="What does momentum change: the path, the time it takes, the effect of a new rate, weight decay?",
    claim="A moving average of the gradient, v ← μv + η∇E and θ ← θ − v, discourages zig-zags. A larger μ smooths "
    "more. With a very large μ it takes several steps before the effect of a change of the rate shows. Implementing "
    "weight decay correctly requires care when momentum is present.",
    method="The lecture's form (pellucid.training.optim) and torch's (torch.optim.SGD) go down the valley of the "
    "study of gradient descent in float64: from random starts, with noise on the gradient, and for many μ. To see a "
    "change of the rate, both follow a steady gradient until their steps are steady; then the rate falls to a tenth. "
    "Weight decay is looked at on one weight, without a gradient and with a loss that pulls it to 1: mixed into the "
    "gradient, as torch does, and decoupled from it.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=_find,
    tabulate=_tabulate,
    needs_photographs=False,
)
