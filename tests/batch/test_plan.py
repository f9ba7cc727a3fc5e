import errno
import os
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pellucid.batch.plan import plan_jobs, read_manifest
from pellucid.batch.storage import ObjectStore
from pellucid.errors import ParameterError, UnreadableImageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = (
        "b.JPG",
        "a.png",
        "sub/deep/c.tif",
        "sub/a.png",
        "notes.txt",
        "a_denoised.png",
        ".hidden.png",
        ".trash/d.png",
    )
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def paths(*arguments: object, **options: object) -> list[str]:
    return [job.path for job in plan_jobs(*arguments, **options)]  # type: ignore[arg-type]


def test_the_tree_is_mirrored(photos: Path, tmp_path: Path) -> None:
    assert paths([photos], tmp_path / "out") == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.tif"]


def test_named_files_are_always_taken(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "notes.txt", photos / "b.JPG"], tmp_path / "out") == ["notes.txt", "b.JPG"]


def test_a_file_named_twice_is_done_once(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "a.png", photos / "a.png", photos], tmp_path / "out").count("a.png") == 1


def test_output_inside_a_source_is_excluded(photos: Path) -> None:
    (photos / "clean" / "sub").mkdir(parents=True)
    (photos / "clean" / "sub" / "x.png").touch()
    assert "clean/sub/x.png" not in paths([photos], photos / "clean")
    assert "clean/sub/x.png" in paths([photos], photos.parent / "clean")


def test_collision_names_both_files(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"sub/a\.png: would be written to .*out/a\.png, and so would .*s/a\.png"):
        plan_jobs([photos, photos / "sub"], tmp_path / "out")
    (photos / "a.jpg").touch()
    with pytest.raises(ParameterError, match=r"a\.tif, and so would"):
        plan_jobs([photos], tmp_path / "out", suffix=".tif")


def test_suffix(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "b.JPG"], tmp_path / "out", suffix=".png") == ["b.png"]
    with pytest.raises(ParameterError, match=r"suffix '\.bmp': choose one of \.jpg"):
        plan_jobs([photos], tmp_path / "out", suffix=".bmp")


def test_output_must_not_be_a_source(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    for output in (photos, tmp_path / "link"):
        with pytest.raises(ParameterError, match="folder of the sources"):
            plan_jobs([photos], output)


def test_links(photos: Path, tmp_path: Path) -> None:
    (photos / "sub" / "loop").symlink_to(photos)
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "link.png").symlink_to(photos / "a.png")
    assert paths([photos], tmp_path / "out") == [
        "a.png", "b.JPG", "gone.png", "link.png", "sub/a.png", "sub/deep/c.tif",
    ]  # fmt: skip


def test_empty_or_missing_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableImageError, match="has no images"):
        plan_jobs([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(UnreadableImageError, match="no such file or folder"):
        plan_jobs([tmp_path / "missing"], tmp_path / "out")


def test_unreadable_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def deny_sub(folder: str) -> object:
        if Path(folder).name == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return scandir(folder)

    # Permissions would not stop root.
    monkeypatch.setattr(os, "scandir", deny_sub)
    with pytest.raises(UnreadableImageError, match=r"sub: cannot be read"):
        plan_jobs([photos], tmp_path / "out")


manifest_names = st.text(min_size=1, max_size=20).filter(lambda name: name.isascii())


def write(file: Path, **columns: list[object]) -> Path:
    parquet.write_table(pyarrow.table(columns), file)
    return file


@settings(deadline=None)
@given(rows=st.lists(manifest_names, min_size=1, max_size=30, unique=True))
def test_manifest_rows_are_read_in_order(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = write(tmp_path_factory.mktemp("m") / "list.parquet", label=list(range(len(rows))), path=rows)
    assert list(read_manifest(str(path))) == rows


def test_manifest_results_are_named_by_the_whole_path(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["/data/a/1.png", "b/2.jpg", "s3://bucket/key dir/3.tif"])
    assert [(job.source, job.path) for job in plan_jobs([path], "out")] == [
        ("/data/a/1.png", "data/a/1.png"),
        ("b/2.jpg", "b/2.jpg"),
        ("s3://bucket/key dir/3.tif", "bucket/key dir/3.tif"),
    ]


def test_manifest_in_a_store(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["a.png"])
    ObjectStore("memory://manifests").create("list.parquet", path.read_bytes())
    assert [job.path for job in plan_jobs(["memory://manifests/list.parquet"], "out")] == ["a.png"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a.png"], "size": [3]}, r"has no text column 'path' \(columns: name, size\)"),
        ({"path": [3]}, "has no text column 'path'"),
        ({"path": pyarrow.array([], pyarrow.string())}, "lists no file"),
        ({"path": ["a.png", None]}, "row 1 has no 'path'"),
        ({"path": ["a.png", "b.png", "a.png"]}, r"lists 'a\.png' twice"),
        ({"path": ["a/../../b.png"]}, "leads out of its folder"),
        ({"path": ["s3://"]}, "has no file name"),
    ],
)
def test_invalid_manifest(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    path = write(tmp_path / "list.parquet", **columns)
    with pytest.raises(UnreadableImageError, match=message) as caught:
        plan_jobs([path], tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_manifest_collision(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["/a.png", "a.png"])
    with pytest.raises(ParameterError, match=r"^a\.png: would be written to out/a\.png, and so would /a\.png"):
        plan_jobs([path], "out")


@pytest.mark.parametrize("content", [b"", b"path\na.png\n", b"PAR1" + bytes(40) + b"PAR1"])
def test_manifest_is_not_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.parquet").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"list\.parquet: cannot be read as Parquet") as caught:
        plan_jobs([tmp_path / "list.parquet"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableImageError, match="cannot be read as Parquet"):
        plan_jobs([tmp_path / "none.parquet"], tmp_path / "out")


def test_prefix_of_a_store_is_mirrored() -> None:
    store = ObjectStore("memory://mirror")
    skipped = ("sub/.hidden.png", ".git/d.png", "x.txt", "y_denoised.png", "out/z.png")
    for path in ("b.JPG", "a.png", "sub/c.tif", *skipped):
        store.create(path, b"x")
    jobs = plan_jobs(["memory://mirror"], "memory://mirror/out")
    assert [job.path for job in jobs] == ["a.png", "b.JPG", "sub/c.tif"]
    assert [job.source for job in jobs][-1] == "memory://mirror/sub/c.tif"
    assert [job.path for job in plan_jobs(["memory://mirror/x.txt"], "out")] == ["x.txt"]
    with pytest.raises(ParameterError, match="is the folder of the sources"):
        plan_jobs(["memory://mirror/"], "memory://mirror")
