"""Write the report: one self-contained HTML file, and each figure as PNG and SVG."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import jinja2
import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pellucid.errors import DataError
from pellucid.lab import plots
from pellucid.lab.results import StudyResults, load_study, write_file
from pellucid.lab.study import Finding, ResultTable, Study, Verdict

#: Larger figures are embedded as PNG: an SVG of many points makes the report slow.
_LARGEST_SVG = 400_000
_MARKS = {Verdict.SUPPORTS: "supports", Verdict.CONTRADICTS: "contradicts", Verdict.INCONCLUSIVE: "unclear"}


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure of the page, with its data URI."""

    name: str
    uri: str
    caption: str


@dataclass(frozen=True)
class Section:
    """One study's part of the page; without figures, findings and table while results are missing."""

    study: Study
    command: str
    facts: Mapping[str, str]
    figures: Sequence[EmbeddedFigure] = ()
    findings: Sequence[Finding] = ()
    table: ResultTable | None = None
    n_missing: int = 0


def write_report(studies: Sequence[Study], source: Path, target: Path) -> Path:
    """Write the report of all studies that have results in a folder or a ZIP archive of such a folder.

    Figures are written to the folder of results; for an archive, to the folder ``figures`` beside the report.

    Raises
    ------
    DataError
        There are no results of these studies, or they are not comparable.
    OutputError
        A file cannot be written.
    """
    loaded = {study.name: load_study(study, source) for study in studies}
    if not any(one.stored for one in loaded.values()):
        raise DataError(f"{source}: holds no results: run 'pellucid lab run -o {source}' first")
    folder = target.parent / "figures" if source.is_file() else source
    sections = [_section(study, loaded[study.name], folder) for study in studies if loaded[study.name].stored]
    unmeasured = [study.title for study in studies if not loaded[study.name].stored]
    write_file(target, _render(sections, unmeasured).encode())
    return target


def _section(study: Study, found: StudyResults, folder: Path) -> Section:
    first = found.stored[0]
    command = f"pellucid lab run {study.name} --{first.conditions.effort} --seeds {found.n_seeds}"
    seconds = sum(result.seconds for result in found.results)
    facts = {
        "effort": str(first.conditions.effort),
        "arms": str(len(found.stored)),
        "seeds": str(found.n_seeds),
        "time": f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min",
        "machine": "; ".join(dict.fromkeys(_machine(one.machine) for one in found.stored)),
        "versions": ", ".join(f"{name} {version}" for name, version in first.conditions.versions.items()),
        "photographs": first.conditions.photographs,
    }
    facts = {name: text for name, text in facts.items() if text}
    if found.n_missing:
        return Section(study, command, facts, n_missing=found.n_missing)
    with plots.style_context():
        figures = [
            EmbeddedFigure(name, _save(one.figure, folder / study.name, name), one.caption)
            for name, one in study.figures(found.results).items()
        ]
    return Section(study, command, facts, figures, study.findings(found.results), study.table(found.results))


def _machine(machine: Mapping[str, str]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _save(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG and SVG, and return a data URI."""
    FigureCanvasAgg(figure)
    contents = {}
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        stream = BytesIO()
        with mpl.rc_context({"svg.hashsalt": name}):  # makes the file reproducible
            figure.savefig(stream, format=ending, metadata=metadata)
        contents[ending] = stream.getvalue()
        write_file(folder / f"{name}.{ending}", contents[ending])
    ending, kind = ("svg", "svg+xml") if len(contents["svg"]) <= _LARGEST_SVG else ("png", "png")
    return f"data:image/{kind};base64,{base64.b64encode(contents[ending]).decode()}"


def _render(sections: Sequence[Section], unmeasured: Sequence[str]) -> str:
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
        unmeasured=unmeasured,
        marks=_MARKS,
        counts={verdict: verdicts.count(verdict) for verdict in Verdict},
        is_quick=any(section.facts["effort"] == "quick" for section in sections),
    )
