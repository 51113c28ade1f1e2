"""Secrets of receivers that are in files."""

from pathlib import Path

from pipecd.errors import ConfigError


def read_secret(path: str, key: str) -> str:
    """The file's content without surrounding whitespace; empty without a path. Raises ConfigError."""
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{key}: {path} cannot be read: {error}", remedy="name a file with the secret"
        ) from error
