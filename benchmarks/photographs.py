"""Real photographs, pellucid and peers: ``python benchmarks/photographs.py PAIRS --peers WEIGHTS``.

PAIRS has photographs ``*_real.*`` and the means of many shots of each, ``*_mean.*``. Our model is blind. Peers need a
sigma for each image: that estimated by pellucid, or one value for all photographs. Printed are the mean PSNR of the
8-bit output, and the share of photographs that are closer to the mean than the noisy ones. With ``--align`` each mean
is first registered to its photograph, since a camera moves between shots, and a shifted mean favours blurred edges.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pellucid.evaluation.baselines import Setup, find_method
from pellucid.evaluation.datasets import load_clean
from pellucid.evaluation.environment import describe_environment
from pellucid.evaluation.metrics import psnr
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import default_threads
from pellucid.simulation.noise import Image

SIGMAS = (3, 5, 7, 10, 15, 20)


def saved(image: Image) -> Image:
    """Round to the values of an 8-bit file."""
    levels: Image = np.rint(np.clip(image, 0, 1) * 255) / np.float32(255)
    return levels


def aligned(noisy: Image, mean: Image) -> tuple[Image, float]:
    """Register a mean to its photograph; return it and the shift in pixels.

    The shift maximizes correlation, whatever the brightness: Evangelidis and Psarakis, "Parametric
    Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE PAMI 2008, as OpenCV has it.
    """
    smooth = [cv2.GaussianBlur(image.mean(axis=2), (0, 0), 1.5) for image in (noisy, mean)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-8)
    _, warp = cv2.findTransformECC(*smooth, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION, criteria)
    size = mean.shape[1::-1]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved: Image = cv2.warpAffine(mean, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(moved, 0, 1), float(np.hypot(*warp[:, 2]))


def print_row(label: str, values: Sequence[float], noisy: Sequence[float]) -> None:
    """Print the mean PSNR, and the share of photographs that improved."""
    better = np.mean(np.array(values) > np.array(noisy))
    print(f"{label:<40}{np.mean(values):>7.2f} dB{better:>7.0%} better", flush=True)


def measure(denoise: Callable[[int, Image], Image], pairs: Sequence[tuple[Image, Image]]) -> list[float]:
    """Denoise each photograph, by its index; return their PSNR."""
    return [psnr(clean, saved(denoise(number, noisy))) for number, (noisy, clean) in enumerate(pairs)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, metavar="PAIRS")
    parser.add_argument("--peers", type=Path, metavar="WEIGHTS", help="folder of published weights, for ffdnet")
    parser.add_argument("--methods", nargs="*", default=["opencv-nlm", "ffdnet", "bm3d"], metavar="NAME")
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS, metavar="S")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth pair")
    parser.add_argument("--model", default="photo", metavar="NAME")
    parser.add_argument("--align", action="store_true", help="register each mean to its photograph first")
    options = parser.parse_args()
    print(describe_environment())
    paths = sorted(options.pairs.glob("*_real.*"))[:: options.every]
    pairs = [(load_clean(path), load_clean(path.with_name(path.name.replace("_real", "_mean")))) for path in paths]
    if options.align:
        moved = [aligned(*pair) for pair in pairs]
        print(f"means shifted by {np.median([distance for _, distance in moved]):.2f} pixels (median)")
        pairs = [(image, mean) for (image, _), (mean, _) in zip(pairs, moved, strict=True)]
    noisy = measure(lambda _, image: image, pairs)
    print_row(f"noisy, {len(pairs)} photographs", noisy, noisy)
    ours = Denoiser(options.model)
    print_row(f"{options.model} (blind)", measure(lambda _, image: ours.denoise(image), pairs), noisy)
    levels = [ours.estimate(image) for image, _ in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        setup = Setup(n_channels=3, n_threads=default_threads(), scratch=Path(scratch), peers=options.peers)
        for name in options.methods:
            peer = find_method(name).prepare(setup)
            values = measure(lambda number, image, peer=peer: peer(image, levels[number]), pairs)
            print_row(f"{name}, sigma estimated by pellucid", values, noisy)
            for sigma in options.sigmas:
                values = measure(lambda _, image, peer=peer, sigma=sigma: peer(image, sigma / 255), pairs)
                print_row(f"{name}, sigma = {sigma:g}", values, noisy)


if __name__ == "__main__":
    main()
