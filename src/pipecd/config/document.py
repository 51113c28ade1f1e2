"""Parses a configuration file to a mapping and the line number of each key.

The first step of reading any configuration file. Accepts YAML and JSON; one document; no duplicate keys;
only `true` and `false` are booleans (YAML 1.1 also reads `on`, `off`, `yes` and `no` as booleans, which
would convert a branch name). Type checking is the second step, in `decode`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipecd.errors import ConfigError, Place

API_VERSION = "pipecd.dev/v1beta1"
ENVELOPE = ("apiVersion", "kind", "spec")

Path = tuple[str | int, ...]

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REPLACED_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "timestamp", "int"))


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader without YAML 1.1's implicit types: `yes`/`no` booleans, dates, base-60 numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
        for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed file. `spec` contains dicts, lists and scalars; `lines` maps a path of keys to its line."""

    file: str
    kind: str
    spec: Mapping[str, Any]
    lines: Mapping[Path, int] = field(repr=False)

    def place(self, path: Sequence[str | int]) -> Place:
        """The location of `path`, or of its nearest parent that exists in the file."""
        nearest = tuple(path)
        while nearest and nearest not in self.lines:
            nearest = nearest[:-1]
        return Place(file=self.file, line=self.lines.get(nearest, 1), key=dotted_path(path))


def dotted_path(path: Sequence[str | int]) -> str:
    """`("spec", "stages", 2)` → `spec.stages[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse(text: str, file: str) -> Document:
    """Parse `text` and check its envelope; errors refer to it as `file`. Raises ConfigError."""
    data, lines = read(text, file)
    for key in data:
        if key not in ENVELOPE:
            raise ConfigError(
                f"unknown key {key!r}",
                remedy="only apiVersion, kind and spec are valid at the top level",
                place=Place(file, lines.get((key,), 1), str(key)),
            )
    version, kind, spec = data.get("apiVersion"), data.get("kind"), data.get("spec")
    if version != API_VERSION:
        what = "is missing" if version is None else f"{version!r} is not supported"
        raise ConfigError(
            f"apiVersion {what}",
            remedy=f"write apiVersion: {API_VERSION}",
            place=Place(file, lines.get(("apiVersion",), 1), "apiVersion"),
        )
    if not isinstance(kind, str) or not kind:
        raise ConfigError(
            "kind is missing",
            remedy="add the kind of the file, such as kind: TerraformApp",
            place=Place(file, lines.get(("kind",), 1), "kind"),
        )
    if spec is None:
        spec = {}
    if not isinstance(spec, dict):
        raise ConfigError("must be a mapping", place=Place(file, lines.get(("spec",), 1), "spec"))
    return Document(file=file, kind=kind, spec=spec, lines=lines)


def read(text: str, file: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Parse a single YAML mapping, without an envelope. Returns it with the line of each of its keys."""
    loader = _Loader(text)
    try:
        nodes = []
        while loader.check_node():
            nodes.append(loader.get_node())
        if len(nodes) > 1:
            line = nodes[1].start_mark.line + 1
            raise ConfigError(
                "a second document begins here",
                remedy="write one document per file",
                place=Place(file, line),
            )
        if not nodes or not isinstance(nodes[0], yaml.MappingNode):
            what = "is not a mapping" if nodes else "is empty"
            raise ConfigError(
                f"the file {what}", remedy="start with apiVersion, kind and spec", place=Place(file)
            )
        lines: dict[Path, int] = {}
        _index_lines(nodes[0], (), lines, file, set())
        data = loader.construct_document(nodes[0])
    except yaml.YAMLError as error:
        raise _syntax_error(error, file) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error
    finally:
        loader.dispose()
    return data, lines


def _index_lines(node: Any, path: Path, lines: dict[Path, int], file: str, ancestors: set[int]) -> None:
    """Record the line of each key and item in `lines`. Raises ConfigError for an invalid or duplicate key."""
    if id(node) in ancestors:
        raise ConfigError("an alias refers to itself", place=Place(file, node.start_mark.line + 1))
    lines.setdefault(path, node.start_mark.line + 1)
    ancestors = ancestors | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _index_lines(item, (*path, index), lines, file, ancestors)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key must be a string", place=Place(file, line, dotted_path(path)))
        if key.value in seen and key.value != "<<":
            raise ConfigError(
                f"duplicate key, first defined in line {seen[key.value]}",
                remedy="remove one of them",
                place=Place(file, line, dotted_path((*path, key.value))),
            )
        seen[key.value] = line
        lines[(*path, key.value)] = line
        _index_lines(value, (*path, key.value), lines, file, ancestors)


def _syntax_error(error: yaml.YAMLError, file: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "this is not YAML"
    line = mark.line + 1 if mark else 0
    return ConfigError(
        f"YAML syntax: {problem}", remedy="check indentation, quotes and colons", place=Place(file, line)
    )
