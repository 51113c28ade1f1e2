"""Reads a configuration from a local file or from the command line."""

import binascii
from dataclasses import dataclass, field
from pathlib import Path

from pipecd.config.sources.text import Text, strict_base64
from pipecd.errors import ConfigError


@dataclass(frozen=True)
class File:
    """A configuration file in UTF-8."""

    path: str

    async def read(self) -> Text:
        try:
            return Text(text=Path(self.path).read_text(encoding="utf-8"), name=self.path)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be read: {error.strerror}",
                remedy="specify the path of the configuration file",
            ) from error
        except UnicodeDecodeError:
            raise ConfigError(f"{self.path} is not text", remedy="save it as UTF-8") from None


@dataclass(frozen=True)
class Data:
    """The configuration as standard base64; line breaks are ignored."""

    data: str = field(repr=False)

    async def read(self) -> Text:
        try:
            return Text(text=strict_base64(self.data.encode()).decode(), name="--config-data")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise ConfigError(
                "--config-data is not a base64-encoded YAML file",
                remedy='encode it: --config-data="$(base64 < piped.yaml)"',
            ) from None
