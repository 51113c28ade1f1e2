"""Sets values in a JSON file. White space and every other character stay. JSON has no comments."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pipecd.edits import Edit, Replacement, apply_replacements
from pipecd.errors import Place, Refused
from pipecd.json_input import decode_json
from pipecd.value_path import Index, Key, ValuePath

#: In characters.
MAX_LENGTH = 2 * 1024 * 1024
MAX_DEPTH = 100
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_LITERAL = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class _Node:
    """A value and its position. `value` is the decoded text of a scalar."""

    start: int
    end: int
    value: str = ""
    quoted: bool = False
    members: "Sequence[tuple[str, _Node]]" = ()
    items: "Sequence[_Node] | None" = None

    @property
    def is_scalar(self) -> bool:
        return self.items is None


def set_json(text: str, file: str, path: ValuePath, value: str) -> Edit:
    """Sets the scalars at `path`. `file` is for errors.

    A string stays a string. A number, `true`, `false` or `null` becomes a string unless `value` is one of
    these too. Raises Refused if the file is not JSON, or nothing, or no scalar, is at `path`.
    """
    nodes: Sequence[_Node] = [_Reader(text, file).read()]
    for step in path.steps:
        nodes = [child for node in nodes for child in _children(node, step)]
    if not nodes:
        raise Refused(f"nothing is at {path}", remedy="correct the path, or add the field", place=Place(file))
    for node in nodes:
        if not node.is_scalar:
            place = Place(file, text.count("\n", 0, node.start) + 1)
            raise Refused(f"{path} is not a single value", remedy="correct the path", place=place)
    unique: Mapping[int, _Node] = {node.start: node for node in nodes}
    return apply_replacements(
        text,
        [
            Replacement(start=node.start, end=node.end, text=_render(node, value))
            for node in unique.values()
            if node.value != value
        ],
    )


def _render(node: _Node, value: str) -> str:
    if not node.quoted and _LITERAL.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _children(node: _Node, step: Key | Index) -> Iterator[_Node]:
    match step:
        case Key(name, False):
            yield from (child for key, child in node.members if key == name)
        case Index(number):
            items = () if node.members else node.items or ()
            yield from items if number is None else items[number : number + 1]
        case Key(name, True):
            yield from (child for key, child in node.members if key == name)
            for child in node.items or ():
                yield from _children(child, step)


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        if len(text) > MAX_LENGTH:
            raise Refused(
                f"the file has {len(text)} characters; the limit is {MAX_LENGTH}", place=Place(file)
            )
        self._text, self._file = text, file
        self._at = 1 if text.startswith("\ufeff") else 0

    def read(self) -> _Node:
        self._skip_space()
        node = self._value(depth=1)
        self._skip_space()
        if self._at < len(self._text):
            self._fail("text follows the value")
        return node

    def _value(self, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            self._fail(f"it is nested more than {MAX_DEPTH} levels deep")
        match self._text[self._at : self._at + 1]:
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"':
                start = self._at
                value = self._string()
                return _Node(start, self._at, value, quoted=True)
            case _:
                match = _LITERAL.match(self._text, self._at)
                if match is None:
                    self._fail("a value is missing")
                self._at = match.end()
                return _Node(match.start(), match.end(), match[0])

    def _object(self, depth: int) -> _Node:
        start, members = self._at, []
        while self._next_entry("{" if self._at == start else ",", "}"):
            if self._text[self._at : self._at + 1] != '"':
                self._fail("a key is missing")
            key = self._string()
            self._skip_space()
            self._expect(":")
            members.append((key, self._value(depth + 1)))
        return _Node(start, self._at, members=members, items=[child for _, child in members])

    def _array(self, depth: int) -> _Node:
        start, items = self._at, []
        while self._next_entry("[" if self._at == start else ",", "]"):
            items.append(self._value(depth + 1))
        return _Node(start, self._at, items=items)

    def _next_entry(self, before: str, end: str) -> bool:
        """Whether another entry follows; otherwise reads `end`."""
        self._skip_space()
        opening = before != ","
        if not opening and self._text[self._at : self._at + 1] == end:
            self._at += 1
            return False
        self._expect(before)
        if opening and self._text[self._at : self._at + 1] == end:
            self._at += 1
            return False
        return True

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            self._fail("a string is not closed")
        self._at = match.end()
        try:
            return str(decode_json(match[0]))
        except ValueError:
            self._fail("a string has an invalid escape sequence")

    def _expect(self, sign: str) -> None:
        if self._text[self._at : self._at + 1] != sign:
            self._fail(f"{sign!r} is missing")
        self._at += 1
        self._skip_space()

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _fail(self, problem: str) -> NoReturn:
        raise Refused(
            f"not JSON: {problem}",
            remedy="fix the syntax",
            place=Place(self._file, self._text.count("\n", 0, self._at) + 1),
        )
