"""How a colour model responds to a sigma other than the true one: ``python benchmarks/steering.py MODEL FOLDER``.

White noise is added to the first images of a folder of clean ones, and the model gets this sigma or another. Prints the
root mean square of the residual on the 0..255 scale: with a lower sigma the model should remove less.
"""

import argparse
from pathlib import Path

import numpy as np

from pellucid import Denoiser
from pellucid.evaluation.datasets import list_images, load_clean
from pellucid.simulation.noise import Gaussian

N_IMAGES = 8
#: Sigma of the noise, and sigma given to the model.
CASES = ((25, 25), (25, 5), (10, 10), (10, 5), (0, 1))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    denoiser = Denoiser(options.model)
    clean = [load_clean(path) for path in list_images([options.folder])[:N_IMAGES]]
    print(f"{'noise':>6}{'sigma':>6}{'residual':>11}")
    for noise, sigma in CASES:
        residual_rms = []
        for index, image in enumerate(clean):
            noisy = Gaussian(noise / 255)(image, np.random.default_rng(index))
            residual = noisy - denoiser.denoise(noisy, sigma=sigma / 255)
            residual_rms.append(255 * float(np.sqrt(np.square(residual).mean())))
        print(f"{noise:>6}{sigma:>6}{np.mean(residual_rms):>11.1f}")


if __name__ == "__main__":
    main()
