"""The command ``pellucid denoise``."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.options import AsJson, Overwrite, Quiet, with_denoise_options
from pellucid.cli.output import print_error, print_json
from pellucid.errors import ExitCode, ParameterError, PellucidError
from pellucid.inference.options import DenoiseOptions
from pellucid.progress import progress_bar

if TYPE_CHECKING:
    from pellucid.files import FileResult

STREAM = Path("-")


@with_denoise_options
def denoise_command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Image files; - is standard input.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="A file, or an existing folder; - is standard output."),
    ] = None,
    options: DenoiseOptions,
    residual: Annotated[
        Path | None,
        typer.Option(
            "--residual",
            metavar="OUT",
            help="Draw what was removed from one image, amplified four times around middle gray. A TIFF gets the exact "
            "values, as fractions of the range.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Process directories recursively.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip existing outputs.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Denoise image files.

    The result is written beside the input as NAME_denoised, in the input's format and bit depth, with its metadata.
    Images too large for memory are read and written row by row.

    Examples:

      pellucid denoise night.jpg

      pellucid denoise scan.tif -o clean.tif --sigma 12

      pellucid denoise holiday/ --recursive -o clean/ --strength 70

      pellucid denoise night.jpg --detail 30 --residual removed.png

      cat night.jpg | pellucid denoise - > clean.jpg
    """
    from pellucid.paths import plan_files  # noqa: PLC0415

    if skip_existing and overwrite:
        raise ParameterError("--skip-existing and --overwrite: give one of them")
    report: Callable[[FileResult], None]
    report = (lambda _: None) if quiet else ((lambda result: print_json(asdict(result))) if as_json else _print_result)
    if residual is not None and (len(inputs) != 1 or STREAM in (*inputs, output) or inputs[0].is_dir()):
        raise ParameterError(f"--residual {residual}: needs one input file, and no stream")
    if STREAM in inputs or output == STREAM:
        _denoise_stream(inputs, output, options, report, overwrite=overwrite)
        return
    pairs = plan_files(inputs, output, recursive=recursive)
    if skip_existing:
        pairs = [(source, target) for source, target in pairs if not target.exists()]
    _denoise_files(
        pairs, options, report, overwrite=overwrite, residual=residual, make_folders=recursive, show_bar=not quiet
    )


def _denoise_files(
    pairs: list[tuple[Path, Path]],
    options: DenoiseOptions,
    report: "Callable[[FileResult], None]",
    *,
    overwrite: bool,
    residual: Path | None,
    make_folders: bool,
    show_bar: bool,
) -> None:
    """Denoise each file; continue after failures, and exit with their code at the end."""
    from pellucid.files import FileDenoiser  # noqa: PLC0415
    from pellucid.paths import make_folder  # noqa: PLC0415

    denoiser = FileDenoiser(options)
    n_failed = 0
    for source, target in pairs:
        try:
            if make_folders:
                make_folder(target.parent)
            with progress_bar(source.name, show=show_bar) as bar:
                result = denoiser.denoise_file(
                    source, target, overwrite=overwrite, progress=bar.update, residual=residual
                )
        except PellucidError as error:
            if len(pairs) == 1:
                raise
            print_error(error)
            n_failed += 1
        else:
            report(result)
    if n_failed:
        typer.echo(f"pellucid: {n_failed} of {len(pairs)} files failed", err=True)
        raise typer.Exit(ExitCode.SOME_FAILED)


def _denoise_stream(
    inputs: list[Path],
    output: Path | None,
    options: DenoiseOptions,
    report: "Callable[[FileResult], None]",
    *,
    overwrite: bool,
) -> None:
    """Denoise one image from or to a stream; nothing but the image goes to stdout."""
    from pellucid import io  # noqa: PLC0415
    from pellucid.files import FileDenoiser  # noqa: PLC0415

    if len(inputs) != 1:
        raise ParameterError("-: only one image at a time can be streamed: name one input")
    source = sys.stdin.buffer.read() if inputs[0] == STREAM else inputs[0]
    denoiser = FileDenoiser(options)
    if output is None or output == STREAM:
        encoded, _ = denoiser.denoise_bytes(source)
        sys.stdout.buffer.write(encoded)
        sys.stdout.buffer.flush()
        return
    io.check_target(output, overwrite=overwrite)
    encoded, result = denoiser.denoise_bytes(source, io.SUFFIXES[output.suffix.lower()])
    io.write_bytes(encoded, output, overwrite=overwrite)
    report(replace(result, target=str(output)))


def _print_result(result: "FileResult") -> None:
    levels = sorted(result.sigmas)
    spread = f"{levels[0]:.1f}" if len(levels) == 1 else f"{levels[0]:.1f} to {levels[-1]:.1f}, {len(levels)} pages"
    how = "estimated" if result.is_estimated else "given"
    typer.echo(f"{result.target}  (noise {spread} {how}, {result.width_px}x{result.height_px}, {result.seconds:.1f} s)")
