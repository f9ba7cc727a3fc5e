import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid import io
from pellucid.batch import Batch, LedgerEntry, limit_error_rate, plan_jobs
from pellucid.batch.runner import MIN_DONE
from pellucid.batch.storage import ObjectStore
from pellucid.errors import OutputError, ParameterError, TooManyFailedError
from pellucid.files import FileDenoiser
from pellucid.inference.options import DenoiseOptions
from tests.conftest import add_noise


def save(path: Path, page: NDArray[np.generic]) -> Path:
    path.parent.mkdir(exist_ok=True)
    io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path, overwrite=True)
    return path


@pytest.fixture
def photos(save_crop: Callable[[Path, int], Path], tmp_path: Path) -> Path:
    for number in range(6):
        save_crop(tmp_path / "photos" / ("sub" if number % 2 else "") / f"{number}.png", number)
    return tmp_path / "photos"


def run(photos: Path, output: Path, options: DenoiseOptions, *, overwrite: bool = False) -> list[LedgerEntry]:
    return list(Batch(plan_jobs([photos], output), output, options, overwrite=overwrite).run())


def contents(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.*") if path.is_file()}


def test_one_entry_for_each_file(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    entries = run(photos, tmp_path / "out", options)
    assert sorted(entry.path for entry in entries) == [
        "0.png",
        "2.png",
        "4.png",
        "sub/1.png",
        "sub/3.png",
        "sub/5.png",
    ]
    for entry in entries:
        result = (tmp_path / "out" / entry.path).read_bytes()
        assert entry.status == "ok"
        assert entry.error is None
        assert entry.sigma == 20
        assert entry.megapixels == pytest.approx(40 * 56 / 1e6)
        assert (entry.n_bytes, entry.sha256) == (len(result), hashlib.sha256(result).hexdigest())
        assert entry.seconds > 0


def test_resume_does_what_is_left(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    run(photos, tmp_path / "out", options)
    before = contents(tmp_path / "out")
    batch = Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", options)
    assert batch.n_done_before == 6
    assert batch.jobs == []
    assert list(batch.run()) == []
    (tmp_path / "out" / "2.png").unlink()
    assert [entry.path for entry in run(photos, tmp_path / "out", options)] == ["2.png"]
    after = contents(tmp_path / "out")
    assert before.pop("report.jsonl") != after.pop("report.jsonl")
    assert after == before


def test_result_without_an_entry_is_found(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    run(photos, tmp_path / "out", options)
    ledger = tmp_path / "out" / "report.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:4]))
    entries = run(photos, tmp_path / "out", options)
    assert [entry.status for entry in entries] == ["found", "found"]
    for entry in entries:
        assert entry.sha256 == hashlib.sha256((tmp_path / "out" / entry.path).read_bytes()).hexdigest()
    assert run(photos, tmp_path / "out", options) == []


def test_foreign_files_are_not_replaced(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    out = tmp_path / "out"
    save(out / "0.png", np.zeros((9, 9, 3), np.uint8))
    (out / "2.png").write_text("a letter")
    entries = {entry.path: entry for entry in run(photos, out, options)}
    assert "another image size" in str(entries["0.png"].error)
    assert "2.png" in str(entries["2.png"].error)
    assert (out / "2.png").read_text() == "a letter"
    (out / "4.png").write_bytes(b"edited by hand")
    (again,) = [entry for entry in run(photos, out, options) if entry.path == "4.png"]
    assert "has changed since" in str(again.error)
    assert (out / "4.png").read_bytes() == b"edited by hand"
    assert {entry.status for entry in run(photos, out, options, overwrite=True)} == {"ok"}


def test_other_options_need_overwrite(photos: Path, tmp_path: Path, small_model: Path, options: DenoiseOptions) -> None:
    run(photos, tmp_path / "out", options)
    other = DenoiseOptions(model=small_model, sigma=10 / 255)
    with pytest.raises(ParameterError, match="made with other options"):
        Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", other)
    assert {entry.sigma for entry in run(photos, tmp_path / "out", other, overwrite=True)} == {10.0}
    run(photos, tmp_path / "out", other)


def test_failures_are_retried(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    good = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(good[:100])
    failed = [entry for entry in run(photos, tmp_path / "out", options) if entry.status == "failed"]
    assert [entry.path for entry in failed] == ["0.png"]
    assert "truncated" in str(failed[0].error)
    assert not (tmp_path / "out" / "0.png").exists()
    (photos / "0.png").write_bytes(good)
    assert [(entry.path, entry.status) for entry in run(photos, tmp_path / "out", options)] == [("0.png", "ok")]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_ends_the_run(
    photos: Path, tmp_path: Path, options: DenoiseOptions, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    calls = itertools.count()
    fsync = os.fsync

    def filling(descriptor: int) -> None:
        if next(calls) >= 5:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", filling)
    with pytest.raises(OutputError, match="free some"):
        run(photos, tmp_path / "out", options)
    monkeypatch.undo()
    assert run(photos, tmp_path / "out", options)
    assert len(contents(tmp_path / "out")) == 7


def test_invalid_options_create_nothing(photos: Path, tmp_path: Path, small_model: Path) -> None:
    with pytest.raises(ParameterError, match=r"must be in \[0, 30\]"):
        Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", DenoiseOptions(model=small_model, sigma=0.5))
    assert not (tmp_path / "out").exists()


def test_leftovers_are_removed(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for leftover in ("out/.pellucid-0123.png", "out/sub/.pellucid-4567.png"):
        (tmp_path / leftover).write_bytes(b"half a")
    (tmp_path / "out" / ".keep").touch()
    run(photos, tmp_path / "out", options)
    assert not list((tmp_path / "out").rglob(".pellucid-*"))
    assert (tmp_path / "out" / ".keep").exists()


def test_closing_leaves_no_partial_file(photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    entries = Batch(plan_jobs([photos], tmp_path / "out"), tmp_path / "out", options).run()
    next(entries)
    entries.close()
    assert not list((tmp_path / "out").rglob(".pellucid-*"))
    run(photos, tmp_path / "out", options)
    assert len(contents(tmp_path / "out")) == 7


def test_held_and_streamed_files_together(photos: Path, tmp_path: Path, small_model: Path) -> None:
    held = DenoiseOptions(model=small_model, tile_px=40)
    streamed = DenoiseOptions(model=small_model, tile_px=40, max_held_bytes=40 * 56 * 3 - 1)
    save(photos / "small.png", np.full((9, 9, 3), 100, np.uint8))
    run(photos, tmp_path / "one", held)
    run(photos, tmp_path / "other", streamed)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    del one["report.jsonl"], other["report.jsonl"]
    assert one == other


@pytest.mark.parametrize("n_threads", [1, 2])
def test_same_bytes_from_folders_and_stores(photo: NDArray[np.uint8], tmp_path: Path, n_threads: int) -> None:
    source = save(tmp_path / "a.jpg", add_noise(photo[:200, :280], 15))
    expected, _ = FileDenoiser(DenoiseOptions(n_threads=1)).denoise_bytes(source)
    assert expected != source.read_bytes()
    store, out = ObjectStore(f"memory://same{n_threads}"), tmp_path / "out"
    store.create("in/a.jpg", source.read_bytes())
    for given_as, output in ((str(source), store.location), (f"{store.location}/in", str(out))):
        (entry,) = Batch(plan_jobs([given_as], output), output, DenoiseOptions(n_threads=n_threads)).run()
        assert entry.status == "ok"
    assert store.read("a.jpg") == expected
    assert (out / "a.jpg").read_bytes() == expected


def generate(fails: list[bool]) -> Generator[LedgerEntry]:
    for number, failed in enumerate(fails):
        yield LedgerEntry(f"{number}", "a", "failed" if failed else "ok", "x")


@given(fails=st.lists(st.booleans(), max_size=60), rate=st.floats(0, 1))
def test_error_rate_limit(fails: list[bool], rate: float) -> None:
    too_much = (n for n in range(MIN_DONE, len(fails) + 1) if sum(fails[:n]) > rate * n)
    last = next(too_much, None)
    n_passed, stopped = 0, None
    try:
        for _ in limit_error_rate(rate, generate(fails)):
            n_passed += 1
    except TooManyFailedError as error:
        stopped = str(error)
    assert n_passed == (len(fails) if last is None else last)
    assert (stopped is None) == (last is None)
    assert last is None or str(stopped).startswith(f"{sum(fails[:last])} of {last} files failed")
    assert [entry.path for entry in limit_error_rate(None, generate(fails))] == [f"{n}" for n in range(len(fails))]


def test_error_rate_limit_closes_the_run() -> None:
    source = generate([True] * 100)
    with pytest.raises(TooManyFailedError, match="--max-error-rate"):
        list(limit_error_rate(0.5, source))
    assert source.gi_frame is None


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_invalid_error_rate(rate: float) -> None:
    with pytest.raises(ParameterError, match="must be from 0 to 1"):
        limit_error_rate(rate, generate([]))
