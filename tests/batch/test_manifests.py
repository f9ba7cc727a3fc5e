from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pellucid.batch import ObjectStore, plan_jobs
from pellucid.batch.manifests import read_manifest
from pellucid.errors import ParameterError, UnreadableImageError

names = st.text(min_size=1, max_size=20).filter(lambda name: name.isascii())


def write(file: Path, **columns: list[object]) -> Path:
    parquet.write_table(pyarrow.table(columns), file)
    return file


@given(rows=st.lists(names, min_size=1, max_size=30, unique=True))
def test_every_row_is_read_in_order(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = write(tmp_path_factory.mktemp("m") / "list.parquet", label=list(range(len(rows))), path=rows)
    assert list(read_manifest(str(path))) == rows


def test_results_are_named_by_the_whole_path(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["/data/a/1.png", "b/2.jpg", "s3://bucket/key dir/3.tif"])
    assert [(job.source, job.path) for job in plan_jobs([path], "out")] == [
        ("/data/a/1.png", "data/a/1.png"),
        ("b/2.jpg", "b/2.jpg"),
        ("s3://bucket/key dir/3.tif", "bucket/key dir/3.tif"),
    ]


def test_a_manifest_may_lie_in_a_store(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["a.png"])
    ObjectStore("memory://manifests").create("list.parquet", path.read_bytes())
    assert [job.path for job in plan_jobs(["memory://manifests/list.parquet"], "out")] == ["a.png"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a.png"], "size": [3]}, "has no column of texts 'path', but name, size"),
        ({"path": [3]}, "has no column of texts 'path'"),
        ({"path": pyarrow.array([], pyarrow.string())}, "names no file"),
        ({"path": ["a.png", None]}, "row 1 has no 'path'"),
        ({"path": ["a.png", "b.png", "a.png"]}, r"names 'a\.png' twice"),
        ({"path": ["a/../../b.png"]}, "leads out of its folder"),
        ({"path": ["s3://"]}, "names no file"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    path = write(tmp_path / "list.parquet", **columns)
    with pytest.raises(UnreadableImageError, match=message) as caught:
        plan_jobs([path], tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_two_rows_with_one_result_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", path=["/a.png", "a.png"])
    with pytest.raises(ParameterError, match=r"^a\.png: would be written to out/a\.png, and so would /a\.png"):
        plan_jobs([path], "out")


@pytest.mark.parametrize("content", [b"", b"path\na.png\n", b"PAR1" + bytes(40) + b"PAR1"])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.parquet").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"list\.parquet: cannot be read as Parquet") as caught:
        plan_jobs([tmp_path / "list.parquet"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableImageError, match="cannot be read as Parquet"):
        plan_jobs([tmp_path / "none.parquet"], tmp_path / "out")
