"""The figures of the study of the receptive field.

Its results enter, figures leave. It knows nothing of how they were measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pellucid.lab.plotting import SKY, VERMILLION, look, new_figure, plain_numbers
from pellucid.lab.statistics import Interval, difference_of, mean_of
from pellucid.lab.study import Drawing, Results

#: A map of influence shows so many powers of ten, and reaches so far from its middle.
_MAP_DECADES, _MAP_RADIUS_PX = 5, 56
_NOISES = ("weak", "strong")
_KINDS = {"psnr": "all pixels", "edges": "edges", "smooth": "smooth areas"}


def as_map(influence: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Make a gray image of influence on a logarithmic scale, brightest where it is strongest.

    Parameters
    ----------
    influence : ndarray, shape (2 * r + 1, 2 * r + 1), float64
        Not negative.

    Returns
    -------
    ndarray, shape (2 * s + 1, 2 * s + 1, 3), uint8
        The middle of it: s is r, but at most 56.
    """
    cut = max(0, len(influence) // 2 - _MAP_RADIUS_PX)
    middle = influence[cut : len(influence) - cut, cut : len(influence) - cut]
    with np.errstate(divide="ignore"):
        share = np.clip(1 + np.log10(middle / middle.max()) / _MAP_DECADES, 0, 1)
    return np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=2)


def draw(results: Results) -> dict[str, Drawing]:
    """Draw all figures of the study, by their names."""
    return {"quality": _draw_quality(results), "kinds": _draw_kinds(results), "influence": _draw_influence(results)}


def _draw_quality(results: Results) -> Drawing:
    figure, panels = new_figure(1, 2, height_in=3.4)
    for index, (panel, noise) in enumerate(zip(panels, _NOISES, strict=True)):
        means = {levels: mean_of(results.by_seed(f"{noise}_psnr", levels=levels)) for levels in _levels(results)}
        _draw_means(panel, results, means, look(index, marked=True), "")
        panel.set_title(f"noise of level {_sigma(results, noise):g}")
    panels[0].set_ylabel("PSNR on held-out photographs, dB")
    return Drawing(
        figure,
        "Mean PSNR of networks that cost the same and look less or more far, with 95 % intervals over seeds. Look for "
        "the radius at which each curve is highest. The two panels have scales of their own.",
    )


def _draw_kinds(results: Results) -> Drawing:
    figure, panels = new_figure(1, 2, height_in=3.6, sharey=True)
    narrowest = _levels(results)[0]
    for panel, noise in zip(panels, _NOISES, strict=True):
        for index, (kind, label) in enumerate(_KINDS.items()):
            name = f"{noise}_{kind}"
            base = results.by_seed(name, levels=narrowest)
            means = {n: difference_of(results.by_seed(name, levels=n), base) for n in _levels(results)}
            _draw_means(panel, results, means, look(index, marked=True), label, shift=index - 1)
        panel.set_title(f"noise of level {_sigma(results, noise):g}")
    panels[0].set_ylabel("gain over the narrowest field, dB")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_KINDS))
    return Drawing(
        figure,
        "The same by kinds of pixels: what is gained over the narrowest field where the clean photograph has its "
        "strongest edges, and where it is smooth. Marks are moved apart a little so that intervals can be seen.",
    )


def _draw_means(
    axes: Axes, results: Results, means: Mapping[int, Interval], curve: Mapping[str, Any], label: str, shift: int = 0
) -> None:
    """Draw means with their intervals against the radius, on a logarithmic axis."""
    radii = np.array([_radius(results, levels) for levels in means])
    halves = [mean.half_width if np.isfinite(mean.half_width) else 0.0 for mean in means.values()]
    places = radii * 1.04**shift
    axes.errorbar(places, [mean.mean for mean in means.values()], halves, capsize=3, label=label, **curve)
    axes.set_xscale("log")
    axes.set_xticks(radii)
    axes.set_xlabel("radius of the field, pixels")
    axes.minorticks_off()
    plain_numbers(axes.xaxis)


def _draw_influence(results: Results) -> Drawing:
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
            panel.set_title(f"reach {result[f'{noise}_reach']} of {result['radius_px']} px", fontsize="medium")
        row[0].set_ylabel(f"noise of level {_sigma(results, noise):g}")
    figure.colorbar(image, ax=panels, label="influence, powers of ten of the strongest", shrink=0.8)
    share = firsts[0].arm.settings["reach_share"]
    return Drawing(
        figure,
        "How much each noisy pixel moves the denoised pixel in the middle, averaged over places of all held-out "
        "photographs (first seed); distances are in pixels. Blue, solid: as far as the network can look, "
        "unless that is beyond the picture. Red, dashed: "
        f"the square that holds {share:.0%} of the influence. Compare the rows.",
    )


def _frame(axes: Axes, reach_px: int, colour: str, dash: Any) -> None:
    """Draw the square of all pixels that are at most so far from the middle one."""
    low, side = -reach_px - 0.5, 2 * reach_px + 1
    axes.add_patch(Rectangle((low, low), side, side, fill=False, edgecolor=colour, linestyle=dash, linewidth=1.3))


def _levels(results: Results) -> list[int]:
    return results.values_of("levels")


def _radius(results: Results, levels: int) -> int:
    radius: int = results.where(levels=levels).all[0]["radius_px"]
    return radius


def _sigma(results: Results, noise: str) -> float:
    sigma: float = results.all[0].arm.settings["sigmas"][_NOISES.index(noise)]
    return sigma
