"""Study: five optimizers on the autoencoder, each at the best of the same number of rates.

Every rate is run with every seed, so that no arm depends on another; the rate is chosen when the results are read.
The figures are in `optimizers_figures`. See `lab.study`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.evaluation.metrics import psnr
from pellucid.lab.pictures import Photographs
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.studies.optimizers_figures import NAMES, chosen, draw
from pellucid.lab.study import Arm, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.training import denoise, fit, noisy_copy, small_recipe
from pellucid.training.module import DenoisingModule

#: A rate that suits each optimizer on this network, found in short trials; the grid lies around it.
_USUAL = {"sgd": 0.2, "momentum": 0.1, "rmsprop": 5e-4, "adagrad": 1e-2, "adam": 3e-3}
_GRID = (0.1, 0.3, 1.0, 3.0)
_SIGMA, _SHIFTED_SIGMA = 25.0, 40.0
#: The lecture calls Adam's models quite good, not the best: so much they may be behind.
_CLOSE_DB = 0.25
#: Gradients are left as long as they are: a bound on their length would be a part of SGD's rate and of no other's.
_NO_CLIPPING = 1e9
_TRIAL = {"network": {"widths": [8, 8]}, "data": {"patch_px": 16, "batch_size": 2}}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    shared: dict[str, Any] = {"sigma": _SIGMA, "shifted_sigma": _SHIFTED_SIGMA, "momentum": 0.9}
    shared |= {"n_steps": 10, "window": 1, **_TRIAL} if quick else {"n_steps": 900, "window": 20}
    grid = _GRID[1:3] if quick else _GRID
    return [
        Arm(f"{name}-{factor}-seed-{seed}", {**shared, "optimizer": name, "factor": factor, "rate": rate}, seed)
        for name, usual in _USUAL.items()
        for factor, rate in ((factor, float(f"{usual * factor:.6g}")) for factor in grid)
        for seed in range(n_seeds)
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    settings = arm.settings
    optimizer = {
        "name": settings["optimizer"],
        "lr": settings["rate"],
        "momentum": settings["momentum"],
        "clip_norm": _NO_CLIPPING,
        "warmup_steps": max(1, settings["n_steps"] // 50),
    }
    tables = {name: settings[name] for name in ("network", "data") if name in settings}
    recipe = small_recipe(seed=arm.seed, n_steps=settings["n_steps"], optimizer=optimizer, **tables)
    done = fit(recipe, photographs.train)
    losses = np.array(done.losses).reshape(-1, settings["window"]).mean(axis=1)
    return {
        "losses": losses,
        "seconds": done.seconds,
        "early": _mean_between(losses, 0.1, 0.2),
        "final": _mean_between(losses, 0.9, 1.0),
        "psnr": _quality(done.module, photographs, settings["sigma"], settings["sigma"]),
        "shifted_psnr": _quality(done.module, photographs, settings["shifted_sigma"], settings["sigma"]),
    }


def _mean_between(losses: Any, first: float, last: float) -> float:
    """Average the losses between two shares of the run."""
    n = len(losses)
    return float(np.mean(losses[round(first * n) : round(last * n)]))


def _quality(module: DenoisingModule, photographs: Photographs, sigma: float, told: float) -> float:
    """Give the mean PSNR, in dB, of held-out photographs with noise of one level, the network told another.

    NaN if the training has diverged: weights that are not finite make no image.
    """
    if not all(bool(parameter.isfinite().all()) for parameter in module.parameters()):
        return math.nan
    values = []
    for index, image in enumerate(photographs.held_out):
        denoised = np.clip(np.nan_to_num(denoise(module, noisy_copy(image, sigma, seed=index), told)), 0, 1)
        values.append(psnr(image.astype(np.float32) / np.float32(255), denoised))
    return float(np.mean(values))


def _find(results: Results) -> list[Finding]:
    best = chosen(results)
    return [
        _find_rates(results, best),
        _find_descent(best),
        _find_slow(best),
        _find_final(best),
        _find_robust(best),
        _find_time(best),
    ]


def _find_rates(results: Results, best: Mapping[str, Results]) -> Finding:
    factors = results.values_of("factor")
    edges = [NAMES[o] for o, r in best.items() if r.all[0].arm.settings["factor"] in {min(factors), max(factors)}]
    lost = sum(not float(result.array("final")) < result.array("losses")[0] for result in results)
    told = ", ".join(f"{r.all[0].arm.settings['rate']:g} for {NAMES[o]}" for o, r in best.items())
    edge = f"at the edge of the grid for {', '.join(edges)}" if edges else "inside the grid for all"
    return Finding(
        f"Of {len(factors)} rates each, the lowest training loss at the end comes with {told}; that is {edge}. "
        f"{lost} of {len(results.all)} runs diverged: their loss at the end is not below that at the start."
    )


def _rival(best: Mapping[str, Results], name: str, *, highest: bool) -> str:
    """Name the optimizer, other than Adam, that has the best mean of a measurement."""
    means = {o: mean_of(results.by_seed(name)).mean for o, results in best.items() if o != "adam"}
    finite = {o: mean for o, mean in means.items() if math.isfinite(mean)} or means
    return max(finite, key=lambda o: finite[o]) if highest else min(finite, key=lambda o: finite[o])


def _find_descent(best: Mapping[str, Results]) -> Finding:
    rival = _rival(best, "early", highest=False)
    gain = _less(best, "early", rival, "adam")
    return Finding(
        f"Fast descent: between a tenth and a fifth of the run, Adam's training loss is "
        f"{mean_of(best['adam'].by_seed('early')).mean:.4f}. The best of the others then is {NAMES[rival]}, at "
        f"{mean_of(best[rival].by_seed('early')).mean:.4f}, a difference of {gain:+.4f}.",
        judge(gain),
    )


def _find_slow(best: Mapping[str, Results]) -> Finding:
    gap = _less(best, "final", "sgd", "adam")
    settings = best["adam"].all[0].arm.settings
    goal = mean_of(best["sgd"].by_seed("final")).mean
    losses = np.mean([result.array("losses") for result in best["adam"]], axis=0)
    there = np.flatnonzero(losses <= goal)
    when = (
        f"Adam has come there after {(there[0] + 1) * settings['window']:,}"
        if there.size
        else "Adam does not come there at all"
    )
    return Finding(
        f"SGD is slow: in {settings['n_steps']:,} steps it comes to a training loss of {goal:.4f}; {when}. At the end "
        f"SGD's loss is above Adam's by {gap:+.4f}.",
        judge(gap),
    )


def _find_final(best: Mapping[str, Results]) -> Finding:
    rival = _rival(best, "psnr", highest=True)
    gain = _less(best, "psnr", "adam", rival)
    return Finding(
        f"Quite good models: on held-out photographs Adam comes to {mean_of(best['adam'].by_seed('psnr')):.2f} dB. "
        f"The best of the others is {NAMES[rival]}, and Adam's lead over it is {gain:+.2f} dB. (Not "
        f"more than {_CLOSE_DB:g} dB behind the best is quite good.)",
        judge(Interval(gain.mean + _CLOSE_DB, gain.low + _CLOSE_DB, gain.high + _CLOSE_DB, gain.n)),
    )


def _find_robust(best: Mapping[str, Results]) -> Finding:
    settings = best["adam"].all[0].arm.settings
    drops = {
        name: _difference(best[name].by_seed("psnr"), best[name].by_seed("shifted_psnr")) for name in ("adam", "sgd")
    }
    spared = mean_of([a - s for a, s in zip(drops["adam"], drops["sgd"], strict=True)])
    ahead = _less(best, "shifted_psnr", "sgd", "adam")
    return Finding(
        f"Robust models: when the noise grows from {settings['sigma']:g} to {settings['shifted_sigma']:g} and the "
        f"network is not told, Adam loses {np.mean(drops['adam']):.2f} dB and SGD {np.mean(drops['sgd']):.2f} dB: SGD "
        f"loses less by {spared:+.2f} dB. There SGD's result is above Adam's by {ahead:+.2f} dB.",
        _judge_robust(spared, ahead),
    )


def _judge_robust(spared: Interval, ahead: Interval) -> Verdict:
    """Call SGD robust only if it loses less and is not worse for all that: a bad model has little to lose."""
    if spared.low > 0:
        return Verdict.SUPPORTS if ahead.low > 0 else Verdict.CANNOT_TELL
    return judge(spared)


def _find_time(best: Mapping[str, Results]) -> Finding:
    per_step = {o: mean_of(_step_ms(results)).mean for o, results in best.items()}
    told = ", ".join(f"{NAMES[o]} {per_step[o] / per_step['sgd']:.2f}" for o in best if o != "sgd")
    return Finding(
        f"A step of SGD takes {per_step['sgd']:.1f} ms, with the making of its batch. Relative to that the others "
        f"take: {told}."
    )


def _step_ms(results: Results) -> list[float]:
    return [1e3 * float(result["seconds"]) / result.arm.settings["n_steps"] for result in results]


def _less(best: Mapping[str, Results], name: str, first: str, second: str) -> Interval:
    """Average a measurement's difference, first less second, seed by seed."""
    return difference_of(best[first].by_seed(name), best[second].by_seed(name))


