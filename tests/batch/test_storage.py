import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.batch import Batch, LedgerEntry, plan_jobs
from pellucid.batch.storage import (
    FIRST_WAIT_S,
    N_ATTEMPTS,
    FolderStore,
    ObjectStore,
    Store,
    local_copy,
    open_store,
    retry,
    safe_path,
)
from pellucid.errors import InputError, OutputError, ParameterError, TooLargeError, UnreadableImageError
from pellucid.inference.options import DenoiseOptions
from tests.batch.s3 import BUCKET, Faulty, access, contents, rows, serving, upload

_numbers = itertools.count()
parts = st.text("ab. é%#?*[]", min_size=1, max_size=4).filter(lambda part: part not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


def stores(folder: Path) -> list[Store]:
    return [FolderStore(folder), ObjectStore(f"memory://store{next(_numbers)}/out")]


@settings(deadline=None)
@given(paths=st.dictionaries(paths, st.binary(max_size=50), min_size=1, max_size=5))
def test_folders_and_object_stores_behave_alike(
    tmp_path_factory: pytest.TempPathFactory, paths: dict[str, bytes]
) -> None:
    for store in stores(tmp_path_factory.mktemp("out")):
        kept = {}
        for path, content in paths.items():
            # A folder has no name that is that of a folder, too.
            if any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in paths):
                continue
            assert store.size(path) is None
            with store.open_result(path) as local:
                local.write_bytes(content)
            kept[path] = content
        assert store.sizes([*kept, "missing"]) == {path: len(content) for path, content in kept.items()}
        for path, content in kept.items():
            assert store.size(path) == len(content)
            with store.open_existing(path) as local:
                assert local.read_bytes() == content


def test_error_leaves_no_object_and_names_the_url() -> None:
    store = ObjectStore(f"memory://store{next(_numbers)}/out")

    def fail_midway() -> None:
        with store.open_result("a.png") as local:
            local.write_bytes(b"half a")
            raise OutputError(f"{local}: full")

    with pytest.raises(OutputError, match=r"^memory://store\d+/out/a\.png: full$"):
        fail_midway()
    assert store.size("a.png") is None


def test_large_objects_are_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(f"memory://store{next(_numbers)}/in")
    store.create("a.png", bytes(100))
    with local_copy(f"{store.location}/a.png", 100) as path:
        assert path.stat().st_size == 100
    monkeypatch.setattr(store.fs, "get_file", lambda *_: pytest.fail("was read"))
    with pytest.raises(TooLargeError, match="100 bytes, more than"), local_copy(f"{store.location}/a.png", 99):
        pass


def test_missing_object_and_unknown_store() -> None:
    with (
        pytest.raises(UnreadableImageError, match=r"^memory://x/none\.png: no such object"),
        local_copy("memory://x/none.png"),
    ):
        pass
    with pytest.raises(ParameterError, match=r"^tape://x: unknown kind of store 'tape'"):
        open_store("tape://x")


@pytest.mark.parametrize("path", ["../a.png", "a/../../b.png", "a/..", "a\0.png"])
def test_unsafe_paths(path: str) -> None:
    with pytest.raises(UnreadableImageError, match="leads out of its folder"):
        safe_path(path, path)


@given(st.text(max_size=30))
def test_safe_paths_stay_in_their_folder(path: str) -> None:
    with contextlib.suppress(UnreadableImageError):
        inside = safe_path(path, path)
        assert not inside.is_absolute()
        assert ".." not in inside.parts


@pytest.mark.parametrize("n_failures", [0, 1, N_ATTEMPTS - 1, N_ATTEMPTS])
def test_temporary_errors_are_retried(waits: list[float], n_failures: int) -> None:
    calls = itertools.count()

    def ask(answer: int) -> int:
        if next(calls) < n_failures:
            raise OSError(503, "slow down")
        return answer

    if n_failures == N_ATTEMPTS:
        with pytest.raises(OSError, match="slow down"):
            retry(ask, 7)
    else:
        assert retry(ask, 7) == 7
    assert len(waits) == min(n_failures, N_ATTEMPTS - 1)
    for number, wait in enumerate(waits):
        assert 0.5 <= wait / (FIRST_WAIT_S * 2**number) <= 1.5


