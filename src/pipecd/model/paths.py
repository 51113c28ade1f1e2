"""Path patterns for files of a repository. Used by `trigger` (onCommit), `skip` and the event watcher.

PipeCD's syntax is a glob mixed with a regular expression: `*` and `?` match inside one directory, `**`
crosses directories, `.` and `$` are literal, and `(a|b)` or `[0-9]+` are as in a regular expression. A
pattern that matches a directory matches all files in it.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

#: A character set: single characters and ranges.
_SET = re.compile(r"\[\^?(?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+\]", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class PathPattern:
    regex: re.Pattern[str]
    #: Number of path components; directories of that depth are compared too.
    depth: int
    #: Written with a leading `!`: files that it matches are excluded.
    exclusion: bool

    def matches(self, path: str) -> bool:
        """Whether `path`, or its parent directory at the pattern's depth, matches. Ignores `exclusion`."""
        parts = path.split("/")
        if self.regex.search(path):
            return True
        return self.depth < len(parts) and bool(self.regex.search("/".join(parts[: self.depth])))


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> PathPattern:
    """Raises ValueError with a message if `text` is not a valid pattern."""
    cleaned = _clean(text.strip())
    exclusion = cleaned.startswith("!")
    if exclusion:
        cleaned = _clean(cleaned[1:])
        if not cleaned:
            raise ValueError(f"{text!r} names no file to exclude")
    if not cleaned:
        cleaned = "."  # matches no path of a repository
    _check_glob(cleaned, text)
    try:
        regex = re.compile(_to_regex(cleaned), re.DOTALL)
    except re.error as error:
        raise ValueError(f"{text!r} is not a path pattern: {error}") from error
    return PathPattern(regex=regex, depth=cleaned.count("/") + 1, exclusion=exclusion)


def matches(patterns: Iterable[str], path: str) -> bool:
    """Whether one of `patterns` matches `path` and no exclusion among them does."""
    matching = [pattern for pattern in map(compile_pattern, patterns) if pattern.matches(path)]
    return bool(matching) and not any(pattern.exclusion for pattern in matching)


def find_touched_path(
    changed: Sequence[str], *, directory: str, paths: Sequence[str], ignores: Sequence[str]
) -> str | None:
    """The first changed file that affects an application in `directory`, or None.

    As in PipeCD, one changed file that matches `ignores` is enough to ignore the whole change. Each pattern
    is matched on its own, so an exclusion alone has no effect here.
    """
    if any(matches((pattern,), path) for path in changed for pattern in ignores):
        return None
    for path in changed:
        if any(matches((pattern,), path) for pattern in paths) or is_within(path, directory):
            return path
    return None


def is_within(path: str, directory: str) -> bool:
    """Whether `path` is below `directory`, both relative to the repository's root."""
    parent = _clean(directory)
    return parent in ("", ".", "/") or path.startswith(f"{parent}/")


def _clean(path: str) -> str:
    if not path:
        return ""
    # POSIX gives two leading slashes a special meaning; `normpath` keeps them.
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _check_glob(glob: str, text: str) -> None:
    """Raise ValueError for an unclosed or empty character set, or a trailing backslash."""
    at = 0
    while at < len(glob):
        if glob[at] == "\\":
            at += 1
            if at == len(glob):
                raise ValueError(f"{text!r} is not a path pattern: it ends with a backslash")
        elif glob[at] == "[":
            at = _end_of_set(glob, at, text)
        at += 1


def _end_of_set(glob: str, start: int, text: str) -> int:
    """The index of the bracket that closes the set at `start`: `[abc]`, `[^a-z]`, never empty."""
    match = _SET.match(glob, start)
    if match is None:
        raise ValueError(f"{text!r} is not a path pattern: a [ is not closed, or its set is not well formed")
    return match.end() - 1


def _to_regex(glob: str) -> str:
    """The anchored regular expression for `glob`."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        match char:
            case "*" if glob[at : at + 1] == "*":
                at += 2 if glob[at + 1 : at + 2] == "/" else 1
                out.append(".*" if at >= len(glob) else "(.*/)?")
            case "*":
                out.append("[^/]*")
            case "?":
                out.append("[^/]")
            case "." | "$":
                out.append("\\" + char)
            case "\\":
                out.append("\\" + glob[at : at + 1])
                at += 1
            case _:
                out.append(char)
    return f"^{''.join(out)}\\Z"
