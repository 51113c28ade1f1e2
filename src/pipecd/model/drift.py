"""Compares the live state with Git and formats the difference as a diff. Pure.

Platforms pass pairs of normalised trees; `piped.observe.drift` reports the result. Fields that are only in
the live resource are ignored, because platforms fill in defaults. A platform that records who added such a
field passes it as an `Addition`, which is listed apart from drift.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.model.line_diff import diff_lines

#: Number of changed resources that are shown with a diff; further ones are only named.
MAX_DIFFS_SHOWN = 10
#: Number of additions and of notes that are listed.
MAX_LINES_SHOWN = 100
#: Of one note, in characters.
MAX_NOTE_LENGTH = 1000
SECRET, OTHER_VALUE, HIDDEN = "(secret)", "(another value)", "(hidden)"
#: Keys whose values may be secrets.
_SECRET_NAME = re.compile(r"passw|secret|token|credential|private|api_?key|access_?key", re.IGNORECASE)
#: Text that needs no quotes: not a number, not a YAML keyword, no comment, no trailing space.
_PLAIN = re.compile(r"(?!(true|false|null|yes|no|on|off)$)[A-Za-z_/(][^#\n]*(?<! )", re.IGNORECASE)

Redact = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One resource, live and in Git; None where it is missing.

    `key` is `apiVersion:kind:namespace:name`, as in `driftDetection.ignoreFields`. `cluster` is shown if the
    application has resources in several places.
    """

    key: str
    running: Mapping[str, Any] | None
    git: Mapping[str, Any] | None
    cluster: str = ""
    #: Both sides are complete and normalised by the platform, so every difference is drift.
    exact: bool = False
    #: Shown beside the resource if it differs: for example who changed it.
    note: str = ""
    #: Who changed the live side, such as the name of a program.
    changed_by: Sequence[str] = ()

    @property
    def title(self) -> str:
        return _title(self.key, self.cluster)


