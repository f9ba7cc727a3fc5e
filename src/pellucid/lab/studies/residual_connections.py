"""Study: residual connections carry the gradient through many blocks.

The figures are in `residual_connections_figures`. See `lab.study`.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.lab.pictures import Photographs
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.studies.residual_connections_figures import KINDS, draw
from pellucid.lab.study import Arm, Effort, Finding, Measured, Results, Study, Table
from pellucid.lab.training import fit, held_out_psnr, small_recipe
from pellucid.training.datasets import Batch, patch_sampler
from pellucid.training.module import DenoisingModule
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.recipe import Recipe

_SIGMA = 25.0
#: A stack of blocks on one level, so that nothing but their number changes.
_STACK: dict[str, Any] = {"widths": [16], "resampling": "convolution"}
#: Two levels whose blocks change the resolution and the channels: there the input is projected.
_PROJECTED: dict[str, Any] = {"widths": [16, 32], "depths": [2, 2], "resampling": "block"}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    data = {"patch_px": 16, "batch_size": 2} if quick else {"patch_px": 32, "batch_size": 8}
    training = {"data": data, "sigma": _SIGMA, "n_steps": 8 if quick else 800, "window": 2 if quick else 20}
    looked_at, trained = ((2, 4), (2, 4)) if quick else ((2, 8, 16, 32), (2, 8, 16))
    return [
        *(
            Arm(
                f"gradient-{kind}-{n}-blocks-seed-{seed}",
                {"part": "gradient", "data": data, "kind": kind, "n_blocks": n, "network": {**_STACK, "depths": [n]}},
                seed,
            )
            for kind in KINDS
            for n in looked_at
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
        "losses": np.array(done.losses).reshape(-1, settings["window"]).mean(axis=1),
        "psnr": held_out_psnr(done.module, photographs.held_out, settings["sigma"]),
    }


def _norms_at_start(recipe: Recipe, photographs: Photographs, *, he: bool) -> list[float]:
    """Give the norm of the loss's gradient with respect to what leaves each block, in the order of the data.

    Parameters
    ----------
    recipe : Recipe
    photographs : Photographs
    he : bool
        Start the blocks' kernels as He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10, which keeps the size
        of features from layer to layer; torch's usual start makes them smaller.
    """
    torch.manual_seed(recipe.seed)
    module = DenoisingModule(recipe)
    if he:
        for block in _blocks(module):
            for convolution in (block.conv1, block.conv2):
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    batch = patch_sampler(photographs.train, recipe).batch(0, recipe.data.batch_size)
    return _gradient_norms(module, batch)


def _blocks(module: DenoisingModule) -> list[EncoderBlock]:
    return [part for part in module.network.modules() if isinstance(part, EncoderBlock)]


def _gradient_norms(module: DenoisingModule, batch: Batch) -> list[float]:
    features: list[Tensor] = []

    def note(_: nn.Module, __: Any, output: Tensor) -> None:
        output.retain_grad()
        features.append(output)

    for block in _blocks(module):
        block.register_forward_hook(note)
    loss = module.loss(module.denoise(batch), batch["clean"])
    loss.backward()  # type: ignore[no-untyped-call]
    # In float32 the squares of values that are themselves no less than its smallest would vanish.
    return [float(output.grad.double().norm()) for output in features if output.grad is not None]


def _find(results: Results) -> list[Finding]:
    gradient, training = results.where(part="gradient"), results.where(part="training")
    deepest = max(training.values_of("n_blocks"))
    shallow = min(training.values_of("n_blocks"))
    return [
        _find_gradient(gradient),
        _find_he(gradient),
        _find_training(training.where(n_blocks=deepest)),
        _find_depth(training, shallow, deepest),
        _find_projection(results.where(part="projection")),
    ]


def _arriving(results: Results, **settings: Any) -> dict[int, float]:
    """Give, by seed, the decimal logarithm of the share of the last block's gradient that arrives at the first."""
    norms = {result.arm.seed: result.array("norms") for result in results.where(**settings)}
    return {seed: math.log10(max(one[0], 1e-45) / max(one[-1], 1e-45)) for seed, one in norms.items()}


def _find_gradient(gradient: Results) -> Finding:
    most = max(gradient.values_of("n_blocks"))
    plain, residual = (_arriving(gradient, kind=kind, n_blocks=most) for kind in ("plain", "residual"))
    # Reliable is a gradient that neither vanishes nor explodes: the nearer to one, the better.
    gain = difference_of({s: abs(v) for s, v in plain.items()}, {s: abs(v) for s, v in residual.items()})
    return Finding(
        f"At the start, behind {most} blocks, the first block's gradient is {_share(plain)} of the last one's in the "
        f"plain stack and {_share(residual)} in the residual one. The plain stack is further from 1 by {gain:+.1f} "
        "powers of ten.",
        judge(gain),
    )


