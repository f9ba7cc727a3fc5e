"""What the default settings do to images that need no denoising: ``python benchmarks/clean_input.py FOLDER``.

Prints the PSNR between each clean image of the folder and what comes back of it: lowest, median, and how many are above
a bar. With ``--quality 90`` the images pass through JPEG first, which is then what they are compared with.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import pellucid
from pellucid.evaluation.datasets import expand, load_clean
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.jpeg import Jpeg


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--quality", type=int, metavar="Q", help="of JPEG, with colour at half resolution")
    parser.add_argument("--bar", type=float, default=45.0, metavar="DB")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth image")
    parser.add_argument("--model", metavar="NAME", help="default: what such an image gets")
    options = parser.parse_args()
    found: list[tuple[float, str]] = []
    jpeg = options.quality and Jpeg(options.quality, is_subsampled=True)
    for path in expand([options.folder])[:: options.every]:
        clean = load_clean(path, gray=options.gray)
        if jpeg:
            clean = jpeg(clean, np.random.default_rng(0))
        returned = pellucid.denoise(clean, model=options.model)
        same = np.array_equal(clean, returned)
        found.append((math.inf if same else psnr(clean, np.clip(returned, 0, 1)), path.name))
    found.sort()
    values = [value for value, _ in found]
    n_above = sum(value > options.bar for value in values)
    print(f"{len(found)} images: lowest {values[0]:.1f} ({found[0][1]}), median {np.median(values):.1f} dB, ", end="")
    print(f"{n_above} above {options.bar:g} dB")


if __name__ == "__main__":
    main()
