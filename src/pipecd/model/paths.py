"""Which changed files concern an application or a stage. Used by `trigger` (onCommit) and `skip`.

`patterns.PathPattern` is a path pattern; only its protocol is declared here.
"""

import posixpath
from collections.abc import Iterable, Sequence
from typing import Protocol


class PathPattern(Protocol):
    @property
    def exclusion(self) -> bool:
        """Written with a leading `!`: files that it matches are excluded."""

    def find_matches(self, paths: Sequence[str]) -> Iterable[str]:
        """Those of `paths` that match, in their order. Ignores `exclusion`."""


def match_paths(patterns: Sequence[PathPattern], paths: Sequence[str]) -> set[str]:
    """Those of `paths` that one of `patterns` matches and no exclusion among them does."""
    matching = {path for pattern in patterns if not pattern.exclusion for path in pattern.find_matches(paths)}
    excluded = {path for pattern in patterns if pattern.exclusion for path in pattern.find_matches(paths)}
    return matching - excluded


def find_touched_path(
    changed: Sequence[str],
    *,
    directory: str,
    paths: Sequence[PathPattern] = (),
    ignores: Sequence[PathPattern] = (),
) -> str | None:
    """A changed file that affects an application in `directory`, or None.

    As in PipeCD, one changed file that matches `ignores` is enough to ignore the whole change. Each pattern
    is matched on its own, so an exclusion alone has no effect here.
    """
    if _find_match(ignores, changed) is not None:
        return None
    inside = next((path for path in changed if is_within(path, directory)), None)
    return inside if inside is not None else _find_match(paths, changed)


def is_within(path: str, directory: str) -> bool:
    """Whether `path` is below `directory`, both relative to the repository's root."""
    parent = posixpath.normpath(directory).lstrip("/") if directory else ""
    return parent in ("", ".") or path.startswith(f"{parent}/")


def _find_match(patterns: Sequence[PathPattern], paths: Sequence[str]) -> str | None:
    for pattern in patterns:
        if not pattern.exclusion and (match := next(iter(pattern.find_matches(paths)), None)) is not None:
            return match
    return None
