import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.batch import ObjectStore, Record, StoreLedger, parts
from pellucid.errors import OutputError

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
records = st.builds(
    Record,
    path=names,
    source=names,
    status=st.sampled_from(["ok", "found", "failed"]),
    settings=st.just("x"),
    error=st.none() | names,
    sigma=st.none() | st.floats(0, 55),
    n_bytes=st.none() | st.integers(0, 2**40),
)
_numbers = itertools.count()


def fresh() -> ObjectStore:
    return ObjectStore(f"memory://ledger{next(_numbers)}/out")


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_ROWS", 3)


def record(path: str, status: str = "ok") -> Record:
    return Record(path, path, status, "x")


@given(runs=st.lists(st.lists(records, max_size=9), max_size=4), max_rows=st.integers(1, 5))
def test_what_runs_append_is_read_again_whatever_the_size_of_parts(runs: list[list[Record]], max_rows: int) -> None:
    store, expected = fresh(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "MAX_ROWS", max_rows)
        for run in runs:
            with StoreLedger(store) as ledger:
                assert ledger.made == expected
                for each in run:
                    ledger.append(each)
                    if each.status != "failed":
                        expected[each.path] = each
    assert StoreLedger(store).made == expected
    assert len(store.list("report")) == sum(-(-len(run) // max_rows) for run in runs)


@pytest.mark.usefixtures("few_rows")
def test_a_kill_loses_only_the_part_that_is_gathered() -> None:
    store = fresh()
    killed = StoreLedger(store)
    for number in range(5):
        killed.append(record(f"{number}.png"))
    assert set(StoreLedger(store).made) == {"0.png", "1.png", "2.png"}


def test_a_row_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fresh()
    monkeypatch.setattr(parts, "MAX_WAIT_S", 0)
    StoreLedger(store).append(record("a.png"))
    assert set(StoreLedger(store).made) == {"a.png"}


def test_one_run_at_a_time() -> None:
    store = fresh()
    one, other = StoreLedger(store), StoreLedger(store)
    one.append(record("a.png"))
    one.close()
    other.append(record("b.png"))
    with pytest.raises(OutputError, match="another batch is writing there"):
        other.close()
    assert set(StoreLedger(store).made) == {"a.png"}


def test_an_answer_that_was_lost_is_no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fresh()
    monkeypatch.setattr("pellucid.batch.retrying.FIRST_WAIT_S", 0)
    put, answers = store._fs.pipe_file, iter([OSError("reset by peer")])

    def losing(*arguments: object, **options: object) -> None:
        put(*arguments, **options)
        for error in answers:
            raise error

    monkeypatch.setattr(store._fs, "pipe_file", losing)
    with StoreLedger(store) as ledger:
        ledger.append(record("a.png"))
    assert set(StoreLedger(store).made) == {"a.png"}


def test_parts_are_read_by_number_and_what_is_no_part_passed_over() -> None:
    store = fresh()
    store.create("report/part-99999.jsonl", b'{"torn')
    store.create("report/part-x.jsonl", b"not ours")
    with StoreLedger(store) as ledger:
        assert ledger.made == {}
        ledger.append(record("a.png"))
    assert "report/part-100000.jsonl" in dict(store.list("report"))
    with StoreLedger(store) as ledger:
        ledger.append(record("b.png"))
    assert "report/part-100001.jsonl" in dict(store.list("report"))
