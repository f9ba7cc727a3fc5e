from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.batch import Record, at_most
from pellucid.batch.limiting import MIN_DONE
from pellucid.errors import ParameterError, TooManyFailedError


def records(fails: list[bool]) -> Generator[Record]:
    for number, failed in enumerate(fails):
        yield Record(f"{number}", "a", "failed" if failed else "ok", "x")


@given(fails=st.lists(st.booleans(), max_size=60), rate=st.floats(0, 1))
def test_a_run_stops_at_the_first_record_that_is_too_much(fails: list[bool], rate: float) -> None:
    too_much = (n for n in range(MIN_DONE, len(fails) + 1) if sum(fails[:n]) > rate * n)
    last = next(too_much, None)
    n_passed, stopped = 0, None
    try:
        for _ in at_most(rate, records(fails)):
            n_passed += 1
    except TooManyFailedError as error:
        stopped = str(error)
    assert n_passed == (len(fails) if last is None else last)
    assert (stopped is None) == (last is None)
    assert last is None or str(stopped).startswith(f"{sum(fails[:last])} of {last} files failed")
    assert [record.path for record in at_most(None, records(fails))] == [f"{n}" for n in range(len(fails))]


def test_the_run_is_closed_when_it_is_too_much() -> None:
    source = records([True] * 100)
    with pytest.raises(TooManyFailedError, match="--max-error-rate"):
        list(at_most(0.5, source))
    assert source.gi_frame is None


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="give a share from 0 to 1"):
        at_most(rate, records([]))
