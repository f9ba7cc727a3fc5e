"""Whether a colour model heeds the level it is told: ``python benchmarks/steering.py MODEL FOLDER``.

White noise is added to the first images of a folder of clean ones and the model is told this level, or another. Prints
the root mean square of what it takes out, on the 0..255 scale: told less than there is, it should leave the rest.
"""

import argparse
from pathlib import Path

import numpy as np

from pellucid import Denoiser
from pellucid.evaluation.datasets import expand, load_clean
from pellucid.simulation.noise import Gaussian

N_IMAGES = 8
#: Noise that there is, and noise that the model is told of.
CASES = ((25, 25), (25, 5), (10, 10), (10, 5), (0, 1))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    denoiser = Denoiser(options.model)
    clean = [load_clean(path) for path in expand([options.folder])[:N_IMAGES]]
    print(f"{'noise':>6}{'told':>6}{'taken out':>11}")
    for noise, told in CASES:
        taken = []
        for index, image in enumerate(clean):
            noisy = Gaussian(noise / 255)(image, np.random.default_rng(index))
            residual = noisy - denoiser.denoise(noisy, sigma=told / 255)
            taken.append(255 * float(np.sqrt(np.square(residual).mean())))
        print(f"{noise:>6}{told:>6}{np.mean(taken):>11.1f}")


if __name__ == "__main__":
    main()
