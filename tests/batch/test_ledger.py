import json
import threading
from pathlib import Path

import pytest

from pellucid.batch import LEDGER_NAME, FolderLedger, Record
from pellucid.errors import OutputError


def record(path: str, status: str = "ok", **values: object) -> Record:
    return Record(path, f"in/{path}", status, "f00", **values)  # type: ignore[arg-type]


def test_records_come_back_the_last_of_each(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        for wrong in (record("a.png", n_bytes=1), record("b.png", "failed", error="bad"), record("c.png", "found")):
            ledger.append(wrong)
        ledger.append(record("a.png", n_bytes=2, sigma=12.5))
    with FolderLedger(tmp_path) as ledger:
        assert ledger.made == {"a.png": record("a.png", n_bytes=2, sigma=12.5), "c.png": record("c.png", "found")}


def test_a_later_failure_does_not_undo_a_result(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        ledger.append(record("a.png", n_bytes=1))
        ledger.append(record("a.png", "failed", error="has changed"))
    with FolderLedger(tmp_path) as ledger:
        assert ledger.made["a.png"].n_bytes == 1


def test_wherever_the_last_line_is_torn_all_before_it_and_after_it_is_read(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        ledger.append(record("a.png"))
        ledger.append(record("b.png"))
    content = (tmp_path / LEDGER_NAME).read_bytes()
    first = content.index(b"\n") + 1
    for end in range(first, len(content)):
        (tmp_path / LEDGER_NAME).write_bytes(content[:end])
        with FolderLedger(tmp_path) as ledger:
            # Only the line's end is missing: the record is whole.
            assert set(ledger.made) - {"b.png"} == {"a.png"}
            ledger.append(record("c.png"))
        with FolderLedger(tmp_path) as ledger:
            assert {"a.png", "c.png"} <= set(ledger.made)


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{}", b'{"path": 3}', b"\xff\xfe", b'"x"', b"{" * 2000])
def test_foreign_lines_are_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(line + b"\n")
    with FolderLedger(tmp_path) as ledger:
        assert ledger.made == {}
        ledger.append(record("a.png"))
    assert (tmp_path / LEDGER_NAME).read_bytes().startswith(line + b"\n{")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with FolderLedger(tmp_path), pytest.raises(OutputError, match="another batch is writing there"):
        FolderLedger(tmp_path)
    with FolderLedger(tmp_path):
        pass


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        threads = [
            threading.Thread(
                target=lambda n=n: [ledger.append(record(f"{n}/{i}.png", error="x" * 5000)) for i in range(50)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / LEDGER_NAME).read_bytes().splitlines()
    assert len({json.loads(line)["path"] for line in lines}) == len(lines) == 400
