import itertools
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.batch.ledger import LEDGER_NAME, FolderLedger, LedgerEntry, StoreLedger
from pellucid.batch.storage import ObjectStore
from pellucid.errors import OutputError

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
entries = st.builds(
    LedgerEntry,
    path=names,
    source=names,
    status=st.sampled_from(["ok", "found", "failed"]),
    settings=st.just("x"),
    error=st.none() | names,
    sigma=st.none() | st.floats(0, 55),
    n_bytes=st.none() | st.integers(0, 2**40),
)
_numbers = itertools.count()


def entry(path: str, status: str = "ok", **values: object) -> LedgerEntry:
    return LedgerEntry(path, f"in/{path}", status, "f00", **values)  # type: ignore[arg-type]


def fresh_store() -> ObjectStore:
    return ObjectStore(f"memory://ledger{next(_numbers)}/out")


@given(expected=entries)
def test_entries_survive_a_line_of_json(expected: LedgerEntry) -> None:
    assert LedgerEntry.from_line(expected.to_line()) == expected
    assert expected.to_line().count(b"\n") == 1


def test_last_entry_of_each_result_is_read(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        for first in (entry("a.png", n_bytes=1), entry("b.png", "failed", error="bad"), entry("c.png", "found")):
            ledger.append(first)
        ledger.append(entry("a.png", n_bytes=2, sigma=12.5))
    with FolderLedger(tmp_path) as ledger:
        assert ledger.done == {"a.png": entry("a.png", n_bytes=2, sigma=12.5), "c.png": entry("c.png", "found")}


def test_failure_does_not_undo_a_result(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        ledger.append(entry("a.png", n_bytes=1))
        ledger.append(entry("a.png", "failed", error="has changed"))
    with FolderLedger(tmp_path) as ledger:
        assert ledger.done["a.png"].n_bytes == 1


def test_torn_last_line(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        ledger.append(entry("a.png"))
        ledger.append(entry("b.png"))
    content = (tmp_path / LEDGER_NAME).read_bytes()
    first = content.index(b"\n") + 1
    for end in range(first, len(content)):
        (tmp_path / LEDGER_NAME).write_bytes(content[:end])
        with FolderLedger(tmp_path) as ledger:
            # If only the line's end is missing, the entry is whole.
            assert set(ledger.done) - {"b.png"} == {"a.png"}
            ledger.append(entry("c.png"))
        with FolderLedger(tmp_path) as ledger:
            assert {"a.png", "c.png"} <= set(ledger.done)


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{}", b'{"path": 3}', b"\xff\xfe", b'"x"', b"{" * 2000])
def test_foreign_lines_are_skipped(tmp_path: Path, line: bytes) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(line + b"\n")
    with FolderLedger(tmp_path) as ledger:
        assert ledger.done == {}
        ledger.append(entry("a.png"))
    assert (tmp_path / LEDGER_NAME).read_bytes().startswith(line + b"\n{")


def test_one_run_at_a_time_in_a_folder(tmp_path: Path) -> None:
    with FolderLedger(tmp_path), pytest.raises(OutputError, match="another batch is writing there"):
        FolderLedger(tmp_path)
    with FolderLedger(tmp_path):
        pass


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    with FolderLedger(tmp_path) as ledger:
        threads = [
            threading.Thread(
                target=lambda n=n: [ledger.append(entry(f"{n}/{i}.png", error="x" * 5000)) for i in range(50)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / LEDGER_NAME).read_bytes().splitlines()
    assert len({json.loads(line)["path"] for line in lines}) == len(lines) == 400


@settings(deadline=None)
@given(runs=st.lists(st.lists(entries, max_size=9), max_size=4), max_rows=st.integers(1, 5))
def test_parts_are_read_whatever_their_size(runs: list[list[LedgerEntry]], max_rows: int) -> None:
    store, expected = fresh_store(), {}
    for run in runs:
        with StoreLedger(store, max_rows=max_rows) as ledger:
            assert ledger.done == expected
            for each in run:
                ledger.append(each)
                if each.status != "failed":
                    expected[each.path] = each
    assert StoreLedger(store).done == expected
    assert len(store.list("report")) == sum(-(-len(run) // max_rows) for run in runs)


def test_kill_loses_only_the_pending_part() -> None:
    store = fresh_store()
    killed = StoreLedger(store, max_rows=3)
    for number in range(5):
        killed.append(entry(f"{number}.png"))
    assert set(StoreLedger(store).done) == {"0.png", "1.png", "2.png"}


def test_pending_part_does_not_wait_long() -> None:
    store = fresh_store()
    StoreLedger(store, max_wait_s=0).append(entry("a.png"))
    assert set(StoreLedger(store).done) == {"a.png"}


def test_one_run_at_a_time_in_a_store() -> None:
    store = fresh_store()
    one, other = StoreLedger(store), StoreLedger(store)
    one.append(entry("a.png"))
    one.close()
    other.append(entry("b.png"))
    with pytest.raises(OutputError, match="another batch is writing there"):
        other.close()
    assert set(StoreLedger(store).done) == {"a.png"}


def test_lost_answer_is_not_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fresh_store()
    put, errors = store.fs.pipe_file, iter([OSError("reset by peer")])

    def lose_first_answer(*arguments: object, **options: object) -> None:
        put(*arguments, **options)
        for error in errors:
            raise error

    monkeypatch.setattr(store.fs, "pipe_file", lose_first_answer)
    with StoreLedger(store) as ledger:
        ledger.append(entry("a.png"))
    assert set(StoreLedger(store).done) == {"a.png"}


def test_parts_are_numbered_and_other_objects_skipped() -> None:
    store = fresh_store()
    store.create("report/part-99999.jsonl", b'{"torn')
    store.create("report/part-x.jsonl", b"not ours")
    with StoreLedger(store) as ledger:
        assert ledger.done == {}
        ledger.append(entry("a.png"))
    assert "report/part-100000.jsonl" in dict(store.list("report"))
    with StoreLedger(store) as ledger:
        ledger.append(entry("b.png"))
    assert "report/part-100001.jsonl" in dict(store.list("report"))
