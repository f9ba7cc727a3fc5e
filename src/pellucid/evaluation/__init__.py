"""How good a denoiser is: noise models, metrics, the peers, and a benchmark that sets them side by side."""
