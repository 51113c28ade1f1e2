"""Regular expressions and path patterns that users write in files. Decoded by `config`, applied by `model`.

The syntax is RE2's, which is also that of Go and so of PipeCD: a search takes time proportional to the text,
whatever the expression. Lookarounds and backreferences cannot be searched for in linear time, so RE2 refuses
them. Call the methods in a thread: they release Python's lock, but a long text still takes a while.

A path pattern is PipeCD's mixture of a glob and a regular expression: `*` and `?` match inside one directory,
`**` crosses directories, `.` and `$` are literal, and `(a|b)` or `[0-9]+` are as in a regular expression. A
pattern that matches a directory matches all files in it.
"""

import posixpath
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from pipecd.errors import ConfigError

#: In characters.
MAX_PATTERN_LENGTH = 1000
#: Only the beginning of a longer text is searched (characters).
MAX_TEXT_LENGTH = 64 * 1024
#: For one pattern and all files of a change (seconds of CPU time), and after how many files it is checked.
MAX_MATCHING_TIME, PATHS_AT_ONCE = 10.0, 100
#: A character set: single characters and ranges.
_SET = re.compile(r"\[\^?(?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+\]", re.DOTALL)
SYNTAX = "https://github.com/google/re2/wiki/Syntax"


class PatternError(ValueError):
    """The text is not a pattern."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


def _options(*, capture: bool) -> Any:
    options = re2.Options()
    # A program of 1 MiB searches the longest text in less than a second.
    options.max_mem = 1024 * 1024
    options.never_capture = not capture
    options.log_errors = False
    return options


_OPTIONS, _CAPTURING = _options(capture=False), _options(capture=True)


def _check_length(text: str, what: str) -> None:
    if len(text) > MAX_PATTERN_LENGTH:
        raise PatternError(
            f"the {what} has {len(text)} characters; the limit is {MAX_PATTERN_LENGTH}",
            "split or simplify it",
        )


def _compile(expression: str, text: str, what: str) -> Any:
    """`text` is what the user wrote. Raises PatternError."""
    try:
        return re2.compile(expression, _OPTIONS)
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternError(f"{text!r} is not a {what}: {_problem(error)}", _remedy(_problem(error))) from None


def _problem(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(error)


def _remedy(problem: str) -> str:
    if re.search(r"perl operator|invalid named capture|named group", problem):
        return f"lookarounds are not supported; the syntax is RE2's: {SYNTAX}"
    if re.search(r"invalid escape sequence: \\\d", problem):
        return f"backreferences are not supported; the syntax is RE2's: {SYNTAX}"
    if "too large" in problem or "repetition" in problem:
        return "use fewer or smaller repetitions"
    return f"the syntax is RE2's: {SYNTAX}"


def _encode(text: str) -> bytes:
    """UTF-8, with a replacement character for each byte of a file name that is not."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode(errors="replace").encode()


@dataclass(frozen=True)
class Regex:
    """A valid regular expression."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Regex":
        """Raises PatternError."""
        _check_length(text, "regular expression")
        _compile(text, text, "regular expression")
        return cls(text)

    def __str__(self) -> str:
        return self.text

    @property
    def has_group(self) -> bool:
        return int(self.compile().groups) > 0

    def compile(self) -> Any:
        """The compiled expression with its groups, for searching bytes. The caller bounds text and time."""
        return re2.compile(self.text, _CAPTURING)

    def matches(self, text: str) -> bool:
        """Whether it matches anywhere in the first `MAX_TEXT_LENGTH` characters of `text`."""
        return re2.compile(self.text, _OPTIONS).search(_encode(text[:MAX_TEXT_LENGTH])) is not None


@dataclass(frozen=True)
class PathPattern:
    """A valid path pattern."""

    text: str
    #: Anchored.
    expression: str
    #: Number of path components; directories of that depth are compared too.
    depth: int
    #: Written with a leading `!`: files that it matches are excluded.
    exclusion: bool

    @classmethod
    def parse(cls, text: str) -> "PathPattern":
        """Raises PatternError."""
        _check_length(text, "path pattern")
        cleaned = _clean(text.strip())
        exclusion = cleaned.startswith("!")
        if exclusion:
            cleaned = _clean(cleaned[1:])
            if not cleaned:
                raise PatternError(f"{text!r} names no file to exclude")
        if not cleaned:
            cleaned = "."  # matches no path of a repository
        _check_glob(cleaned, text)
        expression = _to_regex(cleaned)
        _compile(expression, text, "path pattern")
        return cls(text=text, expression=expression, depth=cleaned.count("/") + 1, exclusion=exclusion)

    def __str__(self) -> str:
        return self.text

    def find_matches(self, paths: Sequence[str], *, max_time: float = MAX_MATCHING_TIME) -> Iterator[str]:
        """Those of `paths` that match, or whose parent directory at the pattern's depth does.

        Raises ConfigError if that takes more than `max_time` seconds of CPU time.
        """
        compiled = re2.compile(self.expression, _OPTIONS)
        started = time.thread_time()
        for number, path in enumerate(paths, start=1):
            if self._matches(compiled, _encode(path)):
                yield path
            if number % PATHS_AT_ONCE == 0 and time.thread_time() - started > max_time:
                raise ConfigError(
                    f"the path pattern {self.text!r} takes more than {max_time:g} s"
                    f" for the {len(paths)} changed files",
                    remedy="simplify it, for example with fewer repetitions",
                )

    def _matches(self, compiled: Any, path: bytes) -> bool:
        if compiled.search(path):
            return True
        parts = path.split(b"/", self.depth)
        return self.depth < len(parts) and bool(compiled.search(b"/".join(parts[: self.depth])))


def _clean(path: str) -> str:
    if not path:
        return ""
    # POSIX gives two leading slashes a special meaning; `normpath` keeps them.
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _check_glob(glob: str, text: str) -> None:
    """Raise PatternError for an unclosed or empty character set, or a trailing backslash."""
    at = 0
    while at < len(glob):
        if glob[at] == "\\":
            at += 1
            if at == len(glob):
                raise PatternError(f"{text!r} is not a path pattern: it ends with a backslash")
        elif glob[at] == "[":
            at = _end_of_set(glob, at, text)
        at += 1


def _end_of_set(glob: str, start: int, text: str) -> int:
    """The index of the bracket that closes the set at `start`: `[abc]`, `[^a-z]`, never empty."""
    match = _SET.match(glob, start)
    if match is None:
        raise PatternError(
            f"{text!r} is not a path pattern: a [ is not closed, or its set is not well formed"
        )
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
    return f"(?s)^{''.join(out)}\\z"
