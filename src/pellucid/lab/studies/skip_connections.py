"""Study: without skip connections edges blur.

How edges are measured is in `skip_connections_edges`. See `lab.study`.
"""

from typing import Any

import numpy as np

from pellucid.lab.drawing import draw_curves, draw_intervals, draw_windows
from pellucid.lab.pictures import Photographs
from pellucid.lab.plotting import BLACK, label_ends, look, new_figure
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.studies.skip_connections_edges import (
    EDGE_SHARE,
    SMOOTH_SHARE,
    edge_pixels,
    edge_profile,
    psnr_on,
    sharpness,
    smooth_pixels,
    stack_windows,
    unstack_windows,
)
from pellucid.lab.study import Arm, Drawing, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.training import MUON, denoise, fit, noisy_copy, small_recipe

_SIGMA, _WINDOW_PX, _N_WINDOWS = 25.0, 40, 4
_OFFSETS_PX = np.arange(-6, 6.5, 0.5)
_NAMES = {True: "with skip connections", False: "without"}
#: What is measured, and how the table writes it.
_MEASURES = {
    "psnr": ("PSNR of all pixels, dB", "+.2f"),
    "edges": (f"PSNR of edges ({EDGE_SHARE:.0%} of the pixels), dB", "+.2f"),
    "smooth": (f"PSNR of smooth areas ({SMOOTH_SHARE:.0%}), dB", "+.2f"),
    "sharpness": ("slope of edges that is left", "+.3f"),
}


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    size = {"n_steps": 4, "patch_px": 16, "batch_size": 2} if quick else {"n_steps": 1700, "patch_px": 48}
    common = {"sigma": _SIGMA, "widths": [24, 48, 96], "batch_size": 8, "optimizer": MUON, **size}
    return [
        Arm(f"skip-{'yes' if skip else 'no'}-seed-{seed}", {**common, "skip": skip}, seed)
        for seed in range(n_seeds)
        for skip in (True, False)
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    settings = arm.settings
    sigma, widths = settings["sigma"], settings["widths"]
    noise = [{"kind": "gaussian", "sigma_min": sigma, "sigma_max": sigma}]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": widths, "depths": [1] * len(widths), "skip": settings["skip"], "output": "linear"},
        data={"patch_px": settings["patch_px"], "batch_size": settings["batch_size"], "noise": noise},
        optimizer=settings["optimizer"],
    )
    module = fit(recipe, photographs.train).module
    cleans = [image.astype(np.float32) / np.float32(255) for image in photographs.held_out]
    noisies = [noisy_copy(image, sigma, seed=index) for index, image in enumerate(photographs.held_out)]
    denoiseds = [np.clip(denoise(module, noisy, sigma), 0, 1) for noisy in noisies]
    pairs = list(zip(cleans, denoiseds, strict=True))
    shown = {"clean": cleans, "noisy": noisies, "denoised": denoiseds} if arm.seed == 0 else {}
    return {
        "psnr": np.mean([psnr_on(np.ones(clean.shape[:2], bool), clean, denoised) for clean, denoised in pairs]),
        "edges": np.mean([psnr_on(edge_pixels(clean), clean, denoised) for clean, denoised in pairs]),
        "smooth": np.mean([psnr_on(smooth_pixels(clean), clean, denoised) for clean, denoised in pairs]),
        "sharpness": np.mean([sharpness(clean, denoised) for clean, denoised in pairs]),
        "profile": np.mean([edge_profile(clean, denoised, _OFFSETS_PX) for clean, denoised in pairs], axis=0),
        "profile_clean": np.mean([edge_profile(clean, clean, _OFFSETS_PX) for clean in cleans], axis=0),
        **{name: stack_windows(cleans[:_N_WINDOWS], images[:_N_WINDOWS], _WINDOW_PX) for name, images in shown.items()},
    }


def _draw(results: Results) -> dict[str, Drawing]:
    return {"windows": _draw_windows(results), "profile": _draw_profile(results), "gains": _draw_gains(results)}


def _draw_windows(results: Results) -> Drawing:
    yes, no = (next(r for r in results.where(skip=skip) if "denoised" in r.measured) for skip in (True, False))
    columns = {"clean": yes["clean"], "noisy": yes["noisy"], _NAMES[True]: yes["denoised"], "without": no["denoised"]}
    stacks = {name: unstack_windows(stack) for name, stack in columns.items()}
    rows: list[dict[str, Any]] = [
        dict(zip(stacks, windows, strict=True)) for windows in zip(*stacks.values(), strict=True)
    ]
    return Drawing(
        draw_windows(rows),
        f"Windows of {len(rows)} held-out photographs, {len(rows[0]['clean'])} pixels wide, with noise of level "
        f"{yes.arm.settings['sigma']:g}, and what both networks make of them (first seed). Follow an edge from column "
        "to column: is it as thin and as straight as in the clean window?",
    )


