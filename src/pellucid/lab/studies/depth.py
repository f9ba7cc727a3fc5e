"""Study: skip helps, a lot; deep helps a little.

See `lab.study`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.lab.drawing import draw_intervals, draw_windows
from pellucid.lab.pictures import Photographs
from pellucid.lab.plotting import look, new_figure
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.studies.skip_connections_edges import stack_windows, unstack_windows
from pellucid.lab.study import Arm, Drawing, Effort, Finding, Measured, Results, Study, Table, Verdict
from pellucid.lab.training import MUON, denoise, fit, held_out_psnr, noisy_copy, small_recipe

_SIGMA, _WINDOW_PX, _N_WINDOWS = 25.0, 40, 4
_WIDTHS = {"shallow": (24, 48), "deep": (24, 48, 96)}
_SKIPS = {"skip": True, "no skip": False}
#: From so many dB on we say "a lot" of an effect, below it "a little".
_A_LOT_DB = 0.5


def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
    quick = effort is Effort.QUICK
    size = {"n_steps": 4, "patch_px": 16, "batch_size": 2} if quick else {"n_steps": 1700, "patch_px": 48}
    common = {"sigma": _SIGMA, "batch_size": 8, "optimizer": MUON, **size}
    return [
        Arm(
            f"{depth}-{'skip' if skip else 'plain'}-seed-{seed}",
            {**common, "depth": depth, "widths": widths, "skip": skip},
            seed,
        )
        for seed in range(n_seeds)
        for depth, widths in _WIDTHS.items()
        for skip in _SKIPS.values()
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
    trained = fit(recipe, photographs.train)
    network = trained.module.network
    measured = {
        "psnr": held_out_psnr(trained.module, photographs.held_out, sigma),
        "macs_per_px": network.macs_per_px,
        "radius_px": network.radius_px,
        "fit_seconds": trained.seconds,
    }
    if arm.seed:
        return measured
    shown = photographs.held_out[:_N_WINDOWS]
    cleans = [image.astype(np.float32) / np.float32(255) for image in shown]
    noisies = [noisy_copy(image, sigma, seed=index) for index, image in enumerate(shown)]
    denoiseds = [denoise(trained.module, noisy, sigma) for noisy in noisies]
    stacks = {"clean": cleans, "noisy": noisies, "denoised": denoiseds}
    return {**measured, **{name: stack_windows(cleans, images, _WINDOW_PX) for name, images in stacks.items()}}


def _psnr(results: Results, depth: str, skip: str) -> dict[int, float]:
    return results.by_seed("psnr", depth=depth, skip=_SKIPS[skip])


def _effects(results: Results) -> dict[str, dict[int, float]]:
    """Give what skip connections and depth change, in dB by seed: where the other is there and where it is not."""

    def less(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
        return {seed: first[seed] - second[seed] for seed in first}

    deep, shallow, deep_plain, shallow_plain = (
        _psnr(results, depth, skip) for skip in _SKIPS for depth in ("deep", "shallow")
    )
    return {
        "skip, in deep networks": less(deep, deep_plain),
        "skip, in shallow networks": less(shallow, shallow_plain),
        "deep, with skip": less(deep, shallow),
        "deep, without skip": less(deep_plain, shallow_plain),
    }


def _means(results: Results) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Give the two effects, each averaged over the other's two settings, and their interaction, in dB by seed."""
    in_deep, in_shallow, with_skip, without = _effects(results).values()
    skip = {seed: (in_deep[seed] + in_shallow[seed]) / 2 for seed in in_deep}
    deep = {seed: (with_skip[seed] + without[seed]) / 2 for seed in with_skip}
    return skip, deep, {seed: with_skip[seed] - without[seed] for seed in with_skip}


def _draw(results: Results) -> dict[str, Drawing]:
    return {"psnr": _draw_psnr(results), "effects": _draw_effects(results), "windows": _draw_windows(results)}


def _draw_psnr(results: Results) -> Drawing:
    figure, axes = new_figure(height_in=3.8)
    for index, skip in enumerate(_SKIPS):
        means = [mean_of(_psnr(results, depth, skip)) for depth in _WIDTHS]
        halves = [mean.half_width if np.isfinite(mean.half_width) else 0.0 for mean in means]
        places = np.arange(len(means)) + 0.03 * (index - 0.5)  # intervals must not hide one another
        axes.errorbar(places, [mean.mean for mean in means], halves, capsize=4, **look(index, marked=True))
        axes.annotate(
            "with skip connections" if _SKIPS[skip] else "without",
            (float(places[-1]), means[-1].mean),
            (14, 0),
            textcoords="offset points",
            color=look(index)["color"],
            va="center",
        )
    axes.set_xticks(range(len(_WIDTHS)), [_told(results, depth) for depth in _WIDTHS])
    axes.set(xlim=(-0.3, 1.6), ylabel="PSNR on held-out photographs, dB")
    axes.grid(visible=False, axis="x")
    n_seeds = len(_psnr(results, "deep", "skip"))
    return Drawing(
        figure,
        f"Mean PSNR of {n_seeds} seeds, with 95 % intervals. The gap between the lines is what skip connections help, "
        "their slope what depth does. Lines that are not parallel say that each effect depends on the other.",
    )


def _told(results: Results, depth: str) -> str:
    result = results.where(depth=depth).all[0]
    return f"{depth}: {len(result.arm.settings['widths'])} levels,\n{result['macs_per_px'] / 1000:.1f} kMAC/px"


