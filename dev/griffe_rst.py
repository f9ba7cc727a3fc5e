"""Griffe extension: Markdown from the reStructuredText of numpydoc docstrings (roles, math), and plain defaults."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):`~?\.?([\w.]+)`")
_INLINE_MATH = re.compile(r":math:`([^`]+)`")
_MATH = re.compile(r"^(?P<indent>[ ]*)\.\. math::[ ]*(?P<body>.*(?:\n(?P=indent)[ ]+\S.*)*)", re.MULTILINE)
_CODE = re.compile(r"``([^`]+)``")


def to_markdown(text: str) -> str:
    """Replace roles, literals and math directives by their Markdown."""
    text = _ROLE.sub(r"`\1`", text)
    text = _INLINE_MATH.sub(r"\\(\1\\)", text)
    text = _MATH.sub(lambda match: f"{match['indent']}$$ {' '.join(match['body'].split())} $$", text)
    return _CODE.sub(r"`\1`", text)


class RstToMarkdown(griffe.Extension):
    """Rewrite every docstring when it is collected."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ARG002 (griffe's signature)
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:  # noqa: ARG002 (griffe's signature)
        """Show the default of a field that a private function makes, which is its first argument."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function).startswith("_") and value.arguments:
            attr.value = value.arguments[0]
