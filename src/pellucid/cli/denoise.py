"""The command ``pellucid denoise``.

Arguments enter; files, and a summary on stdout, leave. It decides nothing about images: `pellucid.files` does.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.options import (
    EXIT_SOME_FAILED,
    AsJson,
    Chroma,
    Detail,
    Device,
    Luma,
    Model,
    Overwrite,
    Precision,
    Quiet,
    Sigma,
    Strength,
    Threads,
    Tile,
    complain,
    make_settings,
)
from pellucid.errors import ParameterError, PellucidError

if TYPE_CHECKING:
    from pellucid.files import FileResult, Settings
    from pellucid.inference.tiling import Progress

STREAM = Path("-")


def denoise_command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Image files; - is standard input.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="A file, or a folder that exists; - is standard output."),
    ] = None,
    model: Model = None,
    sigma: Sigma = None,
    strength: Strength = 100.0,
    luma: Luma = 100.0,
    chroma: Chroma = 100.0,
    detail: Detail = 0.0,
    tile: Tile = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    removed: Annotated[
        Path | None,
        typer.Option(
            "--residual",
            metavar="OUT",
            help="Draw what was taken out of one image, four times as strong about the middle gray. A TIFF gets exact "
            "values, as fractions of the range.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take the images in folders too.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave results that are there.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take the noise out of image files.

    The result lies beside the input as NAME_denoised, in the input's format and depth, with its metadata. Images too
    large for memory are read and written row by row.

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
    settings = make_settings(
        model=model,
        sigma=sigma,
        strength=strength,
        luma=luma,
        chroma=chroma,
        detail=detail,
        tile=tile,
        threads=threads,
        device=device,
        precision=precision,
    )
    say: Callable[[FileResult], None] = (lambda _: None) if quiet else (_say_json if as_json else _say)
    if removed is not None and (len(inputs) != 1 or STREAM in (*inputs, output) or inputs[0].is_dir()):
        raise ParameterError(f"--residual {removed}: of one image file at a time: name one input, and no stream")
    if STREAM in inputs or output == STREAM:
        _denoise_stream(inputs, output, settings, say, overwrite=overwrite)
        return
    pairs = plan_files(inputs, output, recursive=recursive)
    if skip_existing:
        pairs = [(source, target) for source, target in pairs if not target.exists()]
    _denoise_files(
        pairs, settings, say, overwrite=overwrite, removed=removed, make_folders=recursive, show_bar=not quiet
    )


def _denoise_files(
    pairs: list[tuple[Path, Path]],
    settings: "Settings",
    say: "Callable[[FileResult], None]",
    *,
    overwrite: bool,
    removed: Path | None,
    make_folders: bool,
    show_bar: bool,
) -> None:
    """Denoise each file; go on past files that fail, and say at the end that some did."""
    from pellucid.files import FileDenoiser  # noqa: PLC0415
    from pellucid.paths import make_folder  # noqa: PLC0415

    denoiser = FileDenoiser(settings)
    failed: list[PellucidError] = []
    for source, target in pairs:
        try:
            if make_folders:
                make_folder(target.parent)
            with _bar(source.name, show=show_bar) as progress:
                result = denoiser.denoise_file(source, target, overwrite=overwrite, progress=progress, removed=removed)
        except PellucidError as error:
            if len(pairs) == 1:
                raise
            complain(error)
            failed.append(error)
        else:
            say(result)
    if failed:
        typer.echo(f"pellucid: {len(failed)} of {len(pairs)} files failed", err=True)
        raise typer.Exit(EXIT_SOME_FAILED)


def _denoise_stream(
    inputs: list[Path],
    output: Path | None,
    settings: "Settings",
    say: "Callable[[FileResult], None]",
    *,
    overwrite: bool,
) -> None:
    """Denoise one image from or to a stream; nothing but the image goes to stdout."""
    from pellucid import io  # noqa: PLC0415
    from pellucid.files import FileDenoiser  # noqa: PLC0415

    if len(inputs) != 1:
        raise ParameterError("-: one image at a time can be streamed: name one input")
    source = sys.stdin.buffer.read() if inputs[0] == STREAM else inputs[0]
    denoiser = FileDenoiser(settings)
    if output is None or output == STREAM:
        encoded, _ = denoiser.denoise_bytes(source)
        sys.stdout.buffer.write(encoded)
        sys.stdout.buffer.flush()
        return
    io.check_target(output, overwrite=overwrite)
    encoded, result = denoiser.denoise_bytes(source, io.SUFFIXES[output.suffix.lower()])
    io.write_bytes(encoded, output, overwrite=overwrite)
    say(replace(result, target=str(output)))


def _say(result: "FileResult") -> None:
    levels = sorted(result.sigmas)
    spread = f"{levels[0]:.1f}" if len(levels) == 1 else f"{levels[0]:.1f} to {levels[-1]:.1f}, {len(levels)} pages"
    how = "estimated" if result.is_estimated else "given"
    typer.echo(f"{result.target}  (noise {spread} {how}, {result.width_px}x{result.height_px}, {result.seconds:.1f} s)")


def _say_json(result: "FileResult") -> None:
    typer.echo(json.dumps(asdict(result)))


@contextmanager
def _bar(name: str, *, show: bool) -> "Iterator[Progress | None]":
    """Show a bar on stderr while tiles are worked on, if that is a terminal."""
    if not show or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda n_done, n_tiles: bar.update(task, completed=n_done, total=n_tiles)
