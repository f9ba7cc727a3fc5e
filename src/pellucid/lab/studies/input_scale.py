"""Study: zero mean and unit standard deviation of the input.

Three scales of the input are compared at several learning rates each, since a scale may only need another rate.
"""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import draw_curves, draw_error_bars, line_style, new_figure, plain_numbers
from pellucid.lab.statistics import Interval, difference_of, join_with_and, judge, mean_of
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study
from pellucid.lab.training import fit, small_recipe, validation_psnr
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
    """Train at one scale and learning rate; record the validation PSNR and the statistics of the first input."""
    settings = arm.settings
    validation = [image[:: settings["every_px"], :: settings["every_px"]] for image in photographs.validation]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": settings["widths"], "input_scaling": settings["scale"] == _SCALED},
        data={"patch_px": settings["patch_px"]},
        optimizer={"lr": settings["rate"], "warmup_steps": settings["n_warmup"]},
    )
    inputs: list[tuple[float, float]] = []
    psnr: list[float] = []

    def prepare(module: DenoisingModule) -> None:
        if settings["scale"] == _BYTES:
            module.network.head.register_forward_pre_hook(_to_bytes)
        module.network.head.register_forward_pre_hook(partial(_record_first, inputs))

    def on_step(step: int, module: DenoisingModule, _batch: Batch, _loss: float) -> None:
        if step in settings["measured_at"]:
            psnr.append(validation_psnr(module, validation, _SIGMA))

    module = fit(recipe, photographs.train, prepare=prepare, on_step=on_step).module
    psnr.append(validation_psnr(module, validation, _SIGMA))
    return {
        "psnr": psnr,
        "final": psnr[-1],
        "early": psnr[settings["measured_at"].index(settings["early"])],
        "mean": inputs[0][0],
        "deviation": inputs[0][1],
    }


def _to_bytes(_layer: object, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Scale the first layer's input, image and noise map, to 0..255."""
    return (inputs[0] * 255,)


def _record_first(records: list[tuple[float, float]], _layer: object, inputs: tuple[Tensor]) -> None:
    """Record mean and standard deviation of the first layer's first input, without its last channel, the noise map."""
    if not records:
        image = inputs[0][:, :-1]
        records.append((float(image.mean()), float(image.std())))


def _best_rate(results: Results, scale: str) -> float:
    """Return the learning rate with the highest mean final PSNR; rates at which training diverges are excluded."""
    rates = results.values_of("rate")
    finals = [mean_of(results.by_seed("final", scale=scale, rate=rate)).mean for rate in rates]
    return float(rates[int(np.argmax(np.nan_to_num(finals, nan=-np.inf)))])


def _at_best(results: Results, name: str, scale: str) -> dict[int, float]:
    return results.by_seed(name, scale=scale, rate=_best_rate(results, scale))


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    settings = results.settings
    figure, (curves, rates) = new_figure(1, 2, height_in=4.0, width_ratios=(1.25, 1))
    for index, scale in enumerate(results.values_of("scale")):
        best = results.where(scale=scale, rate=_best_rate(results, scale))
        draw_curves(
            curves, settings["measured_at"], [r.array("psnr") for r in best], scale, line_style(index, marked=True)
        )
        _draw_rates(rates, results, scale, index)
    curves.set(xscale="log", xlabel="steps", ylabel="validation PSNR, dB", title="each at its best learning rate")
    rates.set(xscale="log", xlabel="learning rate of Adam", title=f"after {settings['n_steps']} steps")
    rates.set_xticks(tried := results.values_of("rate"), [f"{rate:g}" for rate in tried])
    for axes in (curves, rates):
        plain_numbers(axes.xaxis)
    figure.legend(
        *curves.get_legend_handles_labels(), loc="outside lower center", ncols=len(_KEYS), title="network input"
    )
    n_seeds = len(_at_best(results, "final", _SCALED))
    chosen = ", ".join(f"{_best_rate(results, scale):g} for {scale}" for scale in results.values_of("scale"))
    return {
        "training": CaptionedFigure(
            figure,
            "The same network with its input on three scales. Left: validation PSNR during training, mean of "
            f"{n_seeds} {'seed' if n_seeds == 1 else 'seeds'} and band from minimum to maximum, at the best of "
            f"{len(tried)} learning rates ({chosen}). Right: final PSNR for each learning rate, with 95 % confidence "
            "intervals; markers are offset horizontally for visibility.",
        )
    }


def _draw_rates(axes: Axes, results: Results, scale: str, index: int) -> None:
    """Draw the final PSNR for each learning rate, offset horizontally from the other scales."""
    rates = np.array(results.values_of("rate"))
    ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)) for rate in rates]
    positions = rates * 1.12 ** (index - (len(_KEYS) - 1) / 2)
    draw_error_bars(axes, positions, ends, capsize=3, **line_style(index, marked=True))


