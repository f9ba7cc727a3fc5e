import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.batch import FolderStore, ObjectStore, Store, open_store, retrying
from pellucid.batch.storage import fetched, safe_path
from pellucid.errors import InputError, OutputError, ParameterError, TooLargeError, UnreadableImageError

_numbers = itertools.count()
parts = st.text("ab. é%#?*[]", min_size=1, max_size=4).filter(lambda part: part not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


def stores(folder: Path) -> list[Store]:
    return [FolderStore(folder), ObjectStore(f"memory://store{next(_numbers)}/out")]


@given(paths=st.dictionaries(paths, st.binary(max_size=50), min_size=1, max_size=5))
def test_a_folder_and_an_object_store_are_alike(
    tmp_path_factory: pytest.TempPathFactory, paths: dict[str, bytes]
) -> None:
    for store in stores(tmp_path_factory.mktemp("out")):
        kept = {}
        for path, content in paths.items():
            # A folder has no name that is that of a folder, too.
            if any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in paths):
                continue
            assert store.size(path) is None
            with store.writing(path) as local:
                local.write_bytes(content)
            kept[path] = content
        assert store.sizes([*kept, "missing"]) == {path: len(content) for path, content in kept.items()}
        for path, content in kept.items():
            assert store.size(path) == len(content)
            with store.reading(path) as local:
                assert local.read_bytes() == content


def test_an_error_on_the_way_leaves_no_object_and_names_the_url() -> None:
    store = ObjectStore(f"memory://store{next(_numbers)}/out")

    def fail_midway() -> None:
        with store.writing("a.png") as local:
            local.write_bytes(b"half a")
            raise OutputError(f"{local}: full")

    with pytest.raises(OutputError, match=r"^memory://store\d+/out/a\.png: full$"):
        fail_midway()
    assert store.size("a.png") is None


def test_objects_are_refused_by_their_size_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(f"memory://store{next(_numbers)}/in")
    store.create("a.png", bytes(100))
    with fetched(f"{store.location}/a.png", 100) as path:
        assert path.stat().st_size == 100
    monkeypatch.setattr(store._fs, "get_file", lambda *_: pytest.fail("was read"))
    with pytest.raises(TooLargeError, match="100 bytes, more than"), fetched(f"{store.location}/a.png", 99):
        pass


def test_what_is_not_there_is_told() -> None:
    with (
        pytest.raises(UnreadableImageError, match=r"^memory://x/none\.png: no such object"),
        fetched("memory://x/none.png"),
    ):
        pass
    with pytest.raises(ParameterError, match=r"^tape://x: 'tape' is no kind of store"):
        open_store("tape://x")


@pytest.mark.parametrize("path", ["../a.png", "a/../../b.png", "a/..", "a\0.png"])
def test_names_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(UnreadableImageError, match="leads out of its folder"):
        safe_path(path, path)


@given(st.text(max_size=30))
def test_no_safe_path_leaves_its_folder(path: str) -> None:
    with contextlib.suppress(UnreadableImageError):
        inside = safe_path(path, path)
        assert not inside.is_absolute()
        assert ".." not in inside.parts


@pytest.mark.parametrize("n_failures", [0, 1, retrying.N_ATTEMPTS - 1, retrying.N_ATTEMPTS])
def test_what_fails_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch, n_failures: int) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", waits.append)
    calls = itertools.count()

    def ask(answer: int) -> int:
        if next(calls) < n_failures:
            raise OSError(503, "slow down")
        return answer

    if n_failures == retrying.N_ATTEMPTS:
        with pytest.raises(OSError, match="slow down"):
            retrying.persistently(ask, 7)
    else:
        assert retrying.persistently(ask, 7) == 7
    assert len(waits) == min(n_failures, retrying.N_ATTEMPTS - 1)
    for number, wait in enumerate(waits):
        assert 0.5 <= wait / (retrying.FIRST_WAIT_S * 2**number) <= 1.5


def test_what_will_not_change_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying.time, "sleep", lambda _: pytest.fail("waited"))

    def ask() -> None:
        raise PermissionError("denied")

    with pytest.raises(PermissionError):
        retrying.persistently(ask)
    store = ObjectStore("memory://denied/out")
    monkeypatch.setattr(store._fs, "find", lambda *_, **__: ask())
    with pytest.raises(InputError, match=r"^memory://denied/out/: the store does not do as asked \(denied\)"):
        store.list()
