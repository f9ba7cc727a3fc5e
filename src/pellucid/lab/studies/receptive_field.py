"""Study: how far a network should see, at equal cost.

The figures are in `receptive_field_figures`. See `lab.study`.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.lab.pictures import Photographs
from pellucid.lab.statistics import difference_of, judge, mean_of
from pellucid.lab.studies.receptive_field_figures import as_map, draw
from pellucid.lab.studies.skip_connections_edges import edge_pixels, psnr_on, smooth_pixels
from pellucid.lab.study import Arm, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.training import MUON, Image, denoise, fit, noisy_copy, small_recipe
from pellucid.training.module import DenoisingModule

#: Widths and blocks by level, for networks of one to four levels that cost about the same. Widths grow by half from
#: level to level: doubling them would leave little for the first level, where edges are.
_SHAPES = (((30,), (2,)), ((26, 39), (1, 1)), ((23, 34, 52), (1, 1, 1)), ((21, 32, 47, 71), (1, 1, 1, 1)))
#: Trained on all levels of noise between these, as the product is, and measured at a weak and at a strong one.
_TRAINED_SIGMAS, _SIGMAS = (5.0, 55.0), (15.0, 50.0)
#: A pixel's effective reach holds this share of its gradient.
_REACH_SHARE = 0.9
#: The pixels whose gradients are taken lie in the middle of each photograph, in a square of this side.
_MIDDLE_PX = 16
_NOISES, _KINDS = ("weak", "strong"), ("psnr", "edges", "smooth")


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
        measured |= {f"{name}_{what}": value for what, value in _quality(trained.module, photographs, sigma).items()}
        influence = _influence(trained.module, photographs, sigma, settings["n_places"])
        measured["farthest_px"] = max(measured["farthest_px"], _farthest(influence))
        measured[f"{name}_reach"] = _reach(influence, settings["reach_share"])
        if arm.seed == 0:
            measured[f"{name}_map"] = as_map(influence)
    return measured


def _quality(module: DenoisingModule, photographs: Photographs, sigma: float) -> dict[str, float]:
    """Give the mean PSNR over held-out photographs of all pixels, of edges and of smooth areas."""
    found: list[list[float]] = []
    for index, image in enumerate(photographs.held_out):
        clean = image.astype(np.float32) / np.float32(255)
        denoised = np.clip(denoise(module, noisy_copy(image, sigma, seed=index), sigma), 0, 1)
        masks = (np.ones(clean.shape[:2], bool), edge_pixels(clean), smooth_pixels(clean))
        found.append([psnr_on(mask, clean, denoised) for mask in masks])
    return dict(zip(_KINDS, np.mean(found, axis=0).tolist(), strict=True))


def _influence(module: DenoisingModule, photographs: Photographs, sigma: float, n_places: int) -> NDArray[np.float64]:
    """Measure how much a denoised pixel moves with each pixel of the noisy image around it.

    Returns
    -------
    ndarray, shape (2 * r + 1, 2 * r + 1), float64
        The sum over channels of the gradient's absolute values, averaged over places of all held-out photographs;
        its sum is 1. That the average of many places tells more than the bound does is the idea of Luo et al.,
        "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NeurIPS 2016.
    """
    rng, maps = np.random.default_rng(0), []
    for index, image in enumerate(photographs.held_out):
        noisy, middle = noisy_copy(image, sigma, seed=index), len(image) // 2
        reach = middle - _MIDDLE_PX // 2
        for row, column in middle + rng.integers(-_MIDDLE_PX // 2, _MIDDLE_PX // 2, (n_places, 2)):
            gradient = _gradient_of_pixel(module, noisy, sigma, int(row), int(column))
            maps.append(gradient[row - reach : row + reach + 1, column - reach : column + reach + 1])
    mean: NDArray[np.float64] = np.mean(maps, axis=0)
    mean /= mean.sum()
    return mean


def _gradient_of_pixel(
    module: DenoisingModule, noisy: Image, sigma: float, row: int, column: int
) -> NDArray[np.float64]:
    tensor = torch.from_numpy(noisy).permute(2, 0, 1)[None].requires_grad_()
    told = torch.full((1, 1, *tensor.shape[2:]), sigma / 255)
    denoised = module.denoise({"noisy": tensor, "clean": tensor, "cond_sigma": told})
    (gradient,) = torch.autograd.grad(denoised[0, :, row, column].sum(), tensor)
    return gradient[0].abs().sum(dim=0).double().numpy()


def _reach(influence: NDArray[np.float64], share: float) -> int:
    """Find the smallest square around the middle that holds so large a share; give the distance to its sides."""
    middle = len(influence) // 2
    around = (influence[middle - r : middle + r + 1, middle - r : middle + r + 1].sum() for r in range(middle + 1))
    return next(r for r, held in enumerate(around) if held >= share * influence.sum() or r == middle)


def _farthest(influence: NDArray[np.float64]) -> int:
    """Give the distance, along an axis, of the farthest pixel that has any influence."""
    return int(np.abs(np.argwhere(influence > 0) - len(influence) // 2).max())


def _find(results: Results) -> list[Finding]:
    costs, radii = ([float(r[name]) for r in results] for name in ("macs_per_px", "radius_px"))
    weak, strong = ({kind: _gain(results, f"{noise}_{kind}") for kind in _KINDS} for noise in _NOISES)
    told = dict(zip(_NOISES, results.all[0].arm.settings["sigmas"], strict=True))
    both = (("weak", weak), ("strong", strong))
    strong_or_weak = mean_of(_less(strong["psnr"], weak["psnr"]))
    within = all(result["farthest_px"] <= result["radius_px"] for result in results)
    n_steps = results.all[0].arm.settings["n_steps"]
    fields = f"from {min(radii):.0f} to {max(radii):.0f} pixels of radius"
    return [
        Finding(
            f"The cost is the same within {max(costs) / min(costs) - 1:.1%}: {min(costs) / 1000:.1f} to "
            f"{max(costs) / 1000:.1f} kMAC/px. {'No' if within else 'Against the bound, a'} gradient was found farther "
            "away than the radius says."
        ),
        *(
            Finding(
                f"{_HELPS[judge(mean_of(gains['psnr']))].format(sigma=told[noise])}: {fields} the PSNR changes by "
                f"{mean_of(gains['psnr']):+.2f} dB at equal cost and after {n_steps:,} steps; of all fields the one of "
                f"{_best(results, noise)} is best.",
                judge(mean_of(gains["psnr"])),
            )
            for noise, gains in both
        ),
        Finding(
            f"{_MATTERS[judge(strong_or_weak)]}: the two gains differ by {strong_or_weak:+.2f} dB.",
        ),
        *(_find_where(told[noise], gains) for noise, gains in both),
        _find_reach(results, told),
    ]


def _find_where(sigma: float, gains: dict[str, dict[int, float]]) -> Finding:
    smooth_or_edges = mean_of(_less(gains["smooth"], gains["edges"]))
    return Finding(
        f"{_WHERE[judge(smooth_or_edges)]} in noise of level {sigma:g}: the widest field changes the PSNR of smooth "
        f"areas by {mean_of(gains['smooth']):+.2f} dB and that of edges by {mean_of(gains['edges']):+.2f} dB, a "
        f"difference of {smooth_or_edges:+.2f} dB.",
        judge(smooth_or_edges),
    )


def _find_reach(results: Results, told: dict[str, float]) -> Finding:
    widest = results.where(levels=results.values_of("levels")[-1])
    weak, strong = (widest.by_seed(f"{noise}_reach") for noise in _NOISES)
    share = widest.all[0].arm.settings["reach_share"]
    return Finding(
        f"{_REACHES[judge(difference_of(strong, weak))]}: of the network that may look {widest.all[0]['radius_px']} "
        f"pixels far, {share:.0%} of the gradient lies within {mean_of(weak).mean:.0f} pixels in noise of level "
        f"{told['weak']:g} and within {mean_of(strong).mean:.0f} in noise of level {told['strong']:g}."
    )


def _gain(results: Results, name: str) -> dict[int, float]:
    """Give what the widest field adds to the narrowest one's PSNR, in dB by seed."""
    levels = results.values_of("levels")
    return _less(results.by_seed(name, levels=levels[-1]), results.by_seed(name, levels=levels[0]))


