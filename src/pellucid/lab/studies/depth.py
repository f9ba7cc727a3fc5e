"""Study: skip connections help a lot, depth a little."""

import numpy as np

from pellucid.lab.photographs import Photographs
from pellucid.lab.plots import draw_error_bars, draw_intervals, line_style, new_figure
from pellucid.lab.statistics import Interval, difference_of, judge, mean_of, subtract
from pellucid.lab.studies.skip_connections import CROPS, crops_of, draw_stacks, fit_image_predictor
from pellucid.lab.study import Arm, CaptionedFigure, Effort, Finding, Measured, Results, ResultTable, Study, Verdict
from pellucid.lab.training import MUON, denoise_all, validation_psnr

_SIGMA = 25.0
_WIDTHS = {"shallow": (24, 48), "deep": (24, 48, 96)}
_SKIPS = {"skip": True, "no skip": False}
#: Effects of at least this size are "a lot", smaller ones "a little".
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
    trained = fit_image_predictor(arm, photographs)
    network, sigma = trained.module.network, arm.settings["sigma"]
    measured = {
        "psnr": validation_psnr(trained.module, photographs.validation, sigma),
        "macs_per_px": network.macs_per_px,
        "radius_px": network.radius_px,
        "fit_seconds": trained.seconds,
    }
    crops = {} if arm.seed else crops_of(denoise_all(trained.module, photographs.validation, sigma))
    return {**measured, **crops}


def _psnr(results: Results, depth: str, skip: str) -> dict[int, float]:
    return results.by_seed("psnr", depth=depth, skip=_SKIPS[skip])


def _effects(results: Results) -> dict[str, dict[int, float]]:
    """Return the effects of skip connections and of depth, with and without the other, in dB by seed."""
    deep, shallow, deep_plain, shallow_plain = (
        _psnr(results, depth, skip) for skip in _SKIPS for depth in ("deep", "shallow")
    )
    return {
        "skip, in deep networks": subtract(deep, deep_plain),
        "skip, in shallow networks": subtract(shallow, shallow_plain),
        "deep, with skip": subtract(deep, shallow),
        "deep, without skip": subtract(deep_plain, shallow_plain),
    }


