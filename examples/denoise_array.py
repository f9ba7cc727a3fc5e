"""Denoise numpy arrays: colour and gray, 8 bits and float, blind: ``python examples/denoise_array.py``."""

import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio as psnr

import pellucid


def main() -> None:
    """Add noise to three images, denoise them, and print PSNR before and after."""
    rng = np.random.default_rng(0)

    clean = data.chelsea()  # (300, 451, 3) uint8
    noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).round().astype(np.uint8)
    denoised = pellucid.denoise(noisy)
    print(f"colour, uint8:     {psnr(clean, noisy):.2f} dB -> {psnr(clean, denoised):.2f} dB, {denoised.dtype}")

    gray = data.camera() / 255  # (512, 512) float64 in [0, 1]
    noisy = gray + rng.normal(0, 25 / 255, gray.shape)
    denoised = pellucid.denoise(noisy, channel_axis=None, data_range=1.0)
    print(f"gray, float64:     {psnr(gray, noisy):.2f} dB -> {psnr(gray, denoised):.2f} dB, {denoised.dtype}")

    # For many images, keep a Denoiser: the network is loaded once. Channels may lie on any axis.
    denoiser = pellucid.Denoiser("fast", n_threads=2)
    stack = np.moveaxis(data.astronaut(), -1, 0)  # (3, 512, 512)
    noisy = np.clip(stack + rng.normal(0, 15, stack.shape), 0, 255).round().astype(np.uint8)
    denoised = denoiser.denoise(noisy, channel_axis=0, strength=0.9)
    print(f"channels first:    {psnr(stack, noisy):.2f} dB -> {psnr(stack, denoised):.2f} dB, {denoised.shape}")


if __name__ == "__main__":
    main()
