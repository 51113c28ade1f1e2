"""What every source gives, and how the bytes of a secret become a configuration's text.

PipeCD keeps base64 of the file in its secrets; the file itself is accepted too. The two cannot be mistaken
for one another: a YAML mapping has a colon, which base64 has not.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from pipecd.errors import ConfigError

_REMEDY = "store the agent's configuration file there, as it is or as base64 of it"


@dataclass(frozen=True, kw_only=True)
class Text:
    """What was read, and what to call it in errors. Its text never shows in a traceback."""

    text: str = field(repr=False)
    name: str


class Source(Protocol):
    """One place that a configuration is read from, as often as one likes."""

    async def read(self) -> Text:
        """Raises ConfigError for what somebody can mend, Temporary for what will pass."""


def strict_base64(value: bytes) -> bytes:
    """Standard base64 in which only line breaks are skipped. Raises ValueError."""
    return base64.b64decode(value.replace(b"\r", b"").replace(b"\n", b""), validate=True)


def of_secret(value: bytes, name: str) -> Text:
    """The configuration in a secret's value. The ConfigError says what is wrong and shows none of it."""
    if not value.strip():
        raise ConfigError(f"{name} is empty", remedy=_REMEDY)
    encoded = b":" not in value
    if encoded:
        try:
            value = strict_base64(value)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{name} holds neither YAML nor base64", remedy=_REMEDY) from None
    form = "base64 of something that" if encoded else "something that"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} holds {form} is not text", remedy=_REMEDY) from None
    what = _wrong(text)
    if what:
        raise ConfigError(f"{name} holds {form} {what}", remedy=_REMEDY)
    return Text(text=text, name=name)


def _wrong(text: str) -> str:
    """Why it cannot be a configuration; which one it is, and whether a good one, is for others to tell."""
    try:
        document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        # The error itself quotes the text, so only the place is told.
        mark = error.problem_mark or error.context_mark
        return f"is not YAML (line {mark.line + 1})" if mark else "is not YAML"
    except (yaml.YAMLError, ValueError, RecursionError):
        return "is not YAML"
    if not isinstance(document, dict):
        if ":" not in text:
            return "is base64 once more or plain words"
        return "is not a YAML mapping"
    if "kind" not in document and "apiVersion" not in document:
        return "has neither apiVersion nor kind"
    return ""
