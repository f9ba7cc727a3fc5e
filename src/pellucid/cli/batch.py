"""The command ``pellucid batch``.

Arguments enter; a folder of results, and a summary on stdout, leave. What is done to which file `pellucid.batch`
decides.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
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
    make_settings,
)
from pellucid.errors import TooManyFailedError

if TYPE_CHECKING:
    from pellucid.batch import Batch, Cluster, LedgerEntry

#: Failures that are told of; the report has them all.
MAX_TOLD = 100


def batch_command(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Image files, folders or URLs of them, Parquet files that list them."),
    ],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DST", help="Folder or URL for the results; made if not there.")
    ],
    model: Model = None,
    sigma: Sigma = None,
    strength: Strength = 100.0,
    luma: Luma = 100.0,
    chroma: Chroma = 100.0,
    detail: Detail = 0.0,
    suffix: Annotated[
        str | None,
        typer.Option("--suffix", metavar=".EXT", help="What results end in, and their format; default: the source's."),
    ] = None,
    tile: Tile = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Work on Ray: 'local' starts it here; 'auto' or HOST:PORT joins machines."
        ),
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option("--max-error-rate", metavar="0..1", help="Stop once a larger share of the files has failed."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take the noise out of many image files, and go on where a run was stopped.

    The tree of each folder is mirrored in DST. Files whose names do not say that they are images are passed over, as
    are hidden files, links to folders, and DST itself. A file that cannot be denoised stops nothing: all failures
    are told at the end, and the exit code is 3.

    DST/report.jsonl has a line for every file: its result's path and SHA-256, status, error, noise level and seconds;
    in an object store, objects DST/report/part-*.jsonl have them. Start the same command again after a stop or a
    crash: it does what is left, and tries again what failed.

    A Parquet file lists files, by paths or URLs, in its column 'path'. With --ray every process works on one file at
    a time, with --threads processors (one by default); all machines have to see SRC and DST.

    Examples:

      pellucid batch photos/ -o clean/

      pellucid batch 2023/ 2024/ extra.jpg -o clean/ --strength 70

      pellucid batch scans/ -o clean/ --suffix .png --sigma 12

      pellucid batch s3://photos/2024 -o s3://clean/2024 --max-error-rate 0.05

      pellucid batch photos.parquet -o s3://clean --ray 10.0.0.1:6379 --threads 2
    """
    from pellucid.batch import Batch, limit_error_rate, plan_jobs  # noqa: PLC0415

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
    batch = Batch(plan_jobs(sources, output, suffix=suffix), output, settings, overwrite=overwrite)
    counts: Counter[str] = Counter()
    failed: list[LedgerEntry] = []
    stdout = sys.stdout
    try:
        with (
            _cluster(ray, threads, batch) as cluster,
            _bar(len(batch.jobs), show=not quiet) as advance,
            closing(limit_error_rate(max_error_rate, batch.run(cluster))) as records,
        ):
            for record in records:
                counts[record.status] += 1
                if record.status == "failed" and len(failed) < MAX_TOLD:
                    failed.append(record)
                if as_json:
                    typer.echo(json.dumps(asdict(record)), file=stdout)
                advance(record)
    except TooManyFailedError:
        _tell_failures(failed, counts["failed"], batch.report)
        raise
    if failed:
        _tell_failures(failed, counts["failed"], batch.report)
    if not quiet and not as_json:
        typer.echo(_summary(counts, batch.n_done_before, output))
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _cluster(address: str | None, threads: int | None, batch: "Batch") -> "AbstractContextManager[Cluster | None]":
    """Start or join Ray, if that is asked for and there is something to do."""
    if address is None or not batch.jobs:
        return nullcontext()
    from pellucid.batch.ray_backend import RayCluster  # noqa: PLC0415

    return RayCluster(address, threads)


def _summary(counts: "Counter[str]", n_done_before: int, output: str) -> str:
    parts = [f"{counts['ok']} denoised"]
    parts += [f"{counts['found']} found there"] if counts["found"] else []
    parts += [f"{n_done_before} done before"] if n_done_before else []
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    return f"{output}  ({', '.join(parts)})"


def _tell_failures(failed: "list[LedgerEntry]", n_failed: int, report: str) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("file", "what is wrong", title=f"{n_failed} failed", box=None, title_justify="left")
    for record in failed:
        table.add_row(Text(record.source), Text((record.error or "").removeprefix(f"{record.source}: ")))
    # A log has a line for each, however long.
    Console(stderr=True, width=None if sys.stderr.isatty() else 10_000, soft_wrap=True).print(table)
    if n_failed > len(failed):
        typer.echo(f"and {n_failed - len(failed)} more: see {report}", err=True)


@contextmanager
def _bar(n_files: int, *, show: bool) -> "Iterator[Callable[[LedgerEntry], None]]":
    """Show on stderr how many files and megapixels are done, if that is a terminal."""
    if not show or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[megapixels]:.1f} megapixels"),
        TimeRemainingColumn(),
    )
    # The time left follows the last minutes: files come in folders, and those of one folder are alike.
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=120) as bar:
        task = bar.add_task("", total=n_files, megapixels=0.0)
        megapixels = 0.0

        def advance(record: "LedgerEntry") -> None:
            nonlocal megapixels
            megapixels += record.megapixels
            bar.update(task, advance=1, megapixels=megapixels)

        yield advance
