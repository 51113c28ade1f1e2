"""Reads YAML as Kubernetes reads it, which is neither YAML 1.1 as PyYAML reads it nor YAML 1.2.

`y` and `on` are booleans, `0o644`, `0644` and `1e3` are numbers, `1:30` and dates are text, and `1.0` is 1.
These are the rules of sigs.k8s.io/yaml. Keys become text. Returns the documents of a stream with their nodes,
which know the line of every key.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipecd.config.document import Limits, dotted_path, measured_documents, syntax_error
from pipecd.errors import ConfigError, Place

#: Of one document. A large list of definitions has some hundred thousand values.
LIMITS = Limits(depth=200, values=1_000_000)
#: Of an integer, in the notation of the file. Python does not write integers of any length.
MAX_DIGITS = 1000

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_BOOL = {
    text: value
    for value, forms in ((True, "y yes true on"), (False, "n no false off"))
    for lower in forms.split()
    for text in (lower, lower.capitalize(), lower.upper())
}
_INTEGER = r"[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_NOT_A_NUMBER = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"


class _Loader(_SafeLoader):  # type: ignore[misc]
    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - PyYAML's own class attribute


def _resolve(tag: str, pattern: str, first: Sequence[str | None]) -> None:
    _Loader.add_implicit_resolver(_TAG + tag, re.compile(f"^(?:{pattern})$"), first)


_resolve("bool", "|".join(_BOOL), list("yYnNtTfFoO"))
_resolve("null", "~|null|Null|NULL|", ["~", "n", "N", ""])
_resolve("int", _INTEGER, list("-+0123456789"))
_resolve("float", f"{_FLOAT}|{_NOT_A_NUMBER}", list("-+.0123456789"))
_resolve("merge", "<<", ["<"])


def _error(problem: str, node: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _construct_int(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if len(digits) > MAX_DIGITS:
        raise _error(f"a number has more than {MAX_DIGITS} digits", node)
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * (int(digits, 8) if len(digits) > 1 and digits.startswith("0") else int(digits))


def _construct_float(loader: Any, node: Any) -> int | float:
    number = float(str(loader.construct_scalar(node)).replace(".inf", "inf").replace(".nan", "nan"))
    if number != number or number in (float("inf"), float("-inf")):
        raise yaml.constructor.ConstructorError(
            None, None, "infinity is not a number in JSON", node.start_mark
        )
    return int(number) if number.is_integer() else number


def _construct_bool(loader: Any, node: Any) -> bool:
    return _BOOL[loader.construct_scalar(node)]


def _construct_binary(loader: Any, node: Any) -> str:
    try:
        return base64.b64decode(loader.construct_scalar(node), validate=False).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise yaml.constructor.ConstructorError(
            None, None, "!!binary is not text", node.start_mark
        ) from error


def _construct_mapping(loader: Any, node: Any) -> Iterator[dict[str, Any]]:
    data: dict[str, Any] = {}
    yield data
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        data[_key(loader.construct_object(key_node, deep=True), key_node)] = loader.construct_object(
            value_node
        )


def _refuse(loader: Any, node: Any) -> Any:
    raise yaml.constructor.ConstructorError(
        None, None, f"the tag {node.tag} is not supported", node.start_mark
    )


_Loader.yaml_constructors = {None: _refuse}
for _name, _constructor in {
    "int": _construct_int,
    "float": _construct_float,
    "bool": _construct_bool,
    "binary": _construct_binary,
    "map": _construct_mapping,
    "null": _SafeLoader.construct_yaml_null,
    "str": _SafeLoader.construct_yaml_str,
    "seq": _SafeLoader.construct_yaml_seq,
}.items():
    _Loader.add_constructor(_TAG + _name, _constructor)


def _key(key: Any, node: Any) -> str:
    """The text that the key has in JSON."""
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case int() | float():
            return str(key)
        case _:
            raise _error("a key must be text", node)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a stream. `number` counts from 1, without empty documents."""

    data: Any
    number: int
    node: Any = field(repr=False)

    def line(self, path: Sequence[str | int] = ()) -> int:
        """The line of `path`, or of its nearest parent that exists, counted from 1."""
        node, line = self.node, int(self.node.start_mark.line) + 1
        for part in path:
            match node:
                case yaml.SequenceNode() if isinstance(part, int) and part < len(node.value):
                    node = node.value[part]
                    line = int(node.start_mark.line) + 1
                case yaml.MappingNode():
                    found = next((pair for pair in node.value if _key_text(pair[0]) == part), None)
                    if found is None:
                        return line
                    line, node = int(found[0].start_mark.line) + 1, found[1]
                case _:
                    return line
        return line

    def find_node(self, path: Sequence[str | int]) -> Any:
        """The node of the value at `path`; None if it is not written there, but merged from elsewhere."""
        node = self.node
        for part in path:
            match node:
                case yaml.SequenceNode() if isinstance(part, int) and part < len(node.value):
                    node = node.value[part]
                case yaml.MappingNode():
                    # The last one of duplicate keys is used.
                    node = next(
                        (pair[1] for pair in reversed(node.value) if _key_text(pair[0]) == part), None
                    )
                case _:
                    return None
        return node


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that Kubernetes accepts, and that is probably a mistake."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def read_documents(
    text: str, file: str, warnings: list[Warned] | None = None, *, limits: Limits = LIMITS
) -> Iterator[Document]:
    """The documents of a YAML or JSON stream that are not empty. Raises ConfigError with file and line.

    Adds to `warnings`. Takes time in proportion to the length of `text`: call it in a thread. Every document
    is checked before the first one is built, and one is in memory at a time if the caller keeps none.
    """
    try:
        for _ in measured_documents(text, file, limits):
            pass
        loader = _Loader(text)
        try:
            number = 0
            while loader.check_node():
                node = loader.get_node()
                if warnings is not None:
                    warnings += _find_mistakes(node, file)
                data = loader.construct_document(node)
                if data is not None:
                    number += 1
                    yield Document(data=data, number=number, node=node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise syntax_error(error, file) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error


def _find_mistakes(root: Any, file: str) -> Iterator[Warned]:
    seen: set[int] = set()
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(root, ())]
    while stack:
        node, path = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += [(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key_node, value in node.value:
            key, line = _key_text(key_node), key_node.start_mark.line + 1
            place = Place(file, line, dotted_path((*path, key)))
            if key in lines and key != "<<":
                yield Warned(place=place, text=f"duplicate key, first in line {lines[key]}; the last is used")
            elif key != key_node.value:
                yield Warned(place=place, text=f"the key {key_node.value} is read as {key}; put it in quotes")
            lines[key] = line
            stack.append((value, (*path, key)))


def _key_text(node: Any) -> str:
    """The key as it is in the data, of a scalar node."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    if node.tag == f"{_TAG}bool":
        return "true" if _BOOL.get(node.value) else "false"
    if node.tag in (f"{_TAG}int", f"{_TAG}float"):
        loader = _Loader("")
        try:
            construct = _construct_int if node.tag.endswith("int") else _construct_float
            return str(construct(loader, node))
        except (yaml.YAMLError, ValueError):
            return str(node.value)
        finally:
            loader.dispose()
    return str(node.value)
