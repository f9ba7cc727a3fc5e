"""Study: output activations for the range of pixel values, and their gradients.

Each output is trained from a good and from a bad initialisation: the bias of the last convolution decides how far from
a middle gray the first images are.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from pellucid.evaluation.metrics import psnr
from pellucid.lab.photographs import Photographs, Pixels, to_bytes, to_unit
from pellucid.lab.plots import FAINT, draw_crops, draw_curves, line_style, new_figure, plain_numbers
from pellucid.lab.statistics import Interval, difference_of, join_with_and, judge, mean_of
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study, Verdict
from pellucid.lab.training import Image, add_noise, fit, noisy_batch, small_recipe, validation_psnr
from pellucid.training.datasets import Batch
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.heads import Clip, ScaledTanh, build_head

_OUTPUTS: dict[str, tuple[str, bool]] = {
    "linear": ("linear", False),
    "linear + penalty": ("linear", True),
    "clip": ("clip", False),
    "sigmoid": ("sigmoid", False),
    "tanh": ("tanh", False),
    "scaled tanh": ("scaled_tanh", False),
    "scaled tanh + penalty": ("scaled_tanh", True),
}
#: Added to the bias of the last convolution; the bad one moves the clip's first inputs out of its range.
_STARTS = {"good": 0.0, "bad": -2.0}
#: A value that is out of range by a few levels of 255 outweighs the absolute error's slope of 1.
_PENALTY = 20.0
_SIGMA = 25.0
_NEAR = 0.05
#: The image is computed as noisy - (noisy - image), which may leave the range by rounding.
_ROUNDING = 1e-6
_WINDOW_PX, _GRID_PX = 48, 16
_FULL = {
    "n_steps": 800,
    "measured_at": (0, 5, 10, 20, 40, 70, 110, 170, 250, 400, 600, 799),
    "widths": (16, 32),
    "patch_px": 48,
    "n_warmup": 20,
    "every_px": 1,
}
_QUICK = {"n_steps": 3, "measured_at": (0, 1, 2), "widths": (4, 4), "patch_px": 16, "n_warmup": 1, "every_px": 4}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    shared = {**(_QUICK if effort is Effort.QUICK else _FULL), "near": _NEAR}
    return [
        Arm(
            f"{output.replace(' + ', '-').replace(' ', '-')}-{start}-start-seed-{seed}",
            {"output": output, "penalty": _PENALTY * penalized, "start": start, "shift": shift, **shared},
            seed,
        )
        for output, (_, penalized) in _OUTPUTS.items()
        for start, shift in _STARTS.items()
        for seed in range(n_seeds)
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    """Train one output from one initialisation, and record its gradients and the validation PSNR."""
    settings = arm.settings
    validation = [image[:: settings["every_px"], :: settings["every_px"]] for image in photographs.validation]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": settings["widths"], "output": _OUTPUTS[settings["output"]][0]},
        data={"patch_px": settings["patch_px"]},
        optimizer={"warmup_steps": settings["n_warmup"]},
        range_penalty=settings["penalty"],
    )
    gradients = GradientRecorder(settings["near"])
    curve: list[float] = []

    def on_step(step: int, module: DenoisingModule, batch: Batch, _loss: float) -> None:
        gradients.record(batch)
        if step in settings["measured_at"]:
            curve.append(validation_psnr(module, validation, _SIGMA))

    prepare = partial(_prepare, gradients, settings["shift"])
    module = fit(recipe, photographs.train, prepare=prepare, on_step=on_step).module
    zero = np.array(gradients.zero)
    ends = [*settings["measured_at"][1:], settings["n_steps"]]
    return {
        "psnr_curve": curve,
        "zero_curve": [zero[a:b].mean() for a, b in pairwise([settings["measured_at"][0], *ends])],
        "zero_first": zero[0],
        "zero_last": zero[-1],
        "zero_most": zero.max(),
        "reach": gradients.reach(),
        **_measure(module, validation, settings["near"]),
    }


class GradientRecorder:
    """Record the gradients of the activation's input; `near` is the distance of extreme clean values to 0 or 1."""

    def __init__(self, near: float) -> None:
        self.near = near
        self.zero: list[float] = []
        self._sizes: list[tuple[float, float]] = []
        self._gradient = torch.zeros(0)

    def keep(self, _layer: object, inputs: tuple[torch.Tensor]) -> None:
        """Keep the gradient of the activation's input; a forward pre-hook."""
        if inputs[0].requires_grad:
            inputs[0].register_hook(self._take)  # type: ignore[no-untyped-call]

    def _take(self, gradient: torch.Tensor) -> None:
        self._gradient = gradient

    def record(self, batch: Batch) -> None:
        """Record statistics of the last step's gradient."""
        size, clean = self._gradient.abs(), batch["clean"]
        extreme = (clean < self.near) | (clean > 1 - self.near)
        self.zero.append(float((size == 0).double().mean()))
        self._sizes.append((float(size[extreme].mean()), float(size[~extreme].mean())))

    def reach(self) -> float:
        """Return the mean gradient near 0 and 1 relative to elsewhere, over the last fifth of the steps, or NaN."""
        last = np.array(self._sizes[-max(1, len(self._sizes) // 5) :])
        last = last[np.isfinite(last).all(axis=1)]
        extreme, other = last.sum(axis=0)
        return float(extreme / other) if other > 0 else np.nan


def _prepare(gradients: GradientRecorder, shift: float, module: DenoisingModule) -> None:
    """Shift the inputs of the activation, and record their gradients."""
    with torch.no_grad():
        module.network.tail.bias += shift
    module.network.output.register_forward_pre_hook(gradients.keep)


def _measure(module: DenoisingModule, images: Sequence[Pixels], near: float) -> dict[str, Any]:
    """Measure the trained network on all validation pixels together, and crop one photograph."""
    cleans = [to_unit(image) for image in images]
    noisies = [add_noise(image, _SIGMA, index) for index, image in enumerate(images)]
    outputs = [_output(module, noisy) for noisy in noisies]
    clean, raw = (np.concatenate([image.ravel() for image in kind]) for kind in (cleans, outputs))
    denoised = raw.clip(0, 1)
    parts = {"black": clean < near, "white": clean > 1 - near}
    parts["ends"] = parts["black"] | parts["white"]
    index, *window = contrast_crop(cleans, near)
    shown = {"window": outputs, "window_clean": cleans, "window_noisy": noisies}
    return {
        "psnr": np.mean([psnr(image, output.clip(0, 1)) for image, output in zip(cleans, outputs, strict=True)]),
        **{f"psnr_{name}": psnr(clean[part], denoised[part]) if part.any() else np.nan for name, part in parts.items()},
        "out_of_range": np.mean((raw < -_ROUNDING) | (raw > 1 + _ROUNDING)),
        **{name: to_bytes(kind[index][tuple(window)]) for name, kind in shown.items()},
    }


@torch.no_grad()
def _output(module: DenoisingModule, noisy: Image) -> Image:
    """Return the network's output without further clipping."""
    batch = noisy_batch(noisy, _SIGMA)
    output: Image = module.network.image(batch["noisy"], batch["cond_sigma"])[0].permute(1, 2, 0).numpy()
    return output


def contrast_crop(images: Sequence[Image], near: float) -> tuple[int, slice, slice]:
    """Choose the crop, on a grid, with the most black and white pixels: the scarcer of both counts."""
    places = [
        (index, slice(top, top + _WINDOW_PX), slice(left, left + _WINDOW_PX))
        for index, image in enumerate(images)
        for top in range(0, image.shape[0] - _WINDOW_PX + 1, _GRID_PX)
        for left in range(0, image.shape[1] - _WINDOW_PX + 1, _GRID_PX)
    ]

    def scarcer(place: tuple[int, slice, slice]) -> tuple[float, float]:
        window = images[place[0]][place[1:]]
        black, white = float((window < near).mean()), float((window > 1 - near).mean())
        return min(black, white), max(black, white)

    return max(places, key=scarcer)


#: Styles of the activations, the same in all figures; outputs with penalty have others.
_STYLES = {"linear": 0, "clip": 2, "sigmoid": 3, "tanh": 4, "scaled tanh": 5}


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {
        "maps": _draw_activations(),
        "training": _draw_training(results),
        "quality": _draw_quality(results),
        "windows": _draw_crops(results),
    }


def _draw_activations() -> CaptionedFigure:
    a, b = ScaledTanh().a, ScaledTanh().b
    figure, (maps, slopes, against) = new_figure(1, 3, height_in=3.4)
    for name, index in _STYLES.items():
        output = build_head(name.replace(" ", "_"))
        # Relative to the input of middle gray, so that all curves cross in one point.
        x = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
        y = output(x + output.middle)
        (slope,) = torch.autograd.grad(y.sum(), x)
        offset, value, gradient = (tensor.detach().numpy() for tensor in (x, y, slope))
        # The clip partly covers the linear curve.
        style = line_style(index) | ({"linewidth": 4, "alpha": 0.4} if name == "linear" else {})
        maps.plot(offset, value, label=name, **style)
        slopes.plot(offset, gradient, **style)
        against.plot(value, gradient, **style)
    for axes in (maps, slopes):
        axes.set_xlabel("x, relative to middle gray")
    maps.axhspan(0, 1, color=FAINT, zorder=0)
    maps.set(title="activation", ylim=(-0.4, 1.4))
    against.axvspan(0, 1, color=FAINT, zorder=0)
    against.set(title="gradient against output", xlabel="output", xlim=(-0.4, 1.4), ylim=(-0.05, 1.08))
    slopes.set(title="gradient", ylim=(-0.05, 1.08))
    figure.legend(*maps.get_legend_handles_labels(), loc="outside lower center", ncols=len(_STYLES))
    return CaptionedFigure(
        figure,
        "Output activations and their gradients. The range of pixel values is shaded; scaled tanh is a(tanh(x) + b) "
        f"with a = {a:.2g} and b = {b:.2g}. Right: where the output is 0 or 1, the gradients of sigmoid and tanh "
        "vanish and that of the scaled tanh does not; the clip has none outside the range.",
    )


def _styles(results: Results) -> dict[str, dict[str, Any]]:
    """Return the style of each output: that of its activation if there is no penalty."""
    free = iter(index for index in range(7) if index not in _STYLES.values())
    return {
        name: line_style(_STYLES[name] if name in _STYLES else next(free), marked=True)
        for name in results.values_of("output")
    }


def _draw_training(results: Results) -> CaptionedFigure:
    starts, settings = results.values_of("start"), results.settings
    steps = np.array(settings["measured_at"]) + 1
    figure, panels = new_figure(2, len(starts), height_in=6.0, sharex=True, sharey="row", squeeze=False)
    for column, start in enumerate(starts):
        for name, curve in _styles(results).items():
            arms = results.where(output=name, start=start)
            draw_curves(panels[0, column], steps, [r.array("psnr_curve") for r in arms], name, curve)
            draw_curves(panels[1, column], steps, [r.array("zero_curve") for r in arms], name, curve)
        panels[0, column].set_title(f"{start} initialisation")
        panels[1, column].set(xscale="log", xlabel="step", ylim=(-0.04, 1.04))
        plain_numbers(panels[1, column].xaxis)
    panels[0, 0].set_ylabel("validation PSNR, dB")
    panels[1, 0].set_ylabel("fraction of zero gradients")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    n_seeds = len(results.where(output="clip", start=starts[0]).all)
    return CaptionedFigure(
        figure,
        f"Top: validation PSNR during training from both initialisations, mean of {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'} and band from minimum to maximum. Bottom: the fraction of the "
        "activation's inputs whose gradient is exactly zero, averaged until the next marker; at 1 nothing is learned.",
    )


_PANELS = (
    ("psnr", "PSNR, dB\nall pixels"),
    ("psnr_black", "PSNR, dB\nnear black"),
    ("psnr_white", "PSNR, dB\nnear white"),
    ("out_of_range", "out of range,\n% of values"),
)


def _draw_quality(results: Results) -> CaptionedFigure:
    outputs, starts = results.values_of("output"), results.values_of("start")
    figure, panels = new_figure(1, len(_PANELS), height_in=3.9, sharey=True)
    for axes, (name, title) in zip(panels, _PANELS, strict=True):
        lowest = -np.inf if name == "out_of_range" else _lowest_shown(results, name)
        for index, start in enumerate(starts):
            _draw_points(axes, results.where(start=start), name, index, lowest)
        axes.set_title(title)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(outputs)), outputs)
    panels[0].set_ylim(len(outputs) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(starts))
    near = results.settings["near"]
    return CaptionedFigure(
        figure,
        "After training, with 95 % confidence intervals: PSNR of the image clipped to 0..1, and the percentage of "
        f"values that are clipped. Near black and white: clean values within {near:g} of 0 and of 1. A number at the "
        "left edge is a value outside the plot.",
    )


def _draw_points(axes: Axes, results: Results, name: str, index: int, lowest: float) -> None:
    """Draw means and intervals of one initialisation, offset vertically; values below `lowest` become text."""
    unit, style = 100 if name == "out_of_range" else 1, {**line_style(index, marked=True), "linestyle": "none"}
    intervals = [mean_of(results.by_seed(name, output=output)) for output in results.values_of("output")]
    means = np.array([unit * interval.mean for interval in intervals])
    errors = [unit * interval.error for interval in intervals]
    rows, shown = np.arange(len(means)) + 0.3 * (index - 0.5), np.where(means < lowest, np.nan, means)
    axes.errorbar(shown, rows, xerr=errors, color=style["color"], fmt="none", capsize=2.5)
    axes.plot(shown, rows, label=f"{results.settings['start']} initialisation", **{**style, "markersize": 6})
    at_edge = {"transform": axes.get_yaxis_transform(), "color": style["color"], "va": "center", "fontsize": "small"}
    for mean, row in zip(means, rows, strict=True):
        if mean < lowest:
            axes.text(0.02, row, f"◂ {mean:.1f}", **at_edge)


def _lowest_shown(results: Results, name: str) -> float:
    """Return the limit below which a value is not drawn, since it would compress all others."""
    settings = [(output, start) for output in results.values_of("output") for start in results.values_of("start")]
    means = [mean_of(results.by_seed(name, output=output, start=start)).mean for output, start in settings]
    low, middle, high = np.nanquantile(means, (0.25, 0.5, 1))
    return float(middle - max(3 * (high - low), 1.0))


def _draw_crops(results: Results) -> CaptionedFigure:
    starts = results.values_of("start")
    rows = [_row(results.where(start=start)) for start in starts]
    figure = draw_crops(rows)
    panels = np.array(figure.axes).reshape(len(rows), -1)
    for panel, name in zip(panels[0], rows[0], strict=True):
        panel.set_title(name.replace(" + ", "\n+ "), fontsize="small")
    for row, start in zip(panels, starts, strict=True):
        row[0].text(-0.08, 0.5, f"{start} init.", transform=row[0].transAxes, rotation=90, va="center", ha="right")
    figure.set_figheight(figure.get_figheight() + 0.15)
    return CaptionedFigure(
        figure,
        "Crop of a validation photograph with black and white pixels, after training from both initialisations with "
        f"seed {results.first.arm.seed}; enlarged without smoothing. Look for black crops, and for gray where the "
        "image is dark or bright.",
    )


def _row(results: Results) -> Mapping[str, Any]:
    firsts = {name: results.where(output=name).first for name in results.values_of("output")}
    first = next(iter(firsts.values()))
    return {
        "clean": first["window_clean"],
        "noisy": first["window_noisy"],
        **{name: result["window"] for name, result in firsts.items()},
    }


_PENALIZED = "scaled tanh + penalty"
_UNKNOWN = "not measurable on these photographs"


def _findings(results: Results) -> list[Finding]:
    starts = results.values_of("start")
    return [
        *(_clip_finding(results.where(start=start), start) for start in starts),
        _weak_gradient_finding(results.where(start="good")),
        _scaled_tanh_finding(results.where(start="good")),
        *(_extremes_finding(results.where(start=start), start) for start in starts),
        _penalty_finding(results.where(start="good")),
        *(_combination_finding(results.where(start=start), start) for start in starts),
    ]


def _clip_finding(results: Results, start: str) -> Finding:
    first, last = (mean_of(results.by_seed(name, output="clip")).mean for name in ("zero_first", "zero_last"))
    others = [result for result in results if result.arm.settings["output"] != "clip"]
    most = max(float(result["zero_most"]) for result in others)
    gap = _gap(results, "psnr", "linear", "clip")
    return Finding(
        f"Clip, {start} initialisation: {first:.1%} of its inputs have a gradient of exactly zero at the first step "
        f"and {last:.1%} at the last (with any other activation at most {most:.1%} at any step). Its final PSNR is "
        f"{_above(-gap)} that of a linear output.",
        judge(gap),
    )


def _weak_gradient_finding(results: Results) -> Finding:
    gaps = [_gap(results, "reach", "linear", name) for name in ("sigmoid", "tanh")]
    ratios = [
        f"{_format(mean_of(results.by_seed('reach', output=name)), '.2f')} with {name}"
        for name in ("linear", "sigmoid", "tanh")
    ]
    return Finding(
        f"Final gradient near black and white, relative to that elsewhere: {join_with_and(ratios)}.",
        _all(gaps),
    )


def _scaled_tanh_finding(results: Results) -> Finding:
    gap = _gap(results, "reach", "scaled tanh", "tanh")
    scaled = mean_of(results.by_seed("reach", output="scaled tanh"))
    return Finding(
        f"With a(tanh(x) + b) it is {_format(scaled, '.2f')}; the difference to tanh is {_format(gap, '+.2f')}.",
        judge(gap),
    )


def _extremes_finding(results: Results, start: str) -> Finding:
    gaps = {name: _gap(results, "psnr_ends", "linear", name) for name in ("sigmoid", "tanh")}
    differences = [f"with {name} {_above(-gap)}" for name, gap in gaps.items()]
    return Finding(
        f"With the {start} initialisation, the final PSNR of pixels near black and white is "
        f"{join_with_and(differences)} that with a linear output.",
        _all(list(gaps.values())),
    )


def _penalty_finding(results: Results) -> Finding:
    gaps, parts = [], []
    for name in ("linear", "scaled tanh"):
        gaps.append(_gap(results, "out_of_range", name, f"{name} + penalty"))
        shares = [mean_of(results.by_seed("out_of_range", output=n)).mean for n in (name, f"{name} + penalty")]
        parts.append(f"{shares[0]:.1%} without and {shares[1]:.1%} with the penalty for the {name} output")
    return Finding(f"Values out of range before clipping: {join_with_and(parts)}.", _all(gaps))


def _combination_finding(results: Results, start: str) -> Finding:
    gaps = {name: _gap(results, "psnr", _PENALIZED, name) for name in ("tanh", "linear + penalty")}
    differences = [f"{_above(gap)} {name}" for name, gap in gaps.items()]
    return Finding(
        f"With the {start} initialisation, the final PSNR of a(tanh(x) + b) with the penalty is "
        f"{join_with_and(differences)}.",
        _all(list(gaps.values())),
    )


def _gap(results: Results, name: str, first: str, second: str) -> Interval:
    return difference_of(results.by_seed(name, output=first), results.by_seed(name, output=second))


def _all(effects: Sequence[Interval]) -> Verdict:
    """Judge a claim about several effects: all must support it, or all contradict it."""
    verdicts = {judge(effect) for effect in effects}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.INCONCLUSIVE


def _above(gap: Interval) -> str:
    """Describe by how much a value is above another, with its interval; or below."""
    if np.isnan(gap.mean):
        return f"({_UNKNOWN}) compared with"
    if gap.mean < 0:
        return f"{-gap:.2f} dB below"
    return f"{gap:.2f} dB above"


def _format(interval: Interval, specification: str) -> str:
    return _UNKNOWN if np.isnan(interval.mean) else format(interval, specification)


def _table(results: Results) -> ResultTable:
    rows = [
        [output, start, *(_cell(results.where(output=output, start=start), name, form) for _, name, form in _COLUMNS)]
        for output in results.values_of("output")
        for start in results.values_of("start")
    ]
    return ResultTable(["output", "initialisation", *(title for title, _, _ in _COLUMNS)], rows)


_COLUMNS = (
    ("PSNR, dB", "psnr", ".2f"),
    ("near black", "psnr_black", ".2f"),
    ("near white", "psnr_white", ".2f"),
    ("zero gradients, first step", "zero_first", ".1%"),
    ("last step", "zero_last", ".1%"),
    ("gradient near black and white", "reach", ".2f"),
    ("out of range", "out_of_range", ".1%"),
)


def _cell(results: Results, name: str, specification: str) -> str:
    mean = mean_of(results.by_seed(name)).mean
    return "–" if np.isnan(mean) else format(mean, specification)


STUDY = Study(
    name="output-range",
    version=1,
    title="Output range",
    question="How can the output be limited to the range of pixel values, 0 to 1, without losing its gradient?",
    claim="ReLU(x) − ReLU(x − 1) maps to the range, but is a terrible idea: once a value is outside, no gradient "
    "pushes it back. Sigmoid and tanh have weak gradients where the output is close to 0 or 1. Values out of range may "
    "be penalized instead. It is often useful to do both: a(tanh(x) + b) with b < 1 and a > 1/(b + 1) slightly exceeds "
    "0 and 1, has gradients there that are not too small, and a penalty brings it back.",
    method="One small network predicts the image through each of these activations, with and without the lecture's "
    f"penalty (weight {_PENALTY:g}). It is trained to remove Gaussian noise of sigma 25, with the L1 loss and Adam. "
    "The good initialisation is a middle gray; for the bad one, the bias before the activation is lowered by "
    f"{-_STARTS['bad']:g}, so that the clip's first inputs are near {Clip.middle + _STARTS['bad']:g}. During training "
    "we measure the gradient of the loss by each input of the activation: how many are exactly zero, and how large "
    f"they are near black and white (clean values within {_NEAR} of 0 or 1) compared with elsewhere. After training: "
    "the PSNR of validation photographs, clipped to the range, also of pixels near black and near white alone; and the "
    "fraction of values out of range before clipping.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