def _difference(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    return [first[seed] - second[seed] for seed in first]


def _tabulate(results: Results) -> Table:
    rows = []
    for name, one in chosen(results).items():
        means = [f"{mean_of(one.by_seed(what)):{form}}" for what, form in _COLUMNS]
        rows.append([NAMES[name], f"{one.all[0].arm.settings['rate']:g}", *means, f"{mean_of(_step_ms(one)).mean:.1f}"])
    settings = results.all[0].arm.settings
    head = ["optimizer", "rate", "training loss", f"PSNR at {settings['sigma']:g}, dB"]
    return Table([*head, f"PSNR at {settings['shifted_sigma']:g}, dB", "ms a step"], rows)


_COLUMNS = (("final", ".4f"), ("psnr", ".2f"), ("shifted_psnr", ".2f"))

STUDY = Study(
    name="optimizers",
    version=1,
    title="Optimizers",
    question="Which optimizer descends fastest, and which ends with the best and with the most robust network?",
    claim="Adam is favoured: it is best for fast descent and gives quite good models. SGD gives robust models, but is "
    "slow (Adam for papers, SGD for production models).",
    method="SGD, momentum in the lecture's form (μ = 0.9), RMSProp, AdaGrad and Adam train the same autoencoder from "
    "the same weights, on the same batches and for as many steps; the rate falls along a cosine, and gradients are not "
    "clipped. Each optimizer is run at the same relative grid of rates around one that suits it, with every seed; of "
    "these the rate with the lowest training loss in the last tenth of the run is shown. Held-out photographs play no "
    "part in the choice. Quality is the mean PSNR of held-out photographs, with the noise of the training, and with "
    "stronger noise of which the network is not told.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=_find,
    tabulate=_tabulate,
)
