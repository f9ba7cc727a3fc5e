"""Find images in folders and choose output paths."""

import os
from collections.abc import Iterable
from pathlib import Path

from pellucid import io
from pellucid.errors import OutputError, ParameterError, UnreadableImageError

#: Added to an input's stem where no output is named.
OUTPUT_MARK = "_denoised"


def plan_files(inputs: Iterable[Path], output: Path | None, *, recursive: bool) -> list[tuple[Path, Path]]:
    """Pair each input file with its output.

    Parameters
    ----------
    inputs : iterable of Path
        Files; with `recursive` also folders, see :func:`images_below`.
    output : Path, optional
        A file (for one input), or an existing folder, in which the folders' trees are mirrored. Default: beside each
        input, as ``name_denoised.suffix``.

    Raises
    ------
    UnreadableImageError
        A folder is named without `recursive`, or has no images.
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
            raise OutputError(
                f"{output}: is not an existing folder: create it first, since there can be several results"
            )
        return [(pairs[0][0], output)]
    if output is not None:
        targets = [output / inside for _, inside in pairs]
    else:
        targets = [path.with_name(f"{path.stem}{OUTPUT_MARK}{path.suffix}") for path, _ in pairs]
    _refuse_collisions(targets)
    return [(path, target) for (path, _), target in zip(pairs, targets, strict=True)]


def images_below(folder: Path, *, leave_out: Path | None = None) -> list[Path]:
    """List the files below a folder that have an image suffix, sorted; there is at least one.

    Skips hidden files and folders, links to folders, names that end in ``_denoised``, and the folder `leave_out`.

    Raises
    ------
    UnreadableImageError
        There are no images, or a folder cannot be read.
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
        raise UnreadableImageError(f"{folder}: has no images: name a folder with {', '.join(io.SUFFIXES)} files")
    return sorted(found)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; raise OutputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror}): choose another output folder") from None


def is_image_name(name: str) -> bool:
    """Whether a file has an image suffix, is not hidden and is not named as an output."""
    path = Path(name)
    return path.suffix.lower() in io.SUFFIXES and name[0] != "." and not path.stem.endswith(OUTPUT_MARK)


def _refuse_collisions(targets: list[Path]) -> None:
    seen = set()
    for target in targets:
        if target in seen:
            raise ParameterError(f"{target}: is the output of two inputs: denoise them one at a time")
        seen.add(target)
