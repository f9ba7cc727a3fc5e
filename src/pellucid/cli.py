"""The command ``pellucid``: parses, calls, prints.

Arguments enter; files, a summary on stdout and an exit code leave. It decides nothing about images. Whatever is slow to
import is imported by the command that needs it, so that ``pellucid --help`` answers at once.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pellucid.errors import OutputError, ParameterError, PellucidError
from pellucid.evaluation.command import evaluate_command
from pellucid.training.command import export_command, train_command

if TYPE_CHECKING:
    from pellucid.files import FileResult, Settings
    from pellucid.tiling import Progress

EXIT_SOME_FAILED, EXIT_INTERRUPTED = 3, 130
STREAM = Path("-")

app = typer.Typer(
    name="pellucid",
    help="A noisy image in, a clean image out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pellucid import __version__  # noqa: PLC0415

        typer.echo(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def pellucid(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A noisy image in, a clean image out."""


Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", envvar="PELLUCID_NUM_THREADS", help="Processors to use; default: all."),
]
Device = Annotated[str, typer.Option("--device", envvar="PELLUCID_DEVICE", help="auto, cpu, gpu or npu.")]
Precision = Annotated[str, typer.Option("--precision", help="Of the network's arithmetic: auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME", help="A model's name or folder; see 'pellucid models'.")
]


@app.command()
def denoise(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Image files; - is standard input.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="A file, or a folder that exists; - is standard output."),
    ] = None,
    model: Model = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", "-s", metavar="S", help="Noise level, 0..55 of 255; default: estimated."),
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", metavar="0..100", help="How much of the noise to take out, in percent.")
    ] = 100.0,
    tile: Annotated[
        int | None, typer.Option("--tile", metavar="PX", help="Side of a tile; smaller ones need less memory.")
    ] = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take the images in folders too.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave results that are there.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Take the noise out of image files.

    The result lies beside the input as NAME_denoised, in the input's format and depth, with its metadata.

    Examples:

      pellucid denoise night.jpg

      pellucid denoise scan.tif -o clean.tif --sigma 12

      pellucid denoise holiday/ --recursive -o clean/ --strength 70

      cat night.jpg | pellucid denoise - > clean.jpg
    """
    from pellucid import files, images  # noqa: PLC0415
    from pellucid.denoiser import DEFAULT_TILE_PX  # noqa: PLC0415

    if skip_existing and overwrite:
        raise ParameterError("--skip-existing and --overwrite: give one of them")
    settings = files.Settings(
        model=model,
        sigma=None if sigma is None else sigma / 255,
        strength=_percent(strength),
        tile_px=DEFAULT_TILE_PX if tile is None else tile,
        device=device,
        precision=precision,
        n_threads=threads,
        max_pixels=_max_pixels(images.DEFAULT_MAX_PIXELS),
    )
    say: Callable[[FileResult], None] = (lambda _: None) if quiet else (_say_json if as_json else _say)
    if STREAM in inputs or output == STREAM:
        _denoise_stream(inputs, output, settings, say, overwrite=overwrite)
        return
    pairs = files.plan_files(inputs, output, recursive=recursive)
    if skip_existing:
        pairs = [(source, target) for source, target in pairs if not target.exists()]
    _denoise_files(pairs, settings, say, overwrite=overwrite, make_folders=recursive, show_bar=not quiet)


def _denoise_files(
    pairs: list[tuple[Path, Path]],
    settings: "Settings",
    say: "Callable[[FileResult], None]",
    *,
    overwrite: bool,
    make_folders: bool,
    show_bar: bool,
) -> None:
    """Denoise each file; go on past files that fail, and say at the end that some did."""
    from pellucid.files import FileDenoiser  # noqa: PLC0415

    denoiser = FileDenoiser(settings)
    failed: list[PellucidError] = []
    for source, target in pairs:
        if make_folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _bar(source.name, show=show_bar) as progress:
                result = denoiser.denoise_file(source, target, overwrite=overwrite, progress=progress)
        except PellucidError as error:
            if len(pairs) == 1:
                raise
            _complain(error)
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
    from pellucid import images  # noqa: PLC0415
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
    images.check_target(output, overwrite=overwrite)
    encoded, result = denoiser.denoise_bytes(source, images.SUFFIXES[output.suffix.lower()])
    images.write_bytes(encoded, output, overwrite=overwrite)
    say(replace(result, target=str(output)))


@app.command()
def estimate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Image files.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Estimate how strong the noise in images is.

    Prints the standard deviation on the 0..255 scale, whatever the file's depth: what --sigma takes.

    Examples:

      pellucid estimate night.jpg

      pellucid estimate *.tif --json
    """
    from pellucid import images  # noqa: PLC0415
    from pellucid.denoiser import estimate_sigma  # noqa: PLC0415

    max_pixels = _max_pixels(images.DEFAULT_MAX_PIXELS)
    failed = 0
    for path in inputs:
        try:
            picture = images.read(path, max_pixels=max_pixels)
        except PellucidError as error:
            if len(inputs) == 1:
                raise
            _complain(error)
            failed += 1
            continue
        sigmas = [round(255 * estimate_sigma(page), 2) for page in picture.pages]
        if as_json:
            typer.echo(json.dumps({"source": str(path), "sigmas": sigmas}))
        else:
            typer.echo(f"{path}  {'  '.join(f'{sigma:.2f}' for sigma in sigmas)}")
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def models(*, as_json: AsJson = False) -> None:
    """List the models that come with pellucid.

    Examples:

      pellucid models

      pellucid models --json
    """
    from pellucid.catalog import list_models  # noqa: PLC0415

    for card in list_models():
        if as_json:
            fields = asdict(card)
            fields["folder"] = str(card.folder)
            typer.echo(json.dumps(fields))
        else:
            channels = "colour" if card.channels == 3 else "gray"
            typer.echo(
                f"{card.name:<12}{channels:<8}noise 0..{card.sigma_max:g}   {card.n_parameters / 1e6:.2f} M weights   "
                f"{card.kmacs_per_px:g} kMAC/px   {card.summary}"
            )


@app.command()
def doctor(
    *, threads: Threads = None, device: Device = "auto", precision: Precision = "auto", as_json: AsJson = False
) -> None:
    """Say what pellucid runs on, and time it on an image made on the spot.

    Examples:

      pellucid doctor

      pellucid doctor --precision fp32 --threads 1
    """
    from pellucid.selftest import examine  # noqa: PLC0415

    report = examine(device=device, precision=precision, n_threads=threads)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    for key, value in asdict(report).items():
        typer.echo(f"{key.replace('_', ' '):<22}{_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _percent(strength: float) -> float:
    if not 0 <= strength <= 100:
        raise ParameterError(f"strength {strength}: give a number from 0 to 100")
    return strength / 100


def _max_pixels(default: int) -> int:
    """Read the limit that ``PELLUCID_MAX_PIXELS`` sets."""
    text = os.environ.get("PELLUCID_MAX_PIXELS", "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ParameterError(f"PELLUCID_MAX_PIXELS '{text}': give a whole number of pixels")
    return value


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


def _complain(error: PellucidError) -> None:
    typer.echo(f"pellucid: {error}", err=True)


app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("export")(export_command)


def main() -> NoReturn:
    """Run the command line; every expected error becomes one line on stderr and its exit code."""
    code: int | str | None = 0
    # To be asked to stop is to be interrupted: half-written files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        code = stop.code
    except PellucidError as error:
        _complain(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OutputError.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
