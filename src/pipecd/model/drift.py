"""Where what runs differs from what Git asks for: plain trees compared, told as a diff. Pure.

Platforms hand over pairs of trees, normalised in their own way; `piped.drift` reports what is found. What is
only in the running thing is left aside, because platforms fill in what nobody wrote.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Changed resources of which the diff is shown; of more only the names.
MOST_SHOWN = 10
SECRET, ANOTHER, HIDDEN = "(secret)", "(another value)", "(hidden)"
_SECRET_NAME = re.compile(r"passw|secret|token|credential|private|api_?key|access_?key", re.IGNORECASE)
#: A text that no reader takes for a number, a word of YAML or two values.
_PLAIN = re.compile(r"(?!(true|false|null|yes|no|on|off)$)[A-Za-z_/(][^#\n]*(?<! )", re.IGNORECASE)

Clean = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One thing on both sides; None where it is missing.

    `key` is `apiVersion:kind:namespace:name`, by which `driftDetection.ignoreFields` names it.
    """

    key: str
    running: Mapping[str, Any] | None
    git: Mapping[str, Any] | None

    @property
    def title(self) -> str:
        _, kind, namespace, name = self.key.split(":", 3)
        return f"{kind} {name}" + (f" in {namespace}" if namespace else "")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """`summary` is one line; `details` a text for people. Neither was redacted as a whole."""

    summary: str
    details: str = ""
    none: bool = False


NONE = Drift(summary="What runs is what Git asks for", none=True)


class Ignored:
    """`driftDetection.ignoreFields`: `apiVersion:kind:namespace:name#path.to.0.field`.

    A part of the key that is `*` fits anything. A path covers all that is below it.
    """

    def __init__(self, fields: Sequence[str] = ()) -> None:
        split = (field.partition("#") for field in fields)
        self._rules = [(key.split(":", 3), tuple(path.split("."))) for key, _, path in split]

    def paths(self, key: str) -> Sequence[tuple[str, ...]]:
        """What is ignored of the resource `key`."""
        parts = key.split(":", 3)
        return [path for rule, path in self._rules if _fits(rule, parts)]


def _fits(rule: Sequence[str], parts: Sequence[str]) -> bool:
    return len(rule) == len(parts) and all(
        wanted in ("*", part) for wanted, part in zip(rule, parts, strict=True)
    )


def compare(pairs: Sequence[Pair], ignored: Ignored, clean: Clean) -> Drift:
    """`clean` takes known secrets out of a text; where Git has one, the running value is not shown either."""
    only_git = [pair for pair in pairs if pair.running is None and pair.git is not None]
    only_running = [pair for pair in pairs if pair.git is None and pair.running is not None]
    changed = []
    for pair in pairs:
        if pair.running is not None and pair.git is not None:
            paths = ignored.paths(pair.key)
            git = without(pair.git, paths)
            running = aligned(without(pair.running, paths), git)
            # Not `!=`, to which true is 1.
            if repr(running) != repr(git):
                changed.append((pair, running, git))
    counts = {"missing": len(only_git), "not in Git": len(only_running), "changed": len(changed)}
    if not any(counts.values()):
        return NONE
    lines = ["--- Running", "+++ Git"]
    for number, (pair, running, git) in enumerate(changed):
        lines.append(f"# {pair.title}")
        if number < MOST_SHOWN:
            lines += _difference(*_shown(running, git, clean, ""))
    lines += [f"- {pair.title}: not in Git" for pair in only_running]
    lines += [f"+ {pair.title}: does not run" for pair in only_git]
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return Drift(summary=f"Differs from Git: {told}", details="\n".join(lines))


def without(tree: Any, paths: Sequence[Sequence[str]]) -> Any:
    """`tree` less the values at `paths`. Items of lists are named by their place or their name."""
    if any(not path for path in paths):
        return None
    if not paths:
        return tree
    if isinstance(tree, Mapping):
        pruned = {key: _pruned(item, str(key), paths) for key, item in tree.items()}
        return {key: item for key, item in pruned.items() if item is not _GONE}
    if isinstance(tree, list):
        names = _names(tree) or [""] * len(tree)
        named = enumerate(zip(tree, names, strict=True))
        found = [_pruned(item, str(at), paths, name) for at, (item, name) in named]
        # The place stays, so that the other items keep theirs.
        return [None if item is _GONE else item for item in found]
    return tree


_GONE = object()


def _pruned(item: Any, key: str, paths: Sequence[Sequence[str]], name: str = "") -> Any:
    below = [path[1:] for path in paths if path[0] in (key, name)]
    return _GONE if any(not path for path in below) else without(item, below)


