"""The ledger of an object store: numbered objects, since none can be added to.

Records enter; objects of many rows leave. After a kill, all are read again.
"""

import threading
import time

from pellucid.batch.ledger import Ledger, Record, as_line, made_of
from pellucid.batch.storage import ObjectStore
from pellucid.errors import OutputError

#: A part is written when it has so many rows, or when its first row has waited so long: that much a kill can lose.
MAX_ROWS, MAX_WAIT_S = 1000, 10.0
_FOLDER = "report"


class StoreLedger(Ledger):
    """The ledger of an object store.

    Rows that a kill loses are of results that are there; the next run finds them.

    Parameters
    ----------
    store : ObjectStore

    Raises
    ------
    InputError
        The store does not answer.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._lock = store, threading.Lock()
        self.location = f"{store.location}/{_FOLDER}"
        self._rows: list[bytes] = []
        self._since = 0.0
        parts = sorted((number, path) for path, _ in store.list(_FOLDER) if (number := _number(path)) is not None)
        self._next = parts[-1][0] + 1 if parts else 0
        # As numbers, since a millionth part has a longer name.
        self.made = made_of(line for _, path in parts for line in store.read(path).splitlines())

    def append(self, record: Record) -> None:
        """Add a record to the part that is being gathered.

        Raises
        ------
        OutputError
            The store does not take the part, or another run has written one of its number.
        """
        with self._lock:
            if not self._rows:
                self._since = time.monotonic()
            self._rows.append(as_line(record))
            if len(self._rows) >= MAX_ROWS or time.monotonic() - self._since >= MAX_WAIT_S:
                self._write()

    def close(self) -> None:
        """Write what has been gathered."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        path = f"{_FOLDER}/part-{self._next:05d}.jsonl"
        content, self._rows = b"".join(self._rows), []
        # There are no locks in a store, but a name can be taken only once.
        if not self._store.create(path, content):
            raise OutputError(f"{self._store.location}: another batch is writing there: wait for it to end")
        self._next += 1


def _number(path: str) -> int | None:
    digits = path.removeprefix(f"{_FOLDER}/part-").removesuffix(".jsonl")
    return int(digits) if path == f"{_FOLDER}/part-{digits}.jsonl" and digits.isascii() and digits.isdigit() else None
