"""Sources, results and ledger in S3, on a real server that fails."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch import Batch, Record, plan_jobs, retrying
from pellucid.batch.storage import ObjectStore
from pellucid.errors import InputError
from pellucid.inference.options import DenoiseOptions
from tests.batch.s3 import BUCKET, Faulty, access, contents, rows, serving, upload
from tests.conftest import add_noise


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    import s3fs

    with serving() as (server, address):
        for name, value in access(address).items():
            monkeypatch.setenv(name, value)
        # Its own waits are a second and more.
        monkeypatch.setattr(s3fs.core.S3FileSystem, "retries", 1)
        monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.01)
        s3fs.S3FileSystem.clear_instance_cache()
        yield server
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def settings(small_model: Path) -> DenoiseOptions:
    return DenoiseOptions(model=small_model, sigma=20 / 255)


@pytest.fixture(scope="module")
def photos(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        path = folder / ("sub dir" if number % 2 else "") / f"{number}{('.png', '.jpg', '.tif')[number % 3]}"
        path.parent.mkdir(exist_ok=True)
        page = add_noise(np.ascontiguousarray(photo[30 * number :][:40, :56]), 20)
        io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def run(sources: list[str], output: str | Path, settings: DenoiseOptions, **options: bool) -> list[Record]:
    return list(Batch(plan_jobs(sources, output), output, settings, **options).run())


def expected(photos: Path, output: Path, settings: DenoiseOptions) -> dict[str, bytes]:
    run([str(photos)], output, settings)
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*.*")
        if path.is_file() and path.suffix != ".jsonl"
    }


def test_results_are_those_of_a_folder_though_the_server_fails(
    s3: Faulty, photos: Path, tmp_path: Path, settings: DenoiseOptions
) -> None:
    upload(photos, f"s3://{BUCKET}/in")
    s3.share = 0.2
    records = run([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out", settings)
    assert s3.n_failed >= 5
    s3.share = 0
    assert contents(f"s3://{BUCKET}/out") == expected(photos, tmp_path / "out", settings)
    failed = [record for record in records if record.status == "failed"]
    assert [record.source for record in failed] == [f"s3://{BUCKET}/in/broken.jpg"]
    assert str(failed[0].error).startswith(f"s3://{BUCKET}/in/broken.jpg: ")
    assert sorted(str(row["path"]) for row in rows(f"s3://{BUCKET}/out")) == sorted(record.path for record in records)


def test_a_resumed_run_does_only_what_is_left(
    s3: Faulty, photos: Path, tmp_path: Path, settings: DenoiseOptions
) -> None:
    out = f"s3://{BUCKET}/out"
    first = run([str(photos / "sub dir")], out, settings)
    batch = Batch(plan_jobs([str(photos / "sub dir")], out), out, settings)
    assert (len(first), batch.n_done_before, batch.jobs) == (6, 6, [])
    ObjectStore(out)._fs.rm_file(f"{BUCKET}/out/{first[0].path}")
    s3.counts.clear()
    again = run([str(photos / "sub dir")], out, settings)
    assert [record.path for record in again] == [first[0].path]
    # The result, and its part of the ledger.
    assert s3.counts["PUT"] == 2
    assert len(rows(out)) == 7


def test_requests_of_a_file_are_few(s3: Faulty, photos: Path, settings: DenoiseOptions) -> None:
    upload(photos / "sub dir", f"s3://{BUCKET}/in")
    batch = Batch(plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out"), f"s3://{BUCKET}/out", settings)
    s3.counts.clear()
    assert len(list(batch.run())) == 6
    assert s3.counts["PUT"] == 6 + 1
    assert s3.counts["GET"] == 6
    assert s3.counts["HEAD"] + s3.counts["LIST"] <= 18


def test_a_store_that_never_answers_is_told(s3: Faulty) -> None:
    s3.share = 1
    with pytest.raises(InputError, match=rf"^s3://{BUCKET}/in: the store does not do as asked"):
        plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out")
    s3.share = 0
    with pytest.raises(InputError, match="no image below it"):
        plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out")
