import errno
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid import io
from pellucid.batch.job import fingerprint, process_job
from pellucid.batch.ledger import LedgerEntry
from pellucid.batch.plan import BatchJob
from pellucid.batch.storage import FolderStore, ObjectStore
from pellucid.errors import OutputError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions


@pytest.fixture
def job(save_crop: Callable[[Path, int], Path], tmp_path: Path) -> BatchJob:
    return BatchJob(str(save_crop(tmp_path / "in" / "a.png", 0)), "sub/a.png")


@pytest.fixture(scope="module")
def denoiser(options: DenoiseOptions) -> FileDenoiser:
    return FileDenoiser(options)


def failing(error: Exception, options: DenoiseOptions) -> FileDenoiser:
    class Failing(FileDenoiser):
        def denoise_file(self, *_arguments: object, **_options: object) -> object:  # type: ignore[override]
            raise error

    return Failing(options)


def test_entry_describes_the_result(job: BatchJob, denoiser: FileDenoiser, tmp_path: Path) -> None:
    entry = process_job(job, FolderStore(tmp_path / "out"), denoiser, "f00")
    result = (tmp_path / "out" / "sub" / "a.png").read_bytes()
    assert entry == LedgerEntry(
        job.path,
        job.source,
        "ok",
        "f00",
        sigma=20,
        megapixels=pytest.approx(40 * 56 / 1e6),
        n_bytes=len(result),
        sha256=hashlib.sha256(result).hexdigest(),
        seconds=entry.seconds,
    )
    assert entry.seconds > 0


def test_existing_result_is_checked_and_kept(job: BatchJob, denoiser: FileDenoiser, tmp_path: Path) -> None:
    output = FolderStore(tmp_path / "out")
    first = process_job(job, output, denoiser, "f00")
    assert process_job(job, output, denoiser, "f00", known=first) == replace(first)
    found = process_job(job, output, denoiser, "f00")
    assert (found.status, found.n_bytes, found.sha256) == ("found", first.n_bytes, first.sha256)
    changed = process_job(job, output, denoiser, "f00", known=replace(first, n_bytes=1))
    assert "has changed since" in str(changed.error)
    blank = io.Picture((np.zeros((9, 9, 3), np.uint8),), (None,), "png")
    io.write(blank, tmp_path / "out" / job.path, overwrite=True)
    assert "another image size" in str(process_job(job, output, denoiser, "f00").error)
    assert process_job(job, output, denoiser, "f00", overwrite=True).sha256 == first.sha256


def test_unexpected_error_is_one_line_of_the_entry(job: BatchJob, options: DenoiseOptions, tmp_path: Path) -> None:
    denoiser = failing(RuntimeError("odd\nvery odd"), options)
    entry = process_job(job, FolderStore(tmp_path / "out"), denoiser, "x")
    assert (entry.status, entry.error) == ("failed", f"{job.source}: RuntimeError: odd very odd")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_raised(job: BatchJob, options: DenoiseOptions, tmp_path: Path, code: int) -> None:
    error = OutputError("full")
    error.__cause__ = OSError(code, "full")
    with pytest.raises(OutputError, match="full"):
        process_job(job, FolderStore(tmp_path / "out"), failing(error, options), "x")


def test_fingerprint_depends_on_what_changes_results(small_model: Path, seeing_model: Path) -> None:
    options = DenoiseOptions(model=small_model, sigma=10 / 255)
    assert fingerprint(options) == fingerprint(replace(options, n_threads=1, max_pixels=9, max_held_bytes=9))
    changes = (
        {"sigma": 11 / 255},
        {"sigma": None},
        {"strength": 0.5},
        {"luma": 0.5},
        {"chroma": 0.5},
        {"detail": 0.5},
        {"tile_px": 512},
        {"device": "cpu"},
        {"precision": "fp32"},
        {"model": None},
        {"model": seeing_model},
        {"model": "photo"},
    )
    found = {fingerprint(replace(options, **change)) for change in changes}  # type: ignore[arg-type]
    assert len(found | {fingerprint(options)}) == len(changes) + 1


def test_objects_beyond_the_pixel_limit(save_crop: Callable[[Path, int], Path], tmp_path: Path) -> None:
    store = ObjectStore("memory://limits")
    store.create("in/a.jpg", save_crop(tmp_path / "a.jpg", 0).read_bytes())
    store.create("in/b.jpg", bytes(70 << 20))
    denoiser = FileDenoiser(DenoiseOptions(max_pixels=1000))
    errors = {
        path: str(process_job(BatchJob(f"memory://limits/in/{path}", path), store, denoiser, "x").error)
        for path in ("a.jpg", "b.jpg")
    }
    assert errors["a.jpg"].startswith("memory://limits/in/a.jpg: ")
    assert "the limit is 1000" in errors["a.jpg"]
    assert errors["b.jpg"].startswith("memory://limits/in/b.jpg: 73400320 bytes, more than")
