"""Study: residual connections carry the gradient through many blocks."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import (
    GRAY,
    draw_curves,
    draw_error_bars,
    label_minor_ticks,
    line_style,
    new_figure,
    plain_numbers,
)
from pellucid.lab.statistics import difference_of, judge, mean_of, subtract
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study
from pellucid.lab.training import fit, small_recipe, validation_psnr
from pellucid.training.datasets import Batch, patch_sampler
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.recipe import Recipe

_SIGMA = 25.0
#: What is compared, in the order of the figures; "he" is plain blocks with He initialisation.
_KINDS = {"residual": "residual", "plain": "plain", "he": "plain, He initialisation"}
#: Blocks on one level, so that only their number changes.
_STACK: dict[str, Any] = {"widths": [16], "resampling": "convolution"}
#: Two levels whose blocks change the resolution and the channels: there the input is projected.
_PROJECTED: dict[str, Any] = {"widths": [16, 32], "depths": [2, 2], "resampling": "block"}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    data = {"patch_px": 16, "batch_size": 2} if quick else {"patch_px": 32, "batch_size": 8}
    training = {"data": data, "sigma": _SIGMA, "n_steps": 8 if quick else 800, "window": 2 if quick else 20}
    initial, trained = ((2, 4), (2, 4)) if quick else ((2, 8, 16, 32), (2, 8, 16))
    return [
        *(
            Arm(
                f"gradient-{kind}-{n}-blocks-seed-{seed}",
                {"part": "gradient", "data": data, "kind": kind, "n_blocks": n, "network": {**_STACK, "depths": [n]}},
                seed,
            )
            for kind in _KINDS
            for n in initial
            for seed in range(n_seeds)
        ),
        *(
            Arm(
                f"{part}-{kind}-{n}-blocks-seed-{seed}",
                {"part": part, "kind": kind, "n_blocks": n, "network": network, **training},
                seed,
            )
            for part, n, network in (
                *(("training", n, {**_STACK, "depths": [n]}) for n in trained),
                ("projection", 2, _PROJECTED),
            )
            for kind in ("plain", "residual")
            for seed in range(n_seeds)
        ),
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    settings = arm.settings
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings.get("n_steps", 1),
        network={**settings["network"], "residual": settings["kind"] == "residual"},
        data=settings["data"],
    )
    if settings["part"] == "gradient":
        return {"norms": _norms_at_start(recipe, photographs, he=settings["kind"] == "he")}
    done = fit(recipe, photographs.train)
    return {
        "norms": _norms_at_start(recipe, photographs, he=False),
        "losses": done.mean_losses(settings["window"]),
        "psnr": validation_psnr(done.module, photographs.validation, settings["sigma"]),
    }


def _norms_at_start(recipe: Recipe, photographs: Photographs, *, he: bool) -> list[float]:
    """Return the norm of the loss's gradient with respect to each block's output, in forward order.

    `he`: initialise the kernels by He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10, which preserves the
    variance of features from layer to layer; PyTorch's default shrinks it.
    """
    torch.manual_seed(recipe.seed)
    module = DenoisingModule(recipe)
    if he:
        for block in encoder_blocks(module):
            for convolution in (block.conv1, block.conv2):
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    batch = patch_sampler(photographs.train, recipe).batch(0, recipe.data.batch_size)
    return gradient_norms(module, batch)


def encoder_blocks(module: DenoisingModule) -> list[EncoderBlock]:
    """List the blocks of the network, in forward order."""
    return [part for part in module.network.modules() if isinstance(part, EncoderBlock)]


def gradient_norms(module: DenoisingModule, batch: Batch) -> list[float]:
    """Return the norm of the loss's gradient with respect to each block's output, in forward order."""
    features: list[Tensor] = []

    def record(_: nn.Module, __: Any, output: Tensor) -> None:
        output.retain_grad()
        features.append(output)

    for block in encoder_blocks(module):
        block.register_forward_hook(record)
    loss = module.loss(module.denoise(batch), batch["clean"])
    loss.backward()  # type: ignore[no-untyped-call]
    # In float32 the squares of very small gradients would underflow.
    return [float(output.grad.double().norm()) for output in features if output.grad is not None]


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {
        "gradient": _draw_gradient(results.where(part="gradient")),
        "training": _draw_training(results.where(part="training")),
        "quality": _draw_quality(results),
        "projection": _draw_projection(results.where(part="projection")),
    }


def _style_of(kind: str, *, marked: bool = False) -> dict[str, Any]:
    return line_style(list(_KINDS).index(kind), marked=marked)


def _draw_gradient(gradient: Results) -> CaptionedFigure:
    depths = gradient.values_of("n_blocks")
    n_columns = 2
    n_rows = math.ceil(len(depths) / n_columns)
    figure, panels = new_figure(n_rows, n_columns, sharey=True, height_in=0.8 + 2.4 * n_rows, squeeze=False)
    for panel, n in zip(panels.flat, depths, strict=False):
        for kind, label in _KINDS.items():
            norms = gradient.stack("norms", kind=kind, n_blocks=n)
            draw_curves(panel, np.arange(1, n + 1), norms / norms[:, -1:], label, _style_of(kind, marked=n <= 8))
        panel.axhline(1, color=GRAY, linewidth=1, zorder=1)
        panel.set(yscale="log", xlabel="block, in forward order")
        panel.set_title(f"{n} blocks", loc="left")
        panel.xaxis.get_major_locator().set_params(integer=True)
    for row in panels:
        row[0].set_ylabel("relative gradient norm")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_KINDS))
    return CaptionedFigure(
        figure,
        "Norm of the loss's gradient with respect to each block's output at initialisation, relative to the last "
        "block: mean over the seeds, band from minimum to maximum. Backpropagation runs from right to left.",
    )


def _draw_training(training: Results) -> CaptionedFigure:
    depths = training.values_of("n_blocks")
    figure, panels = new_figure(1, len(depths), sharey=True, height_in=3.7, squeeze=False)
    for panel, n in zip(panels.flat, depths, strict=True):
        _draw_losses(panel, training.where(n_blocks=n))
        panel.set_title(f"{n} blocks", loc="left")
    panels.flat[0].set_ylabel("training loss")
    label_minor_ticks(panels.flat[0].yaxis)
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return CaptionedFigure(
        figure,
        "Training loss of stacks on one level: mean over the seeds, band from minimum to maximum.",
    )


def _draw_losses(panel: Axes, runs: Results) -> None:
    for kind in runs.values_of("kind"):
        losses, window = runs.stack("losses", kind=kind), runs.settings["window"]
        draw_curves(panel, window * (np.arange(losses.shape[1]) + 0.5), losses, _KINDS[kind], _style_of(kind))
    panel.set(yscale="log", xlabel="step")


def _draw_quality(results: Results) -> CaptionedFigure:
    training = results.where(part="training")
    depths = training.values_of("n_blocks")
    figure, axes = new_figure(height_in=3.2)
    for offset, kind in ((0.97, "plain"), (1.03, "residual")):
        means = [mean_of(training.by_seed("psnr", kind=kind, n_blocks=n)) for n in depths]
        positions = [offset * n for n in depths]  # so that intervals do not overlap
        style = {**_style_of(kind, marked=True), "markersize": 7}
        draw_error_bars(axes, positions, means, label=_KINDS[kind], **style)
    axes.set(xscale="log", xlabel="blocks on one level", ylabel="validation PSNR, dB")
    axes.set_xticks(depths)
    plain_numbers(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return CaptionedFigure(
        figure,
        "Validation PSNR after training, with 95 % confidence intervals over the seeds.",
    )


def _draw_projection(projected: Results) -> CaptionedFigure:
    figure, (norms, losses) = new_figure(1, 2, height_in=3.7)
    for kind in projected.values_of("kind"):
        values = projected.stack("norms", kind=kind)
        blocks = np.arange(1, values.shape[1] + 1)
        draw_curves(norms, blocks, values / values[:, -1:], _KINDS[kind], _style_of(kind, marked=True))
    norms.set(yscale="log", xlabel="block, in forward order", title="gradient at initialisation")
    norms.xaxis.get_major_locator().set_params(integer=True)
    _draw_losses(losses, projected)
    losses.set_title("training loss")
    label_minor_ticks(losses.yaxis)
    figure.legend(*norms.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return CaptionedFigure(
        figure,
        "Two levels whose blocks change the resolution and the channels, so that residual blocks need a projection. "
        "Left: gradient with respect to each block's output, relative to the last; the skip connection bypasses the "
        "blocks of the lower level, in the middle. Right: training loss.",
    )


def _findings(results: Results) -> list[Finding]:
    gradient, training = results.where(part="gradient"), results.where(part="training")
    deepest = max(training.values_of("n_blocks"))
    shallow = min(training.values_of("n_blocks"))
    return [
        _gradient_finding(gradient),
        _he_finding(gradient),
        _training_finding(training.where(n_blocks=deepest)),
        _depth_finding(training, shallow, deepest),
        _projection_finding(results.where(part="projection")),
    ]


def _arriving(results: Results, **settings: Any) -> dict[int, float]:
    """Return, by seed, log10 of the first block's gradient norm relative to the last one's."""
    norms = {result.arm.seed: result.array("norms") for result in results.where(**settings)}
    return {seed: math.log10(max(one[0], 1e-45) / max(one[-1], 1e-45)) for seed, one in norms.items()}


def _gradient_finding(gradient: Results) -> Finding:
    most = max(gradient.values_of("n_blocks"))
    plain, residual = (_arriving(gradient, kind=kind, n_blocks=most) for kind in ("plain", "residual"))
    # A reliable gradient neither vanishes nor explodes: the nearer to 1, the better.
    gain = difference_of({s: abs(v) for s, v in plain.items()}, {s: abs(v) for s, v in residual.items()})
    return Finding(
        f"At initialisation, with {most} blocks, the first block's gradient is {_share(plain)} of the last one's in "
        f"the plain stack and {_share(residual)} in the residual one. The plain stack is farther from 1 by {gain:+.1f} "
        "orders of magnitude.",
        judge(gain),
    )


def _share(logarithms: dict[int, float]) -> str:
    share = 10 ** mean_of(logarithms).mean
    return f"{share:.2f}" if share >= 0.01 else f"{share:.0e}"


def _he_finding(gradient: Results) -> Finding:
    most = max(gradient.values_of("n_blocks"))
    he, residual = (_arriving(gradient, kind=kind, n_blocks=most) for kind in ("he", "residual"))
    gain = difference_of({s: abs(v) for s, v in he.items()}, {s: abs(v) for s, v in residual.items()})
    return Finding(
        f"Initialisation alone is not the cause: with He initialisation (2015), the ratio is {_share(he)} in the plain "
        f"stack, which is farther from 1 than the residual one by {gain:+.1f} orders of magnitude."
        if gain.low > 0
        else f"Initialisation matters: with He initialisation (2015), the ratio is {_share(he)} in the plain stack "
        f"too; compared with the residual one it is farther from 1 by {gain:+.1f} orders of magnitude.",
        judge(gain),
    )


def _training_finding(deep: Results) -> Finding:
    n_blocks = deep.values_of("n_blocks")[0]
    plain, residual = (deep.by_seed("psnr", kind=kind) for kind in ("plain", "residual"))
    gain = difference_of(residual, plain)
    return Finding(
        f"After training, {n_blocks} plain blocks reach a validation PSNR of {mean_of(plain).mean:.2f} dB and "
        f"{n_blocks} residual ones {mean_of(residual).mean:.2f} dB: a gain of {gain:+.2f} dB.",
        judge(gain),
    )


def _depth_finding(training: Results, shallow: int, deep: int) -> Finding:
    gains = {kind: _gain_of_depth(training.where(kind=kind), shallow, deep) for kind in ("plain", "residual")}
    more = difference_of(gains["residual"], gains["plain"])
    return Finding(
        f"Going from {shallow} blocks to {deep} changes the PSNR by {mean_of(gains['plain']):+.2f} dB in plain stacks "
        f"and by {mean_of(gains['residual']):+.2f} dB in residual ones: residual connections increase the gain from "
        f"depth by {more:+.2f} dB.",
        judge(more),
    )


def _gain_of_depth(runs: Results, shallow: int, deep: int) -> dict[int, float]:
    return subtract(runs.by_seed("psnr", n_blocks=deep), runs.by_seed("psnr", n_blocks=shallow))


def _projection_finding(projected: Results) -> Finding:
    plain, residual = (projected.by_seed("psnr", kind=kind) for kind in ("plain", "residual"))
    gain = difference_of(residual, plain)
    shares = {kind: _share(_arriving(projected, kind=kind)) for kind in ("plain", "residual")}
    return Finding(
        "A projection works where sizes differ: with two levels, whose blocks change the resolution, the first block's "
        f"gradient at initialisation is {shares['residual']} of the last one's with projections and {shares['plain']} "
        f"with plain blocks, and the validation PSNR differs by {gain:+.2f} dB.",
        judge(gain),
    )


def _table(results: Results) -> ResultTable:
    rows = []
    for part, name in (("training", "one level"), ("projection", "two levels, projections")):
        runs = results.where(part=part)
        for n in runs.values_of("n_blocks"):
            plain, residual = (runs.by_seed("psnr", kind=kind, n_blocks=n) for kind in ("plain", "residual"))
            shares = [_share(_arriving(runs, kind=kind, n_blocks=n)) for kind in ("plain", "residual")]
            psnrs = [f"{mean_of(plain):.2f}", f"{mean_of(residual):.2f}", f"{difference_of(residual, plain):+.2f}"]
            rows.append([name, f"{n}", *shares, *psnrs])
    shares_head = ["gradient ratio: plain", "residual"]
    return ResultTable(["network", "blocks per level", *shares_head, "PSNR, dB: plain", "residual", "gain, dB"], rows)


STUDY = Study(
    name="residual-connections",
    version=1,
    title="Residual connections",
    question="Does the gradient reach the first of many blocks, and does that help training?",
    claim="Residual connections let information skip layers, so that there is always some reliable gradient: a block "
    "returns its input plus what it has learned. Where its output has another size, the input is projected.",
    method="Stacks of plain and of residual blocks on one level, of several depths. At initialisation, one batch is "
    "propagated forward and back, and we measure the norm of the loss's gradient with respect to each block's output. "
    "Plain blocks are measured with PyTorch's default initialisation and with that of He et al. (2015), which is "
    "designed for them; residual blocks are initialised close to the identity. Stacks with the default initialisation "
    "are then trained, all at the same learning rate. A network of two levels whose blocks change resolution and "
    "channels tests the projection.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
