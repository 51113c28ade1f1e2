"""Compares the live state with Git and formats the difference as a diff. Pure.

Platforms pass pairs of normalised trees; `piped.observe.drift` reports the result. Fields that are only in
the live resource are ignored, because platforms fill in defaults.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.model.line_diff import diff_lines

#: Number of changed resources that are shown with a diff; further ones are only named.
MAX_DIFFS_SHOWN = 10
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

    @property
    def title(self) -> str:
        _, kind, namespace, name = self.key.split(":", 3)
        where = f" in {namespace}" if namespace else ""
        return f"{kind} {name}{where}" + (f" ({self.cluster})" if self.cluster else "")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """`summary` is one line, `details` a readable text. The caller must still redact both."""

    summary: str
    details: str = ""
    in_sync: bool = False


NO_DRIFT = Drift(summary="The live state matches Git", in_sync=True)


class IgnoredFields:
    """`driftDetection.ignoreFields`: `apiVersion:kind:namespace:name#path.to.0.field`.

    A `*` as a part of the key matches anything. A path includes everything below it.
    """

    def __init__(self, fields: Sequence[str] = ()) -> None:
        split = (field.partition("#") for field in fields)
        self._rules = [(key.split(":", 3), tuple(path.split("."))) for key, _, path in split]

    def paths(self, key: str) -> Sequence[tuple[str, ...]]:
        """The ignored paths of the resource `key`."""
        parts = key.split(":", 3)
        return [path for rule, path in self._rules if _key_matches(rule, parts)]


def _key_matches(rule: Sequence[str], parts: Sequence[str]) -> bool:
    return len(rule) == len(parts) and all(
        expected in ("*", part) for expected, part in zip(rule, parts, strict=True)
    )


def compare(pairs: Sequence[Pair], ignored: IgnoredFields, redact: Redact, *, exact: bool = False) -> Drift:
    """`redact` removes known secrets from a text. The live value is hidden too where Git's is a secret.

    With `exact`, both sides are complete and normalised by the platform, so every difference is drift.
    """
    only_git = [pair for pair in pairs if pair.running is None and pair.git is not None]
    only_running = [pair for pair in pairs if pair.git is None and pair.running is not None]
    changed = []
    for pair in pairs:
        if pair.running is not None and pair.git is not None:
            paths = ignored.paths(pair.key)
            git = remove_paths(pair.git, paths)
            running = remove_paths(pair.running, paths)
            running, git = (_sorted(running), _sorted(git)) if exact else (align(running, git), git)
            # `!=` would treat true and 1 as equal.
            if repr(running) != repr(git):
                changed.append((pair, running, git))
    counts = {"missing": len(only_git), "not in Git": len(only_running), "changed": len(changed)}
    if not any(counts.values()):
        return NO_DRIFT
    lines = ["--- Running", "+++ Git"]
    for number, (pair, running, git) in enumerate(changed):
        lines.append(f"# {pair.title}")
        if number < MAX_DIFFS_SHOWN:
            lines += _diff(*_mask_secrets(running, git, redact, ""))
    lines += [f"- {pair.title}: not in Git" for pair in only_running]
    lines += [f"+ {pair.title}: not running" for pair in only_git]
    summary = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
    return Drift(summary=f"Differs from Git: {summary}", details="\n".join(lines))


def remove_paths(tree: Any, paths: Sequence[Sequence[str]]) -> Any:
    """`tree` without the values at `paths`. A path names list items by index or by name."""
    if any(not path for path in paths):
        return None
    if not paths:
        return tree
    if isinstance(tree, Mapping):
        pruned = {key: _prune_item(item, str(key), paths) for key, item in tree.items()}
        return {key: item for key, item in pruned.items() if item is not _REMOVED}
    if isinstance(tree, list):
        names = _names(tree) or [""] * len(tree)
        named = enumerate(zip(tree, names, strict=True))
        items = [_prune_item(item, str(index), paths, name) for index, (item, name) in named]
        # A removed item leaves None, so that the other items keep their index.
        return [None if item is _REMOVED else item for item in items]
    return tree


def _sorted(tree: Any) -> Any:
    """`tree` with the keys of every mapping in order."""
    if isinstance(tree, Mapping):
        return {key: _sorted(tree[key]) for key in sorted(tree, key=str)}
    return [_sorted(item) for item in tree] if isinstance(tree, list) else tree


_REMOVED = object()


def _prune_item(item: Any, key: str, paths: Sequence[Sequence[str]], name: str = "") -> Any:
    subpaths = [path[1:] for path in paths if path[0] in (key, name)]
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


def _diff(running: Any, git: Any) -> Sequence[str]:
    return diff_lines(_lines(running), _lines(git))


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
