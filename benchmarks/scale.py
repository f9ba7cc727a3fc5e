"""Time, memory, requests and ledger size per file, for docs/how-to/many-machines.md: ``python benchmarks/scale.py``.

Noisy JPEGs of 12 megapixels are denoised by one process with one or two threads, as by one of Ray's processes; small
ones from and to an S3 server on this machine, which counts requests; and entries are written to the ledgers and read.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from pellucid import io
from pellucid.batch import Batch, BatchJob, LedgerEntry, plan_jobs
from pellucid.batch.ledger import FolderLedger, StoreLedger
from pellucid.batch.storage import ObjectStore
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.batch.s3 import BUCKET, access, serving, upload

MEGAPIXEL = 1e6


def make_photographs(folder: Path, n_images: int, height_px: int, width_px: int) -> None:
    """Write noisy JPEGs."""
    tile = astronaut()
    repeats = (-(-height_px // tile.shape[0]), -(-width_px // tile.shape[1]), 1)
    clean = np.tile(tile, repeats)[:height_px, :width_px].astype(np.float32)
    for number in range(n_images):
        noise = 10 * np.random.default_rng(number).standard_normal(clean.shape, dtype=np.float32)
        page = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
        io.write(io.Picture((page,), (None,), "jpeg"), folder / f"{number}.jpg")


def measure_actor(folder: Path, n_threads: int) -> None:
    """Print the time of one process for each photograph, and its peak memory; run in a process of its own."""
    denoiser = FileDenoiser(DenoiseOptions(n_threads=n_threads))
    denoiser.warm_up()
    (folder / "out").mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.jpg")):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = denoiser.denoise_file(path, folder / "out" / path.name, overwrite=True)
        megapixels = result.width_px * result.height_px / MEGAPIXEL
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        print(
            f"actor of {n_threads}: {seconds / megapixels:.3f} s/megapixel, CPU time "
            f"{cpu_s / megapixels:.3f}; {megapixels:.1f} megapixels in {path.stat().st_size / 1e6:.1f} MB"
        )
    print(f"actor of {n_threads}: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB")


def measure_requests(folder: Path, n_files: int) -> None:
    """Print the requests of planning, of processing, and of a second run."""
    make_photographs(folder, n_files, 64, 64)
    with serving() as (server, address):
        os.environ.update(access(address))
        upload(folder, f"s3://{BUCKET}/in")
        for run in ("first run", "second run"):
            server.counts.clear()
            output = f"s3://{BUCKET}/out"
            batch = Batch(plan_jobs([f"s3://{BUCKET}/in"], output), output, DenoiseOptions())
            planned = dict(server.counts)
            server.counts.clear()
            n_done = len(list(batch.run()))
            print(f"{run}: planning {n_files} files {planned}; processing {n_done} files {dict(server.counts)}")


def measure_ledgers(folder: Path, n_rows: int) -> None:
    """Print the size of an entry, entries per second written and read, and their memory."""
    entry = LedgerEntry(
        path="photos/2024/07/IMG_20240712_183012.jpg",
        source="s3://archive-bucket/photos/2024/07/IMG_20240712_183012.jpg",
        status="ok",
        settings="0123456789abcdef",
        sigma=7.31,
        seconds=9.123,
        megapixels=12.000256,
        n_bytes=5123456,
        sha256="0" * 64,
    )
    entries = [replace(entry, path=f"photos/2024/07/IMG_{number:015d}.jpg") for number in range(n_rows)]
    for name, ledger in {
        "folder": lambda: FolderLedger(folder),
        "store": lambda: StoreLedger(ObjectStore("memory://ledger")),
    }.items():
        start = time.perf_counter()
        with ledger() as opened:
            for each in entries:
                opened.append(each)
        written_s = time.perf_counter() - start
        start, before = time.perf_counter(), _resident_bytes()
        with ledger() as opened:
            read_s = time.perf_counter() - start
            n_bytes = (_resident_bytes() - before) / len(opened.done)
        print(
            f"{name} ledger: {n_rows / written_s:.0f} entries/s written, {n_rows / read_s:.0f} entries/s read, "
            f"{n_bytes:.0f} bytes of memory per entry"
        )
    print(f"an entry: {(folder / 'report.jsonl').stat().st_size / n_rows:.0f} bytes")
    before = _resident_bytes()
    jobs = [BatchJob(f"s3://archive-bucket/{each.path}", each.path) for each in entries]
    print(f"a planned job: {(_resident_bytes() - before) / len(jobs):.0f} bytes of memory")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--actor", type=json.loads, help="used internally: [FOLDER, THREADS]")
    given = parser.parse_args()
    if given.actor is not None:
        measure_actor(Path(given.actor[0]), given.actor[1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("photos", "small", "ledger"):
            (folder / part).mkdir()
        make_photographs(folder / "photos", given.images, 3000, 4000)
        for n_threads in (1, 2):
            subprocess.run(
                [sys.executable, __file__, "--actor", json.dumps([str(folder / "photos"), n_threads])], check=True
            )
        measure_ledgers(folder / "ledger", given.rows)
        measure_requests(folder / "small", given.files)


if __name__ == "__main__":
    main()
