"""Build-time pages of the documentation: command, Python, recipe keys and models, from the code itself.

A page asks for generated text by a line ``<!-- generated: NAME -->``.
"""

import html
import io
import re
import typing
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import typer
import typer.cli
import typer.main
from pydantic import BaseModel

import pellucid
from pellucid import errors
from pellucid.cli import app
from pellucid.training.recipe import Recipe

_MARKER = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
#: Links of the models' README files lead to files that are not part of the site.
_OUTER_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#]+)[^)]*\)")
_MATH = re.compile(r'<(?P<tag>div|span) class="arithmatex">\\(?P<open>[\[(])(?P<tex>.*?)\\[\])]</(?P=tag)>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page by what they name."""
    return _MARKER.sub(lambda match: PAGES[match[1]](), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Draw formulas as SVG, so that the site needs no script from elsewhere."""
    return _MATH.sub(lambda match: _formula(match["tex"], is_block=match["open"] == "["), html)


def command_page() -> str:
    """Describe every command: usage, arguments, options, examples."""
    command = typer.main.get_command(app)
    text = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="pellucid"), name="pellucid")
    text = re.sub(r"^Examples:\n\n(.*?)(?=^\*\*Usage)", _as_code, text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\* `--(?:help|install-completion|show-completion)`.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*\*Options\*\*:\n\n(?!\*)", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*\*Commands\*\*:\n\n(?:\*.*\n)+", "", text, flags=re.MULTILINE)
    text = re.sub(r" <list\[\w+\]>`", "`", text)
    return re.sub(r"^(#+) ", r"\1# ", text, flags=re.MULTILINE)


def api_page() -> str:
    """Ask mkdocstrings for every public name, functions first."""
    names = sorted(pellucid.__all__, key=lambda name: (not callable(getattr(pellucid, name)), _is_class(name), name))
    return "\n\n".join(f"::: pellucid.{name}" for name in names)


def errors_page() -> str:
    """List every error with its base class, exit code and meaning."""
    lines = ["| error | is a | exit code | meaning |", "|---|---|---|---|"]
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.PellucidError):
            bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
            meaning = _cell((error.__doc__ or "").split("\n\n")[0])
            lines.append(f"| `{error.__name__}` | {bases} | {error.exit_code} | {meaning} |")
    return "\n".join(lines)


def recipe_page() -> str:
    """List every key of a recipe with its type, default and meaning."""
    return "\n".join(_describe_table(Recipe, "", level=2, seen=set()))


def models_page() -> str:
    """Show the cards of the bundled models: one table, then the README of each."""
    lines = [
        "| model | for | channels | largest sigma | parameters | kMAC/px |",
        "|---|---|---|---|---|---|",
    ]
    cards = pellucid.list_models()
    for card in cards:
        kmacs = f"{card.kmacs_per_px:g}"
        n_parameters = card.n_parameters
        if card.estimator is not None:
            kmacs = f"{card.kmacs_per_px:g} + {card.estimator.kmacs_per_px:g}"
            n_parameters += card.estimator.n_parameters
        cells = [card.summary, card.channels, f"{card.sigma_max:g}", f"{n_parameters:,}", kmacs]
        lines.append(" | ".join([f"| [`{card.name}`](#{card.name})", *map(str, cells)]) + " |")
    for card in cards:
        body = _OUTER_LINK.sub(r"\1 (`\2`)", (card.folder / "README.md").read_text(encoding="utf-8"))
        title, _, rest = body.partition("\n")
        lines += ["", f"## {title.strip('# ')} {{#{card.name}}}", rest, "", *_scores(card)]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "command": command_page,
    "api": api_page,
    "errors": errors_page,
    "recipe": recipe_page,
    "models": models_page,
}


def _is_class(name: str) -> bool:
    return isinstance(getattr(pellucid, name), type)


def _as_code(examples: re.Match[str]) -> str:
    """Put the examples of a help text into one code block."""
    commands = [" ".join(block.split()) for block in re.split(r"\n\s*\n", examples[1]) if block.strip()]
    return "\n".join(["```sh", *commands, "```", "", ""])


def _cell(text: str) -> str:
    """Keep a text in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _describe_table(table: type[BaseModel], path: str, *, level: int, seen: set[str]) -> Iterator[str]:
    """Yield a section on a table of a recipe, then on the tables in it."""
    seen.add(path)
    title = f"`[{path}]`" if path and not path.startswith("[") else f"`{path}`" if path else "Top level"
    yield f"\n{'#' * level} {title}\n"
    yield _first_paragraph(table) + "\n"
    children: list[tuple[str, type[BaseModel]]] = []
    rows = []
    for name, field in table.model_fields.items():
        inner = list(tables_in(field.annotation))
        if inner:
            is_list = "tuple" in str(field.annotation) or "list" in str(field.annotation)
            place = f"{path.strip('[]')}.{name}".lstrip(".")
            children += [(f"[[{place}]]" if is_list else place, child) for child in inner]
            continue
        default = "required" if field.is_required() else f"`{_toml(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{name}` | {_type_name(field)} | {default} | {_cell(field.description or '')} |")
    if rows:
        yield "| key | value | default | meaning |\n|---|---|---|---|"
        yield from rows
    for place, child in children:
        kind = getattr(child.model_fields.get("kind"), "annotation", None)
        label = f"{place} kind = {_toml(typing.get_args(kind)[0])}" if kind is not None else place
        if label not in seen:
            yield from _describe_table(child, label, level=3, seen=seen)


def tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the tables that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from tables_in(argument)


def _first_paragraph(table: type[BaseModel]) -> str:
    """Give the first paragraph of a table's docstring, without roles and references to code."""
    text = " ".join((table.__doc__ or "").strip().split("\n\n")[0].split())
    return html.escape(re.sub(r";? see `[^`]*`", "", text), quote=False)


def _type_name(field: Any) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return _cell(", ".join(f"`{_toml(value)}`" for value in typing.get_args(annotation)))
    names = {int: "integer", float: "number", str: "text", bool: "true or false"}
    limits = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if getattr(rule, name, None) is not None
    ]
    kinds = [names[kind] for kind in (annotation, *typing.get_args(annotation)) if kind in names]
    kinds = kinds or [
        names[kind] for part in typing.get_args(annotation) for kind in typing.get_args(part) if kind in names
    ]
    name = " or ".join(dict.fromkeys(kinds)) or "list"
    if typing.get_origin(annotation) is tuple:
        name = f"list of {name}s" if name != "list" else name
    return " ".join([name, ", ".join(limits)]).strip()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scores(card: pellucid.ModelCard) -> list[str]:
    """Tabulate the card's scores, a row for each data set and metric."""
    sigmas = card.scores.get("sigma")
    if not sigmas:
        return []
    lines = ["| | " + " | ".join(f"sigma {sigma:g}" for sigma in sigmas) + " |", "|---|" + "---|" * len(sigmas)]
    for key, values in card.scores.items():
        if key != "sigma":
            data, _, metric = key.rpartition("_")
            lines.append(f"| {data.upper()}, {metric.upper()} | " + " | ".join(f"{value:g}" for value in values) + " |")
    return lines


def _formula(tex: str, *, is_block: bool) -> str:
    """Draw a formula with matplotlib's mathtext, in the colour of the text."""
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    source = " ".join(html.unescape(tex).split())
    target = io.StringIO()
    with rc_context({"mathtext.fontset": "stix", "svg.fonttype": "path", "svg.hashsalt": "pellucid"}):
        figure = Figure()
        figure.text(0, 0, f"${source}$", fontsize=12)
        figure.savefig(
            target, format="svg", bbox_inches="tight", pad_inches=0.02, transparent=True, metadata={"Date": None}
        )
    drawing = target.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    label = html.escape(source, quote=True)
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{label}" fill="currentColor" ', 1)
    drawing = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<\?xml.*?\?>", "", drawing, flags=re.DOTALL)
    # Identifiers are unique within a drawing only.
    prefix = f"m{zlib.crc32(source.encode())}-"
    drawing = re.sub(r'(id="|href="#)', rf"\g<1>{prefix}", drawing)
    tag, kind = ("div", "formula-block") if is_block else ("span", "formula-inline")
    return f'<{tag} class="{kind}">{drawing}</{tag}>'
