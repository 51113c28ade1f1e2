"""Ids of projects."""

import re

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


def is_project_id(text: str) -> bool:
    """Whether `text` may be the id of a new project."""
    return _ID.fullmatch(text) is not None
