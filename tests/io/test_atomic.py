"""Files that are either whole or not there."""

import stat
from pathlib import Path

import pytest

from pellucid.errors import OutputError
from pellucid.io.atomic import remove_leftovers, replacing, write_atomic


def test_new_and_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_atomic(target, b"one")
    target.chmod(0o640)
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"one")
    with pytest.raises(OutputError, match=r"a\.bin: exists already"):
        write_atomic(target, b"two", overwrite=False)
    assert target.read_bytes() == b"one"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_changes_on_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"one")

    def fail() -> None:
        with replacing(target) as stream:
            stream.write(b"tw")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.bin: the folder does not exist") as caught:
        write_atomic(tmp_path / "missing" / "a.bin", b"")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".pellucid-0123").write_bytes(b"half")
    (tmp_path / "a.bin").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
