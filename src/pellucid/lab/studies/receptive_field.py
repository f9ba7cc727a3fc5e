"""Study: the best receptive field at equal cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import SKY, VERMILLION, draw_error_bars, line_style, new_figure, plain_numbers
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of, subtract
from pellucid.lab.studies.skip_connections import PIXELS, Plane, mean_psnr_by_kind
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study
from pellucid.lab.training import MUON, Image, add_noise, denoise_all, fit, noisy_batch, small_recipe
from pellucid.training.module import DenoisingModule

#: Widths and blocks by level, for networks of one to four levels of about equal cost. Widths grow by half from level to
#: level: doubling them would leave little for the first level, which resolves edges.
_SHAPES = (((30,), (2,)), ((26, 39), (1, 1)), ((23, 34, 52), (1, 1, 1)), ((21, 32, 47, 71), (1, 1, 1, 1)))
#: Trained on a range of noise levels, as the bundled models are, and validated at a weak and at a strong one.
_TRAINED_SIGMAS, _SIGMAS = (5.0, 55.0), (15.0, 50.0)
_NOISES = ("weak", "strong")
#: The effective receptive radius of a pixel contains this fraction of its gradient.
_REACH_SHARE = 0.9
#: Gradients are taken of pixels in a central square of this side.
_MIDDLE_PX = 16
#: Range and radius of a map of gradients.
_MAP_DECADES, _MAP_RADIUS_PX = 5, 56


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    size = (
        {"n_steps": 4, "patch_px": 16, "batch_size": 2} if quick else {"n_steps": 1400, "patch_px": 64, "batch_size": 4}
    )
    common = {
        "trained_sigmas": _TRAINED_SIGMAS,
        "sigmas": _SIGMAS,
        "n_places": 1 if quick else 4,
        "reach_share": _REACH_SHARE,
        "optimizer": MUON,
        **size,
    }
    return [
        Arm(
            f"levels-{len(widths)}-seed-{seed}",
            {**common, "levels": len(widths), "widths": widths, "depths": depths},
            seed,
        )
        for seed in range(n_seeds)
        for widths, depths in _SHAPES
    ]


def _run(arm: Arm, photographs: Photographs) -> Measured:
    settings = arm.settings
    low, high = settings["trained_sigmas"]
    recipe = small_recipe(
        seed=arm.seed,
        n_steps=settings["n_steps"],
        network={"widths": settings["widths"], "depths": settings["depths"]},
        data={
            "patch_px": settings["patch_px"],
            "batch_size": settings["batch_size"],
            "noise": [{"kind": "gaussian", "sigma_min": low, "sigma_max": high}],
        },
        optimizer=settings["optimizer"],
    )
    trained = fit(recipe, photographs.train)
    network = trained.module.network
    measured = {
        "macs_per_px": network.macs_per_px,
        "radius_px": network.radius_px,
        "fit_seconds": trained.seconds,
        "farthest_px": 0,
    }
    for name, sigma in zip(_NOISES, settings["sigmas"], strict=True):
        triples = denoise_all(trained.module, photographs.validation, sigma)
        psnrs = mean_psnr_by_kind([(clean, denoised) for clean, _, denoised in triples])
        measured |= {f"{name}_{kind}": value for kind, value in psnrs.items()}
        gradient = mean_gradient(trained.module, photographs, sigma, settings["n_places"])
        measured["farthest_px"] = max(measured["farthest_px"], farthest(gradient))
        measured[f"{name}_reach"] = effective_radius(gradient, settings["reach_share"])
        if arm.seed == 0:
            measured[f"{name}_map"] = gradient_map(gradient)
    return measured


def mean_gradient(module: DenoisingModule, photographs: Photographs, sigma: float, n_places: int) -> Plane:
    """Average the absolute gradient of denoised pixels by the noisy ones around them, shape (2 r + 1, 2 r + 1).

    The effective receptive field of Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional
    Neural Networks", NeurIPS 2016; its sum is 1.
    """
    rng, maps = np.random.default_rng(0), []
    for index, image in enumerate(photographs.validation):
        noisy, middle = add_noise(image, sigma, seed=index), len(image) // 2
        reach = middle - _MIDDLE_PX // 2
        for row, column in middle + rng.integers(-_MIDDLE_PX // 2, _MIDDLE_PX // 2, (n_places, 2)):
            gradient = _gradient_of_pixel(module, noisy, sigma, int(row), int(column))
            maps.append(gradient[row - reach : row + reach + 1, column - reach : column + reach + 1])
    mean: Plane = np.mean(maps, axis=0)
    mean /= mean.sum()
    return mean


def _gradient_of_pixel(module: DenoisingModule, noisy: Image, sigma: float, row: int, column: int) -> Plane:
    batch = noisy_batch(noisy, sigma)
    denoised = module.denoise({**batch, "noisy": batch["noisy"].requires_grad_()})
    (gradient,) = torch.autograd.grad(denoised[0, :, row, column].sum(), batch["noisy"])
    return gradient[0].abs().sum(dim=0).double().numpy()


def effective_radius(gradient: Plane, share: float) -> int:
    """Return the radius of the smallest central square that contains this share of the sum."""
    middle = len(gradient) // 2
    around = (gradient[middle - r : middle + r + 1, middle - r : middle + r + 1].sum() for r in range(middle + 1))
    return next(r for r, held in enumerate(around) if held >= share * gradient.sum() or r == middle)


def farthest(gradient: Plane) -> int:
    """Return the distance, along an axis, of the farthest pixel with a gradient."""
    return int(np.abs(np.argwhere(gradient > 0) - len(gradient) // 2).max())


def gradient_map(gradient: Plane) -> NDArray[np.uint8]:
    """Convert gradients to a gray image on a logarithmic scale, cropped to a radius of 56 pixels."""
    cut = max(0, len(gradient) // 2 - _MAP_RADIUS_PX)
    middle = gradient[cut : len(gradient) - cut, cut : len(gradient) - cut]
    with np.errstate(divide="ignore"):
        share = np.clip(1 + np.log10(middle / middle.max()) / _MAP_DECADES, 0, 1)
    return np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=2)


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {
        "quality": _draw_quality(results),
        "kinds": _draw_kinds(results),
        "effective-field": _draw_effective_field(results),
    }


def _draw_quality(results: Results) -> CaptionedFigure:
    figure, panels = new_figure(1, 2, height_in=3.4)
    for index, (panel, noise) in enumerate(zip(panels, _NOISES, strict=True)):
        means = {levels: mean_of(results.by_seed(f"{noise}_psnr", levels=levels)) for levels in _levels(results)}
        _draw_means(panel, results, means, line_style(index, marked=True), "")
        panel.set_title(f"sigma = {_sigma(results, noise):g}")
    panels[0].set_ylabel("validation PSNR, dB")
    return CaptionedFigure(
        figure,
        "Validation PSNR of networks of equal cost against the radius of their receptive field, with 95 % confidence "
        "intervals over the seeds. The vertical scales differ.",
    )


def _draw_kinds(results: Results) -> CaptionedFigure:
    figure, panels = new_figure(1, 2, height_in=3.6, sharey=True)
    narrowest = _levels(results)[0]
    for panel, noise in zip(panels, _NOISES, strict=True):
        for index, (kind, label) in enumerate(PIXELS.items()):
            name = f"{noise}_{kind}"
            base = results.by_seed(name, levels=narrowest)
            means = {n: difference_of(results.by_seed(name, levels=n), base) for n in _levels(results)}
            _draw_means(panel, results, means, line_style(index, marked=True), label, shift=index - 1)
        panel.set_title(f"sigma = {_sigma(results, noise):g}")
    panels[0].set_ylabel("gain over the smallest field, dB")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PIXELS))
    return CaptionedFigure(
        figure,
        "Gain over the network with the smallest receptive field, for all pixels, the strongest edges and smooth areas "
        "of the clean photograph. Markers are offset horizontally for visibility.",
    )


def _draw_means(
    axes: Axes, results: Results, means: Mapping[int, Interval], style: Mapping[str, Any], label: str, shift: int = 0
) -> None:
    """Draw means with their intervals against the radius of the receptive field."""
    radii = np.array([_radius(results, levels) for levels in means])
    draw_error_bars(axes, radii * 1.04**shift, means.values(), capsize=3, label=label, **style)
    axes.set_xscale("log")
    axes.set_xticks(radii)
    axes.set_xlabel("receptive radius, pixels")
    axes.minorticks_off()
    plain_numbers(axes.xaxis)


def _draw_effective_field(results: Results) -> CaptionedFigure:
    firsts = [
        next(r for r in results.where(levels=levels) if f"{_NOISES[0]}_map" in r.measured)
        for levels in _levels(results)
    ]
    figure, panels = new_figure(2, len(firsts), height_in=4.1, sharex=True, sharey=True)
    for row, noise in zip(panels, _NOISES, strict=True):
        for panel, result in zip(row, firsts, strict=True):
            shown = result[f"{noise}_map"][..., 0] / 255 * _MAP_DECADES - _MAP_DECADES
            side = len(shown) / 2
            image = panel.imshow(shown, cmap="gray", extent=(-side, side, -side, side), vmin=-_MAP_DECADES, vmax=0)
            _frame(panel, result["radius_px"], SKY, "-")
            _frame(panel, result[f"{noise}_reach"], VERMILLION, (0, (3, 1.5)))
            panel.grid(visible=False)
            panel.set(xlim=(-side, side), ylim=(-side, side), xticks=(-50, 0, 50), yticks=(-50, 0, 50))
            panel.set_title(f"{result[f'{noise}_reach']} of {result['radius_px']} px", fontsize="medium")
        row[0].set_ylabel(f"sigma = {_sigma(results, noise):g}")
    figure.colorbar(image, ax=panels, label="gradient relative to the largest, log10", shrink=0.8)
    share = firsts[0].arm.settings["reach_share"]
    return CaptionedFigure(
        figure,
        "Effective receptive field: the gradient of the denoised central pixel by each noisy pixel, averaged over "
        "places of all validation photographs (first seed); distances are in pixels. Blue, solid: the theoretical "
        f"receptive field, where it is inside the plot. Red, dashed: the square that contains {share:.0%} of the "
        "gradient.",
    )


def _frame(axes: Axes, reach_px: int, colour: str, dash: Any) -> None:
    """Draw the square of pixels within a distance of the central one."""
    low, side = -reach_px - 0.5, 2 * reach_px + 1
    axes.add_patch(Rectangle((low, low), side, side, fill=False, edgecolor=colour, linestyle=dash, linewidth=1.3))


def _levels(results: Results) -> list[int]:
    return results.values_of("levels")


def _radius(results: Results, levels: int) -> int:
    radius: int = results.where(levels=levels).first["radius_px"]
    return radius


def _sigma(results: Results, noise: str) -> float:
    sigma: float = results.settings["sigmas"][_NOISES.index(noise)]
    return sigma


def _findings(results: Results) -> list[Finding]:
    costs, radii = ([float(r[name]) for r in results] for name in ("macs_per_px", "radius_px"))
    weak, strong = ({kind: _gain(results, f"{noise}_{kind}") for kind in PIXELS} for noise in _NOISES)
    sigmas = dict(zip(_NOISES, results.settings["sigmas"], strict=True))
    both = (("weak", weak), ("strong", strong))
    strong_or_weak = mean_of(subtract(strong["psnr"], weak["psnr"]))
    within = all(result["farthest_px"] <= result["radius_px"] for result in results)
    n_steps = results.settings["n_steps"]
    fields = f"from a radius of {min(radii):.0f} to one of {max(radii):.0f} pixels"
    return [
        Finding(
            f"The costs agree within {max(costs) / min(costs) - 1:.1%}: {min(costs) / 1000:.1f} to "
            f"{max(costs) / 1000:.1f} kMAC/px. {'No' if within else 'Against the theory, a'} gradient was found "
            "outside the theoretical receptive field."
        ),
        *(
            Finding(
                f"At sigma {sigmas[noise]:g}, {fields} the PSNR changes by {mean_of(gains['psnr']):+.2f} dB at equal "
                f"cost and after {n_steps:,} steps; the best radius is {_best(results, noise)}.",
                judge(mean_of(gains["psnr"])),
            )
            for noise, gains in both
        ),
        Finding(f"From weak to strong noise, this gain changes by {strong_or_weak:+.2f} dB."),
        *(_kinds_finding(sigmas[noise], gains) for noise, gains in both),
        _effective_field_finding(results, sigmas),
    ]


def _kinds_finding(sigma: float, gains: dict[str, dict[int, float]]) -> Finding:
    smooth_or_edges = mean_of(subtract(gains["smooth"], gains["edges"]))
    return Finding(
        f"At sigma {sigma:g}, the largest field changes the PSNR of smooth areas by {mean_of(gains['smooth']):+.2f} dB "
        f"and that of edges by {mean_of(gains['edges']):+.2f} dB, a difference of {smooth_or_edges:+.2f} dB.",
        judge(smooth_or_edges),
    )


def _effective_field_finding(results: Results, sigmas: dict[str, float]) -> Finding:
    widest = results.where(levels=results.values_of("levels")[-1])
    weak, strong = (widest.by_seed(f"{noise}_reach") for noise in _NOISES)
    share = widest.settings["reach_share"]
    return Finding(
        f"Effective field: of the network with a theoretical radius of {widest.first['radius_px']} pixels, {share:.0%} "
        f"of the gradient lies within {mean_of(weak).mean:.0f} pixels at sigma {sigmas['weak']:g} and within "
        f"{mean_of(strong).mean:.0f} at sigma {sigmas['strong']:g}."
    )


def _gain(results: Results, name: str) -> dict[int, float]:
    """Return the gain in PSNR of the largest over the smallest receptive field, in dB by seed."""
    levels = results.values_of("levels")
    return subtract(results.by_seed(name, levels=levels[-1]), results.by_seed(name, levels=levels[0]))


def _best(results: Results, noise: str) -> str:
    levels = results.values_of("levels")
    best = max(levels, key=lambda n: mean_of(results.by_seed(f"{noise}_psnr", levels=n)).mean)
    return f"{results.where(levels=best).first['radius_px']} pixels"


def _table(results: Results) -> ResultTable:
    rows = []
    for levels in results.values_of("levels"):
        arms = results.where(levels=levels)
        first = arms.first
        rows.append(
            [
                f"{first['radius_px']}",
                ", ".join(str(width) for width in first.arm.settings["widths"]),
                f"{first['macs_per_px'] / 1000:.2f}",
                f"{1000 * mean_of(arms.by_seed('fit_seconds')).mean / first.arm.settings['n_steps']:.0f}",
                *(format(mean_of(arms.by_seed(f"{noise}_psnr")), ".2f") for noise in _NOISES),
                *(f"{mean_of(arms.by_seed(f'{noise}_reach')).mean:.0f}" for noise in _NOISES),
            ]
        )
    sigmas = results.settings["sigmas"]
    head = ["radius, px", "widths", "kMAC/px", "ms per step"]
    return ResultTable(
        [*head, *(f"PSNR at sigma {s:g}, dB" for s in sigmas), *(f"effective radius at {s:g}, px" for s in sigmas)],
        rows,
    )


STUDY = Study(
    name="receptive-field",
    version=1,
    title="Receptive field",
    question="At equal cost, is a large or a small receptive field better?",
    claim="Sharp edges need local features. Features with large receptive fields may be necessary to denoise "
    "nevertheless, because they can observe long-range trends in the image.",
    method="Each additional level, from one to four, about doubles the receptive field. The widths are chosen so that "
    "all networks need the same number of multiply-adds: what is spent on depth is taken from width. All have skip "
    "connections, predict the noise and are trained with Muon on many noise levels; the validation PSNR is measured in "
    "weak and in strong noise. The theoretical receptive field is an upper bound. The effective one is measured with "
    "gradients: denoised pixels in the centre of validation photographs are differentiated by the noisy image, and we "
    "find the square around the pixel that contains most of the absolute gradient.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
