"""The commands that write no image: ``estimate``, ``models`` and ``doctor``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.options import AsJson, Device, MaxPixels, Model, Overwrite, Precision, Threads
from pellucid.cli.output import print_error, print_json
from pellucid.errors import ExitCode, ParameterError, PellucidError
from pellucid.inference.options import DenoiseOptions


def estimate_command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Image files.")],
    *,
    map_to: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="OUT",
            help="Draw the noise map of one image: white is 25.5. A TIFF gets the exact values, as fractions of the "
            "range.",
        ),
    ] = None,
    model: Model = None,
    threads: Threads = None,
    max_pixels: MaxPixels = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Estimate the noise level of images.

    Prints the standard deviation on the 0..255 scale, whatever the file's depth: what --sigma takes.

    Examples:

      pellucid estimate night.jpg

      pellucid estimate *.tif --json

      pellucid estimate night.jpg --map noise.png
    """
    from pellucid.files import FileDenoiser  # noqa: PLC0415

    if map_to is not None and len(inputs) != 1:
        raise ParameterError(f"--map {map_to}: only one image at a time can be drawn: name one input")
    denoiser = FileDenoiser(DenoiseOptions(model=model, n_threads=threads, max_pixels=max_pixels))
    failed = 0
    for path in inputs:
        try:
            if map_to is None:
                found = denoiser.estimate_file(path)
            else:
                found = denoiser.map_file(path, map_to, overwrite=overwrite)
        except PellucidError as error:
            if len(inputs) == 1:
                raise
            print_error(error)
            failed += 1
            continue
        _print_levels(path, [round(255 * sigma, 2) for sigma in found], as_json=as_json)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _print_levels(path: Path, sigmas: list[float], *, as_json: bool) -> None:
    if as_json:
        print_json({"source": str(path), "sigmas": sigmas})
    else:
        typer.echo(f"{path}  {'  '.join(f'{sigma:.2f}' for sigma in sigmas)}")


def models_command(*, as_json: AsJson = False) -> None:
    """List the bundled models.

    Examples:

      pellucid models

      pellucid models --json
    """
    from pellucid.inference.registry import list_models  # noqa: PLC0415

    for card in list_models():
        if as_json:
            fields = asdict(card)
            fields["folder"] = str(card.folder)
            print_json(fields)
        else:
            channels = "colour" if card.channels == 3 else "gray"
            typer.echo(
                f"{card.name:<12}{channels:<8}noise 0..{card.sigma_max:g}   {card.n_parameters / 1e6:.2f} M weights   "
                f"{card.kmacs_per_px:g} kMAC/px   {card.summary}"
            )


def doctor_command(
    *, threads: Threads = None, device: Device = "auto", precision: Precision = "auto", as_json: AsJson = False
) -> None:
    """Show versions, device and precision, and time a self-test.

    Examples:

      pellucid doctor

      pellucid doctor --precision fp32 --threads 1
    """
    from pellucid.doctor import examine  # noqa: PLC0415

    report = examine(DenoiseOptions(device=device, precision=precision, n_threads=threads))
    if as_json:
        print_json(report)
        return
    for key, value in report.items():
        typer.echo(f"{key.replace('_', ' '):<22}{_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
