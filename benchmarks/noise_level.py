"""Accuracy of the noise estimate: ``python benchmarks/noise_level.py FOLDER``.

White noise of known level is added to the clean photographs in FOLDER. Printed are the mean relative error of our
estimate and of scikit-image's (`estimate_sigma`, the median of wavelet coefficients), in colour and in gray, and the
mean ratio of ours to the true level, from which `pellucid.inference.noise_map.MIDDLE` is set; then the estimates for
the clean photographs themselves at each scale, from which `pellucid.inference.noise_estimation.TEXTURE` is set.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import estimate_sigma as estimate_by_wavelets

from pellucid import estimate_sigma, io
from pellucid.inference.noise_estimation import white_noise_sigma

LEVELS = (5, 10, 15, 25, 50)
SCALES = (1, 2, 4)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Image = NDArray[np.float32]


def read_clean(folder: Path, n_images: int) -> list[Image]:
    """Read photographs evenly spread over a folder, as floats in [0, 1]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in io.SUFFIXES)
    chosen = paths[:: max(1, len(paths) // n_images)][:n_images]
    pages = (io.read(path).pages[0] for path in chosen)
    return [io.to_float(page, 0, np.iinfo(page.dtype).max) for page in pages if page.shape[2] == 3]


def print_errors(clean: Sequence[Image]) -> None:
    """Print the mean relative error at each level."""
    print(f"{len(clean)} images of {clean[0].shape[2]} channels")
    print(f"{'sigma':>6}{'pellucid':>10}{'scikit-image':>14}   mean relative error{'pellucid':>14}   mean ratio")
    for level in LEVELS:
        ratios, theirs = [], []
        for index, image in enumerate(clean):
            noise = np.random.default_rng(index).standard_normal(image.shape, dtype=np.float32)
            noisy = image + np.float32(level / 255) * noise
            ratios.append(estimate_sigma(noisy, data_range=1) * 255 / level)
            wavelet = float(np.mean(estimate_by_wavelets(noisy, channel_axis=-1)))
            theirs.append(abs(wavelet * 255 / level - 1))
        error = np.mean(np.abs(np.array(ratios) - 1))
        print(f"{level:>6}{error:>10.1%}{np.mean(theirs):>14.1%}{np.mean(ratios):>36.3f}")


def print_texture(clean: Sequence[Image]) -> None:
    """Print the noise estimated in clean photographs at each scale, 0..255."""
    print(f"{'scale':>6}{'median':>10}{'99th':>8}{'largest':>9}   estimated in clean images")
    for scale in SCALES:
        seen = [255 * scale * white_noise_sigma(image, np.random.default_rng(0), scale) for image in clean]
        print(f"{scale:>6}{np.median(seen):>10.2f}{np.percentile(seen, 99):>8.2f}{max(seen):>9.2f}")


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=30, metavar="N")
    options = parser.parse_args()
    colour = read_clean(options.folder, options.images)
    gray = [(image @ LUMA)[..., None] for image in colour]
    for clean in (colour, gray):
        print_errors(clean)
        print_texture(clean)
        print()


if __name__ == "__main__":
    main()
