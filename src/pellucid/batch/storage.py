"""Read sources from, and write results to, a folder or a prefix of an object store.

Objects are copied to and from temporary files, so that the code that denoises files makes the same bytes for both.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

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

#: If a store fails every fifth request, 0.2**8 = 3 in a million still fail.
N_ATTEMPTS = 8
FIRST_WAIT_S = 0.2
#: Errors that another attempt will not change; libraries of stores raise hundreds of other types.
_PERMANENT: tuple[type[Exception], ...] = (FileNotFoundError, FileExistsError, PermissionError, TypeError, ValueError)
_PERMANENT += (IsADirectoryError, NotADirectoryError)
_SCHEME_END = "://"

_T = TypeVar("_T")


class FolderStore:
    """Results in a folder, which need not exist; paths in it have ``/`` between folders."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.location = folder, str(folder)

    def size(self, path: str) -> int | None:
        """Get the size of a result in bytes; None if it does not exist."""
        try:
            return (self.folder / path).stat().st_size
        except OSError:
            return None

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Get the sizes in bytes of those results that exist."""
        return {path: size for path in paths if (size := self.size(path)) is not None}

    @contextlib.contextmanager
    def open_existing(self, path: str) -> Iterator[Path]:
        """Yield the result's own path."""
        yield self.folder / path

    @contextlib.contextmanager
    def open_result(self, path: str) -> Iterator[Path]:
        """Yield the result's own path, in a folder that exists; the caller writes it atomically."""
        target = self.folder / path
        make_folder(target.parent)
        yield target


class ObjectStore:
    """Results under a prefix of an object store, such as ``s3://bucket/prefix``."""

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self.fs, self._root = _open_file_system(self.location)

    def size(self, path: str) -> int | None:
        """Get the size of an object in bytes; None if it does not exist."""
        with _store_errors_as(OutputError, self._url(path)):
            return _get_size(self.fs, self._key(path))

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Get the sizes in bytes of those objects that exist, from a listing: one request for a thousand."""
        listed = dict(self.list())
        return {path: listed[path] for path in paths if path in listed}

    def list(self, folder: str = "") -> list[tuple[str, int]]:
        """List all objects in a folder and below, with their sizes in bytes, sorted by path."""
        with _store_errors_as(InputError, self._url(folder)):
            found = retry(self.fs.find, self._key(folder), detail=True)
        start = len(self._key("x")) - 1
        return sorted((name[start:], int(entry["size"])) for name, entry in found.items())

    def read(self, path: str) -> bytes:
        """Read a small object."""
        with _store_errors_as(InputError, self._url(path)):
            return bytes(retry(self.fs.cat_file, self._key(path)))

    def create(self, path: str, content: bytes) -> bool:
        """Write a small object; False if another one of that name exists."""
        key = self._key(path)
        with _store_errors_as(OutputError, self._url(path)):
            try:
                retry(self.fs.pipe_file, key, content, mode="create")
            except FileExistsError:
                # The answer to a first attempt that succeeded may have been lost.
                return bytes(retry(self.fs.cat_file, key)) == content
        return True

    def open_existing(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """Yield a temporary file with the object's content."""
        return _download(self.fs, self._key(path), self._url(path), None)

    @contextlib.contextmanager
    def open_result(self, path: str) -> Iterator[Path]:
        """Yield the name of a temporary file that is then uploaded."""
        url = self._url(path)
        with _temporary_file(url) as local:
            yield local
            with _store_errors_as(OutputError, url):
                retry(self.fs.put_file, str(local), self._key(path))

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    def _url(self, path: str) -> str:
        return f"{self.location}/{path}"


Store = FolderStore | ObjectStore


def is_url(location: str) -> bool:
    """Distinguish a URL of an object store from a path."""
    return _SCHEME_END in location


def open_store(location: str) -> Store:
    """Open a folder or a prefix of an object store."""
    return ObjectStore(location) if is_url(location) else FolderStore(Path(location))


