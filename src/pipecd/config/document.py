"""Parses a configuration file to a mapping and the line number of each key.

The first step of reading any configuration file. Accepts YAML and JSON; the first document of a file; no
duplicate keys; only `true` and `false` are booleans (YAML 1.1 also reads `on`, `off`, `yes` and `no` as
booleans, which would convert a branch name). Type checking is the second step, in `decode`.

The author of a file may be hostile: its size, its depth and the number of its values, with aliases expanded,
are limited before anything is built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import structlog
import yaml

from pipecd.config.spelling import SpelledBool, SpelledFloat, SpelledInt
from pipecd.errors import ConfigError, Place, UserError

log = structlog.get_logger()

API_VERSION = "pipecd.dev/v1beta1"
ENVELOPE = ("apiVersion", "kind", "spec")
#: Limits of a file: characters, nesting, and values with all aliases expanded.
MAX_SIZE, MAX_DEPTH, MAX_VALUES = 1024 * 1024, 64, 50_000

#: Bytes of a file. Not all of them need be characters of their own.
MAX_FILE_SIZE = 2 * MAX_SIZE

#: A character that JSON escapes as two halves, which YAML does not know.
_SURROGATE_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)

#: A name or an index of a key such as `spec.stages[2]`.
_PART_OF_KEY = re.compile(r"\[(\d+)\]|([^.\[\]]+)")

Path = tuple[str | int, ...]

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REPLACED_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "timestamp", "int", "float"))


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader without YAML 1.1's implicit types: `yes`/`no` booleans, dates, base-60 numbers.

    Numbers and booleans remember how they were written, and keys are strings, as written.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
        for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def spelled_bool(self, node: Any) -> Any:
        value = self.construct_yaml_bool(node)
        return value if node.value in ("true", "false") else SpelledBool(value, node.value)

    def spelled_int(self, node: Any) -> Any:
        return SpelledInt(self.construct_yaml_int(node), node.value)

    def spelled_float(self, node: Any) -> Any:
        return SpelledFloat(self.construct_yaml_float(node), node.value)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.spelled_bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.spelled_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.spelled_float)


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


@contextmanager
def locating_errors(document: Document) -> Iterator[None]:
    """Give errors of the block about a key of the document its file and line, as `decode` does."""
    try:
        yield
    except (UserError, BaseExceptionGroup) as error:
        for found in _user_errors(error):
            if found.place and not found.place.file and found.place.key.startswith("spec."):
                found.place = document.place(_path(found.place.key))
        raise


def _user_errors(error: BaseException) -> Iterator[UserError]:
    if isinstance(error, UserError):
        yield error
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _user_errors(inner)


def _path(key: str) -> Path:
    """`spec.stages[2]` → `("spec", "stages", 2)`."""
    return tuple(int(index) if index else name for index, name in _PART_OF_KEY.findall(key))


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


def parse_kind(text: str, file: str, kind: str, *, program: str) -> Document:
    """As `parse`, for the configuration file of `program`, which has the kind `kind`."""
    document = parse(text, file)
    if document.kind != kind:
        raise ConfigError(
            f"kind is {document.kind}, not {kind}",
            remedy=f"use a configuration file of {program}",
            place=document.place(("kind",)),
        )
    return document


def read(text: str, file: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Parse the mapping that is the first document. Returns it with the line of each of its keys."""
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        text = _SURROGATE_PAIR.sub(_character, text)
    try:
        if ignored_from := check_limits(text, file):
            log.warning("further_yaml_documents_ignored", file=file, line=ignored_from)
        return _build(text, file)
    except yaml.YAMLError as error:
        raise syntax_error(error, file) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error


def _build(text: str, file: str) -> tuple[dict[str, Any], dict[Path, int]]:
    loader = _Loader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        if not isinstance(node, yaml.MappingNode):
            what = "is not a mapping" if node else "is empty"
            raise ConfigError(
                f"the file {what}", remedy="start with apiVersion, kind and spec", place=Place(file)
            )
        lines: dict[Path, int] = {}
        _index_lines(node, (), lines, file)
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def first_document(text: str, file: str) -> Any:
    """The value of the first document, whatever it is. Raises ConfigError, and yaml.YAMLError."""
    check_limits(text, file)
    loader = _Loader(text)
    try:
        return loader.get_data() if loader.check_data() else None
    finally:
        loader.dispose()