def _share(logarithms: dict[int, float]) -> str:
    share = 10 ** mean_of(logarithms).mean
    return f"{share:.2f}" if share >= 0.01 else f"{share:.0e}"


def _find_he(gradient: Results) -> Finding:
    most = max(gradient.values_of("n_blocks"))
    he, residual = (_arriving(gradient, kind=kind, n_blocks=most) for kind in ("he", "residual"))
    gain = difference_of({s: abs(v) for s, v in he.items()}, {s: abs(v) for s, v in residual.items()})
    return Finding(
        f"It is not the start alone: with weights started as He et al. (2015) propose, {_share(he)} arrives in the "
        f"plain stack, which is further from 1 than the residual one by {gain:+.1f} powers of ten."
        if gain.low > 0
        else f"The start matters: with weights started as He et al. (2015) propose, {_share(he)} arrives in the plain "
        f"stack too; compared with the residual one it is further from 1 by {gain:+.1f} powers of ten.",
        judge(gain),
    )


def _find_training(deep: Results) -> Finding:
    n_blocks = deep.values_of("n_blocks")[0]
    plain, residual = (deep.by_seed("psnr", kind=kind) for kind in ("plain", "residual"))
    gain = difference_of(residual, plain)
    return Finding(
        f"After training, {n_blocks} plain blocks give {mean_of(plain).mean:.2f} dB on held-out photographs and "
        f"{n_blocks} residual ones {mean_of(residual).mean:.2f} dB: a gain of {gain:+.2f} dB.",
        judge(gain),
    )


def _find_depth(training: Results, shallow: int, deep: int) -> Finding:
    gains = {kind: _gain_of_depth(training.where(kind=kind), shallow, deep) for kind in ("plain", "residual")}
    more = difference_of(gains["residual"], gains["plain"])
    return Finding(
        f"Going from {shallow} blocks to {deep} changes the PSNR by {mean_of(gains['plain']):+.2f} dB in plain stacks "
        f"and by {mean_of(gains['residual']):+.2f} dB in residual ones: residual connections make depth worth "
        f"{more:+.2f} dB more.",
        judge(more),
    )


def _gain_of_depth(runs: Results, shallow: int, deep: int) -> dict[int, float]:
    few, many = (runs.by_seed("psnr", n_blocks=n) for n in (shallow, deep))
    return {seed: many[seed] - few[seed] for seed in few}


def _find_projection(projected: Results) -> Finding:
    plain, residual = (projected.by_seed("psnr", kind=kind) for kind in ("plain", "residual"))
    gain = difference_of(residual, plain)
    shares = {kind: _share(_arriving(projected, kind=kind)) for kind in ("plain", "residual")}
    return Finding(
        f"A projection does where sizes differ: between two levels, changed by the blocks themselves, the first "
        f"block's gradient at the start is {shares['residual']} of the last one's with projections and "
        f"{shares['plain']} with plain blocks, and training ends {_told_gain(gain)}.",
        judge(gain),
    )


def _told_gain(gain: Interval) -> str:
    return f"{gain:+.2f} dB from where plain blocks end"


def _tabulate(results: Results) -> Table:
    rows = []
    for part, name in (("training", "one level"), ("projection", "two levels, projections")):
        runs = results.where(part=part)
        for n in runs.values_of("n_blocks"):
            plain, residual = (runs.by_seed("psnr", kind=kind, n_blocks=n) for kind in ("plain", "residual"))
            shares = [_share(_arriving(runs, kind=kind, n_blocks=n)) for kind in ("plain", "residual")]
            psnrs = [f"{mean_of(plain):.2f}", f"{mean_of(residual):.2f}", f"{difference_of(residual, plain):+.2f}"]
            rows.append([name, f"{n}", *shares, *psnrs])
    shares_head = ["gradient that arrives: plain", "residual"]
    return Table(["network", "blocks a level", *shares_head, "PSNR, dB: plain", "residual", "gain, dB"], rows)


STUDY = Study(
    name="residual-connections",
    version=1,
    title="Residual connections",
    question="Does the gradient reach the first of many blocks, and does that help training?",
    claim="Residual connections let information skip layers, so that there is always some reliable gradient: a block "
    "gives its input plus what it has learned. Where its output has another size, the input goes through a projection.",
    method="Stacks of plain and of residual blocks on one level, of several depths. Before training, one batch goes "
    "forward and back, and we take the norm of the loss's gradient with respect to what leaves each block. "
    "Plain blocks are looked at with torch's usual start and with that of He et al. (2015), which is made for "
    "them; residual blocks start close to the identity. Stacks with the usual start are then trained, all at "
    "the same rate. A network of two levels whose blocks change resolution and channels themselves shows the "
    "projection.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=_find,
    tabulate=_tabulate,
)
