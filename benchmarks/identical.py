"""SHA-256 of what every bundled model makes of some images: ``python benchmarks/identical.py FOLDER...``.

Run it on two commits and compare the two outputs with ``diff``: a change that should not alter results leaves them
equal. The images are taken evenly from the folders and cropped to ``--crop`` pixels; white noise is added. Each model
gets them as uint8, uint16 and float32: blind, with a noise level, with a noise map, with every weight other than 1, in
small tiles, and without the added noise.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pellucid

SUFFIXES = {".jpg", ".jpeg", ".png"}
SIGMA, TILE_PX = 15, 320
WEIGHTS = {"strength": 0.7, "luma": 0.8, "chroma": 0.9, "detail": 0.4}

Pixels = NDArray[np.generic]


def choose_images(folders: list[Path], n_images: int) -> list[Path]:
    """Choose images evenly: as many of each folder as of the others, spread over its sorted names."""
    chosen = []
    for index, folder in enumerate(folders):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        n_here = n_images // len(folders) + (index < n_images % len(folders))
        chosen += [paths[i * len(paths) // n_here] for i in range(n_here)]
    return chosen


def read_pixels(path: Path, n_channels: int, crop_px: int) -> NDArray[np.uint8]:
    """Read the top left of an image in the number of channels that a model takes."""
    image = Image.open(path).convert("RGB" if n_channels == 3 else "L")
    return np.asarray(image)[:crop_px, :crop_px]


def add_noise(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add white Gaussian noise, always the same."""
    noise = SIGMA * np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def cases(model: str, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Callable[[], Pixels | float]]]:
    """Name each way of calling pellucid on an image, and the call."""
    denoiser = pellucid.Denoiser(model)
    axis = -1 if pixels.ndim == 3 else None
    clean, pixels = pixels, add_noise(pixels)
    deep, unit = pixels * np.uint16(257), pixels / np.float32(255)
    sigma_map = np.linspace(2 / 255, 40 / 255, pixels.shape[1], dtype=np.float32)
    sigma_map = np.ascontiguousarray(np.broadcast_to(sigma_map, pixels.shape[:2]))
    yield "uint8, blind", lambda: denoiser.denoise(pixels, channel_axis=axis)
    yield "uint16, blind", lambda: denoiser.denoise(deep, channel_axis=axis)
    yield "float32, blind", lambda: denoiser.denoise(unit, channel_axis=axis)
    yield "uint8, sigma = 25", lambda: denoiser.denoise(pixels, sigma=25 / 255, channel_axis=axis)
    yield "float32, sigma = 25", lambda: denoiser.denoise(unit, sigma=25 / 255, channel_axis=axis)
    yield "uint8, weights", lambda: denoiser.denoise(pixels, channel_axis=axis, **WEIGHTS)
    yield "uint16, weights, sigma = 10", lambda: denoiser.denoise(deep, sigma=10 / 255, channel_axis=axis, **WEIGHTS)
    yield "float32, noise map", lambda: denoiser.denoise(unit, sigma=sigma_map, channel_axis=axis)
    yield "uint8, tiles", lambda: pellucid.Denoiser(model, tile_px=TILE_PX).denoise(pixels, channel_axis=axis)
    yield "uint8, pellucid.denoise", lambda: pellucid.denoise(pixels, model=model, channel_axis=axis)
    yield "uint8, no noise added, blind", lambda: denoiser.denoise(clean, channel_axis=axis)
    yield "estimated sigma", lambda: pellucid.estimate_sigma(pixels, channel_axis=axis)


def digest(result: Pixels | float) -> str:
    """Hash an array's dtype, shape and bytes; numbers are printed as they are."""
    if isinstance(result, float):
        return result.hex()
    header = f"{result.dtype.str} {result.shape} ".encode()
    return hashlib.sha256(header + np.ascontiguousarray(result).tobytes()).hexdigest()


def main() -> None:
    """Denoise and print a line for each model, image and case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="folders of JPEG or PNG images")
    parser.add_argument("--images", type=int, default=10, metavar="N", help="images in all (default: 10)")
    parser.add_argument("--crop", type=int, default=400, metavar="PX", help="side of the crops (default: 400)")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="default: every bundled model")
    options = parser.parse_args()
    for model in options.models or [card.name for card in pellucid.list_models()]:
        n_channels = pellucid.find_model(model).channels
        for path in choose_images(options.folders, options.images):
            for name, call in cases(model, read_pixels(path, n_channels, options.crop)):
                print(f"{model}  {path.name}  {name}  {digest(call())}", flush=True)


if __name__ == "__main__":
    main()