def aligned(running: Any, git: Any) -> Any:
    """`running` as Git would write it: equal values spelt alike, and nothing of which Git does not speak."""
    if same(running, git):
        return git
    if isinstance(running, Mapping) and isinstance(git, Mapping):
        return {
            key: aligned(running.get(key), value)
            for key, value in git.items()
            if key in running or _nothing(value)
        }
    if isinstance(running, list) and isinstance(git, list):
        return _aligned_lists(running, git)
    return running


def _aligned_lists(running: list[Any], git: list[Any]) -> list[Any]:
    ours, theirs = _names(git), _names(running)
    if ours is None or theirs is None:
        rest = running[len(git) :]
        return [aligned(one, other) for one, other in zip(running, git, strict=False)] + rest
    by_name = dict(zip(theirs, running, strict=True))
    known = [aligned(by_name[name], item) for name, item in zip(ours, git, strict=True) if name in by_name]
    return known + [item for name, item in by_name.items() if name not in ours]


def same(running: Any, git: Any) -> bool:
    """Of single values: nothing is empty, and a number is its digits. Platforms respell what they get."""
    if _nothing(running) and _nothing(git):
        return True
    if isinstance(running, bool) or isinstance(git, bool):
        return bool(running is git)
    if isinstance(running, int | float | str) and isinstance(git, int | float | str):
        return running == git or _number(running) == _number(git) is not None
    return False


def _nothing(value: Any) -> bool:
    """Also a mapping that holds nothing but nothing."""
    if isinstance(value, Mapping):
        return all(_nothing(item) for item in value.values())
    return value is None or value == "" or value == []


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _names(items: list[Any]) -> list[str] | None:
    """The names of a list of named things; None for any other list."""
    for key in ("name", "Name", "key"):
        names = [item.get(key) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    return None


def _shown(running: Any, git: Any, clean: Clean, name: str) -> tuple[Any, Any]:
    """Both sides as they may be read. `name` is the key that they stand under."""
    # What is on one side only has secrets too.
    if isinstance(git, Mapping) or isinstance(running, Mapping):
        mappings = [one if isinstance(one, Mapping) else {} for one in (running, git)]
        one, other = _shown_mappings(mappings[0], mappings[1], clean, name)
        return (one if isinstance(running, Mapping) else running), (
            other if isinstance(git, Mapping) else git
        )
    if isinstance(git, list) or isinstance(running, list):
        lists = [one if isinstance(one, list) else [] for one in (running, git)]
        old, new = _shown_lists(lists[0], lists[1], clean, name)
        return (old if isinstance(running, list) else running), (new if isinstance(git, list) else git)
    if isinstance(git, str) and clean(git) != git:
        return (SECRET if same(running, git) else ANOTHER), SECRET
    if (
        _SECRET_NAME.search(name)
        and isinstance(git, str | int | None)
        and isinstance(running, str | int | None)
    ):
        return (HIDDEN if same(running, git) else ANOTHER), HIDDEN
    return running, git


def _shown_mappings(
    running: Mapping[str, Any], git: Mapping[str, Any], clean: Clean, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = {}, {}
    # `{name: DB_PASSWORD, value: ...}` is a secret's name as much as `DB_PASSWORD: ...`.
    said = str(git.get("name") or running.get("name") or "")
    for key in dict.fromkeys([*git, *running]):
        below = said or name if key == "value" else str(key)
        one, other = _shown(running.get(key), git.get(key), clean, below)
        if key in running:
            old[key] = one
        if key in git:
            new[key] = other
    return old, new


def _shown_lists(running: list[Any], git: list[Any], clean: Clean, name: str) -> tuple[list[Any], list[Any]]:
    places = _names(git), _names(running)
    ours = places[0] or [str(at) for at in range(len(git))]
    theirs = places[1] or [str(at) for at in range(len(running))]
    old, new = dict(zip(theirs, running, strict=True)), dict(zip(ours, git, strict=True))
    pairs = {at: _shown(_like(old, new, at), _like(new, old, at), clean, name) for at in {**old, **new}}
    return [pairs[at][0] for at in old], [pairs[at][1] for at in new]


def _like(side: Mapping[str, Any], other: Mapping[str, Any], at: str) -> Any:
    """The item; where there is none, an empty thing of the other side's kind, so that names still hide it."""
    return side[at] if at in side else ({} if isinstance(other[at], Mapping) else None)


def _difference(running: Any, git: Any) -> Iterator[str]:
    lines = difflib.unified_diff(_lines(running), _lines(git), n=3, lineterm="")
    # Without the two lines that name the sides: they stand once, at the top.
    for _ in range(2):
        next(lines, "")
    yield from lines


def _lines(tree: Any) -> list[str]:
    """As YAML would write it."""
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
