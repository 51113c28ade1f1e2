"""Reads a file that a key of a configuration, or a flag, names: a secret in most cases."""

from pathlib import Path

from pipecd.errors import ConfigError, Place

#: In characters.
MAX_LENGTH = 8 * 1024 * 1024


def read_named_file(
    path: str | Path, key: str, *, strip: str | None = None, max_length: int = MAX_LENGTH
) -> str:
    """The file's content without surrounding whitespace, or without the characters in `strip` around it.

    `max_length` is in characters. Raises ConfigError, which names `key`.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(max_length + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"{path} cannot be read: {reason}",
            remedy="specify a file that this program can read",
            place=Place(key=key),
        ) from error
    if len(text) > max_length:
        raise ConfigError(
            f"{path} has more than {max_length} characters",
            remedy="specify the right file",
            place=Place(key=key),
        )
    return text.strip(strip)


def text_or_file(text: str, path: str, key: str) -> str:
    """`text`, or else the content of the file, if one is named. Raises ConfigError, which names `key`."""
    return text or (read_named_file(path, key) if path else "")
