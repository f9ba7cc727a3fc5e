import errno
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch import Batch, FolderStore, Job, Record, fingerprint, plan_jobs, process
from pellucid.errors import OutputError, ParameterError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


def save(path: Path, page: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path, overwrite=True)
    return path


@pytest.fixture(scope="module")
def settings(small_model: Path) -> DenoiseOptions:
    return DenoiseOptions(model=small_model, sigma=20 / 255)


@pytest.fixture
def photos(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    for number in range(6):
        crop = add_noise(photo[50 * number :][:40, :56], 20)
        save(tmp_path / "photos" / ("sub" if number % 2 else "") / f"{number}.png", crop)
    return tmp_path / "photos"


def run(photos: Path, output: Path, settings: DenoiseOptions, **options: bool) -> list[Record]:
    return list(Batch(plan_jobs([photos], output), output, settings, **options).run())


def contents(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.*") if path.is_file()}


def test_records_tell_what_was_done(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    records = run(photos, tmp_path / "out", settings)
    assert sorted(record.path for record in records) == [
        "0.png",
        "2.png",
        "4.png",
        "sub/1.png",
        "sub/3.png",
        "sub/5.png",
    ]
    for record in records:
        result = (tmp_path / "out" / record.path).read_bytes()
        assert record.status == "ok"
        assert record.error is None
        assert record.sigma == 20
        assert record.megapixels == pytest.approx(40 * 56 / 1e6)
        assert (record.n_bytes, record.sha256) == (len(result), hashlib.sha256(result).hexdigest())
        assert record.seconds > 0


def test_what_is_done_is_not_done_again(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    run(photos, tmp_path / "out", settings)
    before = contents(tmp_path / "out")
    batch = Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", settings)
    assert batch.n_done_before == 6
    assert batch.jobs == []
    assert list(batch.run()) == []
    (tmp_path / "out" / "2.png").unlink()
    assert [record.path for record in run(photos, tmp_path / "out", settings)] == ["2.png"]
    after = contents(tmp_path / "out")
    assert before.pop("report.jsonl") != after.pop("report.jsonl")
    assert after == before


def test_a_result_without_a_row_is_found_and_kept(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    run(photos, tmp_path / "out", settings)
    ledger = tmp_path / "out" / "report.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:4]))
    records = run(photos, tmp_path / "out", settings)
    assert [record.status for record in records] == ["found", "found"]
    for record in records:
        assert record.sha256 == hashlib.sha256((tmp_path / "out" / record.path).read_bytes()).hexdigest()
    assert run(photos, tmp_path / "out", settings) == []


def test_what_is_not_ours_is_never_replaced(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    out = tmp_path / "out"
    save(out / "0.png", np.zeros((9, 9, 3), np.uint8))
    (out / "2.png").write_text("a letter")
    records = {record.path: record for record in run(photos, out, settings)}
    assert "of another size" in str(records["0.png"].error)
    assert "2.png" in str(records["2.png"].error)
    assert (out / "2.png").read_text() == "a letter"
    (out / "4.png").write_bytes(b"edited by hand")
    (again,) = [record for record in run(photos, out, settings) if record.path == "4.png"]
    assert "has changed since" in str(again.error)
    assert (out / "4.png").read_bytes() == b"edited by hand"
    assert {record.status for record in run(photos, out, settings, overwrite=True)} == {"ok"}


def test_other_settings_are_refused_and_overwrite_makes_all_anew(
    photos: Path, tmp_path: Path, small_model: Path, seeing_model: Path, settings: DenoiseOptions
) -> None:
    run(photos, tmp_path / "out", settings)
    other = DenoiseOptions(model=small_model, sigma=10 / 255)
    with pytest.raises(ParameterError, match="made with other settings"):
        Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", other)
    assert {record.sigma for record in run(photos, tmp_path / "out", other, overwrite=True)} == {10.0}
    run(photos, tmp_path / "out", other)
    assert fingerprint(other) == fingerprint(
        DenoiseOptions(model=small_model, sigma=10 / 255, n_threads=1, max_pixels=9)
    )
    assert fingerprint(DenoiseOptions()) != fingerprint(DenoiseOptions(model="photo"))
    assert fingerprint(DenoiseOptions(model=small_model)) != fingerprint(DenoiseOptions(model=seeing_model))


def test_failures_are_recorded_and_tried_again(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    good = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(good[:100])
    failed = [record for record in run(photos, tmp_path / "out", settings) if record.status == "failed"]
    assert [record.path for record in failed] == ["0.png"]
    assert "truncated" in str(failed[0].error)
    assert not (tmp_path / "out" / "0.png").exists()
    (photos / "0.png").write_bytes(good)
    assert [(record.path, record.status) for record in run(photos, tmp_path / "out", settings)] == [("0.png", "ok")]


def test_an_unexpected_error_is_that_files_own(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    class Odd(FileDenoiser):
        def denoise_file(self, *_arguments: object, **_options: object) -> object:  # type: ignore[override]
            raise RuntimeError("odd\nvery odd")

    record = process(Job(str(photos / "0.png"), "0.png"), FolderStore(tmp_path / "out"), Odd(settings), "x")
    assert record.error == f"{photos / '0.png'}: RuntimeError: odd very odd"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    photos: Path, tmp_path: Path, settings: DenoiseOptions, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    calls = itertools.count()
    fsync = os.fsync

    def filling(descriptor: int) -> None:
        if next(calls) >= 5:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", filling)
    with pytest.raises(OutputError, match="free some"):
        run(photos, tmp_path / "out", settings)
    monkeypatch.undo()
    assert run(photos, tmp_path / "out", settings)
    assert len(contents(tmp_path / "out")) == 7


def test_settings_that_cannot_be_used_are_refused_before_anything_is_made(
    photos: Path, tmp_path: Path, small_model: Path
) -> None:
    with pytest.raises(ParameterError, match=r"must be in \[0, 30\]"):
        Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", DenoiseOptions(model=small_model, sigma=0.5))
    assert not (tmp_path / "out").exists()


def test_leftovers_of_a_killed_run_are_removed(photos: Path, tmp_path: Path, settings: DenoiseOptions) -> None:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for leftover in ("out/.pellucid-0123.png", "out/sub/.pellucid-4567.png"):
        (tmp_path / leftover).write_bytes(b"half a")
    (tmp_path / "out" / ".keep").touch()
    run(photos, tmp_path / "out", settings)
    assert not list((tmp_path / "out").rglob(".pellucid-*"))
    assert (tmp_path / "out" / ".keep").exists()


def test_closing_the_run_ends_it_and_leaves_nothing_half_written(
    photos: Path, tmp_path: Path, settings: DenoiseOptions
) -> None:
    records: Iterator[Record] = Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", settings).run()
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "out").rglob(".pellucid-*"))
    run(photos, tmp_path / "out", settings)
    assert len(contents(tmp_path / "out")) == 7


def test_huge_and_small_files_share_the_network(photos: Path, tmp_path: Path, small_model: Path) -> None:
    """Pictures that are not held compute while they are written; all take turns, and the results stay the same."""
    held = DenoiseOptions(model=small_model, tile_px=40)
    streamed = DenoiseOptions(model=small_model, tile_px=40, max_held_bytes=40 * 56 * 3 - 1)
    save(photos / "small.png", np.full((9, 9, 3), 100, np.uint8))
    run(photos, tmp_path / "one", held)
    run(photos, tmp_path / "other", streamed)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    del one["report.jsonl"], other["report.jsonl"]
    assert one == other