def _means(results: Results) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Return the two main effects, each averaged over the other factor, and their interaction, in dB by seed."""
    in_deep, in_shallow, with_skip, without = _effects(results).values()
    skip = {seed: (in_deep[seed] + in_shallow[seed]) / 2 for seed in in_deep}
    deep = {seed: (with_skip[seed] + without[seed]) / 2 for seed in with_skip}
    return skip, deep, subtract(with_skip, without)


def _figures(results: Results) -> dict[str, CaptionedFigure]:
    return {"psnr": _draw_psnr(results), "effects": _draw_effects(results), "windows": _draw_crops(results)}


def _draw_psnr(results: Results) -> CaptionedFigure:
    figure, axes = new_figure(height_in=3.8)
    for index, skip in enumerate(_SKIPS):
        means = [mean_of(_psnr(results, depth, skip)) for depth in _WIDTHS]
        positions = np.arange(len(means)) + 0.03 * (index - 0.5)  # so that intervals do not overlap
        draw_error_bars(axes, positions, means, **line_style(index, marked=True))
        axes.annotate(
            "with skip connections" if _SKIPS[skip] else "without",
            (float(positions[-1]), means[-1].mean),
            (14, 0),
            textcoords="offset points",
            color=line_style(index)["color"],
            va="center",
        )
    axes.set_xticks(range(len(_WIDTHS)), [_describe(results, depth) for depth in _WIDTHS])
    axes.set(xlim=(-0.3, 1.6), ylabel="validation PSNR, dB")
    axes.grid(visible=False, axis="x")
    n_seeds = len(_psnr(results, "deep", "skip"))
    return CaptionedFigure(
        figure,
        f"Validation PSNR, mean of {n_seeds} seeds with 95 % confidence intervals. The gap between the lines is the "
        "effect of skip connections, their slope that of depth. Lines that are not parallel show an interaction.",
    )


def _describe(results: Results, depth: str) -> str:
    result = results.where(depth=depth).first
    return f"{depth}: {len(result.arm.settings['widths'])} levels,\n{result['macs_per_px'] / 1000:.1f} kMAC/px"


def _draw_effects(results: Results) -> CaptionedFigure:
    skip, deep, _ = _means(results)
    figure, axes = new_figure(height_in=3.2)
    effects = {"skip, on average": skip, "deep, on average": deep, **_effects(results)}
    ordered = dict(sorted(effects.items(), key=lambda item: not item[0].startswith("skip")))
    draw_intervals(axes, {name: mean_of(effect) for name, effect in ordered.items()}, with_zero=True)
    axes.set_xlabel("effect on the validation PSNR, dB")
    return CaptionedFigure(
        figure,
        "Mean paired differences over the seeds, with 95 % confidence intervals: skip connections against none, and "
        "deep against shallow networks. Positive values are improvements.",
    )


def _draw_crops(results: Results) -> CaptionedFigure:
    firsts = {
        f"{depth},\n{skip}": next(r for r in results.where(depth=depth, skip=_SKIPS[skip]) if "denoised" in r.measured)
        for depth in _WIDTHS
        for skip in ("no skip", "skip")
    }
    first = next(iter(firsts.values()))
    stacks = {name: first[name] for name in CROPS[:2]} | {name: one["denoised"] for name, one in firsts.items()}
    return CaptionedFigure(
        draw_stacks(stacks),
        f"The same crops of {len(first['clean']) // first['clean'].shape[1]} validation photographs with noise of "
        f"sigma {first.arm.settings['sigma']:g} (first seed). Compare the effect of skip connections with that of "
        "depth.",
    )


def _findings(results: Results) -> list[Finding]:
    in_deep, in_shallow, with_skip, without = (mean_of(values) for values in _effects(results).values())
    by_seed = _means(results)
    skip, deep, interaction = (mean_of(values) for values in by_seed)
    more = difference_of(by_seed[0], by_seed[1])
    return [
        Finding(
            f"Skip connections add {in_shallow:+.2f} dB to shallow networks and {in_deep:+.2f} dB to deep ones, "
            f"{skip:+.2f} dB on average.",
            judge(skip),
        ),
        Finding(f"With skip connections, depth adds {with_skip:+.2f} dB.", judge(with_skip)),
        Finding(f"Without skip connections, depth adds {without:+.2f} dB.", judge(without)),
        Finding(f"On average, skip connections add {more:+.2f} dB more than depth.", judge(more)),
        Finding(f"Depth adds {interaction:+.2f} dB more with skip connections than without."),
        Finding(
            f"In the lecture's words: skip {_in_words(skip)}; deep {_in_words(deep)} on average over networks with and "
            f"without skip connections ({deep:+.2f} dB), and {_in_words(with_skip)} with them. (A lot: {_A_LOT_DB:g} "
            "dB or more.)"
        ),
    ]


def _in_words(effect: Interval) -> str:
    verdict = judge(effect)
    if verdict is Verdict.INCONCLUSIVE:
        return "has no conclusive effect"
    helps = "helps" if verdict is Verdict.SUPPORTS else "harms"
    return f"{helps}, a lot" if abs(effect.mean) >= _A_LOT_DB else f"{helps} a little"


def _table(results: Results) -> ResultTable:
    rows = []
    for depth in _WIDTHS:
        for name, skip in _SKIPS.items():
            arms = results.where(depth=depth, skip=skip)
            seconds = mean_of(arms.by_seed("fit_seconds")).mean / arms.settings["n_steps"]
            rows.append(
                [
                    f"{depth}, {name}",
                    format(mean_of(_psnr(results, depth, name)), ".2f"),
                    f"{arms.first['macs_per_px'] / 1000:.1f}",
                    f"{arms.first['radius_px']}",
                    f"{1000 * seconds:.0f}",
                ]
            )
    return ResultTable(["network", "PSNR, dB (95 % interval)", "kMAC/px", "receptive radius, px", "ms per step"], rows)


STUDY = Study(
    name="depth",
    version=1,
    title="Depth and skip connections",
    question="What helps more: skip connections, or a deeper network?",
    claim="Comparing a shallow and a deeper autoencoder, each with and without skip connections, the lecture "
    "concludes: skip helps, a lot; deep helps a little.",
    method="Shallow autoencoders have two levels, deep ones three; the third level halves the resolution once more and "
    "doubles the channels. Both are trained with and without skip connections, with the same seeds and patches and for "
    "as many steps of Muon. They predict the image rather than the noise, since subtracting noise from the input would "
    "be a skip connection too. An effect is the difference between two networks of the same seed.",
    arms=_arms,
    run=_run,
    figures=_figures,
    findings=_findings,
    table=_table,
)
