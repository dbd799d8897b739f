"""An extension of griffe: docstrings as Python's own tools show them, for mkdocstrings."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import griffe

__all__ = ["PlainDocstrings"]

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`(~?)([^`]+)`")
_EXAMPLE = re.compile(r"^( *)Example:[ ]*$", re.MULTILINE)
_SUMMED_UP = re.compile(r"^(?P<indent> *)(?P<section>Returns|Yields):[ ]*\n(?P=indent) {4}(?=\S)", re.MULTILINE)


class PlainDocstrings(griffe.Extension):
    """Turns roles such as ``:class:`~mgdali.Video``` into links, and gives sections the names that griffe knows.

    A role whose target is not part of the reference becomes code without a link.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _converted(obj.docstring.value, obj)


def _converted(text: str, owner: griffe.Object) -> str:
    text = _ROLE.sub(lambda match: _link(match[2], short=bool(match[1]), owner=owner), text)
    # griffe runs doctests' highlighting only in a section of this name.
    text = _EXAMPLE.sub(r"\1Examples:", text)
    # Without it, griffe takes the text up to the first colon as a type.
    return _SUMMED_UP.sub(r"\g<0>: ", text)


def _link(name: str, *, short: bool, owner: griffe.Object) -> str:
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref optional identifier="{escape(_full_name(name, owner))}"><code>{escape(shown)}</code></autoref>'


def _full_name(name: str, owner: griffe.Object) -> str:
    """Return the path of a name that a docstring uses, as Sphinx looks it up: from the object outwards."""
    if name.startswith("mgdali."):
        return name
    first, _, rest = name.partition(".")
    scope: griffe.Object | None = owner
    while scope is not None:
        if first in scope.members:
            member = scope.members[first]
            path = member.target_path if isinstance(member, griffe.Alias) else member.path
            return f"{path}.{rest}" if rest else path
        scope = scope.parent if isinstance(scope.parent, griffe.Object) else None
    return name
