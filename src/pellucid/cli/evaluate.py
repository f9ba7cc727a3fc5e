"""The command ``pellucid evaluate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.options import Threads
from pellucid.cli.output import print_remark
from pellucid.errors import ExitCode, MissingExtraError, ParameterError
from pellucid.progress import progress_bar

if TYPE_CHECKING:
    from pellucid.evaluation.report import Evaluation, Failure

ALL = "all"


def evaluate_command(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Clean images, or folders of them.", show_default=False),
    ],
    *,
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="May be repeated: noisy, pellucid, bm3d, opencv-nlm, skimage-nlm, skimage-wavelet, "
            "skimage-tv, ffdnet, dncnn-25, dncnn-blind, all; or a model's name or folder. A network's name "
            "may end in @fp32 or @bf16, that of one of ours in @blind (sigma is estimated).",
        ),
    ] = ["noisy", "pellucid"],  # noqa: B006 (typer copies it)
    sigma: Annotated[
        list[float],
        typer.Option("--sigma", "-s", help="Noise, standard deviation on the 0..255 scale; may be repeated."),
    ] = [15.0, 25.0, 50.0],  # noqa: B006
    gray: Annotated[bool, typer.Option("--gray", help="Measure on gray images; colour ones become gray.")] = False,
    peers: Annotated[
        Path | None, typer.Option("--peers", metavar="DIR", help="Folder of the weights of FFDNet and DnCNN.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write CSV, JSON and a plot into this folder."),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option("--crop", metavar="PX", help="Measure on the central square of PX pixels."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Measure on the first N images only.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the noise.")] = 0,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of the table.")] = False,
) -> None:
    """Measure denoisers side by side: PSNR, SSIM and seconds per megapixel.

    White Gaussian noise is added to clean images, each method removes it, and the result is compared with the
    clean image. Every method gets the same noise and the same number of threads. Methods whose
    package is not installed are listed and skipped.

    Examples:

      pellucid evaluate photos/

      pellucid evaluate photos/ -m pellucid -m bm3d -s 25 -o results/

      pellucid evaluate set12/ --gray -m all --peers weights/ --limit 3

      pellucid evaluate photos/ -m pellucid -m pellucid@blind
    """
    from pellucid.evaluation import baselines, benchmark, datasets, report  # noqa: PLC0415

    if limit is not None and limit < 1:
        raise ParameterError(f"limit {limit}: give at least 1")
    if output is not None:
        report.check_vacant(output)
    names = [name for given in method for name in (baselines.METHOD_NAMES if given == ALL else (given,))]
    with progress_bar() as bar:
        evaluation = benchmark.evaluate(
            datasets.list_images(images)[:limit],
            names,
            sigma,
            gray=gray,
            crop_px=crop,
            seed=seed,
            peers=peers,
            n_threads=threads,
            progress=bar.update,
        )
    _print(evaluation, as_json=as_json)
    if output is not None:
        _write(evaluation, output)
    if evaluation.interrupted:
        print_remark(f"interrupted: the {len(evaluation.rows)} measurements done so far are kept")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if evaluation.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _print(evaluation: "Evaluation", *, as_json: bool) -> None:
    import json  # noqa: PLC0415

    from pellucid.evaluation.report import format_table  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps(evaluation.as_dict(), indent=1, allow_nan=False))
    elif evaluation.rows:
        typer.echo(format_table(evaluation.summary()))
    for skipped in evaluation.skipped:
        print_remark(f"skipped: {skipped.reason}")
    _print_failures(evaluation.failures)


def _print_failures(failures: "Sequence[Failure]") -> None:
    """Name each failure; those of one method at one level with one message share a line."""
    alike: dict[tuple[str, float | None, str], list[str]] = {}
    for failure in failures:
        alike.setdefault((failure.method, failure.sigma, failure.message), []).append(failure.image)
    for (method, sigma, message), images in alike.items():
        more = f" and {len(images) - 1} more" if len(images) > 1 else ""
        where = f"{method}, sigma {sigma:g}, {images[0]}{more}: " if method else ""
        print_remark(f"failed: {where}{message}")


def _write(evaluation: "Evaluation", folder: Path) -> None:
    try:
        paths = evaluation.write(folder)
    except MissingExtraError as error:
        print_remark(f"{folder}: tables written; no plot: {error}")
    else:
        print_remark(f"{folder}: written: {', '.join(path.name for path in paths)}")
