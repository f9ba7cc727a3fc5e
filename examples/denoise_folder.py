"""Denoise every image of a folder, keeping formats and metadata: ``python examples/denoise_folder.py IN OUT``.

``pellucid batch`` does the same with resume, a report and several threads; this is the core of it in Python.
"""

import argparse
from pathlib import Path

import pellucid

SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def main() -> None:
    """Denoise each image; report files that fail and go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    folders = parser.parse_args()
    options = pellucid.DenoiseOptions(strength=0.9, detail=0.2)
    for path in sorted(folders.source.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        target = folders.target / path.relative_to(folders.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            result = pellucid.denoise_file(path, target, options=options, overwrite=True)
        except pellucid.PellucidError as error:
            print(error)
        else:
            print(f"{result.target}: {result.width_px}x{result.height_px}, {result.seconds:.1f} s")


if __name__ == "__main__":
    main()
