"""Compare denoisers on clean images with added noise: methods, test images, metrics, benchmark and report."""
