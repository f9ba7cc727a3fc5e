"""From a picture to a file that is either whole or not there.

Enters: a Source (a Picture is one) and the path to write to. Leaves: the file, or an OutputError and nothing changed.
Does not know: how a picture becomes bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pellucid.errors import OutputError
from pellucid.io.encoders import check, encode_to
from pellucid.io.image import SUFFIXES, Source

_EXISTS = "exists already; choose another name, or allow overwriting (--overwrite, overwrite=True)"
_HIDDEN = ".pellucid-"
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


def write(source: Source, target: Path, *, overwrite: bool = False) -> None:
    """Write a picture to a file, whole or not at all.

    The file is made under a hidden name beside the target, forced to the disk, and given its name in one
    step. On any failure, or an interrupt, the hidden file goes and nothing else has changed.

    Parameters
    ----------
    source : Source
        What to write: a Picture, or one whose rows are made as they are written.
    target : Path
        Its suffix decides the format. A symbolic link is replaced, not followed.
    overwrite : bool
        Replace a file that exists; it keeps its permissions. Otherwise an existing file is an error, even
        one that appears while this one is being written.

    Raises
    ------
    OutputError
        If the target exists, its suffix names no format, the format cannot hold the picture, or the disk
        does not take it.
    """
    check_target(target, overwrite=overwrite)
    image_format = SUFFIXES[Path(target).suffix.lower()]
    with _errors_named(target):
        check(source, image_format)
    _write(lambda stream: encode_to(stream, source, image_format), target, overwrite=overwrite)


def write_bytes(content: bytes, target: Path, *, overwrite: bool = False) -> None:
    """Write a file's content that is already encoded, as `write` writes: whole or not at all.

    Parameters
    ----------
    content : bytes
    target : Path
    overwrite : bool
        As of `write`.

    Raises
    ------
    OutputError
        As `write`.
    """
    check_target(target, overwrite=overwrite)
    _write(lambda stream: stream.write(content), target, overwrite=overwrite)


def copy(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Copy a file, as `write` writes: whole or not at all.

    Parameters
    ----------
    source : Path
    target : Path
    overwrite : bool
        As of `write`.

    Raises
    ------
    OutputError
        As `write`.
    """
    check_target(target, overwrite=overwrite)
    with Path(source).open("rb") as content:
        _write(lambda stream: shutil.copyfileobj(content, stream), target, overwrite=overwrite)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done for it.

    Raises
    ------
    OutputError
        If its suffix names no format, it exists and must not be replaced, or its folder cannot be written to.
    """
    target = Path(target)
    with _errors_named(target):
        if target.suffix.lower() not in SUFFIXES and not target.is_dir():
            raise OutputError(f"the name does not end in one of {', '.join(SUFFIXES)}; give it one of these")
        if "\0" in str(target):
            raise OutputError("the name holds a null character; choose another name")
        _mode_to_keep(target, overwrite=overwrite)
        # Only making a file tells for sure that one can be made, and if not, why.
        with _hidden_file(target) as (_, descriptor):
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove from a folder what processes that were killed had begun to write. Nobody else may be writing there."""
    for leftover in folder.glob(f"{_HIDDEN}*"):
        leftover.unlink(missing_ok=True)


def _write(fill: Callable[[BinaryIO], object], target: Path, *, overwrite: bool) -> None:
    target = Path(target)
    with _errors_named(target):
        mode = _mode_to_keep(target, overwrite=overwrite)
        with _hidden_file(target) as (temporary, descriptor):
            with os.fdopen(descriptor, "w+b") as stream:
                fill(stream)
                stream.flush()
                if mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            _publish(temporary, target, overwrite=overwrite)
        _sync_folder(target.parent)


@contextlib.contextmanager
def _errors_named(target: Path) -> Iterator[None]:
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


def _mode_to_keep(target: Path, *, overwrite: bool) -> int | None:
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
def _hidden_file(target: Path) -> Iterator[tuple[Path, int]]:
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
