"""Sets scalars in a YAML file. Comments, order, quoting style and every other character stay."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from yaml.emitter import Emitter, ScalarAnalysis
from yaml.resolver import Resolver

from pipecd.config.document import Limits, measured_documents
from pipecd.edits import Edit, Replacement, apply_replacements
from pipecd.errors import ConfigError, Place, Refused
from pipecd.value_path import Index, Key, ValuePath

#: In characters.
MAX_LENGTH = 2 * 1024 * 1024
LIMITS = Limits(depth=100, values=200_000)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
_STRING = "tag:yaml.org,2002:str"
#: Tag and anchor before a value.
_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)+")
#: Texts that some readers of YAML take for a number or a boolean, although PyYAML does not.
_OTHER_READINGS = re.compile(
    r"[-+]?(?:0[xob][0-9a-fA-F_]+|[0-9_]*\.?[0-9_]+(?:[eE][-+]?[0-9]+)?|[0-9_]+\.)|[yYnN]"
)


def set_yaml(text: str, file: str, path: ValuePath, value: str) -> Edit:
    """Sets the scalars at `path` in the first document that has them. `file` is for errors.

    A value without quotes stays so if it is read as the same type as before; otherwise it is quoted. Raises
    Refused if the file is not YAML, or nothing, or something other than a scalar, is at `path`.
    """
    body = text.removeprefix("\ufeff")
    nodes = [node for node in _find_scalars(body, file, path) if node.value != value]
    edit = _try_plain(body, nodes, file, path, value)
    if edit is None:
        edit = apply_replacements(body, [_replacement(body, node, _quoted(node, value)) for node in nodes])
        if not _has_value(edit.text, file, path, value):
            raise Refused(
                f"the value {value[:100]!r} cannot be written at {path}",
                remedy="put the value into quotes in the file",
                place=Place(file, nodes[0].start_mark.line + 1),
            )
    return Edit(text="\ufeff" * (len(text) - len(body)) + edit.text, count=edit.count)


def _try_plain(
    text: str, nodes: Sequence[yaml.ScalarNode], file: str, path: ValuePath, value: str
) -> Edit | None:
    """With values without quotes left without; None if the file would then say something else."""
    replacements = [
        _replacement(text, node, value if _stays_plain(node, value) else _quoted(node, value))
        for node in nodes
    ]
    edit = apply_replacements(text, replacements)
    try:
        return edit if _has_value(edit.text, file, path, value) else None
    except Refused:
        return None


def _find_scalars(text: str, file: str, path: ValuePath) -> Sequence[yaml.ScalarNode]:
    for document in _documents(text, file):
        if nodes := list(_unique(_select([document], path.steps, file, path))):
            return [_scalar(text, node, file, path) for node in nodes]
    raise Refused(
        f"nothing is at {path}",
        remedy="correct the path, or add the field to the file",
        place=Place(file),
    )


def _documents(text: str, file: str) -> Sequence[yaml.Node]:
    if len(text) > MAX_LENGTH:
        raise Refused(f"the file has {len(text)} characters; the limit is {MAX_LENGTH}", place=Place(file))
    try:
        for _ in measured_documents(text, file, LIMITS):
            pass
        return [document for document in yaml.compose_all(text, Loader=_Loader) if document]
    except ConfigError as error:
        raise Refused(error.what, remedy=error.remedy, place=error.place) from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise Refused(
            f"not YAML: {problem}", remedy="fix the syntax", place=Place(file, mark.line + 1 if mark else 0)
        ) from None


def _select(
    nodes: Sequence[yaml.Node], steps: Sequence[Key | Index], file: str, path: ValuePath
) -> Sequence[yaml.Node]:
    for step in steps:
        nodes = [child for node in nodes for child in _children(node, step, file, path)]
    return nodes


def _children(node: yaml.Node, step: Key | Index, file: str, path: ValuePath) -> Iterator[yaml.Node]:
    match step, node:
        case Key(name, False), yaml.MappingNode():
            for key, child in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value == name:
                    _check_position(child, key.end_mark, file, path)
                    yield child
        case Index(number), yaml.SequenceNode():
            for child in node.value if number is None else node.value[number : number + 1]:
                _check_position(child, node.start_mark, file, path)
                yield child
        case Key(name, True), _:
            yield from _descendants(node, name)


def _descendants(root: yaml.Node, name: str) -> Iterator[yaml.Node]:
    """In the order of the file; what aliases refer to is visited once, where it is written."""
    visited: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += reversed(node.value)
        if isinstance(node, yaml.MappingNode):
            yield from (child for key, child in node.value if _is_named(key, name))
            pending += reversed([child for _, child in node.value])


def _is_named(key: yaml.Node, name: str) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == name


def _unique(nodes: Sequence[yaml.Node]) -> Iterator[yaml.Node]:
    yield from {node.start_mark.index: node for node in nodes}.values()


def _check_position(node: yaml.Node, after: Any, file: str, path: ValuePath) -> None:
    if node.start_mark.index < after.index:
        raise Refused(
            f"{path} leads through an alias: other places of the file would change too",
            remedy="write the value instead of the alias, or name the place of the anchor",
            place=Place(file, after.line + 1),
        )


def _scalar(text: str, node: yaml.Node, file: str, path: ValuePath) -> yaml.ScalarNode:
    place = Place(file, node.start_mark.line + 1)
    if not isinstance(node, yaml.ScalarNode):
        kind = "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
        raise Refused(f"{path} is {kind}, not a single value", remedy="correct the path", place=place)
    if node.style in ("|", ">"):
        raise Refused(f"{path} is a block of text", remedy="write the value in one line", place=place)
    if text[node.start_mark.index : node.start_mark.index + 1] == "!" and node.tag != _STRING:
        raise Refused(f"{path} has a tag of YAML", remedy="remove the tag before the value", place=place)
    return node


def _replacement(text: str, node: yaml.ScalarNode, rendered: str) -> Replacement:
    properties = _PROPERTIES.match(text, node.start_mark.index, node.end_mark.index)
    start, end = properties.end() if properties else node.start_mark.index, node.end_mark.index
    # An empty value may follow its colon directly.
    separator = " " if start == end and text[start - 1 : start] not in (" ", "\t") else ""
    return Replacement(start=start, end=end, text=separator + rendered)


def _stays_plain(node: yaml.ScalarNode, value: str) -> bool:
    return not node.style and _analyze(value).allow_block_plain and _tag(value) in (node.tag, _STRING)


def _quoted(node: yaml.ScalarNode, value: str) -> str:
    analysis = _analyze(value)
    if node.style == "'" and analysis.allow_single_quoted and not analysis.multiline:
        return "'" + value.replace("'", "''") + "'"
    return yaml.dump(value, default_style='"', width=float("inf"), allow_unicode=True).rstrip("\n")


def _analyze(value: str) -> ScalarAnalysis:
    return Emitter(io.StringIO()).analyze_scalar(value)


def _tag(value: str) -> str:
    """What a plain `value` is read as."""
    tag = str(_RESOLVER.resolve(yaml.ScalarNode, value, (True, False)))  # type: ignore[no-untyped-call]
    return "other" if tag == _STRING and _OTHER_READINGS.fullmatch(value) else tag


def _has_value(text: str, file: str, path: ValuePath, value: str) -> bool:
    return all(node.value == value for node in _find_scalars(text, file, path))
