"""Events: facts from outside, found again by name and labels."""

import hashlib
from collections.abc import Mapping


def event_key(name: str, labels: Mapping[str, str]) -> str:
    """The same for the same name and labels, whatever their order (hex SHA-256)."""
    text = name + "".join(f"/{key}:{labels[key]}" for key in sorted(labels))
    return hashlib.sha256(text.encode()).hexdigest()
