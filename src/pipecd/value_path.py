"""Paths of values in files, as in PipeCD: `$.spec.template`, `$.items[0]`, `$.items[*].name`, `$..image`.

Pure. A path is parsed when the application's file is read. `find` evaluates it on trees of mappings and
lists; `edits` evaluates the steps on what has positions in a text. The leading `$` may be omitted, and keys
with dots are quoted: `$.'a.b'` or `$['a.b']`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Characters of a path, and values that one path may name.
MAX_LENGTH, MAX_MATCHES = 1000, 1000
_STEP = re.compile(
    r"(?P<dots>\.\.?)(?:'(?P<quoted>[^']+)'|(?P<plain>[^.\[\]'*$\s][^.\[\]'*]*))"
    r"|\[(?P<index>\d{1,6}|\*)\]|\['(?P<bracketed>[^']+)'\]|\[\"(?P<double>[^\"]+)\"\]"
)

#: Keys and indexes that lead from the root of a document to one value.
Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Key:
    """The value of a key; `anywhere`: at any depth."""

    name: str
    anywhere: bool = False


@dataclass(frozen=True)
class Index:
    """An item of a list, or every item."""

    number: int | None


@dataclass(frozen=True)
class ValuePath:
    """`text` is the path as written."""

    text: str
    steps: Sequence[Key | Index]

    @classmethod
    def parse(cls, text: Any) -> "ValuePath | None":
        """None for an empty text. Raises ValueError."""
        if isinstance(text, ValuePath) or text in (None, ""):
            return text or None
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            raise ValueError("is not a path: write it like $.spec.replicas")
        steps: list[Key | Index] = []
        rest = text.removeprefix("$") if text.startswith(("$", "[", ".")) else f".{text}"
        position = 0
        while position < len(rest):
            match = _STEP.match(rest, position)
            if match is None:
                raise ValueError(
                    f"is not a path, at {rest[position : position + 20]!r}: write .key, ..key, [0] or [*],"
                    " and keys with dots in single quotes"
                )
            steps.append(_step(match))
            position = match.end()
        return cls(text, tuple(steps))

    def find(self, root: Any) -> list[Location]:
        """Where the values are that the path names. Raises ValueError if there are too many."""
        found: list[tuple[Location, Any]] = [((), root)]
        for step in self.steps:
            following = []
            for location, value in found:
                for part, child in _select(step, value):
                    following.append(((*location, *part), child))
                    if len(following) > MAX_MATCHES:
                        raise ValueError(f"{self.text} names more than {MAX_MATCHES} values")
            found = following
        return [location for location, _ in found]

    def __str__(self) -> str:
        return self.text


def _step(match: re.Match[str]) -> Key | Index:
    if (index := match["index"]) is not None:
        return Index(None if index == "*" else int(index))
    name = match["quoted"] or match["plain"] or match["bracketed"] or match["double"]
    return Key(name, anywhere=match["dots"] == "..")


def _select(step: Key | Index, value: Any) -> Iterator[tuple[Location, Any]]:
    match step, value:
        case Key(name, False), Mapping():
            if name in value:
                yield (name,), value[name]
        case Key(name, True), _:
            yield from _anywhere(name, value)
        case Index(None), list():
            yield from (((index,), item) for index, item in enumerate(value))
        case Index(int(number)), list():
            if number < len(value):
                yield (number,), value[number]


def _anywhere(name: str, root: Any) -> Iterator[tuple[Location, Any]]:
    """Values of `name` at any depth, in the order of the document, without those inside of others."""
    stack: list[tuple[Location, Any]] = [((), root)]
    while stack:
        location, value = stack.pop()
        if location and location[-1] == name:
            yield location, value
            continue
        if isinstance(value, Mapping):
            children = [((*location, str(key)), child) for key, child in value.items()]
        elif isinstance(value, list):
            children = [((*location, index), child) for index, child in enumerate(value)]
        else:
            continue
        stack += reversed(children)


def replaced(root: Any, location: Location, value: Any) -> Any:
    """A copy of `root` with `value` at the location, which must exist."""
    if not location:
        return value
    first, *rest = location
    copy: Any = list(root) if isinstance(root, list) else dict(root)
    copy[first] = replaced(root[first], tuple(rest), value)
    return copy
