"""How much memory the command needs: ``python benchmarks/memory.py``.

Prints the peak resident memory of ``pellucid denoise`` as the operating system counts it, and the seconds, for
JPEG photographs of several sizes, each in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from pellucid import images

#: Width and height of the photographs.
SIZES_PX = ((1000, 1000), (6000, 4000), (10_000, 10_000))
COMMAND = Path(sys.executable).with_name("pellucid")


def make_photograph(width_px: int, height_px: int, path: Path) -> None:
    """Write a photograph tiled to a size."""
    tile = astronaut()
    n_down, n_across = -(-height_px // tile.shape[0]), -(-width_px // tile.shape[1])
    page = np.ascontiguousarray(np.tile(tile, (n_down, n_across, 1))[:height_px, :width_px])
    images.write(images.Picture((page,), (None,), "jpeg"), path)


def run(source: Path) -> tuple[float, float]:
    """Denoise a file; give the seconds and the peak resident memory in MB.

    Raises
    ------
    subprocess.CalledProcessError
        The command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([COMMAND, "denoise", source, "--quiet", "--overwrite"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "pellucid denoise")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure and print a table."""
    print(f"{'size':>14}{'Mpixel':>9}{'seconds':>9}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for width_px, height_px in SIZES_PX:
            source = Path(folder) / f"{width_px}.jpg"
            make_photograph(width_px, height_px, source)
            seconds, peak_mb = run(source)
            size = f"{width_px}x{height_px}"
            print(f"{size:>14}{width_px * height_px / 1e6:>9.0f}{seconds:>9.1f}{peak_mb:>9.0f}")


if __name__ == "__main__":
    main()
