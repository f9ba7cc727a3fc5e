"""What a benchmark found: rows, their summary, and the files that hold them.

Measurements enter, tables leave. It knows nothing of how anything was measured.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, median
from typing import Any, TextIO

from pellucid.errors import OutputError
from pellucid.evaluation.results import Failure, Row, Score, Skipped

JSON_FILE, CSV_FILE = "evaluation.json", "evaluation.csv"


@dataclass(frozen=True)
class Evaluation:
    """The outcome of a benchmark.

    Attributes
    ----------
    rows, failures, skipped : sequences
    families : mapping
        The family of each method that ran, in the order asked for.
    protocol : mapping
        How it was measured: settings, versions, processor.
    interrupted : bool
        Whether it was stopped before its end; the rows are those that were done.
    """

    rows: Sequence[Row]
    failures: Sequence[Failure]
    skipped: Sequence[Skipped]
    families: Mapping[str, str]
    protocol: Mapping[str, Any]
    interrupted: bool = False

    def summary(self) -> list[Score]:
        """Average over images: a score for each method and noise level, in the order asked for."""
        groups: dict[tuple[str, float], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.method, row.sigma), []).append(row)
        order = list(self.families)
        keys = sorted(groups, key=lambda key: (order.index(key[0]), key[1]))
        return [_score(groups[key], self.families[key[0]]) for key in keys]

    def as_dict(self) -> dict[str, Any]:
        """Give everything as values that JSON can hold; numbers that are not finite become None."""
        return {
            "protocol": dict(self.protocol),
            "interrupted": self.interrupted,
            "summary": [_finite(asdict(score)) for score in self.summary()],
            "rows": [_finite(asdict(row)) for row in self.rows],
            "failures": [asdict(failure) for failure in self.failures],
            "skipped": [asdict(skipped) for skipped in self.skipped],
        }

    def write(self, folder: Path) -> list[Path]:
        """Write rows as CSV, everything as JSON, and a plot of quality per time as PNG and SVG.

        Parameters
        ----------
        folder : Path
            Made where it is missing.

        Returns
        -------
        list of Path
            The files that were written. No plot is made of an evaluation without rows.

        Raises
        ------
        OutputError
            The folder already holds an evaluation, or cannot be written.
        MissingExtraError
            matplotlib is not installed. CSV and JSON have been written by then.
        """
        check_vacant(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = [_save(folder / CSV_FILE, self._write_csv), _save(folder / JSON_FILE, self._write_json)]
            if self.rows:
                from pellucid.evaluation import plot  # noqa: PLC0415 (loads matplotlib, an extra)

                paths += plot.save(plot.draw(self.summary()), folder)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror}): name another folder") from None
        return paths

    def _write_csv(self, file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        names = [field.name for field in fields(Row)]
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in self.rows)

    def _write_json(self, file: TextIO) -> None:
        json.dump(self.as_dict(), file, indent=1, allow_nan=False)
        file.write("\n")


def check_vacant(folder: Path) -> None:
    """Refuse a folder that already holds an evaluation: hours of measurements are not overwritten.

    Raises
    ------
    OutputError
    """
    if (folder / JSON_FILE).exists():
        raise OutputError(f"{folder}: already holds an evaluation: name another folder")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is not a folder: name another one")


def format_table(scores: Sequence[Score]) -> str:
    """Lay scores out for reading: for each method PSNR and SSIM at each noise level, and its time.

    A method that succeeded on fewer images than another is marked: their means do not compare.
    """
    sigmas = sorted({score.sigma for score in scores})
    by_key = {(score.method, score.sigma): score for score in scores}
    methods = list(dict.fromkeys(score.method for score in scores))
    most = max((score.n_images for score in scores), default=0)
    width = max([len("method"), *map(len, methods)])
    head = "".join(f"   {f'sigma {sigma:g}':<14}" for sigma in sigmas)
    units = "".join(f"   {'PSNR':>6}  {'SSIM':>6}" for _ in sigmas)
    lines = [f"{'':<{width}}{head}".rstrip(), f"{'method':<{width}}{units}   s/Mpixel"]
    for method in methods:
        found = [by_key.get((method, sigma)) for sigma in sigmas]
        cells = "".join(
            f"   {score.psnr:6.2f}  {score.ssim:6.4f}" if score else f"   {'-':>6}  {'-':>6}" for score in found
        )
        time = median(score.seconds_per_megapixel for score in found if score)
        fewest = min(score.n_images for score in found if score)
        remark = f"   (on {fewest} of {most} images)" if fewest < most else ""
        lines.append(f"{method:<{width}}{cells}   {time:8.3f}{remark}")
    return "\n".join(lines)


def _score(rows: Sequence[Row], family: str) -> Score:
    return Score(
        method=rows[0].method,
        family=family,
        sigma=rows[0].sigma,
        n_images=len(rows),
        psnr=fmean(row.psnr for row in rows),
        ssim=fmean(row.ssim for row in rows),
        seconds_per_megapixel=median(row.seconds / row.megapixels for row in rows),
    )


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _save(path: Path, write: Callable[[TextIO], None]) -> Path:
    """Write beside the target and rename, so that a full disk leaves no half file."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