def _title(key: str, cluster: str) -> str:
    """`Service web in shop`."""
    _, kind, namespace, name = key.split(":", 3)
    where = f" in {namespace}" if namespace else ""
    return f"{kind} {name}{where}" + (f" ({cluster})" if cluster else "")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A field that a person or a program added to a resource beside the fields in Git. It is no drift."""

    #: Of the resource, as in `Pair`.
    key: str
    #: Readable, such as `spec.ports[name=http]`.
    field: str
    manager: str
    #: ISO 8601; empty if it is unknown.
    at: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        by = f"{self.manager}, {self.at}" if self.at else self.manager
        return f"{_title(self.key, self.cluster)}: {self.field} ({by})"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """`summary` is one line, `details` a readable text. The caller must still redact both."""

    summary: str
    details: str = ""
    in_sync: bool = False
    #: Who changed what differs, as far as the platform records it.
    changed_by: Sequence[str] = ()
    #: Equal for two comparisons in which the same fields of the same resources differ. Empty if in sync.
    fingerprint: str = ""


IN_SYNC = "The live state matches Git"
NO_DRIFT = Drift(summary=IN_SYNC, in_sync=True)

Path = tuple[str, ...]


class IgnoredFields:
    """`driftDetection.ignoreFields`: `apiVersion:kind:namespace:name#path.to.0.field`.

    A path that begins with `/` is a JSON pointer, so that its keys can contain dots. A `*` as a part of the
    key matches anything, and as a part of the path every item of a list. A path includes everything below it.
    """

    def __init__(self, fields: Sequence[str] = ()) -> None:
        split = (field.partition("#") for field in fields)
        self._rules = [(key.split(":", 3), parse_path(path)) for key, _, path in split]

    def paths(self, key: str) -> Sequence[Path]:
        """The ignored paths of the resource `key`."""
        parts = key.split(":", 3)
        return [path for rule, path in self._rules if _key_matches(rule, parts)]


def parse_path(text: str) -> Path:
    """The parts of a path with dots, or of a JSON pointer (RFC 6901)."""
    if not text.startswith("/"):
        return tuple(text.split("."))
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _key_matches(rule: Sequence[str], parts: Sequence[str]) -> bool:
    return len(rule) == len(parts) and all(
        expected in ("*", part) for expected, part in zip(rule, parts, strict=True)
    )


def compare(
    pairs: Sequence[Pair],
    ignored: IgnoredFields,
    redact: Redact,
    *,
    additions: Sequence[Addition] = (),
    notes: Sequence[str] = (),
) -> Drift:
    """`redact` removes known secrets from a text. The live value is hidden too where Git's is a secret.

    `additions` and `notes` are listed also if nothing differs.
    """
    only_git = [pair for pair in pairs if pair.running is None and pair.git is not None]
    only_running = [pair for pair in pairs if pair.git is None and pair.running is not None]
    changed = []
    for pair in pairs:
        if pair.running is not None and pair.git is not None:
            paths = ignored.paths(pair.key)
            git = remove_paths(pair.git, paths)
            running = remove_paths(pair.running, paths)
            running, git = (_sorted(running), _sorted(git)) if pair.exact else (align(running, git), git)
            # `!=` would treat true and 1 as equal.
            if repr(running) != repr(git):
                changed.append((pair, running, git))
    rest = [
        *_listed("!", notes),
        *_section("Added beside Git, and no drift:", "~", list(map(str, additions))),
    ]
    added = f", with fields that others added: {len(additions)}" if additions else ""
    counts = {"missing": len(only_git), "not in Git": len(only_running), "changed": len(changed)}
    if not any(counts.values()):
        return Drift(summary=f"{IN_SYNC}{added}", details="\n".join(rest), in_sync=True)
    lines = ["--- Running", "+++ Git"]
    for number, (pair, running, git) in enumerate(changed):
        lines.append(f"# {pair.title}{_in_brackets(pair.note)}")
        if number < MAX_DIFFS_SHOWN:
            lines += diff_trees(running, git, redact)
    lines += [f"- {pair.title}: not in Git{_in_brackets(pair.note)}" for pair in only_running]
    lines += [f"+ {pair.title}: not running{_in_brackets(pair.note)}" for pair in only_git]
    summary = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
    differing = [*only_git, *only_running, *(pair for pair, _, _ in changed)]
    return Drift(
        summary=f"Differs from Git: {summary}",
        details="\n".join([*lines, *rest]),
        changed_by=tuple(dict.fromkeys(name for pair in differing for name in pair.changed_by)),
        fingerprint=_fingerprint(only_git, only_running, changed),
    )


def _in_brackets(note: str) -> str:
    return f" ({_one_line(note)})" if note else ""


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * MAX_NOTE_LENGTH].split())
    return line if len(line) <= MAX_NOTE_LENGTH else f"{line[:MAX_NOTE_LENGTH]}…"


def _section(title: str, sign: str, lines: Sequence[str]) -> list[str]:
    return [f"# {title}", *_listed(sign, lines)] if lines else []


def _listed(sign: str, lines: Sequence[str]) -> list[str]:
    shown = [f"{sign} {_one_line(line)}" for line in lines[:MAX_LINES_SHOWN]]
    more = len(lines) - len(shown)
    return [*shown, f"{sign} and {more} more"] if more else shown


def _fingerprint(
    only_git: Sequence[Pair], only_running: Sequence[Pair], changed: Sequence[tuple[Pair, Any, Any]]
) -> str:
    fields = [[pair.title, sorted(differing_paths(running, git))] for pair, running, git in changed]
    content = [sorted(pair.title for pair in only_git), sorted(pair.title for pair in only_running), fields]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def differing_paths(old: Any, new: Any, path: Path = ()) -> Iterator[Path]:
    """Where two trees differ. Items of lists are named by their name or their index."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if key in old and key in new:
                yield from differing_paths(old[key], new[key], (*path, str(key)))
            else:
                yield (*path, str(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from differing_paths(_by_name(old), _by_name(new), path)
    elif repr(old) != repr(new):
        yield path


def _by_name(items: list[Any]) -> Mapping[str, Any]:
    names = _names(items) or [str(index) for index in range(len(items))]
    return dict(zip(names, items, strict=True))


def remove_paths(tree: Any, paths: Sequence[Sequence[str]]) -> Any:
    """`tree` without the values at `paths`. A path names list items by index, by name, or all by `*`."""
    if any(not path for path in paths):
        return None
    if not paths:
        return tree
    if isinstance(tree, Mapping):
        pruned = {key: _prune_item(item, str(key), paths) for key, item in tree.items()}
        return {key: item for key, item in pruned.items() if item is not _REMOVED}
    if isinstance(tree, list):
        names = _names(tree) or [str(index) for index in range(len(tree))]
        named = enumerate(zip(tree, names, strict=True))
        items = [_prune_item(item, str(index), paths, name, "*") for index, (item, name) in named]
        # A removed item leaves None, so that the other items keep their index.
        return [None if item is _REMOVED else item for item in items]
    return tree


def _sorted(tree: Any) -> Any:
    """`tree` with the keys of every mapping in order."""
    if isinstance(tree, Mapping):
        return {key: _sorted(tree[key]) for key in sorted(tree, key=str)}
    return [_sorted(item) for item in tree] if isinstance(tree, list) else tree


_REMOVED = object()


def _prune_item(item: Any, key: str, paths: Sequence[Sequence[str]], *names: str) -> Any:
    subpaths = [path[1:] for path in paths if path[0] in (key, *names)]
    return _REMOVED if any(not path for path in subpaths) else remove_paths(item, subpaths)


def align(running: Any, git: Any) -> Any:
    """`running` in Git's spelling: equal values are written as in Git, and fields not in Git are removed."""
    if same_value(running, git):
        return git
    if isinstance(running, Mapping) and isinstance(git, Mapping):
        return {
            key: align(running.get(key), value)
            for key, value in git.items()
            if key in running or _is_empty(value)
        }
    if isinstance(running, list) and isinstance(git, list):
        return _align_lists(running, git)
    return running


def _align_lists(running: list[Any], git: list[Any]) -> list[Any]:
    git_names, running_names = _names(git), _names(running)
    if git_names is None or running_names is None:
        rest = running[len(git) :]
        return [align(old, new) for old, new in zip(running, git, strict=False)] + rest
    by_name = dict(zip(running_names, running, strict=True))
    in_git = [
        align(by_name[name], item) for name, item in zip(git_names, git, strict=True) if name in by_name
    ]
    return in_git + [item for name, item in by_name.items() if name not in git_names]


def same_value(running: Any, git: Any) -> bool:
    """Compare scalars as platforms normalise them: empty values are equal, and a number equals its text."""
    if _is_empty(running) and _is_empty(git):
        return True
    if isinstance(running, bool) or isinstance(git, bool):
        return bool(running is git)
    if isinstance(running, int | float | str) and isinstance(git, int | float | str):
        return running == git or _number(running) == _number(git) is not None
    return False


def _is_empty(value: Any) -> bool:
    """True also for a mapping that has only empty values."""
    if isinstance(value, Mapping):
        return all(_is_empty(item) for item in value.values())
    return value is None or value == "" or value == []


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _names(items: list[Any]) -> list[str] | None:
    """The unique names of a list of named items; None for any other list."""
    for key in ("name", "Name", "key"):
        names = [item.get(key) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    return None


def mask_values(running: Any, git: Any, redact: Redact = str) -> tuple[Any, Any]:
    """Both trees without the values that may be secrets by their names, or that `redact` changes."""
    return _mask_secrets(running, git, redact, "")


def _mask_secrets(running: Any, git: Any, redact: Redact, name: str) -> tuple[Any, Any]:
    """Both sides without secrets. `name` is their key."""
    # A value that is on one side only may contain secrets too.
    if isinstance(git, Mapping) or isinstance(running, Mapping):
        mappings = [side if isinstance(side, Mapping) else {} for side in (running, git)]
        old, new = _mask_mappings(mappings[0], mappings[1], redact, name)
        return (old if isinstance(running, Mapping) else running), (new if isinstance(git, Mapping) else git)
    if isinstance(git, list) or isinstance(running, list):
        lists = [side if isinstance(side, list) else [] for side in (running, git)]
        old_items, new_items = _mask_lists(lists[0], lists[1], redact, name)
        return (old_items if isinstance(running, list) else running), (
            new_items if isinstance(git, list) else git
        )
    if isinstance(git, str) and redact(git) != git:
        return (SECRET if same_value(running, git) else OTHER_VALUE), SECRET
    if (
        _SECRET_NAME.search(name)
        and isinstance(git, str | int | None)
        and isinstance(running, str | int | None)
    ):
        return (HIDDEN if same_value(running, git) else OTHER_VALUE), HIDDEN
    return running, git


def _mask_mappings(
    running: Mapping[str, Any], git: Mapping[str, Any], redact: Redact, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = {}, {}
    # In `{name: DB_PASSWORD, value: ...}` the item's name is the key of the value.
    item_name = str(git.get("name") or running.get("name") or "")
    for key in dict.fromkeys([*git, *running]):
        value_name = item_name or name if key == "value" else str(key)
        running_value, git_value = _mask_secrets(running.get(key), git.get(key), redact, value_name)
        if key in running:
            old[key] = running_value
        if key in git:
            new[key] = git_value
    return old, new


def _mask_lists(running: list[Any], git: list[Any], redact: Redact, name: str) -> tuple[list[Any], list[Any]]:
    git_names = _names(git) or [str(index) for index in range(len(git))]
    running_names = _names(running) or [str(index) for index in range(len(running))]
    old, new = dict(zip(running_names, running, strict=True)), dict(zip(git_names, git, strict=True))
    pairs = {
        key: _mask_secrets(_item_or_empty(old, new, key), _item_or_empty(new, old, key), redact, name)
        for key in {**old, **new}
    }
    return [pairs[key][0] for key in old], [pairs[key][1] for key in new]


def _item_or_empty(side: Mapping[str, Any], other: Mapping[str, Any], key: str) -> Any:
    """The item, or an empty value of the other side's type, so that secrets are still detected by name."""
    return side[key] if key in side else ({} if isinstance(other[key], Mapping) else None)


def diff_trees(running: Any, git: Any, redact: Redact) -> Sequence[str]:
    """The difference as lines of YAML, without secrets. None is an absent side."""
    old, new = mask_values(running, git, redact)
    return diff_lines([] if running is None else _lines(old), [] if git is None else _lines(new))


def _lines(tree: Any) -> list[str]:
    """The tree as lines of YAML."""
    if isinstance(tree, Mapping) and tree:
        return [line for key in sorted(tree, key=str) for line in _entry(f"{key}:", tree[key])]
    if isinstance(tree, list) and tree:
        return [line for item in tree for line in _item(item)]
    return [_scalar(tree)]


def _entry(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping | list) and value:
        indent = "  " if isinstance(value, Mapping) else ""
        return [key, *(f"{indent}{line}" for line in _lines(value))]
    return [f"{key} {_scalar(value)}"]


def _item(value: Any) -> list[str]:
    first, *rest = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and value and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
