"""Reads a file that a key of a configuration, or a flag, names: a secret in most cases."""

from pathlib import Path

from pipecd.errors import ConfigError


def read_named_file(path: str | Path, key: str, *, strip: str | None = None) -> str:
    """The file's content without surrounding whitespace, or without the characters in `strip` around it.

    Raises ConfigError, which names `key`.
    """
    try:
        return Path(path).read_text(encoding="utf-8").strip(strip)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"{key}: {path} cannot be read: {reason}", remedy="specify a file that this program can read"
        ) from error


def text_or_file(text: str, path: str, key: str) -> str:
    """`text`, or else the content of the file, if one is named. Raises ConfigError, which names `key`."""
    return text or (read_named_file(path, key) if path else "")
