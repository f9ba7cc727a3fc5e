"""PSNR and SSIM of the bundled models on test sets: ``python benchmarks/quality.py FOLDER...``.

Each FOLDER is a test set: colour sets such as CBSD68 are measured with the model `color`, gray sets such as BSD68 with
`gray`, or all with ``--model``. Prints means for white Gaussian noise of sigma 15, 25 and 50, not clipped, seed 0. With
``--write`` the scores also go into the models' cards.
"""

import argparse
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from pellucid import io
from pellucid.evaluation.benchmark import evaluate
from pellucid.evaluation.datasets import list_images
from pellucid.inference.registry import CARD_FILE, WHITE_NOISE_NAMES, find_model

SIGMAS = (15, 25, 50)


def measure(folder: Path, model: str | None) -> tuple[str, dict[str, Any]]:
    """Return the model that was used for a test set, and its scores."""
    paths = list_images([folder])
    n_channels = io.read_header(paths[0]).n_channels
    name = model or WHITE_NOISE_NAMES[n_channels]
    scores = evaluate(paths, [name], SIGMAS, gray=n_channels == 1).summary()
    key = folder.resolve().name
    return name, {
        f"{key}_psnr": [round(score.psnr, 2) for score in scores],
        f"{key}_ssim": [round(score.ssim, 4) for score in scores],
    }


def write_scores(name: str, scores: dict[str, Any]) -> None:
    """Write scores into a bundled model's card."""
    path = find_model(name).folder / CARD_FILE
    card = tomllib.loads(path.read_text())
    card["scores"] = {**card["scores"], "sigma": list(SIGMAS), **scores}
    path.write_text(tomli_w.dumps(card))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help="write the scores into the models' cards")
    parser.add_argument("--model", metavar="NAME", help="a bundled model")
    options = parser.parse_args()
    for folder in options.folders:
        name, scores = measure(folder, options.model)
        for key, values in scores.items():
            print(f"{name:<12}{key:<16}{' / '.join(str(value) for value in values)}   (sigma 15 / 25 / 50)", flush=True)
        if options.write:
            write_scores(name, scores)


if __name__ == "__main__":
    main()
