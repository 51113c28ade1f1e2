"""The interface of all configuration sources, and the decoding of a secret's value to a configuration.

PipeCD stores the configuration file in secrets as base64; the file itself is accepted too. The two are
distinguished by the colon, which a YAML mapping contains and base64 does not.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from pipecd.config.document import first_document
from pipecd.errors import ConfigError

_REMEDY = "store the agent's configuration file there, as it is or base64-encoded"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A configuration, and its name in errors. The text does not appear in tracebacks."""

    text: str = field(repr=False)
    name: str


class Source(Protocol):
    """A configuration source. It can be read repeatedly."""

    async def read(self) -> Text:
        """Read the configuration. Raises ConfigError, or Temporary if the source is unavailable."""


def strict_base64(value: bytes) -> bytes:
    """Decode standard base64, ignoring only line breaks. Raises ValueError."""
    return base64.b64decode(value.replace(b"\r", b"").replace(b"\n", b""), validate=True)


def parse_secret(value: bytes, name: str) -> Text:
    """Decode a secret's value to a configuration. Raises ConfigError, which contains none of the value."""
    if not value.strip():
        raise ConfigError(f"{name} is empty", remedy=_REMEDY)
    encoded = b":" not in value
    if encoded:
        try:
            value = strict_base64(value)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{name} contains neither YAML nor base64", remedy=_REMEDY) from None
    form = "base64-encoded data that" if encoded else "data that"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} contains {form} is not text", remedy=_REMEDY) from None
    problem = _find_problem(text)
    if problem:
        raise ConfigError(f"{name} contains {form} {problem}", remedy=_REMEDY)
    return Text(text=text, name=name)


def _find_problem(text: str) -> str:
    """Why `text` cannot be a configuration file; empty if it can. Its fields are validated later."""
    try:
        document = first_document(text.removeprefix("\ufeff"), "")
    except ConfigError as error:
        return f"cannot be read: {error.what}"
    except yaml.MarkedYAMLError as error:
        # The error's message quotes the text, so only its line is used.
        mark = error.problem_mark or error.context_mark
        return f"is not YAML (line {mark.line + 1})" if mark else "is not YAML"
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError):
        return "is not YAML"
    if not isinstance(document, dict):
        if ":" not in text:
            return "is base64-encoded twice or plain text"
        return "is not a YAML mapping"
    if "kind" not in document and "apiVersion" not in document:
        return "has neither apiVersion nor kind"
    return ""
