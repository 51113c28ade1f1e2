"""Annotated types for scalars in PipeCD's files: durations, percentages, replicas, patterns, paths."""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from pipecd.config.spelling import SpelledBool
from pipecd.model.application import is_kind
from pipecd.patterns import PathPattern, Regex
from pipecd.value_path import ValuePath

#: Of one list.
MAX_PATH_PATTERNS = 200
SHORTEST_INTERVAL = timedelta(seconds=1)
#: In characters, of a name or label.
MAX_SHOWN_LENGTH = 4096
#: In characters: the search for parts takes quadratic time.
_MAX_DURATION_LENGTH = 100
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def duration(value: Any) -> timedelta:
    """Parse a duration in Go's notation (`1h30m`, `300ms`). A number is nanoseconds, as in Go.

    Raises ValueError.
    """
    if isinstance(value, timedelta):
        return value
    try:
        if isinstance(value, int | float) and not isinstance(value, bool | SpelledBool):
            return timedelta(seconds=value * 1e-9)
        if isinstance(value, str):
            return _parse_duration(value)
    except OverflowError as error:
        raise ValueError(f"the duration {value!r} is too long") from error
    raise ValueError("is not a duration: write it like 30s, 5m or 1h30m")


def _parse_duration(text: str) -> timedelta:
    if len(text) > _MAX_DURATION_LENGTH:
        raise ValueError(f"has {len(text)} characters, which is no duration: write it like 30s, 5m or 1h30m")
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta()
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 5m or 1h30m")
    return sign * timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta():
        raise ValueError("must not be negative")
    return value


def text_of_base64(value: str) -> str:
    """The decoded text; line breaks are ignored. Raises ValueError, without the value: it can be a secret."""
    try:
        return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("is not base64: encode it with `base64 < FILE`") from None


def _base64(value: str) -> str:
    text_of_base64(value)
    return value


def percentage(value: Any) -> int:
    """Parse `10`, `"10"` or `10%`: a whole number from 0 to 100. Raises ValueError."""
    text = str(value).strip().removesuffix("%")
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,9}", text):
        raise ValueError(f"{value!r} is not a percentage (0–100)")
    if not 0 <= int(text) <= 100:
        raise ValueError(f"{text} is not a percentage (0–100)")
    return int(text)


def _replicas(value: Any) -> str:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}%?", text):
        raise ValueError(f"{value!r} is not a number of replicas: write it like 2 or 50%")
    return text


def _regex(value: Any) -> Any:
    """None for an empty text. Raises PatternError."""
    value = _string(value)
    return Regex.parse(value) if value else None


def _path_glob(value: Any) -> Any:
    """Raises PatternError."""
    return PathPattern.parse(_string(value))


def _with_group(value: Regex | None) -> Regex | None:
    if value and not value.has_group:
        raise ValueError(f"{value.text!r} has no group: put what is replaced into parentheses")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string: put it in quotes")
    return value


def _inside_application(value: str) -> str:
    """Check that `value` is a path that does not leave its starting directory.

    As in PipeCD, an absolute path begins there too.
    """
    value = value.lstrip("/")
    depth = 0
    for part in PurePosixPath(value).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise ValueError(f"{value!r} leaves the application's directory")
    return value


def _text(value: Any) -> Any:
    """The text as written, where a string is expected and a number or boolean is given."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _shown(value: str) -> str:
    """A text that the control plane stores: see its limits of requests."""
    if len(value) > MAX_SHOWN_LENGTH:
        raise ValueError(f"has {len(value)} characters; the limit is {MAX_SHOWN_LENGTH}")
    return value


def _kind_name(value: str) -> str:
    if not is_kind(value):
        raise ValueError(f"{value!r} is not the name of a platform, such as TERRAFORM")
    return value


def http_url(value: str) -> str:
    """`value`, if it is empty or an HTTP URL. Raises ValueError, which does not contain it."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if value and not valid:
        raise ValueError("must be a URL that begins with https:// or http://")
    return value


def check_unique(names: Iterable[str], what: str) -> None:
    """Raises ValueError, which says `what` is given more than once."""
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"{what} {', '.join(repeated)} is given twice")


def _interval(value: timedelta) -> timedelta:
    return max(value, SHORTEST_INTERVAL)


Duration = Annotated[timedelta, BeforeValidator(duration), AfterValidator(_not_negative)]
#: Of a loop. A shorter one is lengthened: a number without a unit is nanoseconds.
Interval = Annotated[Duration, AfterValidator(_interval)]
Percentage = Annotated[int, BeforeValidator(percentage)]
Replicas = Annotated[str, BeforeValidator(_replicas)]
PathGlob = Annotated[PathPattern, BeforeValidator(_path_glob)]
KindName = Annotated[str, AfterValidator(_kind_name)]
Pattern = Annotated[Regex | None, BeforeValidator(_regex)]
GroupPattern = Annotated[Regex | None, BeforeValidator(_regex), AfterValidator(_with_group)]
FieldPath = Annotated[ValuePath | None, BeforeValidator(ValuePath.parse)]
InsideApplication = Annotated[str, AfterValidator(_inside_application)]
#: May be empty. Not shown in errors: it can be a secret.
HttpUrl = Annotated[str, AfterValidator(http_url)]
#: May be empty, and have line breaks. It is kept as it is written.
Base64 = Annotated[str, AfterValidator(_base64)]
Text = Annotated[str, BeforeValidator(_text)]
#: A name or label of an application, which the control plane stores.
Shown = Annotated[str, AfterValidator(_shown)]
ShownText = Annotated[str, BeforeValidator(_text), AfterValidator(_shown)]
