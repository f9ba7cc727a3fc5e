"""Study: batch normalization keeps activations small, and is a landmine in the wrong mode.

The figures are in `batch_normalization_figures`, the two modes in `batch_normalization_modes`. See `lab.study`.
"""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.lab.pictures import Photographs
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.studies.batch_normalization_figures import BLOCKS, draw
from pellucid.lab.studies.batch_normalization_modes import TILE_PX, compare_modes
from pellucid.lab.study import Arm, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.training import fit, held_out_psnr, small_recipe
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.unet import DenoisingAutoencoder

_SIGMA = 25.0
_TRIAL = {"network": {"widths": [8, 8], "depths": [2, 2]}, "data": {"patch_px": 16, "batch_size": 2}}
_MEASURE = {"network": {"widths": [16, 32], "depths": [2, 2]}}
#: The lecture's network gives the image. In one that gives the noise, the image goes past the normalization.
_OUTPUT = "linear"
#: The largest difference, relative to the largest input, that counts as rounding in float64.
_ROUNDING = 1e-12


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    shared = {"part": "training", "sigma": _SIGMA, "n_steps": 12 if quick else 900, "window": 2 if quick else 20}
    shared |= {**(_TRIAL if quick else _MEASURE), "batch_sizes": (1, 2, 4, 8, 16), "tile_px": TILE_PX}
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
    """Train, with a look at all activations before the first step and before the last."""
    settings = arm.settings
    chosen = {key: settings[key] for key in ("residual", "normalization", "output")}
    tables = {name: settings[name] for name in ("data",) if name in settings}
    network, n_steps = {**settings["network"], **chosen}, settings["n_steps"]
    recipe = small_recipe(seed=arm.seed, n_steps=n_steps, network=network, **tables)
    scales: dict[str, list[float]] = {}

    def watch(step: int, module: DenoisingModule, batch: dict[str, Tensor], _: float) -> None:
        if step in {0, n_steps - 1}:
            scales["scales_at_start" if step == 0 else "scales_at_end"] = _scales(module.network, batch)

    done = fit(recipe, photographs.train, watch=watch)
    measured = {
        **scales,
        "losses": np.array(done.losses).reshape(-1, settings["window"]).mean(axis=1),
        "psnr": held_out_psnr(done.module, photographs.held_out, settings["sigma"]),
        "seconds": done.seconds,
    }
    if settings["normalization"] == "batch":
        measured |= compare_modes(done.module, photographs, settings["batch_sizes"], settings["sigma"])
    return measured


@torch.no_grad()
def _scales(network: DenoisingAutoencoder, batch: dict[str, Tensor]) -> list[float]:
    """Give the root mean square of what enters each 3x3 convolution after the first, in the order of the data.

    The network is copied and in training mode, so that neither hooks nor running statistics are left behind.
    """
    shadow, scales = copy.deepcopy(network).train(), []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        scales.append(float(inputs[0].square().mean().sqrt()))

    for layer in shadow.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer is not shadow.head:
            layer.register_forward_pre_hook(note)
    shadow(batch["noisy"], batch["cond_sigma"])
    return scales


@torch.no_grad()
def _run_identity(arm: Arm) -> Measured:
    """Set gamma and beta to the deviation and the mean of a batch, and see what comes back."""
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


def _find(results: Results) -> list[Finding]:
    training = results.where(part="training")
    return [
        _find_identity(results.where(part="identity")),
        *(_find_scales(training.where(residual=residual), BLOCKS[residual]) for residual in (False, True)),
        *(_find_quality(training.where(residual=residual), BLOCKS[residual]) for residual in (False, True)),
        _find_wrong_mode(training.where(normalization="batch", residual=False)),
        _find_batch_size(training.where(normalization="batch", residual=False)),
    ]


def _find_identity(identity: Results) -> Finding:
    exact = max(float(result["exact_error"]) for result in identity)
    plain = max(float(result["plain_error"]) for result in identity)
    return Finding(
        f"γ = s and β = m give the input back: in float64 the largest difference is {exact:.0e} of the largest value, "
        f"which {'is' if exact < _ROUNDING else 'is not'} rounding, if γ = √(s² + ε) makes good for the ε below the "
        f"line. With γ = s itself, and torch's ε of {identity.all[0]['eps']:g}, it is {plain:.0e}.",
        Verdict.SUPPORTS if exact < _ROUNDING else Verdict.CONTRADICTS,
    )


def _find_scales(training: Results, blocks: str) -> Finding:
    """Compare how far apart the layers' activations are: a factor, of which the logarithm is averaged."""
    spans = {
        when: {kind: _spans(training.where(normalization=kind), when) for kind in ("none", "batch")}
        for when in ("start", "end")
    }
    gain = difference_of(spans["end"]["none"], spans["end"]["batch"])
    told = {(w, k): math.exp(mean_of(values).mean) for w, kinds in spans.items() for k, values in kinds.items()}
    return Finding(
        f"With {blocks} blocks, the largest root mean square of a layer's input is {told['start', 'none']:,.3g} times "
        f"the smallest before training and {told['end', 'none']:,.3g} times after it; with batch normalization "
        f"{told['start', 'batch']:,.3g} times and {told['end', 'batch']:,.3g} times. After training the spread without "
        f"it is {_factor(gain)} times that with it.",
        judge(gain),
    )


