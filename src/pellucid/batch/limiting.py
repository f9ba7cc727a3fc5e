"""When too many files fail, stop: something is wrong with all of them.

Records enter and leave.
"""

from collections.abc import Generator
from contextlib import closing

from pellucid.batch.ledger import Record
from pellucid.errors import ParameterError, TooManyFailedError

#: A share of fewer files says nothing.
MIN_DONE = 20


def at_most(max_error_rate: float | None, records: Generator[Record]) -> Generator[Record]:
    """Pass records on until more than a share of them are failures; then end the run.

    Parameters
    ----------
    max_error_rate : float, optional
        From 0 to 1.
    records : generator of Record
        Closed at the end.

    Raises
    ------
    ParameterError
        The share is none.
    TooManyFailedError
        Of at least `MIN_DONE` records, a larger share are failures.
    """
    if max_error_rate is not None and not 0 <= max_error_rate <= 1:
        raise ParameterError(f"max-error-rate {max_error_rate}: give a share from 0 to 1")
    return _limited(1.0 if max_error_rate is None else max_error_rate, records)


def _limited(max_error_rate: float, records: Generator[Record]) -> Generator[Record]:
    n_failed = 0
    with closing(records):
        for n_done, record in enumerate(records, 1):
            yield record
            n_failed += record.status == "failed"
            if n_done >= MIN_DONE and n_failed > max_error_rate * n_done:
                raise TooManyFailedError(
                    f"{n_failed} of {n_done} files failed, more than the share of {max_error_rate:g} that "
                    "--max-error-rate allows: see what is wrong with them, and start the same command again"
                )
