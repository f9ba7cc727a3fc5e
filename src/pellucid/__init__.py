"""pellucid: a noisy image in, a clean image out."""

from importlib.metadata import version as _version

from pellucid.catalog import ModelCard, find_model, list_models
from pellucid.denoiser import Denoiser, denoise, estimate_sigma
from pellucid.errors import PellucidError

__all__ = [
    "Denoiser",
    "ModelCard",
    "PellucidError",
    "__version__",
    "denoise",
    "estimate_sigma",
    "find_model",
    "list_models",
]

__version__ = _version("pellucid")
