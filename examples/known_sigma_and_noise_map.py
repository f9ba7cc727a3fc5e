"""Denoise with a known noise level, with a noise map, and blind: ``python examples/known_sigma_and_noise_map.py``."""

import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio as psnr

import pellucid


def main() -> None:
    """Add noise that grows from left to right, and compare four ways to say how strong it is."""
    clean = data.astronaut() / 255
    height, width, _ = clean.shape
    # In Python, sigma is a fraction of the data range: what papers call sigma = 25 is 25 / 255.
    sigma = np.broadcast_to(np.linspace(10, 40, width) / 255, (height, width))
    noisy = clean + sigma[..., None] * np.random.default_rng(0).standard_normal(clean.shape)

    estimated = pellucid.estimate_sigma(noisy, data_range=1.0)
    print(
        f"estimated level: {255 * estimated:.1f} of 255, true root mean square: {255 * np.sqrt(np.mean(sigma**2)):.1f}"
    )
    noise_map = pellucid.Denoiser("photo").estimate_map(noisy, data_range=1.0)
    left, right = 255 * noise_map[:, :64].mean(), 255 * noise_map[:, -64:].mean()
    print(f"estimated map: {left:.1f} at the left, {right:.1f} at the right")

    results = {
        "blind": pellucid.denoise(noisy, data_range=1.0),
        "one level, 25": pellucid.denoise(noisy, sigma=25 / 255, data_range=1.0),
        "one level, color": pellucid.denoise(noisy, sigma=25 / 255, data_range=1.0, model="color"),
        "map, color": pellucid.denoise(noisy, sigma=sigma, data_range=1.0, model="color"),
    }
    print(f"{'noisy':<18}{psnr(clean, noisy, data_range=1):.2f} dB")
    for name, denoised in results.items():
        print(f"{name:<18}{psnr(clean, denoised, data_range=1):.2f} dB")


if __name__ == "__main__":
    main()
