"""Write files atomically: a file is either whole under its name, or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pellucid.errors import OutputError

_EXISTS = "exists already; choose another name, or allow overwriting (--overwrite, overwrite=True)"
_HIDDEN = ".pellucid-"
#: What the system answers where a disk takes no more.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMEDIES = {
    errno.ENOSPC: "no space left on the disk; free some or write to another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or write to another folder",
    errno.EFBIG: "the file would be larger than allowed here; write to another folder",
    errno.EACCES: "no permission to write there; choose a folder of yours",
    errno.EPERM: "no permission to write there; choose a folder of yours",
    errno.EROFS: "the file system is read-only; write to another folder",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "the folder is a file; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; shorten it",
}
# What os.link answers on file systems without hard links, such as the FAT of a camera's card.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL})


def write_atomic(target: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write a file atomically.

    Raises
    ------
    OutputError
        See :func:`replacing`.
    """
    with replacing(target, overwrite=overwrite) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Open a binary stream whose content gets the name `target` when the block ends without an error.

    The content goes to a hidden file beside the target, is synced to the disk, and is renamed in one step. On an error
    or an interrupt the hidden file is removed and nothing else has changed. A file that is replaced keeps its
    permissions; a symbolic link is replaced, not followed.

    Raises
    ------
    OutputError
        The target exists and `overwrite` is false (also if it appears meanwhile), or the disk does not take it; the
        message names the target, ``__cause__`` is the OSError.
    """
    target = Path(target)
    with errors_named(target):
        mode = mode_to_keep(target, overwrite=overwrite)
        with hidden_file(target) as (temporary, descriptor):
            with os.fdopen(descriptor, "w+b") as stream:
                yield stream
                stream.flush()
                if mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            _publish(temporary, target, overwrite=overwrite)
        _sync_folder(target.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the hidden files of killed processes from a folder in which nobody else is writing."""
    for leftover in folder.glob(f"{_HIDDEN}*"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def errors_named(target: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError of one line: the target's name, the reason, the remedy."""
    name = str(target) if str(target).isprintable() else repr(str(target))
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{name}: {error}") from error.__cause__
    except FileExistsError as error:
        raise OutputError(f"{name}: {_EXISTS}") from error
    except OSError as error:
        reason = _REMEDIES.get(error.errno or 0) or f"{error.strerror or error}; write to another folder"
        raise OutputError(f"{name}: {reason}") from error


def mode_to_keep(target: Path, *, overwrite: bool) -> int | None:
    """Refuse a target that must not be replaced; return the permissions of one that may be."""
    if not os.path.lexists(target):
        return None
    if target.is_dir():
        raise OutputError("a folder; add a file name")
    if target.exists() and not target.is_file():
        raise OutputError("not a file but a device or the like; choose another name")
    if not overwrite:
        raise OutputError(_EXISTS)
    return None if target.is_symlink() else stat.S_IMODE(target.stat().st_mode)


@contextlib.contextmanager
def hidden_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Create a hidden file beside the target, and remove it at the end if it is still there."""
    temporary = target.with_name(f"{_HIDDEN}{secrets.token_hex(8)}{target.suffix}")
    try:
        # 0o666 less the umask, as for any new file.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        yield temporary, descriptor
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(target)
        return
    try:
        # Unlike a rename, a link never replaces: this fails if the target has appeared meanwhile.
        target.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _publish_without_link(temporary, target)


def _publish_without_link(temporary: Path, target: Path) -> None:
    # Claim the name with an empty file, which only one process can do, then put the whole one in its place.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        temporary.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    # The file is safe already; some file systems cannot do this for its name.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
