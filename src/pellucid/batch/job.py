"""Denoise one file of a batch, and report the outcome as a ledger entry."""

import errno
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pellucid import io
from pellucid.batch.ledger import LedgerEntry
from pellucid.batch.plan import BatchJob
from pellucid.batch.storage import Store, local_copy
from pellucid.errors import OutputError, PellucidError
from pellucid.files import FileDenoiser, FileResult
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.registry import DEFAULT_NAMES, find_model
from pellucid.inference.tiling import Progress

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Upper bounds of a file's size: four channels of four bytes, uncompressed, and room for metadata.
_BYTES_PER_PIXEL, _METADATA_BYTES = 16, 1 << 26
#: Options that do not change the results.
_WITHOUT_EFFECT = ("n_threads", "max_pixels", "max_held_bytes")


@dataclass(frozen=True)
class JobSpec:
    """What all jobs of a run have in common; can be pickled and sent to another machine."""

    output: str
    options: DenoiseOptions
    fingerprint: str
    overwrite: bool


def fingerprint(options: DenoiseOptions) -> str:
    """Hash the options and model weights that results depend on; raises ModelError if a model is missing."""
    values = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    names = sorted(DEFAULT_NAMES.values()) if options.model is None else [options.model]
    cards = [find_model(name) for name in names]
    values["model"] = [(card.sha256, card.estimator and card.estimator.sha256) for card in cards]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def process_job(
    job: BatchJob,
    output: Store,
    denoiser: FileDenoiser,
    settings: str,
    *,
    known: LedgerEntry | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LedgerEntry:
    """Denoise one file; errors become part of its entry, except that of a full disk.

    Parameters
    ----------
    settings : str
        The fingerprint of the denoiser's options.
    known : LedgerEntry, optional
        The ledger's entry of an earlier result.
    overwrite : bool
        Replace an existing result. Otherwise it is checked and kept.
    progress : callable, optional
        Called after each tile; an exception that it raises ends the job without leaving a file.
    """
    start = time.perf_counter()
    entry = LedgerEntry(job.path, job.source, "failed", settings)
    try:
        n_bytes = None if overwrite else output.size(job.path)
        if n_bytes is not None:
            return _check_existing(entry, output, n_bytes, known)
        max_bytes = _max_bytes(denoiser.options)
        with local_copy(job.source, max_bytes) as source, output.open_result(job.path) as target:
            result = denoiser.denoise_file(source, target, overwrite=overwrite, progress=progress)
            entry = _add_result(entry, result, target)
    except PellucidError as error:
        cause = error.__cause__
        if isinstance(error, OutputError) and isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            raise
        entry = replace(entry, error=str(error))
    except Exception as error:
        # One odd file must not end a run over a million.
        entry = replace(entry, error=f"{job.source}: {type(error).__name__}: {' '.join(str(error).split())}")
    return replace(entry, seconds=round(time.perf_counter() - start, 3))


def _add_result(entry: LedgerEntry, result: FileResult, target: Path) -> LedgerEntry:
    return replace(
        entry,
        status="ok",
        sigma=round(math.sqrt(sum(sigma**2 for sigma in result.sigmas) / len(result.sigmas)), 2),
        megapixels=result.width_px * result.height_px * result.n_pages / 1e6,
        n_bytes=target.stat().st_size,
        sha256=_sha256(target),
    )


def _check_existing(entry: LedgerEntry, output: Store, n_bytes: int, known: LedgerEntry | None) -> LedgerEntry:
    """Accept an existing result if it matches the ledger, or else the source's size."""
    name = f"{output.location}/{entry.path}"
    if known is not None:
        if known.n_bytes == n_bytes:
            return known
        raise OutputError(f"{name}: has changed since it was written; pass --overwrite, or move it away")
    with local_copy(entry.source) as source, output.open_existing(entry.path) as target:
        before, after = io.read_header(source), io.read_header(target)
        sha256 = _sha256(target)
    size = (before.width_px, before.height_px, before.n_pages)
    if size != (after.width_px, after.height_px, after.n_pages):
        raise OutputError(f"{name}: exists, with another image size; pass --overwrite, or move it away")
    return replace(entry, status="found", megapixels=math.prod(size) / 1e6, n_bytes=n_bytes, sha256=sha256)


def _max_bytes(options: DenoiseOptions) -> int:
    """Bound the size of an object whose image is within the pixel limit."""
    n_pixels = io.DEFAULT_MAX_STREAMED_PIXELS if options.max_pixels is None else options.max_pixels
    return _BYTES_PER_PIXEL * n_pixels + _METADATA_BYTES


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
