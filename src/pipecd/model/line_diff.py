"""The difference of two texts, as the lines of a unified diff. Used by drift detection and plan previews."""

import difflib
from collections.abc import Sequence

#: The search for a short difference takes time that grows with the square of the number of lines.
MAX_LINES = 3_000


def diff_lines(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The hunks, without the two lines that name the files. Longer texts are compared up to `MAX_LINES`."""
    lines = list(difflib.unified_diff(old[:MAX_LINES], new[:MAX_LINES], n=3, lineterm=""))[2:]
    longest = max(len(old), len(new))
    if longest > MAX_LINES:
        lines.append(f"… {longest - MAX_LINES} more lines are not compared here")
    return lines
