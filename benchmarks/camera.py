"""Compare simulated camera noise with real noise: ``python benchmarks/camera.py PAIRS -o page.png``.

PAIRS has photographs ``*_real.*`` and the means of many shots ``*_mean.*``. Each mean also passes through randomly
drawn cameras, until the noise of one is about as strong as the real noise. Printed are the speed on one core and
statistics of both kinds of noise, whose spreads over the photographs should overlap. A few are drawn, each beside its
noise times four.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from pellucid import io
from pellucid.errors import DataError
from pellucid.evaluation.datasets import load_clean
from pellucid.evaluation.environment import describe_environment
from pellucid.simulation.camera.camera import Pair
from pellucid.simulation.camera.sampling import sample_camera
from pellucid.simulation.jpeg import TO_YCBCR
from pellucid.simulation.noise import Image

BAR_PER_S = 60
PATCH_PX, CROP_PX, ZOOM, GAIN = 128, 160, 2, 4
#: Noise is comparable to the real one if it is as strong within this factor.
LIKENESS = 1.5
LEVELS = (0.0, 0.15, 0.35, 0.6, 1.0)
LAGS = (1, 2, 4)
COLUMNS = (
    "RMS (0..255)",
    *(f"RMS, brightness {low:g} to {high:g}" for low, high in pairwise(LEVELS)),
    "Cb and Cr relative to Y",
    *(f"Y, correlation at {lag} px" for lag in LAGS),
    *(f"Cb, correlation at {lag} px" for lag in LAGS),
)


def load_pairs(folder: Path) -> list[Pair]:
    """Read the real pairs of a folder: noisy, clean."""
    paths = sorted(folder.glob("*_real.*"))
    if not paths:
        raise DataError(f"{folder}: has no *_real.* with a *_mean.*: name a folder of real pairs")
    return [(load_clean(path), load_clean(path.with_name(path.name.replace("_real", "_mean")))) for path in paths]


def describe(pair: Pair) -> list[float]:
    """Compute the values of COLUMNS for one pair; NaN for a brightness of too few pixels."""
    noisy, clean = pair
    residual = 255 * (noisy - clean)
    luma, blue, red = np.moveaxis(residual @ TO_YCBCR.T, -1, 0)
    brightness = clean @ TO_YCBCR[0]
    row = [rms(residual)]
    for low, high in pairwise(LEVELS):
        there = (brightness >= low) & (brightness < high)
        row.append(rms(residual[there]) if there.sum() > 1000 else np.nan)
    row.append(rms(np.stack([blue, red])) / max(rms(luma), 1e-6))
    return row + [correlation(plane, lag) for plane in (luma, blue) for lag in LAGS]


def rms(values: Image) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def correlation(plane: Image, lag: int) -> float:
    """Compute the correlation of pixels at a distance, the mean of both directions."""
    plane = plane - plane.mean()
    products = (plane[lag:] * plane[:-lag]).mean() + (plane[:, lag:] * plane[:, :-lag]).mean()
    return float(products / 2 / max(float(np.mean(np.square(plane))), 1e-9))


def simulate(pairs: Sequence[Pair]) -> list[Pair]:
    """Pass each clean image through random cameras, until the noise is about as strong as the real one."""
    found: list[Pair] = []
    for number, (noisy, clean) in enumerate(pairs):
        for attempt in range(100):
            rng = np.random.default_rng([number, attempt])
            pair = sample_camera(rng).pair(clean, rng)
            if 1 / LIKENESS < rms(pair[0] - pair[1]) / rms(noisy - clean) < LIKENESS:
                found.append(pair)
                break
    return found


def time_patches(clean: Image, n_patches: int) -> float:
    """Measure patches per second of this thread's CPU time, so that other load counts little."""
    patch = np.ascontiguousarray(clean[:PATCH_PX, :PATCH_PX])
    start = time.thread_time()
    for seed in range(n_patches):
        rng = np.random.default_rng(seed)
        sample_camera(rng).pair(patch, rng)
    return n_patches / (time.thread_time() - start)


def draw_page(real: Sequence[Pair], simulated: Sequence[Pair]) -> Image:
    """Draw photographs side by side: real, its noise, simulated, its noise."""
    rows = []
    for pairs in zip(real, simulated, strict=True):
        strips = [strip for noisy, clean in pairs for strip in (noisy, 0.5 + GAIN * (noisy - clean))]
        rows.append(np.concatenate([strip[:CROP_PX, :CROP_PX] for strip in strips], axis=1))
    return np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, metavar="PAIRS")
    parser.add_argument("-o", dest="page", type=Path, metavar="PNG", help="output of the drawing")
    parser.add_argument("--patches", type=int, default=200, metavar="N", help="patches to time")
    parser.add_argument("--rows", type=int, default=6, metavar="N", help="rows of the page")
    options = parser.parse_args(arguments)
    print(describe_environment())
    real = load_pairs(options.pairs)
    speed = time_patches(real[0][1], options.patches)
    print(f"{speed:.0f} patches of {PATCH_PX}x{PATCH_PX} per second on one core (bar: {BAR_PER_S})\n")
    simulated = simulate(real)
    print(f"10%, median and 90% of {len(real)} real and {len(simulated)} simulated photographs")
    spreads = [
        np.nanpercentile([describe(pair) for pair in pairs], (10, 50, 90), axis=0) for pairs in (real, simulated)
    ]
    for name, *values in zip(COLUMNS, *spreads[0], *spreads[1], strict=True):
        print(
            f"{name:<28}" + "  |".join("".join(f"{value:8.2f}" for value in part) for part in (values[:3], values[3:]))
        )
    if options.page:
        chosen = range(0, len(simulated), max(1, len(simulated) // options.rows))[: options.rows]
        page = draw_page([real[i] for i in chosen], [simulated[i] for i in chosen])
        pixels = np.rint(page.clip(0, 1) * 255).astype(np.uint8)
        io.write(io.Picture((pixels,), (None,), "png"), options.page, overwrite=True)


if __name__ == "__main__":
    main()