@contextlib.contextmanager
def local_copy(source: str, max_bytes: int | None = None) -> Iterator[Path]:
    """Yield a path itself, or a temporary file with the content of a URL of at most `max_bytes`."""
    if not is_url(source):
        yield Path(source)
        return
    fs, key = _open_file_system(source)
    with _download(fs, key, source, max_bytes) as local:
        yield local


def list_objects(url: str) -> list[str]:
    """List the paths of all objects below a URL, sorted; ``['']`` if the URL is an object itself."""
    fs, key = _open_file_system(url)
    with _store_errors_as(InputError, url):
        size = _get_size(fs, key)
    return [""] if size is not None else [path for path, _ in ObjectStore(url).list()]


def safe_path(path: str, source: str) -> PurePosixPath:
    """Make a path relative; raises UnreadableImageError if it has a part ``..`` or a null character."""
    if ".." in path.split("/") or "\0" in path:
        raise UnreadableImageError(f"{source!r}: leads out of its folder; rename it, or leave it out")
    return PurePosixPath(path.lstrip("/"))


def retry(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Call a function of a store, up to `N_ATTEMPTS` times, with waits that double and are random by a half."""
    import tenacity  # noqa: PLC0415 (an extra)

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(N_ATTEMPTS),
        wait=tenacity.wait_exponential(FIRST_WAIT_S / 2) + tenacity.wait_random_exponential(FIRST_WAIT_S),
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Exception) and not isinstance(error, _PERMANENT)
        ),
        reraise=True,
    )
    return attempts(function, *arguments, **options)


def _get_size(fs: Any, key: str) -> int | None:
    try:
        entry = retry(fs.info, key)
    except FileNotFoundError:
        return None
    return int(entry["size"]) if entry["type"] == "file" else None


def _open_file_system(url: str) -> tuple[Any, str]:
    kind = url.partition(_SCHEME_END)[0]
    try:
        import fsspec  # noqa: PLC0415 (an extra)
        import tenacity  # noqa: F401, PLC0415 (needed by :func:`retry`)

        # Without a cache, since other processes write meanwhile.
        fs, key = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(
            f"{url}: the package for such stores is not installed ({error}): pip install 'pellucid[ray]'"
        ) from None
    except ValueError as error:
        raise ParameterError(
            f"{url}: unknown kind of store '{kind}' ({error}); give a URL like s3://bucket/folder"
        ) from None
    return fs, str(key).rstrip("/")


@contextlib.contextmanager
def _download(fs: Any, key: str, url: str, max_bytes: int | None) -> Iterator[Path]:
    with _temporary_file(url) as local:
        with _store_errors_as(UnreadableImageError, url):
            size = _get_size(fs, key)
            if size is None:
                raise UnreadableImageError(f"{url}: no such object; check the name")
            if max_bytes is not None and size > max_bytes:
                raise TooLargeError(
                    f"{url}: {size} bytes, more than an image within the pixel limit can have: set PELLUCID_MAX_PIXELS"
                )
            retry(fs.get_file, key, str(local))
        yield local


@contextlib.contextmanager
def _temporary_file(url: str) -> Iterator[Path]:
    """Yield an unused name with the URL's suffix; errors that contain the name get the URL instead."""
    with tempfile.TemporaryDirectory(prefix="pellucid-") as folder:
        local = Path(folder) / f"object{PurePosixPath(url).suffix}"
        try:
            yield local
        except PellucidError as error:
            raise type(error)(str(error).replace(str(local), url)) from error.__cause__


@contextlib.contextmanager
def _store_errors_as(kind: type[PellucidError], url: str) -> Iterator[None]:
    """Turn whatever a store raises into an error of ours, in one line."""
    try:
        yield
    except (PellucidError, FileExistsError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{url}: the store reported an error ({reason}); check the name and your access") from error
