"""A configuration file as text → a mapping whose every key knows its line.

The first step of reading any file here. YAML and JSON; one document; no duplicate keys; only `true` and
`false` are booleans (YAML 1.1 would also take `on`, `off`, `yes` and `no`, and turn a branch name
into a boolean). Checking against a type is the second step, in `decode`.
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
_SURPRISING = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "timestamp", "int"))


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader without YAML 1.1's surprises: booleans in words, dates, base-60 numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SURPRISING]
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
    """One file. `spec` holds plain dicts, lists and scalars; `place` tells where a path of keys stands."""

    file: str
    kind: str
    spec: Mapping[str, Any]
    lines: Mapping[Path, int] = field(repr=False)

    def place(self, path: Sequence[str | int]) -> Place:
        """The place of `path`, or of its nearest parent that is written in the file."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        return Place(file=self.file, line=self.lines.get(known, 1), key=dotted(path))


def dotted(path: Sequence[str | int]) -> str:
    """`("spec", "stages", 2)` → `spec.stages[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse(text: str, file: str) -> Document:
    """The document in `text`; `file` is what errors call it. Raises ConfigError."""
    data, lines = read(text, file)
    for key in data:
        if key not in ENVELOPE:
            raise ConfigError(
                f"unknown key {key!r}",
                remedy="only apiVersion, kind and spec stand at the top",
                place=Place(file, lines.get((key,), 1), str(key)),
            )
    version, kind, spec = data.get("apiVersion"), data.get("kind"), data.get("spec")
    if version != API_VERSION:
        what = "is missing" if version is None else f"{version!r} is not known"
        raise ConfigError(
            f"apiVersion {what}",
            remedy=f"write apiVersion: {API_VERSION}",
            place=Place(file, lines.get(("apiVersion",), 1), "apiVersion"),
        )
    if not isinstance(kind, str) or not kind:
        raise ConfigError(
            "kind is missing",
            remedy="write what the file is, such as kind: TerraformApp",
            place=Place(file, lines.get(("kind",), 1), "kind"),
        )
    if spec is None:
        spec = {}
    if not isinstance(spec, dict):
        raise ConfigError("must be a mapping", place=Place(file, lines.get(("spec",), 1), "spec"))
    return Document(file=file, kind=kind, spec=spec, lines=lines)


def read(text: str, file: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Any single YAML mapping, without an envelope, and the line of each of its keys."""
    loader = _Loader(text)
    try:
        nodes = []
        while loader.check_node():
            nodes.append(loader.get_node())
        if len(nodes) > 1:
            line = nodes[1].start_mark.line + 1
            raise ConfigError(
                "a second document begins here", remedy="one file holds one document", place=Place(file, line)
            )
        if not nodes or not isinstance(nodes[0], yaml.MappingNode):
            what = "is not a mapping" if nodes else "is empty"
            raise ConfigError(
                f"the file {what}", remedy="begin with apiVersion, kind and spec", place=Place(file)
            )
        lines: dict[Path, int] = {}
        _index(nodes[0], (), lines, file, set())
        data = loader.construct_document(nodes[0])
    except yaml.YAMLError as error:
        raise _syntax(error, file) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error
    finally:
        loader.dispose()
    return data, lines


def _index(node: Any, path: Path, lines: dict[Path, int], file: str, above: set[int]) -> None:
    """Notes the line of every key and item; refuses keys that are no words, and keys said twice."""
    if id(node) in above:
        raise ConfigError("an alias refers to itself", place=Place(file, node.start_mark.line + 1))
    lines.setdefault(path, node.start_mark.line + 1)
    inner = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _index(item, (*path, index), lines, file, inner)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key must be a word", place=Place(file, line, dotted(path)))
        if key.value in seen and key.value != "<<":
            raise ConfigError(
                f"the key is written twice, first in line {seen[key.value]}",
                remedy="keep one of them",
                place=Place(file, line, dotted((*path, key.value))),
            )
        seen[key.value] = line
        lines[(*path, key.value)] = line
        _index(value, (*path, key.value), lines, file, inner)


def _syntax(error: yaml.YAMLError, file: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "this is not YAML"
    line = mark.line + 1 if mark else 0
    return ConfigError(
        f"YAML syntax: {problem}", remedy="check indentation, quotes and colons", place=Place(file, line)
    )