def _findings(results: Results) -> list[Finding]:
    settings, n_rates = results.settings, len(results.values_of("rate"))
    scaled = _at_best(results, "final", _SCALED)
    gains = {other: difference_of(scaled, _at_best(results, "final", other)) for other in (_UNIT, _BYTES)}
    sooner = {
        other: difference_of(_at_best(results, "early", _SCALED), _at_best(results, "early", other)) for other in gains
    }
    return [
        *(
            Finding(
                f"After {settings['n_steps']} steps, each scale at the best of {n_rates} learning rates, zero mean and "
                f"unit standard deviation {_effect(gain)} the validation PSNR: {gain:+.2f} dB against an input of "
                f"{other}.",
                judge(gain),
            )
            for other, gain in gains.items()
        ),
        *(
            Finding(
                f"Early in training, after {settings['early']} steps, the difference to an input of {other} is "
                f"{gain:+.2f} dB: with zero mean and unit standard deviation the network {_speed(gain)}.",
                judge(gain),
            )
            for other, gain in sooner.items()
        ),
        _spread_finding(results),
    ]


def _effect(gain: Interval) -> str:
    if gain.low > 0:
        return "raise"
    return "lower" if gain.high < 0 else "may or may not change"


def _speed(gain: Interval) -> str:
    if gain.low > 0:
        return "learns faster"
    return (
        "learns more slowly" if gain.high < 0 else "learns neither faster nor more slowly, as far as these seeds show"
    )


def _spread_finding(results: Results) -> Finding:
    """Describe how much the learning rate matters at each scale."""
    rates, spreads, diverged = results.values_of("rate"), [], []
    for scale in results.values_of("scale"):
        ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)).mean for rate in rates]
        diverged += [] if np.isfinite(ends).all() else [scale]
        spreads.append(f"{np.nanmax(ends) - np.nanmin(ends):.2f} dB with {scale}")
    best = [_best_rate(results, scale) for scale in results.values_of("scale")]
    at_edge = any(rate in (min(rates), max(rates)) for rate in best)
    caution = " For at least one scale the best rate is the lowest or highest tested, so others may be better still."
    failures = f" Diverged runs are excluded: training diverges at some learning rate with {', '.join(diverged)}."
    return Finding(
        f"Between the best and the worst learning rate of {min(rates):g} to {max(rates):g}, the final PSNR differs by "
        f"{join_with_and(spreads)}.{caution if at_edge else ''}{failures if diverged else ''}"
    )


def _table(results: Results) -> ResultTable:
    rates = results.values_of("rate")
    rows = []
    for scale in results.values_of("scale"):
        of_scale = results.where(scale=scale)
        mean, deviation = (np.mean([float(result[name]) for result in of_scale]) for name in ("mean", "deviation"))
        ends = [mean_of(results.by_seed("final", scale=scale, rate=rate)) for rate in rates]
        rows.append(
            [scale, f"{mean:.2f}", f"{deviation:.2f}", *("–" if np.isnan(end.mean) else f"{end:.2f}" for end in ends)]
        )
    return ResultTable(
        ["input", "mean", "std. dev.", *(f"PSNR, dB, at learning rate {rate:g} (95 % interval)" for rate in rates)],
        rows,
    )


STUDY = Study(
    name="input-scale",
    version=1,
    title="Input normalization",
    question="Does it help to normalize the input to zero mean and unit standard deviation?",
    claim="It is helpful to scale and offset pixel values so that their mean is zero and their standard deviation is "
    "one.",
    method="One small network is trained with Adam to remove Gaussian noise of sigma 25, with the same initial weights "
    "and patches. Its input, the noisy image and the noise level, has one of three scales: zero mean and unit standard "
    "deviation (by constants for natural images), 0 to 1 (the scale of the package), and 0 to 255 (8-bit files). The "
    "target, the noise on the scale of 0 to 1, is the same for all. Each scale is trained at several learning rates, "
    "and scales are compared at their best ones, since a scale may only need another rate. The best rate is selected "
    "on the validation photographs, for all scales alike.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
