"""Where files come from and where results go: a folder, or a prefix of an object store.

A location enters; files to read from and to write to leave. It knows nothing of images.

To the work on a file both are alike: it reads a file and writes a file. Objects are fetched to a temporary file before
and put as a whole after it, so that the same code makes the same bytes, and large images need no more memory than they
do on a disk.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pellucid.batch.retrying import persistently
from pellucid.errors import (
    InputError,
    MissingExtraError,
    OutputError,
    ParameterError,
    PellucidError,
    TooLargeError,
    UnreadableImageError,
)
from pellucid.paths import make_folder

_MARK = "://"


class Store(Protocol):
    """A place for results; paths in it have ``/`` between folders.

    Attributes
    ----------
    location : str
        What it was opened with, and what messages call it.
    """

    location: str

    def size(self, path: str) -> int | None:
        """Give a result's size in bytes; None if it is not there."""

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Give the sizes in bytes of those results that are there."""

    def reading(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """Give a file with the result's content."""

    def writing(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """Give the name of a file that becomes the result, as a whole, once it is written and no error has followed."""


def is_url(location: str) -> bool:
    """Tell a location in an object store from a path."""
    return _MARK in location


def open_store(location: str) -> Store:
    """Open a folder, which need not exist, or a prefix of an object store.

    Raises
    ------
    MissingExtraError
        What reaches stores of that kind is not installed.
    ParameterError
        There is no such kind of store.
    """
    return ObjectStore(location) if is_url(location) else FolderStore(Path(location))


class FolderStore:
    """Results in a folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.location = folder, str(folder)

    def size(self, path: str) -> int | None:
        """Give a result's size in bytes; None if it is not there."""
        try:
            return (self.folder / path).stat().st_size
        except OSError:
            return None

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Give the sizes in bytes of those results that are there."""
        return {path: size for path in paths if (size := self.size(path)) is not None}

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[Path]:
        """Give the result's file."""
        yield self.folder / path

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Give the result's name, in a folder that exists; whoever writes to it does so whole or not at all."""
        target = self.folder / path
        make_folder(target.parent)
        yield target


class ObjectStore:
    """Results under a prefix of an object store.

    Parameters
    ----------
    location : str
        As ``s3://bucket/prefix``.

    Raises
    ------
    MissingExtraError, ParameterError
        As of `open_store`.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self._fs, self._root = _file_system(self.location)

    def size(self, path: str) -> int | None:
        """Give an object's size in bytes; None if it is not there."""
        with _told_as(OutputError, self._url(path)):
            return _size(self._fs, self._key(path))

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Give the sizes in bytes of those objects that are there, from a listing: a request for a thousand."""
        there = dict(self.list())
        return {path: there[path] for path in paths if path in there}

    def list(self, below: str = "") -> list[tuple[str, int]]:
        """Give all objects and their sizes in bytes, in order, whose paths begin with a folder's."""
        with _told_as(InputError, self._url(below)):
            found = persistently(self._fs.find, self._key(below), detail=True)
        start = len(self._key("x")) - 1
        return sorted((name[start:], int(entry["size"])) for name, entry in found.items())

    def read(self, path: str) -> bytes:
        """Give a small object's content."""
        with _told_as(InputError, self._url(path)):
            return bytes(persistently(self._fs.cat_file, self._key(path)))

    def create(self, path: str, content: bytes) -> bool:
        """Put a small object that is not there yet; tell whether another's was."""
        key = self._key(path)
        with _told_as(OutputError, self._url(path)):
            try:
                persistently(self._fs.pipe_file, key, content, mode="create")
            except FileExistsError:
                # The answer to a first attempt that succeeded may have been lost.
                return bytes(persistently(self._fs.cat_file, key)) == content
        return True

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[Path]:
        """Give a temporary file with the object's content."""
        with _fetched(self._fs, self._key(path), self._url(path), None) as local:
            yield local

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Give the name of a temporary file whose content then becomes the object."""
        url = self._url(path)
        with _temporary(url) as local:
            yield local
            with _told_as(OutputError, url):
                persistently(self._fs.put_file, str(local), self._key(path))

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    def _url(self, path: str) -> str:
        return f"{self.location}/{path}"


@contextlib.contextmanager
def fetched(source: str, max_bytes: int | None = None) -> Iterator[Path]:
    """Give a file with a source's content: a path's own, or a temporary one.

    Parameters
    ----------
    source : str
        A path or a URL.
    max_bytes : int, optional
        Larger objects are refused before they are read.

    Raises
    ------
    InputError
        The object is not there, too large, or its store does not answer.
    """
    if not is_url(source):
        yield Path(source)
        return
    fs, key = _file_system(source)
    with _fetched(fs, key, source, max_bytes) as local:
        yield local


def objects_below(url: str) -> list[str]:
    """List the objects at a URL: the one of that name, or the paths of all below it, in order.

    Returns
    -------
    list of str
        Empty if there is none; of one object, ``['']``.
    """
    fs, key = _file_system(url)
    with _told_as(InputError, url):
        size = _size(fs, key)
    return [""] if size is not None else [path for path, _ in ObjectStore(url).list()]


def safe_path(path: str, source: str) -> PurePosixPath:
    """Refuse a path that would leave the folder it is put in.

    Raises
    ------
    UnreadableImageError
        A part of it is ``..``, or it holds a null character.
    """
    if ".." in path.split("/") or "\0" in path:
        raise UnreadableImageError(f"{source!r}: leads out of its folder; rename it, or leave it out")
    return PurePosixPath(path.lstrip("/"))


def _size(fs: Any, key: str) -> int | None:
    try:
        entry = persistently(fs.info, key)
    except FileNotFoundError:
        return None
    return int(entry["size"]) if entry["type"] == "file" else None


def _file_system(url: str) -> tuple[Any, str]:
    kind = url.partition(_MARK)[0]
    try:
        import fsspec  # noqa: PLC0415 (an extra)

        # What another process has written since is to be seen.
        fs, key = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(
            f"{url}: what leads there is not installed ({error}): pip install 'pellucid[ray]'"
        ) from None
    except ValueError as error:
        raise ParameterError(
            f"{url}: '{kind}' is no kind of store ({error}); give a URL like s3://bucket/folder"
        ) from None
    return fs, str(key).rstrip("/")


@contextlib.contextmanager
def _fetched(fs: Any, key: str, url: str, max_bytes: int | None) -> Iterator[Path]:
    with _temporary(url) as local:
        with _told_as(UnreadableImageError, url):
            size = _size(fs, key)
            if size is None:
                raise UnreadableImageError(f"{url}: no such object; check the name")
            if max_bytes is not None and size > max_bytes:
                raise TooLargeError(f"{url}: {size} bytes, more than an image within the limit of pixels can have")
            persistently(fs.get_file, key, str(local))
        yield local


@contextlib.contextmanager
def _temporary(url: str) -> Iterator[Path]:
    """Give a free name with the URL's suffix; an error that names it names the URL instead."""
    with tempfile.TemporaryDirectory(prefix="pellucid-") as folder:
        local = Path(folder) / f"object{PurePosixPath(url).suffix}"
        try:
            yield local
        except PellucidError as error:
            raise type(error)(str(error).replace(str(local), url)) from error.__cause__


@contextlib.contextmanager
def _told_as(kind: type[PellucidError], url: str) -> Iterator[None]:
    """Make what a store answers an error of ours, in one line."""
    try:
        yield
    except (PellucidError, FileExistsError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{url}: the store does not do as asked ({reason}); check the name and your access") from error
