"""What the default settings do to images that need no denoising: ``python benchmarks/clean_input.py FOLDER``.

Prints the PSNR between each clean image of the folder and what comes back of it: lowest, median, and how many are above
45 dB.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import pellucid
from pellucid.evaluation.dataset import expand, load_clean
from pellucid.evaluation.metrics import psnr

BAR_DB = 45.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gray", action="store_true")
    options = parser.parse_args()
    found: list[tuple[float, str]] = []
    for path in expand([options.folder]):
        clean = load_clean(path, gray=options.gray)
        returned = pellucid.denoise(clean)
        same = np.array_equal(clean, returned)
        found.append((math.inf if same else psnr(clean, np.clip(returned, 0, 1)), path.name))
    found.sort()
    values = [value for value, _ in found]
    n_above = sum(value > BAR_DB for value in values)
    print(f"{len(found)} images: lowest {values[0]:.1f} ({found[0][1]}), median {np.median(values):.1f} dB, ", end="")
    print(f"{n_above} above {BAR_DB:g} dB")


if __name__ == "__main__":
    main()
