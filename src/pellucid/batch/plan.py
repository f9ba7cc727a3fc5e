"""Which file is denoised to where.

Files, folders, URLs and manifests enter, jobs leave. It opens no image.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from pellucid import io
from pellucid.batch.manifests import MANIFEST_SUFFIX, read_manifest
from pellucid.batch.storage import is_url, objects_below, safe_path
from pellucid.errors import ParameterError, UnreadableImageError
from pellucid.paths import images_below, is_image_name


@dataclass(frozen=True, slots=True)
class Job:
    """One file to denoise.

    Attributes
    ----------
    source : str
        A path or a URL.
    path : str
        Where the result lies in the output folder or store, with ``/`` between folders.
    """

    source: str
    path: str


def plan_jobs(sources: Iterable[str | Path], output: str | Path, *, suffix: str | None = None) -> list[Job]:
    """Mirror files and the trees of folders in an output folder or store.

    Of a folder, or of what is below a URL, every file is taken whose name says that it is an image, whatever is in it;
    other files are passed over, and so are hidden files and folders, links to folders, results of ``pellucid denoise``
    and the output folder itself. A file that is named is always taken. A manifest is a Parquet file whose column
    ``path`` names files by paths or URLs; their results lie under all of the path, or under the bucket and the key, so
    that a row's result does not depend on other rows.

    Parameters
    ----------
    sources : iterable of str or Path
    output : str or Path
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
        A folder has no image in it, or cannot be read, a manifest is none, or a name leads out of its folder.
    ParameterError
        Two files would have one result, the output folder is one of the sources, or the suffix names no format.
    """
    if suffix is not None and suffix.lower() not in io.SUFFIXES:
        raise ParameterError(f"suffix '{suffix}': choose one of {', '.join(io.SUFFIXES)}")
    output = str(output)
    jobs: dict[str, Job] = {}
    for source, inside in _files(map(str, sources), output):
        path = (inside if suffix is None else inside.with_suffix(suffix)).as_posix()
        known = jobs.setdefault(path, Job(source, path))
        if known.source != source:
            place = f"{output.rstrip('/')}/{path}"
            raise ParameterError(
                f"{source}: would be written to {place}, and so would {known.source}: give each its own output folder"
            )
    return list(jobs.values())


def _files(sources: Iterable[str], output: str) -> Iterator[tuple[str, PurePath]]:
    """Yield every file, and where its result lies in the output folder."""
    for source in sources:
        if source.endswith(MANIFEST_SUFFIX):
            yield from _in_manifest(source)
        elif is_url(source):
            yield from _in_store(source, output)
        elif Path(source).is_dir():
            yield from _in_folder(Path(source), output)
        else:
            if not os.path.lexists(source):
                raise UnreadableImageError(f"{source}: no such file or folder; check the name")
            yield source, PurePath(Path(source).name)


def _in_folder(folder: Path, output: str) -> Iterator[tuple[str, PurePath]]:
    left_out = None if is_url(output) else Path(output)
    if left_out is not None and os.path.realpath(folder) == os.path.realpath(left_out):
        raise ParameterError(f"{output}: is the folder of the sources: name another one for the results")
    for path in images_below(folder, leave_out=left_out):
        yield str(path), path.relative_to(folder)


def _in_store(url: str, output: str) -> Iterator[tuple[str, PurePath]]:
    folder, left_out = url.rstrip("/"), output.rstrip("/")
    if folder == left_out:
        raise ParameterError(f"{output}: is the folder of the sources: name another one for the results")
    found = objects_below(url)
    if found == [""]:
        yield url, PurePosixPath(safe_path(url, url).name)
        return
    n_taken = 0
    for path in found:
        source = f"{folder}/{path}"
        parts = path.split("/")
        if any(part.startswith(".") and part != ".." for part in parts) or not is_image_name(parts[-1]):
            continue
        if source.startswith(f"{left_out}/"):
            continue
        n_taken += 1
        yield source, safe_path(path, source)
    if not n_taken:
        raise UnreadableImageError(f"{url}: no image below it: check the name, which is one of an object or a folder")


def _in_manifest(manifest: str) -> Iterator[tuple[str, PurePath]]:
    for source in read_manifest(manifest):
        name = source.partition("://")[2] if is_url(source) else source
        path = safe_path(name, source)
        if not path.name:
            raise UnreadableImageError(f"{manifest}: {source!r} names no file; leave the row out")
        yield source, path
