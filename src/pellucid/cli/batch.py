"""The command ``pellucid batch``."""

import sys
from collections import Counter
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.options import AsJson, Overwrite, Quiet, with_denoise_options
from pellucid.cli.output import print_json, print_remark, print_table
from pellucid.errors import ExitCode, TooManyFailedError
from pellucid.inference.options import DenoiseOptions
from pellucid.progress import progress_bar

if TYPE_CHECKING:
    from pellucid.batch import Batch, Cluster, LedgerEntry

#: Failures that are printed; the report lists all.
MAX_PRINTED = 100


@with_denoise_options
def batch_command(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Image files, folders or URLs of them, Parquet files that list them."),
    ],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DST", help="Folder or URL for the results; created if needed.")
    ],
    options: DenoiseOptions,
    suffix: Annotated[
        str | None,
        typer.Option("--suffix", metavar=".EXT", help="Suffix and format of the results; default: the source's."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Run on Ray: 'local' starts it here; 'auto' or HOST:PORT joins a cluster."
        ),
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option("--max-error-rate", metavar="0..1", help="Stop when a larger fraction of the files has failed."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Denoise many image files; a stopped run can be continued.

    The tree of each folder is mirrored in DST. Files without an image suffix, hidden files, links to folders and DST
    itself are skipped. A file that cannot be denoised does not stop the run: failures are listed at the end, and the
    exit code is 3.

    DST/report.jsonl gets a line for every file: path and SHA-256 of the result, status, error, noise level, seconds;
    in an object store, the objects DST/report/part-*.jsonl. After a stop or a crash, run the same command again: it
    processes the remaining files and retries the failed ones.

    A Parquet file lists files by paths or URLs in its column 'path'. With --ray each process denoises one file at a
    time on --threads processors (default: one); all machines must have access to SRC and DST.

    Examples:

      pellucid batch photos/ -o clean/

      pellucid batch 2023/ 2024/ extra.jpg -o clean/ --strength 70

      pellucid batch scans/ -o clean/ --suffix .png --sigma 12

      pellucid batch s3://photos/2024 -o s3://clean/2024 --max-error-rate 0.05

      pellucid batch photos.parquet -o s3://clean --ray 10.0.0.1:6379 --threads 2
    """
    from pellucid.batch import Batch, limit_error_rate, plan_jobs  # noqa: PLC0415

    batch = Batch(plan_jobs(sources, output, suffix=suffix), output, options, overwrite=overwrite)
    counts: Counter[str] = Counter()
    failed: list[LedgerEntry] = []
    stdout, n_files, megapixels = sys.stdout, len(batch.jobs), 0.0
    try:
        with (
            _cluster(ray, options.n_threads, batch) as cluster,
            progress_bar("files", total=n_files, show=not quiet) as bar,
            closing(limit_error_rate(max_error_rate, batch.run(cluster))) as records,
        ):
            for record in records:
                counts[record.status] += 1
                megapixels += record.megapixels
                if record.status == "failed" and len(failed) < MAX_PRINTED:
                    failed.append(record)
                if as_json:
                    print_json(asdict(record), file=stdout)
                bar.update(counts.total(), n_files, f"{megapixels:.1f} megapixels")
    except TooManyFailedError:
        _print_failures(failed, counts["failed"], batch.report)
        raise
    if failed:
        _print_failures(failed, counts["failed"], batch.report)
    if not quiet and not as_json:
        typer.echo(_summary(counts, batch.n_done_before, output))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _cluster(address: str | None, threads: int | None, batch: "Batch") -> "AbstractContextManager[Cluster | None]":
    """Start or join Ray, if an address is given and there are files to denoise."""
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


def _print_failures(failed: "list[LedgerEntry]", n_failed: int, report: str) -> None:
    rows = [(record.source, (record.error or "").removeprefix(f"{record.source}: ")) for record in failed]
    print_table(f"{n_failed} failed", ("file", "error"), rows)
    if n_failed > len(failed):
        print_remark(f"and {n_failed - len(failed)} more: see {report}")
