"""The plan preview of a platform that is fully described by its files: a diff of their values.

Called by platforms where every change is a change of a file. Values are compared, not text: the order of
keys, comments and notation make no difference.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import yaml

from pipecd.model.line_diff import diff_lines
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.model.stage import Source

Files = Mapping[str, Any]

NO_CHANGES = "No changes were detected"
_HEADER = "--- Last Deploy\n+++ Head Commit\n"


class ReadFiles(Protocol):
    def __call__(self, source: Source, *, deployed: bool) -> Files:
        """`deployed`: the files were deployed before, so that rules for new files do not apply."""
        ...


def preview_files(files: ReadFiles) -> Callable[[PreviewRequest], Awaitable[Preview]]:
    """`Platform.plan_preview` of a platform whose desired state is what `files` reads from a checkout."""

    async def plan_preview(request: PreviewRequest) -> Preview:
        running = await request.running()
        old = await asyncio.to_thread(files, running, deployed=True) if running else None
        head = await asyncio.to_thread(files, request.head, deployed=False)
        return await asyncio.to_thread(file_preview, old, head)

    return plan_preview


def file_preview(running: Files | None, head: Files) -> Preview:
    """`running` and `head` map file names to decoded contents; `running` None: nothing is deployed yet."""
    old = running or {}
    changed = [name for name in dict.fromkeys([*old, *head]) if old.get(name) != head.get(name)]
    if not changed and running is not None:
        return Preview(summary=NO_CHANGES, no_change=True)
    details = _HEADER + "".join(_diff(name, old.get(name), head.get(name)) for name in changed)
    if running is None:
        return Preview(summary="This would be the first deployment", details=details)
    count = sum(len(list(differences(old.get(name), head.get(name)))) for name in changed)
    return Preview(summary=_summary(count), details=details)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The path of every value that differs; an added or removed subtree counts once."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                yield where
            else:
                yield from differences(old[key], new[key], where)
    elif isinstance(old, list) and isinstance(new, list):
        yield from differences(_by_name(old), _by_name(new), path)
    elif old != new:
        yield path


def _by_name(items: list[Any]) -> Mapping[str, Any]:
    """Items by name where each has a unique one, else by index: inserting a named item moves no other."""
    for name in ("name", "Name", "key"):
        names = [item.get(name) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(item_name, str) for item_name in names) and len(set(names)) == len(names):
            return {f"[{item_name}]": item for item_name, item in zip(names, items, strict=True)}
    return {f"[{index}]": item for index, item in enumerate(items)}


def _diff(name: str, old: Any, new: Any) -> str:
    # `_HEADER` names the two sides once for the whole diff.
    return "\n".join([f"# {name}", *diff_lines(_lines(old), _lines(new)), ""])


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=1000).splitlines()


def _summary(count: int) -> str:
    return "1 change was detected" if count == 1 else f"{count} changes were detected"
