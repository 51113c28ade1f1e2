"""Paths to values of a tree, such as `$.spec.containers[0].image`, in the syntax of PipeCD's `yamlField`.

| syntax | meaning |
|---|---|
| `$` | the root; may be omitted |
| `.key`, `['key']`, `.'key'` | the member of a mapping |
| `[0]` | the item of a list, counted from 0 |
| `[*]` | every item of a list |
| `..key` | every member with this name, at any depth |
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: In characters.
MAX_PATH_LENGTH = 1000


class PathError(ValueError):
    """The text is not a path."""


@dataclass(frozen=True)
class Member:
    name: str


@dataclass(frozen=True)
class Item:
    index: int


@dataclass(frozen=True)
class EveryItem:
    pass


@dataclass(frozen=True)
class Descendants:
    """Every member with this name, at any depth."""

    name: str


Step = Member | Item | EveryItem | Descendants

_STEP = re.compile(
    r"""
    \[(?P<index>\d{1,9})\]
  | (?P<every>\[\*\])
  | \[(?P<bracket>'[^']*'|"[^"]*")\]
  | \.\.(?P<descendants>'[^']*'|[^.\[\]'"]+)
  | \.(?P<member>'[^']*'|[^.\[\]'"]+)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class ValuePath:
    """A valid path."""

    text: str
    steps: Sequence[Step]

    @classmethod
    def parse(cls, text: str) -> "ValuePath":
        """Raises PathError."""
        if len(text) > MAX_PATH_LENGTH:
            raise PathError(f"the path has {len(text)} characters; the limit is {MAX_PATH_LENGTH}")
        rest = text.removeprefix("$")
        if rest and rest[0] not in ".[":
            rest = f".{rest}"
        steps: list[Step] = []
        position = 0
        while position < len(rest):
            match = _STEP.match(rest, position)
            if match is None:
                raise PathError(
                    f"{text!r} is not a path: {rest[position:]!r} cannot be read; write it like $.spec.image,"
                    " $.list[0].name or $['a key']"
                )
            steps.append(_step(match))
            position = match.end()
        if not steps:
            raise PathError(f"{text!r} names no value; write it like $.spec.image")
        return cls(text, tuple(steps))

    def __str__(self) -> str:
        return self.text


def _step(match: re.Match[str]) -> Step:
    value = match[match.lastgroup or ""]
    match match.lastgroup:
        case "index":
            return Item(int(value))
        case "every":
            return EveryItem()
        case "descendants":
            return Descendants(value.strip("'"))
        case "bracket":
            return Member(value[1:-1])
        case _:
            return Member(value.strip("'"))
