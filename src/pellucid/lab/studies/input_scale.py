"""Study: what zero mean and unit deviation of the input do for training.

See `lab.study`. Three scales of the input are compared, each at several learning rates, since a scale that only wants
another rate would else look bad.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from pellucid.lab.drawing import draw_curves
from pellucid.lab.pictures import Photographs
from pellucid.lab.plotting import look, new_figure, plain_numbers
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.study import Arm, Drawing, Effort, Finding, Measured, Results, Study, Table
from pellucid.lab.training import fit, held_out_psnr, small_recipe
from pellucid.training.datasets import Batch
from pellucid.training.module import DenoisingModule

_SCALED, _UNIT, _BYTES = "zero mean, unit deviation", "0 to 1", "0 to 255"
_KEYS = {_SCALED: "scaled", _UNIT: "unit", _BYTES: "bytes"}
_SIGMA = 25.0
_FULL = {
    "n_steps": 600,
    "measured_at": (5, 10, 20, 40, 80, 120, 200, 300, 400, 600),
    "early": 80,
    "widths": (16, 32),
    "patch_px": 48,
    "n_warmup": 20,
    "every_px": 1,
}
_QUICK = {
    "n_steps": 4,
    "measured_at": (1, 2, 4),
    "early": 2,
    "widths": (4, 4),
    "patch_px": 16,
    "n_warmup": 1,
    "every_px": 4,
}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    rates = (0.002, 0.008) if quick else (0.0005, 0.0015, 0.005, 0.015)
    return [
        Arm(
            f"{_KEYS[scale]}-rate-{rate}-seed-{seed}",
            {"scale": scale, "rate": rate, **(_QUICK if quick else _FULL)},
            seed,
        )
        for scale in _KEYS
        for rate in rates
        for seed in range(n_seeds)
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    """Train at one scale and rate; measure held-out photographs on the way, and what the first layer is given."""
    settings = arm.settings
    held_out = [image[:: settings["every_px"], :: settings["every_px"]] for image in photographs.held_out]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": settings["widths"], "input_scaling": settings["scale"] == _SCALED},
        data={"patch_px": settings["patch_px"]},
        optimizer={"lr": settings["rate"], "warmup_steps": settings["n_warmup"]},
    )
    given: list[tuple[float, float]] = []
    psnr: list[float] = []

    def prepare(module: DenoisingModule) -> None:
        if settings["scale"] == _BYTES:
            module.network.head.register_forward_pre_hook(_to_bytes)
        module.network.head.register_forward_pre_hook(partial(_note_first, given))

    def watch(step: int, module: DenoisingModule, _batch: Batch, _loss: float) -> None:
        if step in settings["measured_at"]:
            psnr.append(held_out_psnr(module, held_out, _SIGMA))

    module = fit(recipe, photographs.train, prepare=prepare, watch=watch).module
    psnr.append(held_out_psnr(module, held_out, _SIGMA))
    return {
        "psnr": psnr,
        "final": psnr[-1],
        "early": psnr[settings["measured_at"].index(settings["early"])],
        "mean": given[0][0],
        "deviation": given[0][1],
    }


def _to_bytes(_layer: object, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Give the first layer the image, and the noise map, on the scale of a file of 8 bits."""
    return (inputs[0] * 255,)


def _note_first(given: list[tuple[float, float]], _layer: object, inputs: tuple[Tensor]) -> None:
    """Note mean and deviation of the first image that the first layer is given; its last channel is the noise map."""
    if not given:
        image = inputs[0][:, :-1]
        given.append((float(image.mean()), float(image.std())))


def _best_rate(results: Results, scale: str) -> float:
    """Find the rate that ends with the highest mean PSNR; a rate with which training breaks down is not chosen."""
    rates = results.values_of("rate")
    finals = [mean_of(results.by_seed("final", scale=scale, rate=rate)).mean for rate in rates]
    return float(rates[int(np.argmax(np.nan_to_num(finals, nan=-np.inf)))])


def _at_best(results: Results, name: str, scale: str) -> dict[int, float]:
    return results.by_seed(name, scale=scale, rate=_best_rate(results, scale))


def _draw(results: Results) -> dict[str, Drawing]:
    settings = results.all[0].arm.settings
    figure, (curves, rates) = new_figure(1, 2, height_in=4.0, width_ratios=(1.25, 1))
    for index, scale in enumerate(results.values_of("scale")):
        best = results.where(scale=scale, rate=_best_rate(results, scale))
        draw_curves(curves, settings["measured_at"], [r.array("psnr") for r in best], scale, look(index, marked=True))
        _draw_rates(rates, results, scale, index)
    curves.set(xscale="log", xlabel="steps", ylabel="PSNR of held-out photographs, dB", title="each at its best rate")
    rates.set(xscale="log", xlabel="learning rate of Adam", title=f"after {settings['n_steps']} steps")
    rates.set_xticks(tried := results.values_of("rate"), [f"{rate:g}" for rate in tried])
    for axes in (curves, rates):
        plain_numbers(axes.xaxis)
    figure.legend(
        *curves.get_legend_handles_labels(), loc="outside lower center", ncols=len(_KEYS), title="input of the network"
    )
    n_seeds = len(_at_best(results, "final", _SCALED))
    chosen = ", ".join(f"{_best_rate(results, scale):g} for {scale}" for scale in results.values_of("scale"))
    return {
        "training": Drawing(
            figure,
            f"The same network, given its input on three scales. Left: PSNR during training, mean of {n_seeds} "
            f"{'seed' if n_seeds == 1 else 'seeds'} and band from the lowest to the highest, at the best of "
            f"{len(tried)} rates ({chosen}); the higher curve learns sooner. Right: where each rate ends, with "
            "95 % intervals; a flat curve depends little on the rate. Marks of one rate are set side by side.",
        )
    }