def _less(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    return {seed: value - second[seed] for seed, value in first.items()}


def _best(results: Results, noise: str) -> str:
    levels = results.values_of("levels")
    best = max(levels, key=lambda n: mean_of(results.by_seed(f"{noise}_psnr", levels=n)).mean)
    return f"{results.where(levels=best).all[0]['radius_px']} pixels"


_HELPS = {
    Verdict.SUPPORTS: "A wide field helps in noise of level {sigma:g}",
    Verdict.CONTRADICTS: "A wide field does not pay in noise of level {sigma:g}",
    Verdict.CANNOT_TELL: "Whether a wide field pays in noise of level {sigma:g} cannot be told",
}
_MATTERS = {
    Verdict.SUPPORTS: "The stronger the noise, the more a wide field is worth",
    Verdict.CONTRADICTS: "In strong noise a wide field is worth less than in weak noise",
    Verdict.CANNOT_TELL: "Whether a wide field is worth more in strong noise cannot be told",
}
_WHERE = {
    Verdict.SUPPORTS: "Looking far suits smooth areas better than edges",
    Verdict.CONTRADICTS: "Looking far suits edges better than smooth areas",
    Verdict.CANNOT_TELL: "It cannot be told whether looking far suits smooth areas or edges better",
}
_REACHES = {
    Verdict.SUPPORTS: "Networks look farther in stronger noise",
    Verdict.CONTRADICTS: "Networks look less far in stronger noise",
    Verdict.CANNOT_TELL: "Whether networks look farther in stronger noise cannot be told",
}


def _tabulate(results: Results) -> Table:
    rows = []
    for levels in results.values_of("levels"):
        arms = results.where(levels=levels)
        first = arms.all[0]
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
    sigmas = results.all[0].arm.settings["sigmas"]
    head = ["radius, px", "widths", "kMAC/px", "ms a step"]
    return Table([*head, *(f"PSNR at {s:g}, dB" for s in sigmas), *(f"reach at {s:g}, px" for s in sigmas)], rows)


STUDY = Study(
    name="receptive-field",
    version=1,
    title="Receptive field",
    question="For the same cost, is it better to look far or to look closely?",
    claim="Sharp edges need local features. Features with large receptive fields may be necessary to denoise "
    "nevertheless, because they can observe long-range trends in the image.",
    method="Networks of one to four levels look about twice as far from each to the next. Their widths are chosen so "
    "that all cost the same number of multiply-adds: what is spent on depth is taken from width. All have skip "
    "connections, give out the noise and are trained by Muon on noise of many levels; PSNRs are measured in weak "
    "and in strong noise. A network's radius is an upper bound of how far it can look. How far it does look is "
    "told by gradients: we differentiate denoised pixels in the middle of held-out photographs by the noisy "
    "image, and find the square around the pixel that holds most of their absolute sum.",
    arms=_arms,
    run=_run,
    draw=draw,
    find=_find,
    tabulate=_tabulate,
)
