"""pellucid: a noisy image in, a clean image out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.errors import PellucidError
    from pellucid.files import FileResult, denoise_file
    from pellucid.inference.api import denoise, estimate_sigma
    from pellucid.inference.denoiser import Denoiser
    from pellucid.inference.options import DenoiseOptions
    from pellucid.inference.registry import ModelCard, find_model, list_models

    __version__: str

__all__ = [
    "DenoiseOptions",
    "Denoiser",
    "FileResult",
    "ModelCard",
    "PellucidError",
    "__version__",
    "denoise",
    "denoise_file",
    "estimate_sigma",
    "find_model",
    "list_models",
]

_HOMES = {
    "DenoiseOptions": "inference.options",
    "Denoiser": "inference.denoiser",
    "FileResult": "files",
    "ModelCard": "inference.registry",
    "PellucidError": "errors",
    "denoise": "inference.api",
    "denoise_file": "files",
    "estimate_sigma": "inference.api",
    "find_model": "inference.registry",
    "list_models": "inference.registry",
}


def __getattr__(name: str) -> Any:
    """Import public names lazily (PEP 562): numpy alone takes longer than ``pellucid --help``."""
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("pellucid")
    elif name in _HOMES:
        value = getattr(import_module(f"pellucid.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'pellucid' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
