"""Draw images before and after, for judging by eye: ``python benchmarks/before_after.py FOLDER -o page.png``.

For each image in FOLDER, the window with the strongest noise is shown four times: noisy, denoised with the default
options, the residual (times four, on gray), and the noise map (times ten). Printed are the names, top to bottom, with
the estimated noise levels.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid import io
from pellucid.evaluation.datasets import list_images
from pellucid.inference.denoiser import Denoiser
from pellucid.simulation.noise import Image

WINDOW_PX, ZOOM = 144, 2
RESIDUAL_GAIN, LEVEL_GAIN = 4, 10


def read_unit(path: Path) -> Image:
    """Read an image as three channels on the [0, 1] scale."""
    page = io.read(path).pages[0]
    unit = io.to_float(page, 0, np.iinfo(page.dtype).max)
    return np.ascontiguousarray(np.broadcast_to(unit, (*unit.shape[:2], 3)))


def busiest(level: NDArray[np.float32]) -> tuple[slice, slice]:
    """Find the window on a grid with the strongest noise."""
    height, width = level.shape
    places = [
        (top, left)
        for top in range(0, max(height - WINDOW_PX, 0) + 1, WINDOW_PX // 2)
        for left in range(0, max(width - WINDOW_PX, 0) + 1, WINDOW_PX // 2)
    ]
    top, left = max(places, key=lambda at: level[at[0] : at[0] + WINDOW_PX, at[1] : at[1] + WINDOW_PX].mean())
    return slice(top, top + WINDOW_PX), slice(left, left + WINDOW_PX)


def row_of(noisy: Image, denoiser: Denoiser) -> Image:
    """Draw the four windows of one image side by side."""
    level = denoiser.estimate_map(noisy, data_range=1.0)
    cleaned = denoiser.denoise(noisy, data_range=1.0)
    at = busiest(level)
    before, after = noisy[at], cleaned[at]
    seen = np.repeat(LEVEL_GAIN * level[at][..., None], 3, axis=2)
    row = np.zeros((WINDOW_PX, 4 * WINDOW_PX, 3), np.float32)
    for column, window in enumerate((before, after, 0.5 + RESIDUAL_GAIN * (before - after), seen)):
        left = column * WINDOW_PX
        row[: window.shape[0], left : left + window.shape[1]] = window
    return row


def main() -> None:
    """Denoise and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("-o", dest="page", type=Path, required=True, metavar="PNG")
    parser.add_argument("--model", default="photo", metavar="NAME")
    options = parser.parse_args()
    denoiser = Denoiser(options.model)
    rows = []
    for path in list_images([options.folder]):
        noisy = read_unit(path)
        rows.append(row_of(noisy, denoiser))
        print(
            f"{path.name:<32}{noisy.shape[1]}x{noisy.shape[0]}  noise {255 * denoiser.estimate(noisy):.1f}", flush=True
        )
    page = np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    pixels = np.rint(page.clip(0, 1) * 255).astype(np.uint8)
    io.write(io.Picture((pixels,), (None,), "png"), options.page, overwrite=True)


if __name__ == "__main__":
    main()
