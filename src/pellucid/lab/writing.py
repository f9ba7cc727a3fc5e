"""Files of the laboratory, each put in its place whole.

Bytes enter, a file leaves. It knows nothing of what they are.
"""

import os
from contextlib import suppress
from pathlib import Path

from pellucid.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a hidden name, force it to the disk, then rename it; folders are made where they are missing.

    Raises
    ------
    OutputError
        The disk does not take it; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(f"{path}: cannot be written ({error.strerror}): name another place, then go on") from None
