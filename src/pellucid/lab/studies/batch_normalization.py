"""Study: batch normalization keeps activations small, and fails in the wrong mode."""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.evaluation.metrics import psnr
from pellucid.lab.photographs import Photographs, to_bytes, to_unit
from pellucid.lab.plots import (
    GRAY,
    draw_crops,
    draw_curves,
    draw_error_bars,
    label_ends,
    label_minor_ticks,
    line_style,
    new_figure,
    plain_numbers,
)
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study, Verdict
from pellucid.lab.training import Image, add_noise, fit, small_recipe, validation_psnr
from pellucid.training.datasets import Batch
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.unet import DenoisingAutoencoder

#: Names of networks by the setting `residual`.
_BLOCKS = {False: "plain", True: "residual"}
_LABELS = {"none": "without", "batch": "batch norm."}
_SIGMA, TILE_PX, _TILES_PER_IMAGE = 25.0, 48, 16
_QUICK = {"network": {"widths": [8, 8], "depths": [2, 2]}, "data": {"patch_px": 16, "batch_size": 2}}
_FULL = {"network": {"widths": [16, 32], "depths": [2, 2]}}
#: As in the lecture, the network predicts the image: when predicting the noise, the image bypasses the normalization.
_OUTPUT = "linear"
#: Largest difference, relative to the largest input, that counts as rounding in float64.
_ROUNDING = 1e-12


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    shared = {"part": "training", "sigma": _SIGMA, "n_steps": 12 if quick else 900, "window": 2 if quick else 20}
    shared |= {**(_QUICK if quick else _FULL), "batch_sizes": (1, 2, 4, 8, 16), "tile_px": TILE_PX}
    shared["output"] = _OUTPUT
    return [
        *(
            Arm(
                f"{'residual' if residual else 'plain'}-{kind}-seed-{seed}",
                {**shared, "residual": residual, "normalization": kind},
                seed,
            )
            for residual in (False, True)
            for kind in ("none", "batch")
            for seed in range(n_seeds)
        ),
        *(Arm(f"identity-seed-{seed}", {"part": "identity", "n_channels": 16}, seed) for seed in range(n_seeds)),
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    return _run_identity(arm) if arm.settings["part"] == "identity" else _run_training(arm, photographs)


def _run_training(arm: Arm, photographs: Photographs) -> Measured:
    """Train, and record the scale of all activations at the first and at the last step."""
    settings = arm.settings
    chosen = {key: settings[key] for key in ("residual", "normalization", "output")}
    tables = {name: settings[name] for name in ("data",) if name in settings}
    network, n_steps = {**settings["network"], **chosen}, settings["n_steps"]
    recipe = small_recipe(seed=arm.seed, n_steps=n_steps, network=network, **tables)
    scales: dict[str, list[float]] = {}

    def on_step(step: int, module: DenoisingModule, batch: Batch, _: float) -> None:
        if step in {0, n_steps - 1}:
            scales["scales_at_start" if step == 0 else "scales_at_end"] = activation_scales(module.network, batch)

    done = fit(recipe, photographs.train, on_step=on_step)
    measured = {
        **scales,
        "losses": done.mean_losses(settings["window"]),
        "psnr": validation_psnr(done.module, photographs.validation, settings["sigma"]),
        "seconds": done.seconds,
    }
    if settings["normalization"] == "batch":
        measured |= compare_modes(done.module, photographs, settings["batch_sizes"], settings["sigma"])
    return measured


@torch.no_grad()
def activation_scales(network: DenoisingAutoencoder, batch: Batch) -> list[float]:
    """Return the root mean square of the input of each 3x3 convolution after the first, in forward order.

    It runs a copy of the network in training mode, so that hooks and running statistics of the original do not change.
    """
    shadow, scales = copy.deepcopy(network).train(), []

    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        scales.append(float(inputs[0].square().mean().sqrt()))

    for layer in shadow.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer is not shadow.head:
            layer.register_forward_pre_hook(record)
    shadow(batch["noisy"], batch["cond_sigma"])
    return scales


@torch.no_grad()
def _run_identity(arm: Arm) -> Measured:
    """Set gamma and beta to the standard deviation and the mean of a batch, and measure the distance to identity."""
    rng, n_channels = torch.Generator().manual_seed(arm.seed), arm.settings["n_channels"]
    spread = torch.logspace(-1, 1, n_channels, dtype=torch.float64).view(1, -1, 1, 1)
    features = torch.randn(8, n_channels, 24, 24, generator=rng, dtype=torch.float64) * spread + 2 * spread.flip(1)
    mean, variance = features.mean(dim=(0, 2, 3)), features.var(dim=(0, 2, 3), unbiased=False)
    layer = nn.BatchNorm2d(n_channels, dtype=torch.float64).train()
    layer.bias.copy_(mean)
    errors = {}
    for name, deviation in (("plain", variance.sqrt()), ("exact", (variance + layer.eps).sqrt())):
        layer.weight.copy_(deviation)
        errors[f"{name}_error"] = float((layer(features) - features).abs().max() / features.abs().max())
    return {**errors, "eps": layer.eps}


def compare_modes(
    module: DenoisingModule, photographs: Photographs, batch_sizes: Sequence[int], sigma: float
) -> Measured:
    """Compare the mean PSNR of small tiles in evaluation mode and, in batches of several sizes, in training mode.

    The module is left in evaluation mode, with its running statistics unchanged. Strips of three tiles, uint8, show the
    clean, noisy and denoised images, the latter in training mode for batches of one and of the largest size.
    """
    clean, noisy = _tiles(photographs, sigma)
    right = _denoise(module.eval(), noisy, len(noisy), sigma)
    wrong = {}
    for size in batch_sizes:
        # A copy, since each forward pass in training mode updates the running statistics.
        wrong[size] = _denoise(copy.deepcopy(module).train(), noisy, size, sigma)
    shown = _shown(clean)
    wrongs = {f"wrong_{size}": wrong[size] for size in (1, max(batch_sizes))}
    strips = {"clean": clean, "noisy": noisy, "right": right, **wrongs}
    return {
        "right_psnr": _mean_psnr(clean, right),
        "wrong_psnr": [_mean_psnr(clean, wrong[size]) for size in batch_sizes],
        **{f"window_{name}": to_bytes(np.concatenate(tiles[shown], axis=1)) for name, tiles in strips.items()},
    }


def _tiles(photographs: Photographs, sigma: float) -> tuple[Image, Image]:
    """Cut clean and noisy tiles, shuffled, so that a batch holds tiles of several photographs."""
    clean, noisy = [], []
    for index, image in enumerate(photographs.validation):
        noisy_image, grid = add_noise(image, sigma, seed=index), range(0, image.shape[0] - TILE_PX + 1, TILE_PX)
        places = [(top, left) for top in grid for left in grid][:_TILES_PER_IMAGE]
        for top, left in places:
            cut = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            clean.append(to_unit(image[cut]))
            noisy.append(noisy_image[cut])
    order = np.random.default_rng(0).permutation(len(clean))
    return np.stack(clean)[order], np.stack(noisy)[order]


@torch.no_grad()
def _denoise(module: DenoisingModule, noisy: Image, batch_size: int, sigma: float) -> Image:
    """Denoise tiles (N, S, S, 3) in batches, in the module's current mode; the result is clipped."""
    batches = torch.split(torch.from_numpy(noisy).permute(0, 3, 1, 2), batch_size)
    denoised = [
        module.denoise({"noisy": one, "clean": one, "cond_sigma": torch.full_like(one[:, :1], sigma / 255)})
        for one in batches
    ]
    clipped: Image = torch.cat(denoised).permute(0, 2, 3, 1).clamp(0, 1).numpy()
    return clipped


def _mean_psnr(clean: Image, denoised: Image) -> float:
    return float(np.mean([psnr(one, other) for one, other in zip(clean, denoised, strict=True)]))


def _shown(clean: Image) -> list[int]:
    """Choose tiles to show: of low, median and high contrast."""
    order = np.argsort(clean.std(axis=(1, 2, 3)), kind="stable")
    return [int(order[round(share * (len(order) - 1))]) for share in (0.05, 0.5, 0.95)]


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    training = results.where(part="training")
    return {
        "scales": _draw_scales(training),
        "training": _draw_training(training),
        "wrong-mode": _draw_wrong_mode(training.where(normalization="batch")),
        "windows": _draw_crops(training.where(normalization="batch", residual=False)),
    }


def _draw_scales(training: Results) -> CaptionedFigure:
    figure, panels = new_figure(2, 2, sharex=True, sharey=True, height_in=5.2)
    for row, residual in zip(panels, (False, True), strict=True):
        for panel, when, relation in zip(row, ("start", "end"), ("before", "after"), strict=True):
            for index, kind in enumerate(_LABELS):
                scales = training.stack(f"scales_at_{when}", residual=residual, normalization=kind)
                layers = np.arange(1, scales.shape[1] + 1)
                draw_curves(panel, layers, scales, _LABELS[kind], line_style(index, marked=True))
            panel.set(yscale="log")
            panel.set_title(f"{_BLOCKS[residual]} blocks, {relation} training", loc="left")
            plain_numbers(panel.yaxis)
        row[0].set_ylabel("RMS of the input")
        label_ends(row[1])
    for panel in panels[-1]:
        panel.set_xlabel("convolution, in forward order")
    return CaptionedFigure(
        figure,
        "Root mean square of the input of each 3x3 convolution: mean over the seeds, band from minimum to maximum. "
        "Level curves are better: at a common learning rate, a layer far below or above its neighbours takes steps "
        "that are far too small or too large for it.",
    )


def _draw_training(training: Results) -> CaptionedFigure:
    figure, panels = new_figure(1, 2, sharey=True, height_in=3.6)
    for panel, residual in zip(panels, (False, True), strict=True):
        for index, kind in enumerate(_LABELS):
            losses = training.stack("losses", residual=residual, normalization=kind)
            window = training.settings["window"]
            steps = window * (np.arange(losses.shape[1]) + 0.5)
            draw_curves(panel, steps, losses, _LABELS[kind], line_style(index))
        panel.set(yscale="log", xlabel="step")
        panel.set_title(f"{_BLOCKS[residual]} blocks", loc="left")
    label_minor_ticks(panels[0].yaxis)
    panels[0].set_ylabel("training loss (mean absolute error)")
    label_ends(panels[1])
    return CaptionedFigure(
        figure,
        f"Training loss, averaged over {window} steps: mean over the seeds, band from minimum to maximum.",
    )


def _draw_wrong_mode(normalized: Results) -> CaptionedFigure:
    figure, axes = new_figure(height_in=3.4)
    for index, (residual, shift) in enumerate(((False, 0.97), (True, 1.03))):
        runs = normalized.where(residual=residual)
        sizes = runs.settings["batch_sizes"]
        losses = np.stack([float(run["right_psnr"]) - run.array("wrong_psnr") for run in runs])
        positions = [shift * size for size in sizes]  # so that intervals do not overlap
        style = {"label": f"{_BLOCKS[residual]} blocks", **line_style(index, marked=True)}
        draw_error_bars(axes, positions, [mean_of(column) for column in losses.T], **style)
    axes.axhline(0, color=GRAY, linewidth=1)
    axes.set(xscale="log", xlabel="batch size", ylabel="loss of PSNR, dB")
    axes.set_xticks(sizes)
    plain_numbers(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return CaptionedFigure(
        figure,
        "PSNR lost in training mode relative to evaluation mode, for networks with batch normalization: the same tiles "
        "of validation photographs in batches of several sizes, with 95 % confidence intervals over the seeds. The "
        "smaller the batch, the less do its mean and standard deviation represent all images.",
    )


def _draw_crops(normalized: Results) -> CaptionedFigure:
    first = normalized.first
    largest = max(first.arm.settings["batch_sizes"])
    columns = {
        "clean": "clean",
        "noisy": "noisy",
        "right": "evaluation mode",
        "wrong_1": "training mode,\nbatch of 1",
        f"wrong_{largest}": f"training mode,\nbatch of {largest}",
    }
    side = first.arm.settings["tile_px"]
    strips = {title: np.asarray(first[f"window_{name}"]) for name, title in columns.items()}
    n_windows = strips["clean"].shape[1] // side
    rows = [{title: strip[:, i * side : (i + 1) * side] for title, strip in strips.items()} for i in range(n_windows)]
    return CaptionedFigure(
        draw_crops(rows),
        f"Tiles of {side} pixels of low, median and high contrast, enlarged, denoised by the network of plain blocks "
        "with batch normalization (first seed). In training mode the network normalizes with the statistics of the "
        "batch, which changes brightness, contrast and colour.",
    )


def _findings(results: Results) -> list[Finding]:
    training = results.where(part="training")
    return [
        _identity_finding(results.where(part="identity")),
        *(_scales_finding(training.where(residual=residual), _BLOCKS[residual]) for residual in (False, True)),
        *(_quality_finding(training.where(residual=residual), _BLOCKS[residual]) for residual in (False, True)),
        _wrong_mode_finding(training.where(normalization="batch", residual=False)),
        _batch_size_finding(training.where(normalization="batch", residual=False)),
    ]


def _identity_finding(identity: Results) -> Finding:
    exact = max(float(result["exact_error"]) for result in identity)
    plain = max(float(result["plain_error"]) for result in identity)
    return Finding(
        f"γ = s and β = m restore the input: in float64 the largest difference is {exact:.0e} of the largest value, "
        f"which {'is' if exact < _ROUNDING else 'is not'} rounding, if γ = √(s² + ε) compensates for the ε in the "
        f"denominator. With γ = s itself, and PyTorch's ε of {identity.first['eps']:g}, it is {plain:.0e}.",
        Verdict.SUPPORTS if exact < _ROUNDING else Verdict.CONTRADICTS,
    )


def _scales_finding(training: Results, blocks: str) -> Finding:
    """Compare the ratio of the largest to the smallest activation scale; its logarithm is averaged."""
    spans = {
        when: {kind: _spans(training.where(normalization=kind), when) for kind in ("none", "batch")}
        for when in ("start", "end")
    }
    gain = difference_of(spans["end"]["none"], spans["end"]["batch"])
    ratios = {(w, k): math.exp(mean_of(values).mean) for w, kinds in spans.items() for k, values in kinds.items()}
    return Finding(
        f"With {blocks} blocks, the largest root mean square of a layer's input is {ratios['start', 'none']:,.3g} "
        f"times the smallest before training and {ratios['end', 'none']:,.3g} times after it; with batch normalization "
        f"{ratios['start', 'batch']:,.3g} times and {ratios['end', 'batch']:,.3g} times. After training, the ratio "
        f"without batch normalization is {_factor(gain)} times that with it.",
        judge(gain),
    )


def _spans(training: Results, when: str) -> dict[int, float]:
    scales = {result.arm.seed: result.array(f"scales_at_{when}") for result in training}
    return {seed: float(np.log(values.max() / values.min())) for seed, values in scales.items()}


def _factor(logarithm: Interval) -> str:
    mean, low, high = (f"{np.exp(value):,.3g}" for value in (logarithm.mean, logarithm.low, logarithm.high))
    return f"{mean} ({low} to {high})" if math.isfinite(logarithm.half_width) else f"{mean} (one seed, no interval)"


def _quality_finding(training: Results, blocks: str) -> Finding:
    with_, without = (training.by_seed("psnr", normalization=kind) for kind in ("batch", "none"))
    gain = difference_of(with_, without)
    seconds = {k: mean_of(training.by_seed("seconds", normalization=k)).mean for k in ("batch", "none")}
    return Finding(
        f"Training with {blocks} blocks: the validation PSNR is {mean_of(without).mean:.2f} dB without and "
        f"{mean_of(with_).mean:.2f} dB with batch normalization, a gain of {gain:+.2f} dB; training takes "
        f"{seconds['batch'] / seconds['none']:.2f} times as long.",
        judge(gain),
    )


def _wrong_mode_finding(normalized: Results) -> Finding:
    sizes = normalized.settings["batch_sizes"]
    costs = np.stack([float(result["right_psnr"]) - result.array("wrong_psnr") for result in normalized])
    means = [mean_of(costs[:, index]) for index in range(len(sizes))]
    first, worst = means[0], int(np.argmax([mean.mean for mean in means]))
    return Finding(
        "The wrong mode costs quality: without the switch to evaluation mode, tiles denoised one at a time lose "
        f"{first:.2f} dB of {mean_of(normalized.by_seed('right_psnr')).mean:.2f} dB. Of all batch sizes, "
        f"{sizes[worst]} costs most, {means[worst].mean:.2f} dB.",
        judge(first),
    )


def _batch_size_finding(normalized: Results) -> Finding:
    sizes = normalized.settings["batch_sizes"]
    small, large = (
        {result.arm.seed: float(result["right_psnr"]) - float(result.array("wrong_psnr")[i]) for result in normalized}
        for i in (0, -1)
    )
    saved, left = difference_of(small, large), mean_of(large)
    return Finding(
        f"Larger batches {'hide it' if saved.low > 0 else 'may not hide it'}: in batches of {sizes[-1]} the wrong mode "
        f"costs {left:.2f} dB, less than one at a time by {saved:+.2f} dB. A test with batches of {sizes[-1]} "
        f"{'still detects' if left.low > 0 else 'may not detect'} the mistake, and the result for an image then "
        "depends on the other images of the batch."
    )


def _table(results: Results) -> ResultTable:
    training, rows = results.where(part="training"), []
    for residual in (False, True):
        for kind in ("none", "batch"):
            one = training.where(residual=residual, normalization=kind)
            wrong = [result.array("wrong_psnr") for result in one] if kind == "batch" else []
            sizes = one.settings["batch_sizes"]
            rows.append(
                [
                    f"{_BLOCKS[residual]}, {'batch normalization' if wrong else 'none'}",
                    f"{mean_of(one.by_seed('psnr')):.2f}",
                    f"{mean_of(one.by_seed('right_psnr')).mean:.2f}" if wrong else "",
                    *(f"{np.mean([w[i] for w in wrong]):.2f}" if wrong else "" for i in range(len(sizes))),
                ]
            )
    return ResultTable(["blocks", "PSNR, dB", "tiles", *(f"training mode, batch of {size}" for size in sizes)], rows)


STUDY = Study(
    name="batch-normalization",
    version=1,
    title="Batch normalization",
    question="Does batch normalization keep activations small, does that help, and what does the wrong mode cost?",
    claim="Large numbers cause problems, so few inputs of any layer should have large absolute values. Batch "
    "normalization ensures that: (I − m)/(s + ε) for each feature, times γ plus β, and γ = s, β = m would restore the "
    "input. Mean m and standard deviation s are those of the batch in training, and constants at test time. The "
    "network must be switched to evaluation mode: otherwise it works badly.",
    method="The same autoencoder, which predicts the image, is trained with and without batch normalization, with "
    "plain and with residual blocks, on the same batches. At the first and at the last step we measure the root mean "
    "square of the input of each 3x3 convolution. The trained networks then denoise small tiles of validation "
    "photographs in evaluation mode, and in training mode in batches of several sizes that mix the photographs. γ = s "
    "and β = m are tested on features of random scale, in float64.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
