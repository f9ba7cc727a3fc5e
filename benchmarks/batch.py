"""Throughput of ``pellucid batch`` relative to the network alone: ``python benchmarks/batch.py``.

Noisy photographs are denoised from JPEG to JPEG by the batch and, alternating in the same process, their pixels by the
network alone, as a whole and without reading, noise estimation, tiling or writing. Both use the same processors.
Printed are the medians over the repeats, and every repeat.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from skimage.data import astronaut

from pellucid import io
from pellucid.batch import Batch, plan_jobs
from pellucid.inference.engine import Network, default_threads
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.registry import find_model

SIGMA = 20


def make_photographs(folder: Path, n_images: int, side_px: int) -> None:
    """Write different noisy JPEGs."""
    photograph = astronaut()
    n_tiles = -(-side_px // photograph.shape[0]) + 1
    large = np.tile(photograph, (n_tiles, n_tiles, 1)).astype(np.float32)
    for number in range(n_images):
        rng = np.random.default_rng(number)
        top, left = rng.integers(photograph.shape[0], size=2)
        clean = large[top : top + side_px, left : left + side_px]
        noise = SIGMA * rng.standard_normal(clean.shape, dtype=np.float32)
        page = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
        io.write(io.Picture((page,), (None,), "jpeg"), folder / f"{number}.jpg")


def time_batch(folder: Path, options: DenoiseOptions) -> float:
    """Denoise a folder into a new one; return the seconds without those of loading the network."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as output:
        batch = Batch(plan_jobs([folder], Path(output)), Path(output), options)
        # Compiling the network for an image size is included, here and for the network alone.
        start = time.perf_counter()
        n_failed = sum(entry.status != "ok" for entry in batch.run())
        seconds = time.perf_counter() - start
    if n_failed:
        raise SystemExit(f"{n_failed} files failed")
    return seconds


def time_network(network: Network, windows: list[np.ndarray], sigma: np.ndarray) -> float:
    """Return the seconds of the network for all images, including one compilation."""
    start = time.perf_counter()
    for window in windows:
        network(window, sigma)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24, metavar="N")
    parser.add_argument("--size", type=int, default=1024, metavar="PX", help="side of the images, at most a tile")
    parser.add_argument("--model", default="color", metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photographs"
        folder.mkdir()
        make_photographs(folder, options.images, options.size)
        windows = [io.to_float(io.read(path).pages[0], 0, 255) for path in sorted(folder.iterdir())]
        sigma = np.full((options.size, options.size, 1), SIGMA / 255, np.float32)
        seconds: dict[str, list[float]] = {"network": [], "batch": []}
        for _ in range(options.repeats):
            seconds["network"].append(time_network(Network(find_model(options.model)), windows, sigma))
            seconds["batch"].append(time_batch(folder, DenoiseOptions(model=options.model)))
    megapixels = options.images * options.size**2 / 1e6
    print(f"{options.images} JPEGs of {options.size}x{options.size}, {options.model}, {default_threads()} processors")
    for name, values in seconds.items():
        each = " ".join(f"{value:.1f}" for value in values)
        print(f"{name:<9}{megapixels / median(values):>7.3f} megapixels/s  ({each} s)")
    shares = [network / batch for network, batch in zip(seconds["network"], seconds["batch"], strict=True)]
    print(f"speed of the batch relative to the network: {median(shares):.1%}  ({' '.join(f'{s:.1%}' for s in shares)})")


if __name__ == "__main__":
    main()