def _draw_rates(axes: Axes, results: Results, scale: str, index: int) -> None:
    """Draw where each rate ends, a little aside of the other scales' marks."""
    rates = np.array(results.values_of("rate"))
    ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)) for rate in rates]
    halves = [end.half_width if np.isfinite(end.half_width) else 0.0 for end in ends]
    aside = rates * 1.12 ** (index - (len(_KEYS) - 1) / 2)
    axes.errorbar(aside, [end.mean for end in ends], yerr=halves, capsize=3, **look(index, marked=True))


def _find(results: Results) -> list[Finding]:
    settings, n_rates = results.all[0].arm.settings, len(results.values_of("rate"))
    scaled = _at_best(results, "final", _SCALED)
    gains = {other: difference_of(scaled, _at_best(results, "final", other)) for other in (_UNIT, _BYTES)}
    sooner = {
        other: difference_of(_at_best(results, "early", _SCALED), _at_best(results, "early", other)) for other in gains
    }
    return [
        *(
            Finding(
                f"After {settings['n_steps']} steps, each scale at the best of {n_rates} rates, zero mean and unit "
                f"deviation {_moves(gain)} the PSNR: {gain:+.2f} dB against an input of {other}.",
                judge(gain),
            )
            for other, gain in gains.items()
        ),
        *(
            Finding(
                f"Early on, after {settings['early']} of these steps, the difference to an input of {other} is "
                f"{gain:+.2f} dB: zero mean and unit deviation {_learns(gain)}.",
                judge(gain),
            )
            for other, gain in sooner.items()
        ),
        _find_spread(results),
    ]


def _moves(gain: Interval) -> str:
    if gain.low > 0:
        return "raise"
    return "lower" if gain.high < 0 else "may or may not change"


def _learns(gain: Interval) -> str:
    if gain.low > 0:
        return "learn sooner"
    return "learn later" if gain.high < 0 else "are not seen to learn sooner or later"


def _find_spread(results: Results) -> Finding:
    """Tell how much the rate matters at each scale."""
    rates, told, broken = results.values_of("rate"), [], []
    for scale in results.values_of("scale"):
        ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)).mean for rate in rates]
        broken += [] if np.isfinite(ends).all() else [scale]
        told.append(f"{np.nanmax(ends) - np.nanmin(ends):.2f} dB with {scale}")
    best = [_best_rate(results, scale) for scale in results.values_of("scale")]
    at_edge = any(rate in (min(rates), max(rates)) for rate in best)
    caution = " The best rate of some scale is the lowest or the highest tried, so that others may be better still."
    breaks = (
        f" Left out are runs that end without a number: training breaks down at some rate with {', '.join(broken)}."
    )
    return Finding(
        f"Between the best and the worst of the rates {min(rates):g} to {max(rates):g} lie {_listed(told)}."
        f"{caution if at_edge else ''}{breaks if broken else ''}"
    )


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tabulate(results: Results) -> Table:
    rates = results.values_of("rate")
    rows = []
    for scale in results.values_of("scale"):
        of_scale = results.where(scale=scale)
        mean, deviation = (np.mean([float(result[name]) for result in of_scale]) for name in ("mean", "deviation"))
        ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)) for rate in rates]
        rows.append(
            [scale, f"{mean:.2f}", f"{deviation:.2f}", *("–" if np.isnan(end.mean) else f"{end:.2f}" for end in ends)]
        )
    return Table(
        ["input", "its mean", "its deviation", *(f"PSNR in dB at rate {rate:g} (95 % interval)" for rate in rates)],
        rows,
    )


STUDY = Study(
    name="input-scale",
    version=1,
    title="The scale of the input",
    question="Does it help to bring the input to zero mean and unit deviation?",
    claim="It is helpful to scale and offset pixel values so that their mean is zero and their standard deviation is "
    "one.",
    method="One small network is trained to remove Gaussian noise of level 25, with Adam, from the same first weights "
    "and patches. It is given the noisy image and the noise level at three scales: with zero mean and unit deviation, "
    "by constants of natural images; from 0 to 1, as the package holds images; and from 0 to 255, as files do. What "
    "is to be learned, the noise on the scale of 0 to 1, stays the same. Each scale gets each of several learning "
    "rates, and scales are compared at the best rate of each, since a scale may only want another rate. The best rate "
    "is chosen on the photographs that are measured, for all scales alike.",
    arms=_arms,
    run=_run,
    draw=_draw,
    find=_find,
    tabulate=_tabulate,
)
