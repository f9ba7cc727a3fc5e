"""Noise of cameras that no model was trained on: ``python benchmarks/other_cameras.py FOLDER --peers WEIGHTS``.

The clean images of FOLDER are taken by cameras built of other parts than those that training imitates: OpenCV's
edge-aware demosaicing, the curve of sRGB, libjpeg by Pillow, and no smoothing or sharpening, as phones' raw files are
developed. Half of the cameras see only a soft quarter of the image. Our default is told nothing; FFDNet is told one
level for all images of a camera, of which the best counts. Printed is the mean PSNR in dB of what would be saved, in 8
bits, against the same photograph without noise.
"""

import argparse
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from pellucid.denoiser import Denoiser
from pellucid.evaluation.dataset import expand, load_clean
from pellucid.evaluation.methods import Setup, find_method
from pellucid.evaluation.metrics import psnr
from pellucid.evaluation.noise import Image
from pellucid.evaluation.surroundings import surroundings
from pellucid.runtime import default_threads

SIGMAS = (5, 10, 15, 25, 40, 55)
#: Of daylight, by which red, green and blue are multiplied, and how bright white is before that.
GAINS, EXPOSURE = np.array([2.0, 1.0, 1.6], np.float32), 0.9
#: Raw values from below black to above white, as 16 bits hold them.
BLACK, RANGE = 0.05, 1.35


@dataclass(frozen=True)
class Shot:
    """A camera's variance, ``shot * light + read``, the JPEG quality of its files or None, and whether it is soft."""

    shot: float
    read: float
    quality: int | None
    is_soft: bool


SHOTS = {
    "little noise, PNG": Shot(5e-4, 2e-6, None, False),
    "little noise, soft, JPEG 95": Shot(5e-4, 2e-6, 95, True),
    "some noise, PNG": Shot(3e-3, 6e-5, None, False),
    "some noise, soft, JPEG 90": Shot(3e-3, 6e-5, 90, True),
    "much noise, PNG": Shot(1.2e-2, 6e-4, None, False),
    "much noise, soft, PNG": Shot(1.2e-2, 6e-4, None, True),
    "much noise, JPEG 80": Shot(1.2e-2, 6e-4, 80, False),
}


def take(clean: Image, camera: Shot, rng: np.random.Generator) -> tuple[Image, Image]:
    """Take a photograph of a clean image, with noise and without."""
    height, width = (side // 2 * 2 for side in clean.shape[:2])
    seen = clean[:height, :width]
    if camera.is_soft:
        seen = cv2.resize(seen[: height // 2, : width // 2], (width, height), interpolation=cv2.INTER_CUBIC)
    light = _mosaic(_linear(np.clip(seen, 0, 1)) * EXPOSURE / GAINS)
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(camera.shot * light + camera.read)
    noisy, target = (_developed(raw, camera.quality) for raw in (light + noise, light))
    return noisy, target


def _developed(raw: NDArray[np.float32], quality: int | None) -> Image:
    """White balance, three colours for each pixel, the curve of sRGB, and a file."""
    gains = _mosaic(np.broadcast_to(GAINS, (*raw.shape, 3)))
    levels = np.rint((np.clip(raw * gains + BLACK, 0, RANGE)) / RANGE * 65535).astype(np.uint16)
    # OpenCV names a mosaic by its second row: red is first in the first one.
    colors = cv2.cvtColor(levels, cv2.COLOR_BayerBG2RGB_EA).astype(np.float32) * RANGE / 65535 - BLACK
    shown = np.clip(colors / EXPOSURE, 0, 1)
    curved = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    pixels = np.rint(curved * 255).astype(np.uint8)
    if quality is not None:
        file = io.BytesIO()
        PillowImage.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
        pixels = np.asarray(PillowImage.open(file))
    return pixels.astype(np.float32) / 255


def _linear(shown: Image) -> Image:
    """Undo the curve of sRGB (IEC 61966-2-1)."""
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


def _mosaic(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep one colour for each pixel, red in the first."""
    values = colors[..., 1].copy()
    values[::2, ::2], values[1::2, 1::2] = colors[::2, ::2, 0], colors[1::2, 1::2, 2]
    return values


def saved(image: Image) -> Image:
    """Give what a file of 8 bits would hold."""
    levels: Image = np.rint(np.clip(image, 0, 1) * 255) / np.float32(255)
    return levels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--peers", type=Path, required=True, metavar="WEIGHTS", help="folder of published weights")
    parser.add_argument("--models", nargs="+", default=["photo"], metavar="NAME")
    parser.add_argument("--every", type=int, default=6, metavar="N", help="only every Nth image (default: 6)")
    options = parser.parse_args()
    print(surroundings())
    images = [load_clean(path) for path in expand([options.folder])[:: options.every]]
    ours = {name: Denoiser(name) for name in options.models}
    print(f"{len(images)} images{'noisy':>25}" + "".join(f"{Path(name).name:>14}" for name in ours) + "   FFDNet, told")
    with tempfile.TemporaryDirectory() as scratch:
        setup = Setup(n_channels=3, n_threads=default_threads(), scratch=Path(scratch), peers=options.peers)
        peer = find_method("ffdnet").prepare(setup)
        for label, camera in SHOTS.items():
            pairs = [take(image, camera, np.random.default_rng(number)) for number, image in enumerate(images)]
            before = np.mean([psnr(target, noisy) for noisy, target in pairs])
            means = [np.mean([psnr(clean, saved(net.denoise(noisy))) for noisy, clean in pairs]) for net in ours.values()]
            told = {s: np.mean([psnr(clean, saved(peer(noisy, s / 255))) for noisy, clean in pairs]) for s in SIGMAS}
            best = max(told, key=told.__getitem__)
            cells = "".join(f"{value:>14.2f}" for value in means)
            print(f"{label:<28}{before:>7.2f}{cells}{told[best]:>12.2f}, {best}", flush=True)


if __name__ == "__main__":
    main()
