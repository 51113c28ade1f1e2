"""Sets values in the text of a file and leaves every other character as it is. No Git, no clock, no I/O.

One module per format: `yaml_text`, `json_text`, `hcl_text`, `pattern_text`. Each finds the positions of the
values and replaces their characters. Called by the event watcher.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The text of a file after a change. `count` is the number of values that were different before."""

    text: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def apply_replacements(text: str, replacements: Iterable[Replacement]) -> Edit:
    """The replacements must not overlap. Those that change nothing are not counted."""
    parts, position, count = [], 0, 0
    for replacement in sorted(replacements, key=lambda each: each.start):
        parts += [text[position : replacement.start], replacement.text]
        count += text[replacement.start : replacement.end] != replacement.text
        position = replacement.end
    return Edit(text="".join([*parts, text[position:]]), count=count)
