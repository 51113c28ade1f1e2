"""Which files of a repository a pattern means. Used by `trigger` (onCommit), `skip` and the event watcher.

A pattern is a glob whose other characters are a regular expression's, as PipeCD writes them: `*` and `?`
stay inside one directory, `**` crosses them, `.` and `$` are themselves, and `(a|b)` or `[0-9]+` mean what
they mean in a regular expression. A pattern that names a directory means all that is in it.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

#: One character of a set, alone or as a range.
_SET = re.compile(r"\[\^?(?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+\]", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class PathPattern:
    regex: re.Pattern[str]
    #: How many parts the pattern has: directories of that depth are compared too.
    depth: int
    #: Written with a leading `!`: what it matches does not count.
    exclusion: bool

    def matches(self, path: str) -> bool:
        """Whether `path`, or the directory above it at the pattern's depth, fits. Ignores `exclusion`."""
        parts = path.split("/")
        if self.regex.search(path):
            return True
        return self.depth < len(parts) and bool(self.regex.search("/".join(parts[: self.depth])))


@lru_cache(maxsize=4096)
def pattern(text: str) -> PathPattern:
    """Raises ValueError with a sentence when `text` is not a pattern."""
    cleaned = _clean(text.strip())
    exclusion = cleaned.startswith("!")
    if exclusion:
        cleaned = _clean(cleaned[1:])
        if not cleaned:
            raise ValueError(f"{text!r} names no file to leave out")
    if not cleaned:
        cleaned = "."  # which no path of a repository is
    _check_glob(cleaned, text)
    try:
        regex = re.compile(_translated(cleaned), re.DOTALL)
    except re.error as error:
        raise ValueError(f"{text!r} is not a path pattern: {error}") from error
    return PathPattern(regex=regex, depth=cleaned.count("/") + 1, exclusion=exclusion)


def matches(patterns: Iterable[str], path: str) -> bool:
    """Whether one of `patterns` means `path` and no exclusion among them does."""
    found = [one for one in map(pattern, patterns) if one.matches(path)]
    return bool(found) and not any(one.exclusion for one in found)


def touched(
    changed: Sequence[str], *, directory: str, paths: Sequence[str], ignores: Sequence[str]
) -> str | None:
    """The changed file for whose sake an application in `directory` must be looked at, if there is one.

    One file that `ignores` means is enough to leave the whole change alone, as PipeCD's users know it. Each
    pattern counts for itself, so an exclusion alone means nothing here.
    """
    if any(matches((ignored,), path) for path in changed for ignored in ignores):
        return None
    for path in changed:
        if any(matches((wanted,), path) for wanted in paths) or within(path, directory):
            return path
    return None


def within(path: str, directory: str) -> bool:
    """Whether `path` is below `directory`, both from the repository's root."""
    home = _clean(directory)
    return home in ("", ".", "/") or path.startswith(f"{home}/")


def _clean(path: str) -> str:
    if not path:
        return ""
    # Two leading slashes are POSIX's own idea.
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _check_glob(glob: str, text: str) -> None:
    """What a glob must keep to: brackets that close and hold something, no lone backslash at the end."""
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
    """Where the set that begins at `start` closes: `[abc]`, `[^a-z]`, never empty."""
    found = _SET.match(glob, start)
    if found is None:
        raise ValueError(f"{text!r} is not a path pattern: a [ is not closed, or its set is not well formed")
    return found.end() - 1


def _translated(glob: str) -> str:
    """The anchored regular expression that `glob` stands for."""
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
