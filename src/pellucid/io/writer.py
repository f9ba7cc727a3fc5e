"""Write images to files: the suffix decides the format, a file is either whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pellucid.errors import OutputError
from pellucid.io.atomic import errors_named, hidden_file, mode_to_keep, replacing, write_atomic
from pellucid.io.encoders import check, encode_to
from pellucid.io.image import SUFFIXES, ImageLike


def write(source: ImageLike, target: Path, *, overwrite: bool = False) -> None:
    """Write an image to a file atomically; see :func:`~pellucid.io.atomic.replacing`.

    Raises
    ------
    OutputError
        The target exists, its suffix names no format, the format cannot hold the image, or the disk does not take it.
    """
    check_target(target, overwrite=overwrite)
    image_format = SUFFIXES[Path(target).suffix.lower()]
    with errors_named(target):
        check(source, image_format)
    with replacing(target, overwrite=overwrite) as stream:
        encode_to(stream, source, image_format)


def write_bytes(content: bytes, target: Path, *, overwrite: bool = False) -> None:
    """Write the content of an encoded file, as :func:`write` does."""
    check_target(target, overwrite=overwrite)
    write_atomic(target, content, overwrite=overwrite)


def copy(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Copy an image file, as :func:`write` does."""
    check_target(target, overwrite=overwrite)
    with Path(source).open("rb") as content, replacing(target, overwrite=overwrite) as stream:
        shutil.copyfileobj(content, stream)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done for it.

    Raises
    ------
    OutputError
        Its suffix names no format, it exists and must not be replaced, or its folder cannot be written to.
    """
    target = Path(target)
    with errors_named(target):
        if target.suffix.lower() not in SUFFIXES and not target.is_dir():
            raise OutputError(f"the name does not end in one of {', '.join(SUFFIXES)}; give it one of these")
        if "\0" in str(target):
            raise OutputError("the name holds a null character; choose another name")
        mode_to_keep(target, overwrite=overwrite)
        # Whether a file can be created there shows only when one is.
        with hidden_file(target) as (_, descriptor):
            os.close(descriptor)
