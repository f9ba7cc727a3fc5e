"""Which images there are in folders, and where the result of each goes.

Paths enter, paths leave. It opens no file.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pellucid import io
from pellucid.errors import OutputError, ParameterError, UnreadableImageError

#: Put before the suffix of an input's name where no output is named.
OUTPUT_MARK = "_denoised"


def plan_files(inputs: Iterable[Path], output: Path | None, *, recursive: bool) -> list[tuple[Path, Path]]:
    """Decide which file is denoised to where.

    Parameters
    ----------
    inputs : iterable of Path
        Files; with `recursive` also folders, of which every image is taken that is not itself an output of ours.
    output : Path, optional
        A file (for one input), or a folder that exists; in it a folder's tree is mirrored. By default each result
        lies beside its input as ``name_denoised.suffix``.
    recursive : bool

    Returns
    -------
    list of (source, target)

    Raises
    ------
    UnreadableImageError
        A folder is named without `recursive`, or there is no image in it.
    OutputError
        The output is a file for several inputs, or two results would have one name.
    """
    pairs = []
    for given in inputs:
        if given.is_dir():
            if not recursive:
                raise UnreadableImageError(f"{given}: is a folder: name files, or pass --recursive")
            pairs += [(path, path.relative_to(given)) for path in images_below(given)]
        else:
            pairs.append((given, Path(given.name)))
    if output is not None and not output.is_dir():
        if len(pairs) > 1 or recursive:
            raise OutputError(f"{output}: not a folder that exists: make it first, since there can be several results")
        return [(pairs[0][0], output)]
    if output is not None:
        targets = [output / inside for _, inside in pairs]
    else:
        targets = [path.with_name(f"{path.stem}{OUTPUT_MARK}{path.suffix}") for path, _ in pairs]
    _refuse_collisions(targets)
    return [(path, target) for (path, _), target in zip(pairs, targets, strict=True)]


def images_below(folder: Path, *, leave_out: Path | None = None) -> list[Path]:
    """Find the files in a folder and the folders below it whose names say that they are images.

    Passed over are hidden files and folders, links to folders, and what has the name of a result of ours.

    Parameters
    ----------
    folder : Path
    leave_out : Path, optional
        A folder in it that is passed over, too.

    Returns
    -------
    list of Path
        In order; at least one.

    Raises
    ------
    UnreadableImageError
        There is none, or a folder cannot be read.
    """
    left_out = None if leave_out is None else os.path.realpath(leave_out)

    def refuse(error: OSError) -> None:
        raise UnreadableImageError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions")

    found = []
    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(here, name)) != left_out  # noqa: PTH118
        ]
        found += [Path(here, name) for name in names if is_image_name(name)]
    if not found:
        raise UnreadableImageError(f"{folder}: no image in it: name a folder with {', '.join(io.SUFFIXES)} files")
    return sorted(found)


def make_folder(folder: Path) -> None:
    """Make a folder of a mirrored tree.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}): choose another output folder") from None


def is_image_name(name: str) -> bool:
    """Tell whether a file's name says that it is an image, and none that is hidden or a result of ours."""
    path = Path(name)
    return path.suffix.lower() in io.SUFFIXES and name[0] != "." and not path.stem.endswith(OUTPUT_MARK)


def _refuse_collisions(targets: list[Path]) -> None:
    seen = set()
    for target in targets:
        if target in seen:
            raise ParameterError(f"{target}: two inputs would be written there: denoise them one at a time")
        seen.add(target)
