"""What the default options do to images without noise: ``python benchmarks/clean_input.py FOLDER``.

Prints the PSNR between each clean image of the folder and the output: lowest, median, and how many are above a bar.
With ``--quality 90`` the images are compressed as JPEG first, and the output is compared with that.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import pellucid
from pellucid.evaluation.datasets import list_images, load_clean
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.jpeg import Jpeg


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--quality", type=int, metavar="Q", help="JPEG quality, with chroma at half resolution")
    parser.add_argument("--bar", type=float, default=45.0, metavar="DB")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth image")
    parser.add_argument("--model", metavar="NAME", help="default: that of such images")
    options = parser.parse_args()
    found: list[tuple[float, str]] = []
    jpeg = options.quality and Jpeg(options.quality, is_subsampled=True)
    for path in list_images([options.folder])[:: options.every]:
        clean = load_clean(path, gray=options.gray)
        if jpeg:
            clean = jpeg(clean, np.random.default_rng(0))
        denoised = pellucid.denoise(clean, model=options.model)
        same = np.array_equal(clean, denoised)
        found.append((math.inf if same else psnr(clean, np.clip(denoised, 0, 1)), path.name))
    found.sort()
    values = [value for value, _ in found]
    n_above = sum(value > options.bar for value in values)
    print(f"{len(found)} images: lowest {values[0]:.1f} ({found[0][1]}), median {np.median(values):.1f} dB, ", end="")
    print(f"{n_above} above {options.bar:g} dB")


if __name__ == "__main__":
    main()