def read_file(path: FilePath, file: str, *, missing: str, max_size: int = MAX_FILE_SIZE) -> str:
    """The text of a file of a checkout, called `file` in errors. `max_size` is in bytes.

    Raises ConfigError; `missing` is the remedy if there is no such file.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(max_size + 1)
        if len(content) > max_size:
            raise ConfigError(f"the file has more than {max_size >> 20} MiB", place=Place(file))
        return content.decode()
    except FileNotFoundError:
        raise ConfigError("file not found", remedy=missing, place=Place(file)) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", remedy="save it as UTF-8", place=Place(file)) from None
    except OSError as error:
        raise ConfigError(f"cannot read the file: {error.strerror}", place=Place(file)) from error


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a document: nesting, and values with all aliases expanded."""

    depth: int
    values: int


def check_limits(text: str, file: str) -> int:
    """Raise ConfigError if the first document is too large. Returns the line of a second one, or 0.

    Takes time proportional to the text. Raises yaml.YAMLError.
    """
    if len(text) > MAX_SIZE:
        raise ConfigError(f"the file has {len(text)} characters; the limit is {MAX_SIZE}", place=Place(file))
    lines = measured_documents(text, file, Limits(depth=MAX_DEPTH, values=MAX_VALUES))
    next(lines, 0)
    return next(lines, 0)


def measured_documents(text: str, file: str, limits: Limits) -> Iterator[int]:
    """The line of each document. Raises ConfigError if one is too large, before the next line.

    Builds nothing. Raises yaml.YAMLError.
    """
    counter = _Counter(file, limits)
    for event in yaml.parse(text, Loader=_SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        match event:
            case yaml.DocumentStartEvent():
                counter = _Counter(file, limits)
                yield line
            case yaml.AliasEvent():
                counter.add_alias(event.anchor, line)
            case yaml.ScalarEvent():
                counter.open(event.anchor, line)
                counter.close()
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                counter.open(event.anchor, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                counter.close()


@dataclass
class _Part:
    """A value, with the number of values in it and its depth, both with aliases expanded."""

    anchor: str | None
    values: int = 1
    depth: int = 1


class _Counter:
    """Counts the values of a document as its parts begin and end."""

    def __init__(self, file: str, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._open: list[_Part] = []
        self._closed: dict[str, _Part] = {}
        self._total = 0

    def open(self, anchor: str | None, line: int) -> None:
        self._open.append(_Part(anchor))
        self._add(values=1, depth=1, line=line)

    def close(self) -> None:
        part = self._open.pop()
        if part.anchor:
            self._closed[part.anchor] = part
        if self._open:
            self._open[-1].values += part.values
            self._open[-1].depth = max(self._open[-1].depth, part.depth + 1)

    def add_alias(self, anchor: str | None, line: int) -> None:
        if any(part.anchor == anchor for part in self._open):
            raise ConfigError("an alias refers to itself", place=Place(self._file, line))
        part = self._closed.get(anchor or "", _Part(None))
        self._add(values=part.values, depth=part.depth + 1, line=line)
        self._open.append(_Part(None, part.values, part.depth))
        self.close()

    def _add(self, *, values: int, depth: int, line: int) -> None:
        self._total += values
        if self._total > self._limits.values:
            raise ConfigError(
                f"the file has more than {self._limits.values} values",
                remedy="split it, or use fewer aliases: each one counts as what it refers to",
                place=Place(self._file, line),
            )
        if len(self._open) + depth - 1 > self._limits.depth:
            raise ConfigError(
                f"the file is nested more than {self._limits.depth} levels deep",
                place=Place(self._file, line),
            )


def _index_lines(node: Any, path: Path, lines: dict[Path, int], file: str) -> None:
    """Record the line of each key and item in `lines`.

    Raises ConfigError for an invalid or duplicate key, and for a null byte, which no path, argument or
    environment variable may have.
    """
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
        place = Place(file, lines[path], dotted_path(path))
        raise ConfigError("the value contains a null byte", remedy="remove it", place=place)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _index_lines(item, (*path, index), lines, file)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key must be a string", place=Place(file, line, dotted_path(path)))
        if "\0" in key.value:
            where = Place(file, line, dotted_path(path))
            raise ConfigError("a key contains a null byte", remedy="remove it", place=where)
        if key.value in seen and key.value != "<<":
            raise ConfigError(
                f"duplicate key, first defined in line {seen[key.value]}",
                remedy="remove one of them",
                place=Place(file, line, dotted_path((*path, key.value))),
            )
        seen[key.value] = line
        lines[(*path, key.value)] = line
        _index_lines(value, (*path, key.value), lines, file)


def _character(pair: re.Match[str]) -> str:
    return bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be")


def syntax_error(error: yaml.YAMLError, file: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "this is not YAML"
    line = mark.line + 1 if mark else 0
    return ConfigError(
        f"YAML syntax: {problem}", remedy="check indentation, quotes and colons", place=Place(file, line)
    )