@pytest.mark.parametrize("error", [PermissionError("denied"), KeyboardInterrupt("denied")])
def test_permanent_errors_and_interrupts_are_not_retried(waits: list[float], error: BaseException) -> None:
    calls = itertools.count()

    def ask() -> None:
        next(calls)
        raise error

    with pytest.raises(type(error)):
        retry(ask)
    assert (waits, next(calls)) == ([], 1)


def test_errors_of_a_store_name_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_arguments: object, **_options: object) -> None:
        raise PermissionError("denied")

    store = ObjectStore("memory://denied/out")
    monkeypatch.setattr(store.fs, "find", deny)
    with pytest.raises(InputError, match=r"^memory://denied/out/: the store reported an error \(denied\)"):
        store.list()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Faulty]:
    import s3fs

    with serving() as (server, address):
        for name, value in access(address).items():
            monkeypatch.setenv(name, value)
        # Its own waits are a second and more.
        monkeypatch.setattr(s3fs.core.S3FileSystem, "retries", 1)
        s3fs.S3FileSystem.clear_instance_cache()
        yield server
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def photos(save_crop: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        suffix = (".png", ".jpg", ".tif")[number % 3]
        save_crop(folder / ("sub dir" if number % 2 else "") / f"{number}{suffix}", number)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def run(sources: list[str], output: str | Path, options: DenoiseOptions) -> list[LedgerEntry]:
    return list(Batch(plan_jobs(sources, output), output, options).run())


def expected(photos: Path, output: Path, options: DenoiseOptions) -> dict[str, bytes]:
    run([str(photos)], output, options)
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*.*")
        if path.is_file() and path.suffix != ".jsonl"
    }


def test_failing_server_gives_the_results_of_a_folder(
    s3: Faulty, photos: Path, tmp_path: Path, options: DenoiseOptions
) -> None:
    upload(photos, f"s3://{BUCKET}/in")
    s3.share = 0.2
    entries = run([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out", options)
    assert s3.n_failed >= 5
    s3.share = 0
    assert contents(f"s3://{BUCKET}/out") == expected(photos, tmp_path / "out", options)
    failed = [entry for entry in entries if entry.status == "failed"]
    assert [entry.source for entry in failed] == [f"s3://{BUCKET}/in/broken.jpg"]
    assert str(failed[0].error).startswith(f"s3://{BUCKET}/in/broken.jpg: ")
    assert sorted(str(row["path"]) for row in rows(f"s3://{BUCKET}/out")) == sorted(entry.path for entry in entries)


def test_resume_in_a_store(s3: Faulty, photos: Path, tmp_path: Path, options: DenoiseOptions) -> None:
    out = f"s3://{BUCKET}/out"
    first = run([str(photos / "sub dir")], out, options)
    batch = Batch(plan_jobs([str(photos / "sub dir")], out), out, options)
    assert (len(first), batch.n_done_before, batch.jobs) == (6, 6, [])
    ObjectStore(out).fs.rm_file(f"{BUCKET}/out/{first[0].path}")
    s3.counts.clear()
    again = run([str(photos / "sub dir")], out, options)
    assert [entry.path for entry in again] == [first[0].path]
    # The result, and its part of the ledger.
    assert s3.counts["PUT"] == 2
    assert len(rows(out)) == 7


def test_number_of_requests(s3: Faulty, photos: Path, options: DenoiseOptions) -> None:
    upload(photos / "sub dir", f"s3://{BUCKET}/in")
    batch = Batch(plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out"), f"s3://{BUCKET}/out", options)
    s3.counts.clear()
    assert len(list(batch.run())) == 6
    assert s3.counts["PUT"] == 6 + 1
    assert s3.counts["GET"] == 6
    assert s3.counts["HEAD"] + s3.counts["LIST"] <= 18


def test_store_that_never_answers(s3: Faulty) -> None:
    s3.share = 1
    with pytest.raises(InputError, match=rf"^s3://{BUCKET}/in: the store reported an error"):
        plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out")
    s3.share = 0
    with pytest.raises(InputError, match="no image below it"):
        plan_jobs([f"s3://{BUCKET}/in"], f"s3://{BUCKET}/out")
