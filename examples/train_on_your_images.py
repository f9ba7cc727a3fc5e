"""Train a small denoiser on your own images, export and use it: ``python examples/train_on_your_images.py [FOLDER]``.

Takes a minute, far too little for a good model: see recipes/ for how the bundled ones are trained. Without FOLDER it
trains on images that scikit-image brings along.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from skimage import data, io
from skimage.metrics import peak_signal_noise_ratio as psnr

import pellucid
from pellucid.training.export import export_model, load_trained
from pellucid.training.recipe import parse_recipe
from pellucid.training.trainer import train

N_STEPS = int(os.environ.get("PELLUCID_EXAMPLE_STEPS", "300"))
RECIPE = {
    "name": "mine",
    "summary": "My images, with white Gaussian noise",
    "max_steps": N_STEPS,
    "val_interval": max(1, N_STEPS // 3),
    "network": {"widths": [16, 32], "depths": [1, 1]},
    "data": {"patch_px": 64, "batch_size": 8, "val_every_n": 4, "noise": [{"kind": "gaussian", "sigma_max": 50.0}]},
    "optimizer": {"warmup_steps": max(1, N_STEPS // 10)},
}


def write_images(folder: Path) -> None:
    """Write some photographs to train on."""
    folder.mkdir()
    for name in ("astronaut", "coffee", "rocket", "hubble_deep_field"):
        io.imsave(folder / f"{name}.png", getattr(data, name)()[:512, :512], check_contrast=False)


def main() -> None:
    """Train, export, and compare with the noisy image on one that was not trained on."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        images = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "images"
        if len(sys.argv) == 1:
            write_images(images)
        train(parse_recipe(RECIPE, "recipe"), images, here / "run")
        model = export_model(load_trained(here / "run"), here / "model")

        clean = data.chelsea()
        noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape), 0, 255).round().astype(np.uint8)
        denoised = pellucid.denoise(noisy, sigma=25 / 255, model=model)
        print(f"chelsea: {psnr(clean, noisy):.2f} dB noisy, {psnr(clean, denoised):.2f} dB denoised")


if __name__ == "__main__":
    main()
