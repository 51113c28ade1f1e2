"""The docstrings of a class's fields: string literals that follow a field's definition.

Read from the source text, so that the programs do not pay for them. (pydantic's `use_attribute_docstrings`
parses the source at every start.)
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


@cache
def field_docstrings(cls: type) -> Mapping[str, str]:
    """Docstrings by field name, inherited ones included, with whitespace collapsed."""
    docstrings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == cls.__module__.partition(".")[0]:
            docstrings |= _own_docstrings(base)
    return docstrings


@cache
def _own_docstrings(cls: type) -> Mapping[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    docstrings = {}
    for field, text in pairwise(definition.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(docstring))),
            ):
                docstrings[name] = " ".join(docstring.split())
    return docstrings