def _draw_effects(results: Results) -> Drawing:
    skip, deep, _ = _means(results)
    figure, axes = new_figure(height_in=3.2)
    effects = {"skip, on average": skip, "deep, on average": deep, **_effects(results)}
    ordered = dict(sorted(effects.items(), key=lambda item: not item[0].startswith("skip")))
    draw_intervals(axes, {name: mean_of(effect) for name, effect in ordered.items()}, with_zero=True)
    axes.set_xlabel("what it adds to the PSNR, dB")
    return Drawing(
        figure,
        "The effects, as means of the differences within each seed, with 95 % intervals: skip connections against "
        "none, and deep networks against shallow ones. Right of zero, it helps.",
    )


def _draw_windows(results: Results) -> Drawing:
    firsts = {
        f"{depth},\n{skip}": next(r for r in results.where(depth=depth, skip=_SKIPS[skip]) if "denoised" in r.measured)
        for depth in _WIDTHS
        for skip in ("no skip", "skip")
    }
    any_of_them = next(iter(firsts.values()))
    columns = {name: any_of_them[name] for name in ("clean", "noisy")}
    columns |= {name: result["denoised"] for name, result in firsts.items()}
    stacks = {name: unstack_windows(stack) for name, stack in columns.items()}
    rows: list[dict[str, Any]] = [
        dict(zip(stacks, windows, strict=True)) for windows in zip(*stacks.values(), strict=True)
    ]
    return Drawing(
        draw_windows(rows),
        f"The same windows of {len(rows)} held-out photographs with noise of level "
        f"{any_of_them.arm.settings['sigma']:g} (first seed). Look first for what skip connections change, then for "
        "what depth changes.",
    )


def _find(results: Results) -> list[Finding]:
    in_deep, in_shallow, with_skip, without = (mean_of(values) for values in _effects(results).values())
    by_seed = _means(results)
    skip, deep, interaction = (mean_of(values) for values in by_seed)
    more = difference_of(by_seed[0], by_seed[1])
    return [
        Finding(
            f"Skip {_HELPS[judge(skip)]}: skip connections add {in_shallow:+.2f} dB to shallow networks and "
            f"{in_deep:+.2f} dB to deep ones, {skip:+.2f} dB on average.",
            judge(skip),
        ),
        Finding(
            f"With skip connections depth {_HELPS[judge(with_skip)]}: it adds {with_skip:+.2f} dB.", judge(with_skip)
        ),
        Finding(f"Without skip connections depth {_HELPS[judge(without)]}: it adds {without:+.2f} dB.", judge(without)),
        Finding(f"{_MORE[judge(more)]}: their average effects differ by {more:+.2f} dB.", judge(more)),
        Finding(f"{_DEPENDS[judge(interaction)]}: depth adds {interaction:+.2f} dB more with them than without."),
        Finding(
            f"The sentence that follows: skip {_in_words(skip)}; deep {_in_words(deep)} on average over networks with "
            f"and without skip connections ({deep:+.2f} dB), and {_in_words(with_skip)} where they are there. (A lot "
            f"is {_A_LOT_DB:g} dB or more.)"
        ),
    ]


def _in_words(effect: Interval) -> str:
    verdict = judge(effect)
    if verdict is Verdict.CANNOT_TELL:
        return "makes no difference that can be told"
    helps = "helps" if verdict is Verdict.SUPPORTS else "harms"
    return f"{helps}, a lot" if abs(effect.mean) >= _A_LOT_DB else f"{helps} a little"


_HELPS = {Verdict.SUPPORTS: "helps", Verdict.CONTRADICTS: "harms", Verdict.CANNOT_TELL: "may help or harm"}
_MORE = {
    Verdict.SUPPORTS: "Skip connections help more than depth",
    Verdict.CONTRADICTS: "Depth helps more than skip connections",
    Verdict.CANNOT_TELL: "Which of skip connections and depth helps more cannot be told",
}
_DEPENDS = {
    Verdict.SUPPORTS: "Depth does better with skip connections",
    Verdict.CONTRADICTS: "Depth does better without skip connections",
    Verdict.CANNOT_TELL: "Whether the effect of depth depends on skip connections cannot be told",
}


def _tabulate(results: Results) -> Table:
    rows = []
    for depth in _WIDTHS:
        for skip, is_there in _SKIPS.items():
            arms = results.where(depth=depth, skip=is_there)
            seconds = mean_of(arms.by_seed("fit_seconds")).mean / arms.all[0].arm.settings["n_steps"]
            rows.append(
                [
                    f"{depth}, {skip}",
                    format(mean_of(_psnr(results, depth, skip)), ".2f"),
                    f"{arms.all[0]['macs_per_px'] / 1000:.1f}",
                    f"{arms.all[0]['radius_px']}",
                    f"{1000 * seconds:.0f}",
                ]
            )
    return Table(["network", "PSNR, dB (95 % interval)", "kMAC/px", "radius of the field, px", "ms a step"], rows)


STUDY = Study(
    name="depth",
    version=1,
    title="Depth and skip connections",
    question="What helps more: skip connections, or a deeper network?",
    claim="Shown a shallow and a deeper autoencoder, each with and without skip connections, the lecture notices: skip "
    "helps, a lot; deep helps a little.",
    method="Shallow autoencoders have two levels, deep ones three; the deeper level halves the resolution once more "
    "and has twice the channels. Both are trained with and without skip connections, from the same seeds, on the same "
    "patches and for as many steps of Muon. They give out the image itself rather than the noise, since "
    "subtracting noise from the input would be a skip connection too. An effect is the difference between two "
    "networks of one seed.",
    arms=_arms,
    run=_run,
    draw=_draw,
    find=_find,
    tabulate=_tabulate,
)
