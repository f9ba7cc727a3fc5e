"""The ledger of a batch: a line of JSON for every file, in a folder or in an object store."""

import contextlib
import fcntl
import json
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from pellucid.batch.storage import ObjectStore
from pellucid.errors import OutputError

LEDGER_NAME = "report.jsonl"
_PARTS_FOLDER = "report"


@dataclass(frozen=True)
class LedgerEntry:
    """The outcome of one file; `n_bytes` and `sha256` are those of the result."""

    #: Of the result in the output, with ``/`` between folders.
    path: str
    source: str
    #: 'ok', 'failed', or 'found': a result of the source's size existed without an entry, and was kept.
    status: str
    #: The fingerprint of the options, see :func:`pellucid.batch.job.fingerprint`.
    settings: str
    #: The reason of a failure, in one line.
    error: str | None = None
    #: Noise level on the 0..255 scale; root mean square over pages.
    sigma: float | None = None
    #: For reading, waiting for the network, denoising and writing.
    seconds: float = 0.0
    #: Of all pages.
    megapixels: float = 0.0
    n_bytes: int | None = None
    sha256: str | None = None

    def to_line(self) -> bytes:
        """Encode as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self | None:
        """Decode a line; None if it is torn, empty or of another kind."""
        try:
            values: Any = json.loads(line)
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None


class Ledger(contextlib.AbstractContextManager["Ledger"]):
    """The ledger of an output, open for one run at a time; thread-safe."""

    #: Path or URL, for messages.
    location: str
    #: By path, the last entry of each result that was written or found before this run.
    done: dict[str, LedgerEntry]

    @abstractmethod
    def append(self, entry: LedgerEntry) -> None:
        """Add an entry; raises OutputError if it cannot be written."""

    @abstractmethod
    def close(self) -> None:
        """Write pending entries and release the output."""

    def __exit__(self, *_: object) -> None:
        self.close()


class FolderLedger(Ledger):
    """The ledger of a folder: one locked file, to which each entry is appended at once."""

    def __init__(self, folder: Path) -> None:
        self._name = folder / LEDGER_NAME
        self.location = str(self._name)
        self._lock = threading.Lock()
        try:
            self._file = self._name.open("a+b", buffering=0)
        except OSError as error:
            raise OutputError(f"{self._name}: cannot be written ({error.strerror}): choose another folder") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise OutputError(f"{folder}: another batch is writing there: wait for it to end") from error
        self.done = self._read()

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry in one write: a kill leaves a whole line or the beginning of one."""
        line = entry.to_line()
        try:
            with self._lock:
                self._file.write(line)
        except OSError as error:
            raise OutputError(f"{self._name}: cannot be written ({error.strerror}): free some space") from error

    def close(self) -> None:
        """Flush and unlock the file."""
        # If a power cut loses lines, the next run finds their results; a full disk was reported by append.
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def _read(self) -> dict[str, LedgerEntry]:
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            done = _done_entries(lines)
        if self._file.seek(0, os.SEEK_END) and not self._ends_line():
            # A kill tore the last line: what follows must not become part of it.
            self._file.write(b"\n")
        return done

    def _ends_line(self) -> bool:
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) == b"\n"


class StoreLedger(Ledger):
    """The ledger of an object store: numbered objects of many lines, since objects cannot be appended to.

    Entries that a kill loses are of results that exist; the next run finds them.

    Parameters
    ----------
    store : ObjectStore
    max_rows, max_wait_s
        An object is written once it has this many lines, or once its first line has waited this long.
    """

    def __init__(self, store: ObjectStore, *, max_rows: int = 1000, max_wait_s: float = 10.0) -> None:
        self._store, self._lock = store, threading.Lock()
        self._max_rows, self._max_wait_s = max_rows, max_wait_s
        self.location = f"{store.location}/{_PARTS_FOLDER}"
        self._lines: list[bytes] = []
        self._since = 0.0
        # Sorted as numbers, since the millionth part has a longer name.
        listed = store.list(_PARTS_FOLDER)
        parts = sorted((number, path) for path, _ in listed if (number := _part_number(path)) is not None)
        self._next = parts[-1][0] + 1 if parts else 0
        self.done = _done_entries(line for _, path in parts for line in store.read(path).splitlines())

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry to the pending part; raises OutputError if another run has written a part of its number."""
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
            self._lines.append(entry.to_line())
            if len(self._lines) >= self._max_rows or time.monotonic() - self._since >= self._max_wait_s:
                self._write()

    def close(self) -> None:
        """Write the pending part."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._lines:
            return
        path = f"{_PARTS_FOLDER}/part-{self._next:05d}.jsonl"
        content, self._lines = b"".join(self._lines), []
        # A store has no locks, but a name can be created only once.
        if not self._store.create(path, content):
            raise OutputError(f"{self._store.location}: another batch is writing there: wait for it to end")
        self._next += 1


def _done_entries(lines: Iterable[bytes]) -> dict[str, LedgerEntry]:
    """Collect the last entry of each result that was written or found; other lines are skipped."""
    entries = (LedgerEntry.from_line(line) for line in lines)
    return {entry.path: entry for entry in entries if entry is not None and entry.status != "failed"}


def _part_number(path: str) -> int | None:
    digits = path.removeprefix(f"{_PARTS_FOLDER}/part-").removesuffix(".jsonl")
    is_part = path == f"{_PARTS_FOLDER}/part-{digits}.jsonl" and digits.isascii() and digits.isdigit()
    return int(digits) if is_part else None
