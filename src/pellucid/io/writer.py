"""From a picture to a file that is either whole or not there.

Enters: a Source (a Picture is one) and the path to write to. Leaves: the file, or an OutputError and nothing changed.
Does not know: how a picture becomes bytes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pellucid.errors import OutputError
from pellucid.io.atomic import errors_named, hidden_file, mode_to_keep, replacing, write_atomic
from pellucid.io.encoders import check, encode_to
from pellucid.io.image import SUFFIXES, Source


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
    with errors_named(target):
        check(source, image_format)
    with replacing(target, overwrite=overwrite) as stream:
        encode_to(stream, source, image_format)


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
    write_atomic(target, content, overwrite=overwrite)


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
    with Path(source).open("rb") as content, replacing(target, overwrite=overwrite) as stream:
        shutil.copyfileobj(content, stream)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done for it.

    Raises
    ------
    OutputError
        If its suffix names no format, it exists and must not be replaced, or its folder cannot be written to.
    """
    target = Path(target)
    with errors_named(target):
        if target.suffix.lower() not in SUFFIXES and not target.is_dir():
            raise OutputError(f"the name does not end in one of {', '.join(SUFFIXES)}; give it one of these")
        if "\0" in str(target):
            raise OutputError("the name holds a null character; choose another name")
        mode_to_keep(target, overwrite=overwrite)
        # Only making a file tells for sure that one can be made, and if not, why.
        with hidden_file(target) as (_, descriptor):
            os.close(descriptor)
