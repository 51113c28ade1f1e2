"""Sets attributes in an HCL file, such as `locals.image_tag`. Comments, order and spacing stay.

A path names the type of a block, its labels and an attribute; it may continue into objects:
`module.web.version`, `resource.aws_instance.web.tags.Release`, `locals.images['web']`.
"""

import json
import re
from collections.abc import Iterator, Sequence

from pipecd.edits import Edit, Replacement, apply_replacements
from pipecd.errors import ConfigError, Place, Refused
from pipecd.hcl import Block, Expression, read_body, read_object
from pipecd.value_path import Key, ValuePath

#: In characters.
MAX_LENGTH = 2 * 1024 * 1024
_LITERAL = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def set_hcl(text: str, file: str, path: ValuePath, value: str) -> Edit:
    """Sets the attributes at `path`. `file` is for errors.

    A string stays a string. A number, `true`, `false` or `null` becomes a string unless `value` is one of
    these too. Raises Refused if the file is not HCL, nothing is at `path`, or an expression is.
    """
    if len(text) > MAX_LENGTH:
        raise Refused(f"the file has {len(text)} characters; the limit is {MAX_LENGTH}", place=Place(file))
    names = [_name(step, path, file) for step in path.steps]
    if not names:
        raise Refused(
            f"{path} names no attribute", remedy="write it like module.web.version", place=Place(file)
        )
    try:
        body = read_body(text, file)
    except ConfigError as error:
        raise Refused(error.what, remedy="fix the syntax", place=error.place) from None
    expressions = list(_find(text, file, body, names))
    if not expressions:
        raise Refused(
            f"nothing is at {path}",
            remedy="name the type of the block, its labels and the attribute, as in module.web.version",
            place=Place(file),
        )
    return apply_replacements(
        text, [_replacement(text, file, path, expression, value) for expression in expressions]
    )


def _name(step: object, path: ValuePath, file: str) -> str:
    if not isinstance(step, Key) or step.anywhere:
        raise Refused(
            f"{path} has a part that HCL does not have",
            remedy="use names only, as in module.web.version",
            place=Place(file),
        )
    return step.name


def _find(text: str, file: str, body: Block, names: Sequence[str]) -> Iterator[Expression]:
    for block in body.blocks:
        head = [block.kind, *block.labels]
        if len(names) > len(head) and list(names[: len(head)]) == head:
            yield from _find(text, file, block, names[len(head) :])
    expression = body.expressions.get(names[0])
    if expression is None:
        return
    if len(names) == 1:
        yield expression
    elif members := read_object(text, file, expression):
        yield from _find(text, file, members, names[1:])


def _replacement(text: str, file: str, path: ValuePath, expression: Expression, value: str) -> Replacement:
    old = text[expression.start : expression.end]
    if expression.string is None and not _LITERAL.fullmatch(old):
        raise Refused(
            f"{path} is not a plain value",
            remedy="name an attribute whose value is a string, a number or a boolean",
            place=Place(file, expression.line),
        )
    literal = expression.string is None and _LITERAL.fullmatch(value)
    new = value if literal else _quoted(value)
    return Replacement(
        start=expression.start, end=expression.end, text=old if expression.string == value else new
    )


def _quoted(value: str) -> str:
    return re.sub(r"([$%])(?=\{)", r"\1\1", json.dumps(value, ensure_ascii=False))
