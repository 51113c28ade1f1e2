"""The preview of a platform whose files say it all: what they say now beside what they would say. Pure.

Called by the platforms of which a change is exactly a change of their files. Values are compared, not
spelling: order of keys, comments and notation make no difference.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pipecd.model.preview import Preview

Files = Mapping[str, Any]

NO_CHANGES = "No changes were detected"
_HEADER = "--- Last Deploy\n+++ Head Commit\n"


def file_preview(running: Files | None, head: Files) -> Preview:
    """`running` and `head` hold what each file says, by its name; `running` None: nothing runs yet."""
    old = running or {}
    changed = [name for name in dict.fromkeys([*old, *head]) if old.get(name) != head.get(name)]
    if not changed and running is not None:
        return Preview(summary=NO_CHANGES, no_change=True)
    details = _HEADER + "".join(_difference(name, old.get(name), head.get(name)) for name in changed)
    if running is None:
        return Preview(summary="This would be the first deployment", details=details)
    count = sum(len(list(differences(old.get(name), head.get(name)))) for name in changed)
    return Preview(summary=_counted(count), details=details)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The path of every value that differs; what came or went as a whole counts once."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                yield where
            else:
                yield from differences(old[key], new[key], where)
    elif isinstance(old, list) and isinstance(new, list):
        yield from differences(_keyed(old), _keyed(new), path)
    elif old != new:
        yield path


def _keyed(items: list[Any]) -> Mapping[str, Any]:
    """A list of things with names is a mapping, so that one that is put first changes no other."""
    for name in ("name", "Name", "key"):
        names = [item.get(name) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(one, str) for one in names) and len(set(names)) == len(names):
            return {f"[{one}]": item for one, item in zip(names, items, strict=True)}
    return {f"[{index}]": item for index, item in enumerate(items)}


def _difference(name: str, old: Any, new: Any) -> str:
    lines = difflib.unified_diff(_lines(old), _lines(new), n=3, lineterm="")
    # Without the two lines that name the files: they stand once, at the top.
    return "\n".join([f"# {name}", *list(lines)[2:], ""])


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=1000).splitlines()


def _counted(count: int) -> str:
    return "1 change was detected" if count == 1 else f"{count} changes were detected"
