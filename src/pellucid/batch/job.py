"""The work on one file: read, denoise, write, describe; whatever goes wrong is told, not raised.

A job enters, a record leaves.
"""

import errno
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pellucid import io
from pellucid.batch.ledger import Record
from pellucid.batch.plan import Job
from pellucid.batch.storage import Store, fetched
from pellucid.errors import OutputError, PellucidError
from pellucid.files import FileDenoiser, FileResult
from pellucid.inference.options import DenoiseOptions
from pellucid.inference.registry import DEFAULT_NAMES, find_model
from pellucid.inference.tiling import Progress

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Four samples of four bytes, not compressed; and room for thumbnails and what else is told of an image.
_BYTES_PER_PIXEL, _METADATA_BYTES = 16, 1 << 26
#: Of the settings, those that say nothing of what the results are.
_WITHOUT_EFFECT = ("n_threads", "max_pixels", "max_held_bytes")


def fingerprint(settings: DenoiseOptions) -> str:
    """Name what results depend on, apart from their source: the settings and the models' weights.

    Raises
    ------
    ModelError
        The model cannot be found.
    """
    values = {name: value for name, value in asdict(settings).items() if name not in _WITHOUT_EFFECT}
    names = sorted(DEFAULT_NAMES.values()) if settings.model is None else [settings.model]
    cards = [find_model(name) for name in names]
    values["model"] = [(card.sha256, card.estimator and card.estimator.sha256) for card in cards]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Work:
    """What is to be done to each file of a run; can be sent to another machine.

    Attributes
    ----------
    output : str
        The location of all results.
    settings : DenoiseOptions
    fingerprint : str
        Of the settings.
    overwrite : bool
    """

    output: str
    settings: DenoiseOptions
    fingerprint: str
    overwrite: bool


def process(
    job: Job,
    output: Store,
    denoiser: FileDenoiser,
    settings: str,
    *,
    known: Record | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Record:
    """Denoise one file; whatever is wrong with it becomes part of its record.

    Parameters
    ----------
    job : Job
    output : Store
        Of all results.
    denoiser : FileDenoiser
        Can be shared between threads.
    settings : str
        Its `fingerprint`.
    known : Record, optional
        What a ledger says of the result.
    overwrite : bool
        Make the result anew if there is one. Otherwise it is left, and checked.
    progress : callable, optional
        Told of the tiles; what it raises ends the work on the file and leaves nothing of it.

    Returns
    -------
    Record

    Raises
    ------
    OutputError
        The disk is full: then all files after it would fail.
    """
    start = time.perf_counter()
    record = Record(job.path, job.source, "failed", settings)
    try:
        n_bytes = None if overwrite else output.size(job.path)
        if n_bytes is not None:
            return _left(record, output, n_bytes, known)
        with fetched(job.source, _max_bytes(denoiser.options)) as source, output.writing(job.path) as target:
            result = denoiser.denoise_file(source, target, overwrite=overwrite, progress=progress)
            record = _described(record, result, target)
    except PellucidError as error:
        if isinstance(error, OutputError) and isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
            raise
        record = replace(record, error=str(error))
    except Exception as error:
        # One odd file must not end the work on a million.
        record = replace(record, error=f"{job.source}: {type(error).__name__}: {' '.join(str(error).split())}")
    return replace(record, seconds=round(time.perf_counter() - start, 3))


def _described(record: Record, result: FileResult, target: Path) -> Record:
    return replace(
        record,
        status="ok",
        sigma=round(math.sqrt(sum(sigma**2 for sigma in result.sigmas) / len(result.sigmas)), 2),
        megapixels=result.width_px * result.height_px * result.n_pages / 1e6,
        n_bytes=target.stat().st_size,
        sha256=_sha256(target),
    )


def _left(record: Record, output: Store, n_bytes: int, known: Record | None) -> Record:
    """Say what it is that lies where the result belongs."""
    name = f"{output.location}/{record.path}"
    if known is not None:
        if known.n_bytes == n_bytes:
            return known
        raise OutputError(f"{name}: has changed since it was written; pass --overwrite, or move it away")
    with fetched(record.source) as source, output.reading(record.path) as target:
        before, after = io.read_header(source), io.read_header(target)
        sha256 = _sha256(target)
    size = (before.width_px, before.height_px, before.n_pages)
    if size != (after.width_px, after.height_px, after.n_pages):
        raise OutputError(f"{name}: is there already, and of another size; pass --overwrite, or move it away")
    return replace(record, status="found", megapixels=math.prod(size) / 1e6, n_bytes=n_bytes, sha256=sha256)


def _max_bytes(settings: DenoiseOptions) -> int:
    """Give what an object may have at most for its image to be within the limit of pixels."""
    n_pixels = io.DEFAULT_MAX_STREAMED_PIXELS if settings.max_pixels is None else settings.max_pixels
    return _BYTES_PER_PIXEL * n_pixels + _METADATA_BYTES


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
