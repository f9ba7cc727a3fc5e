"""The generated pages of the documentation: everything public is in them."""

import pytest
import typer.main
from pydantic import BaseModel

import pellucid
from pellucid.cli import app
from pellucid.training.recipe import Recipe


@pytest.fixture(scope="module")
def hooks(load_script):
    return load_script("mkdocs_hooks")


def test_api_has_every_public_name(hooks):
    page = hooks.on_page_markdown("<!-- generated: api -->")
    assert sorted(page.split()[1::2]) == sorted(f"pellucid.{name}" for name in pellucid.__all__)


def test_command_has_every_command_and_option(hooks):
    page = hooks.command_page()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"`pellucid {name}`" in page
        for option in command.params:
            assert option.param_type_name == "argument" or max(option.opts, key=len) in page
    assert "Examples:" not in page


def test_recipe_has_every_key(hooks):
    page = hooks.recipe_page()

    def check(table: type[BaseModel]) -> None:
        for name, field in table.model_fields.items():
            inner = list(hooks.tables_in(field.annotation))
            for child in inner:
                check(child)
            assert f"`{name}`" in page or inner

    check(Recipe)


def test_models_have_their_scores(hooks):
    page = hooks.models_page()
    for card in pellucid.list_models():
        assert f"{{#{card.name}}}" in page
        assert card.summary in page


def test_formulas_become_drawings(hooks):
    drawn = hooks.on_page_content(r'<p><span class="arithmatex">\(s_k + \epsilon\)</span></p>')
    assert drawn.startswith('<p><span class="formula-inline"><svg')
    assert "arithmatex" not in drawn


def test_docstrings_become_markdown(load_script):
    to_markdown = load_script("griffe_rst").to_markdown
    text = "See :func:`denoise` and ``x``.\n\n.. math:: a\n    + b\n\nEnd."
    assert to_markdown(text) == "See `denoise` and `x`.\n\n$$ a + b $$\n\nEnd."
