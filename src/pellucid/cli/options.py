"""Options that commands share, made from the one list of denoising options."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pellucid.inference.options import PRESENTATIONS, DenoiseOptions, default_in_user_units

#: The types that the command line converts to.
_TYPES: dict[str, Any] = {
    "model": str | None,
    "sigma": float | None,
    "tile_px": int,
    "n_threads": int | None,
    "max_pixels": int | None,
}


def option(name: str, *default: Any) -> Any:
    """Return the command-line option for a field of DenoiseOptions."""
    shown = PRESENTATIONS[name]
    metavar = shown.metavar or "|".join(shown.choices) or None
    return typer.Option(*default, *shown.flags, metavar=metavar, envvar=shown.envvar, help=shown.help)


Model = Annotated[str | None, option("model")]
Threads = Annotated[int | None, option("n_threads")]
Device = Annotated[str, option("device")]
MaxPixels = Annotated[int | None, option("max_pixels")]
Precision = Annotated[str, option("precision")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Overwrite existing outputs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def with_denoise_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter ``options`` by an option for each field of DenoiseOptions that has a flag."""
    names = [name for name, shown in PRESENTATIONS.items() if shown.flags]
    expanded = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name != "options":
            expanded.append(parameter)
            continue
        for name in names:
            default = default_in_user_units(name)
            kind = _TYPES.get(name, type(default))
            expanded.append(parameter.replace(name=name, default=option(name, default), annotation=kind))

    @functools.wraps(command)
    def expand(*arguments: Any, **given: Any) -> None:
        values = {name: given.pop(name) for name in names}
        command(*arguments, **given, options=DenoiseOptions.from_user_units(values))

    expand.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    return expand
