"""What became of every file: a line of JSON each, beside the results.

Records enter and are appended; after a kill, they are read again. It knows nothing of images.
"""

import contextlib
import fcntl
import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pellucid.errors import OutputError

LEDGER_NAME = "report.jsonl"


@dataclass(frozen=True)
class Record:
    """What became of one file.

    Attributes
    ----------
    path : str
        Where the result lies in the output folder, with ``/`` between folders.
    source : str
    status : {'ok', 'found', 'failed'}
        'found': a whole image of the source's size was there already, of which the ledger knew nothing. It was left.
    error : str, optional
        Why it failed, in one line.
    sigma : float, optional
        Noise level on the 0..255 scale; of several pages, the root mean square.
    seconds : float
        Reading, waiting for the network, denoising and writing.
    megapixels : float
        Of all pages together.
    n_bytes : int, optional
        Of the result.
    sha256 : str, optional
        Of the result.
    settings : str
        The fingerprint of what it was made with.
    """

    path: str
    source: str
    status: str
    settings: str
    error: str | None = None
    sigma: float | None = None
    seconds: float = 0.0
    megapixels: float = 0.0
    n_bytes: int | None = None
    sha256: str | None = None


class Ledger(ABC):
    """The ledger of an output, open for one run at a time; safe to append to from several threads.

    Attributes
    ----------
    location : str
        What messages call it.
    made : dict of Record
        By path, the last record of each result that was written or found.
    """

    location: str
    made: dict[str, Record]

    @abstractmethod
    def append(self, record: Record) -> None:
        """Add a record.

        Raises
        ------
        OutputError
            It cannot be kept.
        """

    @abstractmethod
    def close(self) -> None:
        """Keep what is not kept yet, and let go of the output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderLedger(Ledger):
    """The ledger of a folder: one file, to which each record is added at once.

    Parameters
    ----------
    folder : Path
        Exists.

    Raises
    ------
    OutputError
        Another run has it open, or it cannot be written.
    """

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
        self.made = self._read()

    def append(self, record: Record) -> None:
        """Add a record, in one write: a kill leaves a whole line or the beginning of one.

        Raises
        ------
        OutputError
            The disk does not take it.
        """
        line = as_line(record)
        try:
            with self._lock:
                self._file.write(line)
        except OSError as error:
            raise OutputError(f"{self._name}: cannot be written ({error.strerror}): free some space") from error

    def close(self) -> None:
        """Let go of the folder."""
        # A power cut could still lose rows, whose results the next run would find; a full disk has told already.
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def _read(self) -> dict[str, Record]:
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            made = made_of(lines)
        if self._file.seek(0, os.SEEK_END) and not self._ends_line():
            # A kill tore the last line: what follows must not become part of it.
            self._file.write(b"\n")
        return made

    def _ends_line(self) -> bool:
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) == b"\n"


def as_line(record: Record) -> bytes:
    """Write a record as a line."""
    return json.dumps(asdict(record)).encode() + b"\n"


def made_of(lines: Iterable[bytes]) -> dict[str, Record]:
    """Give the last record of each result that was written or found; lines that are none are passed over."""
    made: dict[str, Record] = {}
    for line in lines:
        record = parsed(line)
        if record is not None and record.status != "failed":
            made[record.path] = record
    return made


def parsed(line: bytes) -> Record | None:
    """Read a line; None if it is torn, empty or not ours."""
    try:
        values: Any = json.loads(line)
        return Record(**{field.name: values[field.name] for field in fields(Record)})
    except (ValueError, KeyError, TypeError):
        return None
