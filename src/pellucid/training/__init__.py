"""Train a denoiser and export it as a model folder. The only package that imports torch (extra ``train``)."""
