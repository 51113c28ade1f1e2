"""Where a program's configuration comes from: exactly one of several flags.

Called once at the start by `piped`. More sources are more rows of the table.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipecd.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Text:
    """What was read, and what to call it in errors."""

    text: str
    name: str


def from_file(path: str) -> Text:
    try:
        return Text(text=Path(path).read_text(), name=path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", remedy="give the path of the configuration file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text", remedy="write it in UTF-8") from error


def from_data(data: str) -> Text:
    """Standard base64 with line breaks allowed, and nothing else."""
    try:
        raw = base64.b64decode(data.replace("\r", "").replace("\n", ""), validate=True)
        return Text(text=raw.decode(), name="--config-data")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            "--config-data is not base64 of a YAML file",
            remedy='encode it: --config-data="$(base64 < piped.yaml)"',
        ) from error


SOURCES: Mapping[str, Callable[[str], Text]] = {"--config-file": from_file, "--config-data": from_data}


def read(given: Mapping[str, str]) -> Text:
    """`given` maps flags to their values; empty values count as not given. Raises ConfigError."""
    chosen = {flag: value for flag, value in given.items() if value}
    if len(chosen) != 1:
        what = f"{' and '.join(chosen)} are both given" if chosen else "no configuration is given"
        raise ConfigError(what, remedy=f"give exactly one of {', '.join(SOURCES)}")
    flag, value = next(iter(chosen.items()))
    if flag not in SOURCES:
        raise ConfigError(f"{flag} is not supported yet", remedy=f"give one of {', '.join(SOURCES)}")
    return SOURCES[flag](value)
