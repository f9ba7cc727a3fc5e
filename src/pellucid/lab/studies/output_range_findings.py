"""What the study of the output's range has found, in sentences and in a table.

Its results enter, sentences and rows leave. It knows nothing of how they were measured.
"""

from collections.abc import Sequence

import numpy as np

from pellucid.lab.statistics import Interval, difference_of, judge, mean_of
from pellucid.lab.study import Finding, Results, Table, Verdict

_PENALIZED = "scaled tanh + penalty"
_UNKNOWN = "not measurable on these photographs"


def find(results: Results) -> list[Finding]:
    """Make the study's sentences."""
    starts = results.values_of("start")
    return [
        *(_find_clip(results.where(start=start), start) for start in starts),
        _find_weak(results.where(start="good")),
        _find_not_small(results.where(start="good")),
        *(_find_cost(results.where(start=start), start) for start in starts),
        _find_penalty(results.where(start="good")),
        *(_find_mixture(results.where(start=start), start) for start in starts),
    ]


def _find_clip(results: Results, start: str) -> Finding:
    first, last = (mean_of(results.by_seed(name, output="clip")).mean for name in ("zero_first", "zero_last"))
    others = [result for result in results if result.arm.settings["output"] != "clip"]
    most = max(float(result["zero_most"]) for result in others)
    gap = _gap(results, "psnr", "linear", "clip")
    return Finding(
        f"The clip from the {start} start: {first:.1%} of the values before it have a gradient of exactly zero at the "
        f"first step and {last:.1%} at the last (with any other map at most {most:.1%} at any step). Its PSNR ends "
        f"{_below(gap)} that of a linear output.",
        judge(gap),
    )


def _find_weak(results: Results) -> Finding:
    gaps = [_gap(results, "reach", "linear", name) for name in ("sigmoid", "tanh")]
    told = [f"{_told(mean_of(results.by_seed('reach', output=name)), '.2f')} with {name}" for name in _NAMES]
    return Finding(
        f"The gradient near black and white, relative to that elsewhere, at the end of training: {_listed(told)}.",
        _all(gaps),
    )


_NAMES = ("linear", "sigmoid", "tanh")


def _find_not_small(results: Results) -> Finding:
    gap = _gap(results, "reach", "scaled tanh", "tanh")
    scaled = mean_of(results.by_seed("reach", output="scaled tanh"))
    return Finding(
        f"With a(tanh(x) + b) it is {_told(scaled, '.2f')}; that less the one with tanh is {_told(gap, '+.2f')}.",
        judge(gap),
    )


def _find_cost(results: Results, start: str) -> Finding:
    gaps = {name: _gap(results, "psnr_ends", "linear", name) for name in ("sigmoid", "tanh")}
    told = [f"with {name} {_below(gap)}" for name, gap in gaps.items()]
    return Finding(
        f"From the {start} start, the PSNR of samples near black and white ends {_listed(told)} that with a linear "
        "output.",
        _all(list(gaps.values())),
    )


def _find_penalty(results: Results) -> Finding:
    gaps, told = [], []
    for name in ("linear", "scaled tanh"):
        gaps.append(_gap(results, "out_of_range", name, f"{name} + penalty"))
        shares = [mean_of(results.by_seed("out_of_range", output=n)).mean for n in (name, f"{name} + penalty")]
        told.append(f"{shares[0]:.1%} without and {shares[1]:.1%} with it for the {name} output")
    return Finding(
        f"Out of range before the values are clipped, with and without the penalty: {_listed(told)}.", _all(gaps)
    )


def _find_mixture(results: Results, start: str) -> Finding:
    gaps = {name: _gap(results, "psnr", _PENALIZED, name) for name in ("tanh", "linear + penalty")}
    told = [f"{_above(gap)} {name}" for name, gap in gaps.items()]
    return Finding(
        f"From the {start} start, a(tanh(x) + b) with the penalty ends with a PSNR {_listed(told)}.",
        _all(list(gaps.values())),
    )


def _gap(results: Results, name: str, first: str, second: str) -> Interval:
    return difference_of(results.by_seed(name, output=first), results.by_seed(name, output=second))


def _all(effects: Sequence[Interval]) -> Verdict:
    """Judge a claim of several effects: all must speak for it, or all against it."""
    verdicts = {judge(effect) for effect in effects}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.CANNOT_TELL


def _below(gap: Interval) -> str:
    """Write by how much something ends below another, with its interval; or above."""
    return _above(Interval(-gap.mean, -gap.high, -gap.low, gap.n))


def _above(gap: Interval) -> str:
    if np.isnan(gap.mean):
        return f"({_UNKNOWN}) beside"
    if gap.mean < 0:
        return f"{Interval(-gap.mean, -gap.high, -gap.low, gap.n):.2f} dB below"
    return f"{gap:.2f} dB above"


def _told(interval: Interval, specification: str) -> str:
    return _UNKNOWN if np.isnan(interval.mean) else format(interval, specification)


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def tabulate(results: Results) -> Table:
    """Make the study's table: a row for each output and start."""
    rows = [
        [output, start, *(_cell(results.where(output=output, start=start), name, form) for _, name, form in _COLUMNS)]
        for output in results.values_of("output")
        for start in results.values_of("start")
    ]
    return Table(["output", "start", *(title for title, _, _ in _COLUMNS)], rows)


_COLUMNS = (
    ("PSNR, dB", "psnr", ".2f"),
    ("near black", "psnr_black", ".2f"),
    ("near white", "psnr_white", ".2f"),
    ("zero gradients, first step", "zero_first", ".1%"),
    ("last step", "zero_last", ".1%"),
    ("gradient near black and white", "reach", ".2f"),
    ("out of range", "out_of_range", ".1%"),
)


def _cell(results: Results, name: str, specification: str) -> str:
    mean = mean_of(results.by_seed(name)).mean
    return "–" if np.isnan(mean) else format(mean, specification)
