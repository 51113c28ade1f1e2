"""Keys that identify events by name and labels."""

import hashlib
from collections.abc import Mapping


def event_key(name: str, labels: Mapping[str, str]) -> str:
    """Hex SHA-256 of the name and the labels, independent of the order of the labels."""
    text = name + "".join(f"/{key}:{labels[key]}" for key in sorted(labels))
    return hashlib.sha256(text.encode()).hexdigest()