def _draw_profile(results: Results) -> Drawing:
    figure, axes = new_figure(height_in=3.8)
    axes.plot(_OFFSETS_PX, results.all[0].array("profile_clean"), color=BLACK, linewidth=1.2, label="clean")
    for index, (skip, name) in enumerate(_NAMES.items()):
        curves = np.stack([result.array("profile") for result in results.where(skip=skip)])
        draw_curves(axes, _OFFSETS_PX, curves, name, look(index, marked=True))
    axes.set(xlabel="distance from the crest of the edge, pixels", ylabel="mean brightness")
    label_ends(axes)
    return Drawing(
        figure,
        "Brightness along lines that cross the strongest edges of the held-out photographs, from the dark side to the "
        "bright one, averaged over all edges. A steep curve is a sharp edge; one that starts to rise early and "
        "arrives late is a blurred one. Bands reach from the lowest to the highest seed.",
    )


def _draw_gains(results: Results) -> Drawing:
    figure, axes = new_figure(height_in=2.4)
    names = {"psnr": "all pixels", "edges": "edges", "smooth": "smooth areas"}
    draw_intervals(axes, {label: _gain(results, name) for name, label in names.items()}, with_zero=True)
    axes.set_xlabel("PSNR with skip connections less that without, dB")
    return Drawing(
        figure,
        f"What skip connections gain, over {len(results.where(skip=True).all)} seeds, with 95 % intervals. Edges are "
        f"the {EDGE_SHARE:.0%} of the pixels with the strongest gradient in the clean photograph, smooth areas the "
        f"{SMOOTH_SHARE:.0%} with the weakest.",
    )


def _gains_by_seed(results: Results, name: str) -> dict[int, float]:
    without = results.by_seed(name, skip=False)
    return {seed: value - without[seed] for seed, value in results.by_seed(name, skip=True).items()}


def _gain(results: Results, name: str) -> Interval:
    return mean_of(_gains_by_seed(results, name))


def _find(results: Results) -> list[Finding]:
    slope, gain, at_edges, in_smooth = (_gain(results, name) for name in ("sharpness", "psnr", "edges", "smooth"))
    left = {skip: mean_of(results.by_seed("sharpness", skip=skip)).mean for skip in (True, False)}
    extra = difference_of(_gains_by_seed(results, "edges"), _gains_by_seed(results, "smooth"))
    blurs, closer, most = judge(slope), judge(at_edges), judge(extra)
    return [
        Finding(
            f"{_BLURS[blurs]}: {left[False]:.1%} of the slope of edges is left without skip connections and "
            f"{left[True]:.1%} with them; the difference, in shares of the clean slope, is {slope:+.3f}.",
            blurs,
        ),
        Finding(
            f"{_CLOSER[closer]}: their PSNR changes by {at_edges:+.2f} dB, that of all pixels by {gain:+.2f} dB.",
            closer,
        ),
        Finding(
            f"{_MOST[most]}: in smooth areas the change is {in_smooth:+.2f} dB, and edges gain {extra:+.2f} dB "
            "relative to that.",
            most,
        ),
    ]


_BLURS = {
    Verdict.SUPPORTS: "Without skip connections edges blur",
    Verdict.CONTRADICTS: "Edges are sharper without skip connections",
    Verdict.CANNOT_TELL: "Whether skip connections sharpen edges cannot be told from these seeds",
}
_CLOSER = {
    Verdict.SUPPORTS: "With skip connections edges are closer to the clean ones",
    Verdict.CONTRADICTS: "With skip connections edges are farther from the clean ones",
    Verdict.CANNOT_TELL: "Whether skip connections bring edges closer to the clean ones cannot be told",
}
_MOST = {
    Verdict.SUPPORTS: "It is edges that need skip connections most",
    Verdict.CONTRADICTS: "Smooth areas need skip connections more than edges do",
    Verdict.CANNOT_TELL: "Whether edges need skip connections more than smooth areas do cannot be told",
}


def _tabulate(results: Results) -> Table:
    rows = []
    for name, (label, form) in _MEASURES.items():
        plain = form.removeprefix("+")
        both = [format(mean_of(results.by_seed(name, skip=skip)), plain) for skip in (True, False)]
        rows.append([label, *both, format(_gain(results, name), form)])
    return Table(["mean (95 % interval)", *_NAMES.values(), "difference, seed by seed"], rows)


STUDY = Study(
    name="skip-connections",
    version=1,
    title="Skip connections",
    question="Do edges blur without skip connections?",
    claim="What an encoder of many layers gives out depends on a large receptive field, and a feature that is to say "
    "just where an edge lies has to ignore most of it, which is hard to learn. So reconstructions are blurred. Skip "
    "connections hand the decoder features of small neighbourhoods, which place edges.",
    method="Autoencoders of three levels are trained alike, by Muon, with skip connections and without. They give out "
    "the image itself rather than the noise, since subtracting noise from the input would be one more way for "
    "edges to get past the encoder. On held-out photographs we measure the PSNR of all pixels, of the strongest "
    "edges and of smooth areas; the brightness across the edges; and the slope of the edges that is left, which "
    "is the gradient's part along the clean gradient, so that noise that was left does not pass for sharpness.",
    arms=_arms,
    run=_run,
    draw=_draw,
    find=_find,
    tabulate=_tabulate,
)