def _spans(training: Results, when: str) -> dict[int, float]:
    scales = {result.arm.seed: result.array(f"scales_at_{when}") for result in training}
    return {seed: float(np.log(values.max() / values.min())) for seed, values in scales.items()}


def _factor(logarithm: Interval) -> str:
    mean, low, high = (f"{np.exp(value):,.3g}" for value in (logarithm.mean, logarithm.low, logarithm.high))
    return f"{mean} ({low} to {high})" if math.isfinite(logarithm.half_width) else f"{mean} (one seed, no interval)"


def _find_quality(training: Results, blocks: str) -> Finding:
    with_, without = (training.by_seed("psnr", normalization=kind) for kind in ("batch", "none"))
    gain = difference_of(with_, without)
    seconds = {k: mean_of(training.by_seed("seconds", normalization=k)).mean for k in ("batch", "none")}
    return Finding(
        f"Training with {blocks} blocks: held-out photographs come to {mean_of(without).mean:.2f} dB without and "
        f"{mean_of(with_).mean:.2f} dB with batch normalization, a gain of {gain:+.2f} dB; it takes "
        f"{seconds['batch'] / seconds['none']:.2f} times as long.",
        judge(gain),
    )


def _find_wrong_mode(normalized: Results) -> Finding:
    sizes = normalized.all[0].arm.settings["batch_sizes"]
    costs = np.stack([float(result["right_psnr"]) - result.array("wrong_psnr") for result in normalized])
    means = [mean_of(costs[:, index]) for index in range(len(sizes))]
    first, worst = means[0], int(np.argmax([mean.mean for mean in means]))
    return Finding(
        f"The landmine: without the switch to test mode, squares denoised one at a time lose {first:.2f} dB of "
        f"{mean_of(normalized.by_seed('right_psnr')).mean:.2f} dB. Of all batch sizes, {sizes[worst]} costs most, "
        f"{means[worst].mean:.2f} dB.",
        judge(first),
    )


def _find_batch_size(normalized: Results) -> Finding:
    sizes = normalized.all[0].arm.settings["batch_sizes"]
    small, large = (
        {result.arm.seed: float(result["right_psnr"]) - float(result.array("wrong_psnr")[i]) for result in normalized}
        for i in (0, -1)
    )
    saved = difference_of(small, large)
    left = mean_of(large)
    return Finding(
        f"Larger batches {'hide it' if saved.low > 0 else 'may not hide it'}: in batches of {sizes[-1]} the wrong mode "
        f"costs {left:.2f} dB, less than one at a time by {saved:+.2f} dB. A test with batches of {sizes[-1]} "
        f"{'still sees' if left.low > 0 else 'may not see'} the mistake, and what becomes of an image then depends on "
        "its neighbours in the batch."
    )


def _tabulate(results: Results) -> Table:
    training, rows = results.where(part="training"), []
    for residual in (False, True):
        for kind in ("none", "batch"):
            one = training.where(residual=residual, normalization=kind)
            wrong = [result.array("wrong_psnr") for result in one] if kind == "batch" else []
            sizes = one.all[0].arm.settings["batch_sizes"]
            rows.append(
                [
                    f"{BLOCKS[residual]}, {'batch normalization' if wrong else 'none'}",
                    f"{mean_of(one.by_seed('psnr')):.2f}",
                    f"{mean_of(one.by_seed('right_psnr')).mean:.2f}" if wrong else "",
                    *(f"{np.mean([w[i] for w in wrong]):.2f}" if wrong else "" for i in range(len(sizes))),
                ]
            )
    return Table(["blocks", "PSNR, dB", "squares", *(f"wrong mode, {size} at a time" for size in sizes)], rows)


STUDY = Study(
    name="batch-normalization",
    version=1,
    title="Batch normalization",
    question="Does batch normalization keep inputs small, does that help, and what does the wrong mode cost?",
    claim="Numbers with large magnitude cause problems, so few values at the input of any layer should have large "
    "absolute values. Batch normalization sees to that: (I − m)/(s + ε) for each feature, times γ plus β, and γ = s, "
    "β = m would give the input back. Mean and deviation are those of the batch in training, and constants at test "
    "time. You have to tell the network when you switch: if you do not, it works badly.",
    method="The same autoencoder, whose output is the image, is trained with and without batch normalization, from "
    "plain blocks and from residual ones, on the same batches. Before the first step and before the last we "
    "take the root mean square of what enters each 3x3 convolution. The trained networks then denoise small "
    "squares of held-out photographs in test mode, and in training mode in batches of several sizes, squares of "
    "several photographs in each. γ = s and β = m are set on features of random scale, in float64.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=_find,
    tabulate=_tabulate,
)
