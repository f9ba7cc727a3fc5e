"""The report: one HTML file that reads like an article and needs nothing but itself.

A folder of results enters; an HTML file leaves, and beside the results each figure as PNG and SVG. It knows nothing of
how anything was measured: sentences and figures are made by the studies from what the files say.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pellucid.errors import DataError
from pellucid.lab import plotting
from pellucid.lab.results import Found, find_records
from pellucid.lab.study import Finding, Study, Table, Verdict
from pellucid.lab.writing import write_whole

#: Larger drawings are embedded as PNG: an SVG of many points makes the report slow.
_LARGEST_SVG = 400_000
_MARKS = {Verdict.SUPPORTS: "supports", Verdict.CONTRADICTS: "contradicts", Verdict.CANNOT_TELL: "unclear"}


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: `source` is a data URI."""

    name: str
    source: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What the page says of one study; one that was not measured to its end has no pictures, findings or table."""

    study: Study
    command: str
    facts: Mapping[str, str]
    pictures: Sequence[Picture] = ()
    findings: Sequence[Finding] = ()
    table: Table | None = None
    n_missing: int = 0


def write_report(studies: Sequence[Study], folder: Path, target: Path) -> Path:
    """Write the report of all studies that have results.

    Parameters
    ----------
    studies : sequence of Study
        In the order of the report.
    folder : Path
        Of the results; figures are written into it.
    target : Path
        The HTML file; replaced if it exists.

    Raises
    ------
    DataError
        The folder holds no result of these studies, or results that do not belong together.
    OutputError
        The disk does not take it.
    """
    found = {study.name: find_records(study, folder) for study in studies}
    if not any(one.records for one in found.values()):
        raise DataError(f"{folder}: holds no results: run 'pellucid lab run -o {folder}' first")
    sections = [_section(study, found[study.name], folder) for study in studies if found[study.name].records]
    left_out = [study.title for study in studies if not found[study.name].records]
    write_whole(target, _render(sections, left_out).encode())
    return target


def _section(study: Study, found: Found, folder: Path) -> Section:
    first = found.records[0]
    command = f"pellucid lab run {study.name} --{first.conditions.effort} --seeds {found.n_seeds}"
    seconds = sum(result.seconds for result in found.results)
    facts = {
        "effort": str(first.conditions.effort),
        "arms": str(len(found.records)),
        "seeds": str(found.n_seeds),
        "time": f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min",
        "machine": "; ".join(dict.fromkeys(_machine(record.machine) for record in found.records)),
        "versions": ", ".join(f"{name} {version}" for name, version in first.conditions.versions.items()),
        "photographs": first.conditions.photographs,
    }
    facts = {name: text for name, text in facts.items() if text}
    if found.n_missing:
        return Section(study, command, facts, n_missing=found.n_missing)
    with plotting.applied():
        drawings = study.draw(found.results)
        pictures = [
            Picture(name, _save(drawing.figure, folder / study.name, name), drawing.caption)
            for name, drawing in drawings.items()
        ]
    return Section(study, command, facts, pictures, study.find(found.results), study.tabulate(found.results))


def _machine(machine: Mapping[str, str]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _save(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG and SVG; give the one that suits a page as a data URI."""
    FigureCanvasAgg(figure)
    contents = {}
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": name}):  # the same results give the same file
            figure.savefig(stream, format=ending, metadata=metadata)
        contents[ending] = stream.getvalue()
        write_whole(folder / f"{name}.{ending}", contents[ending])
    ending, kind = ("svg", "svg+xml") if len(contents["svg"]) <= _LARGEST_SVG else ("png", "png")
    return f"data:image/{kind};base64,{base64.b64encode(contents[ending]).decode()}"


def _render(sections: Sequence[Section], left_out: Sequence[str]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.lab"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts = [finding.verdict for section in sections for finding in section.findings if finding.verdict]
    return environment.get_template("report.html.j2").render(
        sections=sections,
        left_out=left_out,
        marks=_MARKS,
        counts={verdict: verdicts.count(verdict) for verdict in Verdict},
        is_quick=any(section.facts["effort"] == "quick" for section in sections),
    )
