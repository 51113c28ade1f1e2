"""JSON that other programs, people or earlier versions wrote."""

import json
from typing import Any


def decode_json(text: str | bytes | bytearray) -> Any:
    """The document in `text`. Raises ValueError if it is none, or is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
