"""Seconds per megapixel of pellucid and of peers, in one run: ``python benchmarks/speed.py``.

All methods denoise the same colour image with the same threads, in an order that is reversed with each repeat, so that
other load affects all alike. bm3d gets a smaller crop, and its time is scaled by the number of pixels.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from pellucid.errors import MissingExtraError
from pellucid.evaluation.baselines import Image, Setup, find_method
from pellucid.evaluation.environment import describe_environment
from pellucid.inference.engine import default_threads
from pellucid.simulation.noise import Gaussian

METHODS = (
    "pellucid@bf16",
    "pellucid@fp32",
    "pellucid@blind",
    "opencv-nlm",
    "skimage-nlm",
    "skimage-wavelet",
    "skimage-tv",
    "bm3d",
)
REFERENCE = METHODS[0]
SIGMA = 25 / 255


def noisy_photograph(side_px: int) -> Image:
    """Make a noisy square of a photograph of scikit-image, mirrored to the size."""
    from skimage.data import astronaut  # noqa: PLC0415 (an extra)

    photograph = astronaut().astype(np.float32) / 255
    margin = max(0, side_px - photograph.shape[0])
    larger = np.pad(photograph, ((0, margin), (0, margin), (0, 0)), mode="symmetric")
    square = larger[:side_px, :side_px]
    return Gaussian(SIGMA)(square, np.random.default_rng(0))


def time_alternating(calls: dict[str, Callable[[], object]], n_repeats: int) -> dict[str, float]:
    """Warm up, then call all in alternating order; return the median seconds of each."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(n_repeats):
        for name in list(calls)[:: 1 if repeat % 2 == 0 else -1]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def measure(side_px: int, bm3d_px: int, n_repeats: int, n_threads: int) -> dict[str, float]:
    """Return the seconds per megapixel of each method that is installed; report the others."""
    photograph = noisy_photograph(side_px)
    calls: dict[str, Callable[[], object]] = {}
    megapixels: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        setup = Setup(n_channels=3, n_threads=n_threads, scratch=Path(scratch))
        for name in METHODS:
            side = min(bm3d_px, side_px) if name == "bm3d" else side_px
            try:
                denoise = find_method(name).prepare(setup)
            except MissingExtraError as error:
                print(f"skipped: {error}")
                continue
            noisy = np.ascontiguousarray(photograph[:side, :side])
            calls[name] = partial(denoise, noisy, SIGMA)
            megapixels[name] = side * side / 1e6
        medians = time_alternating(calls, n_repeats)
    return {name: seconds / megapixels[name] for name, seconds in medians.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000, metavar="PX", help="side of the square image")
    parser.add_argument("--bm3d-size", type=int, default=192, metavar="PX", help="side of the crop for bm3d")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=default_threads(), metavar="N")
    options = parser.parse_args(arguments)
    about = describe_environment()
    print(f"{about['processor']}, {options.threads} threads; {about['system']}")
    print(", ".join(f"{package} {version}" for package, version in about["versions"].items()))
    print(f"{options.size}x{options.size} colour (bm3d: {options.bm3d_size}), median of {options.repeats}")
    found = measure(options.size, options.bm3d_size, options.repeats, options.threads)
    print(f"\n{'method':<18}{'s/Mpixel':>10}{'times ' + REFERENCE:>22}")
    for name, seconds in sorted(found.items(), key=lambda item: item[1]):
        print(f"{name:<18}{seconds:>10.3f}{seconds / found[REFERENCE]:>22.2f}")


if __name__ == "__main__":
    main()
