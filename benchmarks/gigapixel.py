"""Memory and time of ``pellucid denoise`` on huge images: ``python benchmarks/gigapixel.py``.

Writes noisy TIFFs (RGB, 8 bit) of several sizes, row by row, and denoises each in a process of its own. Prints the
peak resident memory as the operating system counts it, the seconds, and the seconds per megapixel relative to the first
size. The time of loading the engine and the network is measured on a tiny image and subtracted. For small images, the
median of several runs is printed.
``--sizes 1024 8192 16384 32768`` goes up to the gigapixel.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from skimage.data import astronaut

from pellucid import io

COMMAND = Path(sys.executable).with_name("pellucid")
SIGMA = 20
BAND_PX, NOISE_MOVES_PX = 64, 4096
#: Up to SMALL_MPX megapixels, seconds are the median of N_RUNS.
SMALL_MPX, N_RUNS = 4, 7


@dataclass(frozen=True)
class NoisyMosaic:
    """A photograph tiled to a size, with white noise, generated band by band."""

    width_px: int
    height_px: int

    @property
    def metadata(self) -> io.Metadata:
        """No compression, to be fast."""
        return io.Metadata(compression="none")

    @property
    def header(self) -> io.Header:
        """One page of RGB, 8 bits."""
        return io.Header(self.width_px, self.height_px, 3, np.dtype(np.uint8), "png", 1, has_alpha=False)

    def bands(self) -> Iterator[io.Samples]:
        """Yield the rows from the top to the bottom."""
        photograph, rng = astronaut().astype(np.int16), np.random.default_rng(0)
        n_across = -(-self.width_px // photograph.shape[1])
        # The same noise at changing offsets, since three billion new values take minutes.
        noise = rng.normal(0, SIGMA, (BAND_PX, self.width_px + NOISE_MOVES_PX, 3)).astype(np.int16)
        for top in range(0, self.height_px, BAND_PX):
            rows = np.arange(top, min(top + BAND_PX, self.height_px))
            band = np.tile(photograph[rows % len(photograph)], (1, n_across, 1))[:, : self.width_px]
            moved = int(rng.integers(NOISE_MOVES_PX))
            band += noise[: len(rows), moved : moved + self.width_px]
            yield np.clip(band, 0, 255, out=band).astype(np.uint8)

    def is_opaque(self) -> bool:
        """It has no alpha channel."""
        return True


def denoise(source: Path, target: Path, model: str) -> tuple[float, float]:
    """Denoise a file; return the seconds and the peak resident memory in MB.

    Raises
    ------
    subprocess.CalledProcessError
        The command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([COMMAND, "denoise", source, "-o", target, "--model", model, "--quiet", "--overwrite"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "pellucid denoise")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def measure(folder: Path, side_px: int, model: str) -> tuple[float, float]:
    """Write an image and denoise it, several times if it is small; return median seconds and peak MB."""
    source, target = folder / "noisy.tif", folder / "clean.tif"
    io.write(NoisyMosaic(side_px, side_px), source, overwrite=True)
    n_runs = N_RUNS if side_px**2 <= SMALL_MPX * 1e6 else 1
    runs = [denoise(source, target, model) for _ in range(n_runs)]
    return median(seconds for seconds, _ in runs), max(peak_mb for _, peak_mb in runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096, 8192, 16384], metavar="PX", help="sides")
    parser.add_argument("--model", default="fast", metavar="NAME")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="folder for the images")
    options = parser.parse_args(arguments)
    print(f"{'size':>14}{'Mpixel':>9}{'seconds':>10}{'s/Mpixel':>10}{'of first':>10}{'peak MB':>9}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), 64, options.model)
        start_s, _ = measure(Path(folder), 64, options.model)
        first = None
        for side in options.sizes:
            seconds, peak_mb = measure(Path(folder), side, options.model)
            megapixels = side * side / 1e6
            each = (seconds - start_s) / megapixels
            first = first or each
            row = f"{f'{side}x{side}':>14}{megapixels:>9.0f}{seconds:>10.1f}{each:>10.3f}{each / first:>10.2f}"
            print(f"{row}{peak_mb:>9.0f}", flush=True)
    print(f"start-up, subtracted from each s/Mpixel: {start_s:.1f} s")


if __name__ == "__main__":
    main()
