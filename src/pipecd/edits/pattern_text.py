"""Sets what the group of a regular expression matches. The syntax is RE2's."""

import time

from pipecd.edits import Edit
from pipecd.errors import Place, Refused
from pipecd.patterns import Regex

#: In bytes, and in one file.
MAX_SIZE, MAX_MATCHES = 2 * 1024 * 1024, 10_000
#: For one pattern and file (seconds of CPU time).
MAX_TIME = 5.0


def set_matches(text: str, file: str, pattern: Regex, value: str) -> Edit:
    """Replaces what the first group matches, in every match. `file` is for errors.

    Raises Refused if nothing matches, or the search takes too long.
    """
    # RE2 counts positions in bytes.
    content, new = text.encode(), value.encode()
    if len(content) > MAX_SIZE:
        raise Refused(f"the file has {len(content)} bytes; the limit is {MAX_SIZE}", place=Place(file))
    replacements = []
    started = time.thread_time()
    for number, match in enumerate(pattern.compile().finditer(content), start=1):
        start, end = match.span(1)
        if start >= 0:
            replacements.append((start, end))
        if number > MAX_MATCHES or time.thread_time() - started > MAX_TIME:
            raise Refused(
                f"the regular expression {pattern.text!r} takes too long, or matches more than"
                f" {MAX_MATCHES} times",
                remedy="make it more specific",
                place=Place(file),
            )
    if not replacements:
        raise Refused(
            f"the regular expression {pattern.text!r} matches nothing",
            remedy="correct the expression; its first group is what is replaced",
            place=Place(file),
        )
    parts, position, count = [], 0, 0
    for start, end in replacements:
        parts += [content[position:start], new]
        count += content[start:end] != new
        position = end
    return Edit(text=b"".join([*parts, content[position:]]).decode(), count=count)
