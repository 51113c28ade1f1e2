"""Makes text safe for a terminal: what a repository, a script or a server wrote must not control it.

`pipectl` prints everything with it, and every program its errors.
"""

import re

#: Sequences that move the cursor, colour text, set the title or the clipboard, or make links.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)


def printable(text: str) -> str:
    """`text` as one line without control characters and escape sequences."""
    return _without_controls(text.strip(), keep="")


def printable_lines(text: str) -> str:
    """As `printable`, but with the line breaks and tabs of `text`, such as a log."""
    return _without_controls(text, keep="\n\t")


def _without_controls(text: str, *, keep: str) -> str:
    if text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return "".join(character if character.isprintable() or character in keep else " " for character in text)
