"""Which file is denoised to where.

Files and folders enter, jobs leave. It opens no file.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pellucid import images
from pellucid.errors import ParameterError, UnreadableImageError
from pellucid.targets import images_below


@dataclass(frozen=True, slots=True)
class Job:
    """One file to denoise.

    Attributes
    ----------
    source : Path
    path : str
        Where the result lies in the output folder, with ``/`` between folders.
    """

    source: Path
    path: str


def plan_jobs(sources: Iterable[Path], output: Path, *, suffix: str | None = None) -> list[Job]:
    """Mirror files and the trees of folders in an output folder.

    Of a folder every file is taken whose name says that it is an image, whatever is in it; other files are passed over,
    and so are hidden files and folders, links to folders, results of ``pellucid denoise`` and the output folder
    itself. A file that is named is always taken.

    Parameters
    ----------
    sources : iterable of Path
    output : Path
        Need not exist.
    suffix : str, optional
        What the names of the results end in; by default what their sources' do.

    Returns
    -------
    list of Job
        In the order of the sources, and of the names in each.

    Raises
    ------
    UnreadableImageError
        A folder has no image in it, or cannot be read.
    ParameterError
        Two files would have one result, the output folder is one of the sources, or the suffix names no format.
    """
    if suffix is not None and suffix.lower() not in images.SUFFIXES:
        raise ParameterError(f"suffix '{suffix}': choose one of {', '.join(images.SUFFIXES)}")
    jobs: dict[str, Job] = {}
    for source, inside in _files(sources, output):
        path = (inside if suffix is None else inside.with_suffix(suffix)).as_posix()
        known = jobs.setdefault(path, Job(source, path))
        if known.source != source:
            raise ParameterError(
                f"{source}: would be written to {output / path}, and so would {known.source}: "
                "give each its own output folder"
            )
    return list(jobs.values())


def _files(sources: Iterable[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every file, and where its result lies in the output folder."""
    for source in sources:
        if not source.is_dir():
            if not os.path.lexists(source):
                raise UnreadableImageError(f"{source}: no such file or folder; check the name")
            yield source, Path(source.name)
            continue
        if os.path.realpath(source) == os.path.realpath(output):
            raise ParameterError(f"{output}: is the folder of the sources: name another one for the results")
        for path in images_below(source, leave_out=output):
            yield path, path.relative_to(source)
