"""Study: edges blur without skip connections. Also measures of edges and crops, which other studies share."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from pellucid.evaluation.metrics import psnr
from pellucid.lab.photographs import Photographs, to_bytes
from pellucid.lab.plots import (
    BLACK,
    draw_crops,
    draw_curves,
    draw_intervals,
    label_ends,
    line_style,
    new_figure,
)
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of, subtract
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study
from pellucid.lab.training import MUON, Fit, Image, denoise_all, fit, small_recipe

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Fractions of an image's pixels, by the strength of the clean image's gradient, that count as edges and as smooth.
EDGE_SHARE, SMOOTH_SHARE = 0.05, 0.5
_SIGMA, _CROP_PX, _N_CROPS = 25.0, 40, 4
_OFFSETS_PX = np.arange(-6, 6.5, 0.5)
_NAMES = {True: "with skip connections", False: "without"}
#: Names of the stacks of crops.
CROPS = ("clean", "noisy", "denoised")
#: Kinds of pixels whose PSNR is measured.
PIXELS = {"psnr": "all pixels", "edges": "edges", "smooth": "smooth areas"}
#: Labels and formats of the table.
_MEASURES = {
    "psnr": ("PSNR of all pixels, dB", "+.2f"),
    "edges": (f"PSNR of edges ({EDGE_SHARE:.0%} of the pixels), dB", "+.2f"),
    "smooth": (f"PSNR of smooth areas ({SMOOTH_SHARE:.0%}), dB", "+.2f"),
    "sharpness": ("remaining slope of edges", "+.3f"),
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
    module = fit_image_predictor(arm, photographs).module
    triples = denoise_all(module, photographs.validation, arm.settings["sigma"])
    pairs = [(clean, denoised) for clean, _, denoised in triples]
    return {
        **mean_psnr_by_kind(pairs),
        "sharpness": np.mean([sharpness(clean, denoised) for clean, denoised in pairs]),
        "profile": np.mean([edge_profile(clean, denoised, _OFFSETS_PX) for clean, denoised in pairs], axis=0),
        "profile_clean": np.mean([edge_profile(clean, clean, _OFFSETS_PX) for clean, _ in pairs], axis=0),
        **(crops_of(triples) if arm.seed == 0 else {}),
    }


def fit_image_predictor(arm: Arm, photographs: Photographs) -> Fit:
    """Train a network that predicts the image, not the noise, with the widths and skip connections of the settings."""
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
    return fit(recipe, photographs.train)


def gradient(image: Image) -> Plane:
    """Return the gradient along y and x, shape (2, H, W), of the mean of the channels, by central differences."""
    return np.stack(np.gradient(image.mean(axis=2, dtype=np.float64)))


def edge_pixels(clean: Image) -> Mask:
    """Return the mask (H, W) of the 5 % of pixels with the strongest gradient."""
    strength = np.hypot(*gradient(clean))
    edges: Mask = strength >= np.quantile(strength, 1 - EDGE_SHARE)
    return edges


def smooth_pixels(clean: Image) -> Mask:
    """Return the mask (H, W) of the half of the pixels with the weakest gradient."""
    strength = np.hypot(*gradient(clean))
    smooth: Mask = strength <= np.quantile(strength, SMOOTH_SHARE)
    return smooth


def psnr_on(mask: Mask, clean: Image, denoised: Image) -> float:
    """Return the PSNR, in dB, of the pixels in a mask (H, W)."""
    return psnr(clean[mask][:, None], denoised[mask][:, None])


def mean_psnr_by_kind(pairs: Sequence[tuple[Image, Image]]) -> dict[str, float]:
    """Return the mean PSNR, in dB, over clean and denoised images, for the kinds of pixels in :data:`PIXELS`."""
    values = []
    for clean, denoised in pairs:
        masks = (np.ones(clean.shape[:2], bool), edge_pixels(clean), smooth_pixels(clean))
        values.append([psnr_on(mask, clean, denoised) for mask in masks])
    return dict(zip(PIXELS, np.mean(values, axis=0).tolist(), strict=True))


def sharpness(clean: Image, denoised: Image) -> float:
    r"""Return the remaining slope of the clean image's edges: 1 if they are as steep, below 1 if they are blurred.

    .. math:: \frac{\sum_p \nabla \hat x_p \cdot \nabla x_p}{\sum_p \|\nabla x_p\|^2}

    over the pixels p of :func:`edge_pixels`. Only the gradient's component along the clean gradient counts: a ratio of
    magnitudes would mistake remaining noise for sharpness.
    """
    edges = edge_pixels(clean)
    before, after = gradient(clean)[:, edges], gradient(denoised)[:, edges]
    return float((before * after).sum() / (before**2).sum())


def edge_profile(clean: Image, image: Image, offsets_px: Plane) -> Plane:
    """Average an image along lines perpendicular to the clean image's edges, from dark to bright.

    Lines cross edges where the clean gradient is at its maximum along the line; offsets (n,) are the distances from
    there, negative on the dark side.
    """
    slopes = gradient(clean)
    strength = np.hypot(*slopes)
    places = np.argwhere(edge_pixels(clean)).T
    directions = slopes[:, *places] / np.maximum(strength[*places], np.finfo(float).tiny)
    before, here, behind = (_sample(strength, places, directions, at) for at in (-1.0, 0.0, 1.0))
    is_maximum = (here >= before) & (here >= behind)
    places, directions = places[:, is_maximum], directions[:, is_maximum]
    gray = image.mean(axis=2, dtype=np.float64)
    return np.array([_sample(gray, places, directions, at).mean() for at in offsets_px])


def _sample(plane: Plane, places: NDArray[np.intp], directions: Plane, offset_px: float) -> Plane:
    """Interpolate a plane at an offset from places, along directions; both have shape (2, n)."""
    values: Plane = ndimage.map_coordinates(plane, places + offset_px * directions, order=1, mode="nearest")
    return values


def busiest_corner(clean: Image, side_px: int) -> tuple[int, int]:
    """Return top and left of the crop with the most edge pixels."""
    counts = ndimage.uniform_filter(edge_pixels(clean).astype(np.float64), side_px, origin=-(side_px // 2))
    valid = counts[: clean.shape[0] - side_px + 1, : clean.shape[1] - side_px + 1]
    top, left = np.unravel_index(np.argmax(valid), valid.shape)
    return int(top), int(left)


def crops_of(triples: Sequence[tuple[Image, Image, Image]]) -> dict[str, NDArray[np.uint8]]:
    """Stack the crop with most edges of clean, noisy and denoised images; each stack has shape (n * S, S, 3)."""
    crops: list[list[Image]] = [[], [], []]
    for triple in triples[:_N_CROPS]:
        top, left = busiest_corner(triple[0], _CROP_PX)
        for stack, image in zip(crops, triple, strict=True):
            stack.append(image[top : top + _CROP_PX, left : left + _CROP_PX])
    return {name: to_bytes(np.concatenate(stack)) for name, stack in zip(CROPS, crops, strict=True)}


def draw_stacks(stacks: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Draw crops stacked by :func:`crops_of`, a column for each stack."""
    columns = [np.split(stack, len(stack) // stack.shape[1]) for stack in stacks.values()]
    return draw_crops([dict(zip(stacks, row, strict=True)) for row in zip(*columns, strict=True)])


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {"windows": _draw_crops(results), "profile": _draw_profile(results), "gains": _draw_gains(results)}


def _draw_crops(results: Results) -> CaptionedFigure:
    skip, plain = (next(r for r in results.where(skip=skip) if "denoised" in r.measured) for skip in (True, False))
    stacks = {name: skip[name] for name in CROPS[:2]} | {_NAMES[True]: skip["denoised"], "without": plain["denoised"]}
    n_rows, side = len(skip["clean"]) // skip["clean"].shape[1], skip["clean"].shape[1]
    return CaptionedFigure(
        draw_stacks(stacks),
        f"Crops of {n_rows} validation photographs, {side} pixels wide, with noise of sigma "
        f"{skip.arm.settings['sigma']:g}, and the results of both networks (first seed). Compare how thin and straight "
        "the edges are.",
    )


def _draw_profile(results: Results) -> CaptionedFigure:
    figure, axes = new_figure(height_in=3.8)
    axes.plot(_OFFSETS_PX, results.first.array("profile_clean"), color=BLACK, linewidth=1.2, label="clean")
    for index, (skip, name) in enumerate(_NAMES.items()):
        curves = np.stack([result.array("profile") for result in results.where(skip=skip)])
        draw_curves(axes, _OFFSETS_PX, curves, name, line_style(index, marked=True))
    axes.set(xlabel="distance from the edge, pixels", ylabel="mean brightness")
    label_ends(axes)
    return CaptionedFigure(
        figure,
        "Brightness along lines perpendicular to the strongest edges of the validation photographs, from the dark to "
        "the bright side, averaged over all edges: the steeper, the sharper. Bands range from the minimum to the "
        "maximum over the seeds.",
    )


def _draw_gains(results: Results) -> CaptionedFigure:
    figure, axes = new_figure(height_in=2.4)
    draw_intervals(axes, {label: _gain(results, name) for name, label in PIXELS.items()}, with_zero=True)
    axes.set_xlabel("gain in PSNR from skip connections, dB")
    return CaptionedFigure(
        figure,
        f"Gain from skip connections, over {len(results.where(skip=True).all)} seeds, with 95 % confidence intervals. "
        f"Edges are the {EDGE_SHARE:.0%} of the pixels with the strongest gradient in the clean photograph, smooth "
        f"areas the {SMOOTH_SHARE:.0%} with the weakest.",
    )


def _gains_by_seed(results: Results, name: str) -> dict[int, float]:
    return subtract(results.by_seed(name, skip=True), results.by_seed(name, skip=False))


def _gain(results: Results, name: str) -> Interval:
    return mean_of(_gains_by_seed(results, name))


def _findings(results: Results) -> list[Finding]:
    slope, gain, at_edges, in_smooth = (_gain(results, name) for name in ("sharpness", "psnr", "edges", "smooth"))
    slopes = {skip: mean_of(results.by_seed("sharpness", skip=skip)).mean for skip in (True, False)}
    extra = difference_of(_gains_by_seed(results, "edges"), _gains_by_seed(results, "smooth"))
    return [
        Finding(
            f"Sharpness: {slopes[False]:.1%} of the slope of edges remains without skip connections and "
            f"{slopes[True]:.1%} with them; the difference, relative to the clean slope, is {slope:+.3f}.",
            judge(slope),
        ),
        Finding(
            f"Accuracy: skip connections change the PSNR of edges by {at_edges:+.2f} dB and that of all pixels by "
            f"{gain:+.2f} dB.",
            judge(at_edges),
        ),
        Finding(
            f"Location: in smooth areas the change is {in_smooth:+.2f} dB, and edges gain {extra:+.2f} dB more.",
            judge(extra),
        ),
    ]


def _table(results: Results) -> ResultTable:
    rows = []
    for name, (label, form) in _MEASURES.items():
        plain = form.removeprefix("+")
        both = [format(mean_of(results.by_seed(name, skip=skip)), plain) for skip in (True, False)]
        rows.append([label, *both, format(_gain(results, name), form)])
    return ResultTable(["mean (95 % interval)", *_NAMES.values(), "paired difference"], rows)


STUDY = Study(
    name="skip-connections",
    version=1,
    title="Skip connections",
    question="Do edges blur without skip connections?",
    claim="The features of a deep encoder depend on a large receptive field, and a feature that is to locate an edge "
    "precisely must ignore most of it, which is hard to learn. So reconstructions are blurred. Skip connections give "
    "the decoder features of small neighbourhoods, which locate edges.",
    method="Autoencoders of three levels are trained with Muon, with and without skip connections. They predict the "
    "image rather than the noise, since subtracting noise from the input would be another path for edges past the "
    "encoder. On the validation photographs we measure the PSNR of all pixels, of the strongest edges and of smooth "
    "areas; the brightness profile across edges; and the remaining slope of edges, which is the gradient's component "
    "along the clean gradient, so that remaining noise is not mistaken for sharpness.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
