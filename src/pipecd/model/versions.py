"""Order of the versions of agents: of this project's, and of PipeCD's, whose builds are not PEP 440."""

import re

_NUMBERS = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9}){0,5})")


def is_older(version: str, than: str) -> bool:
    """Whether the numbers of `version` are lower, as `v0.2.1` than `v0.10`. False if either has no numbers.

    Pre-releases and builds (`v0.2.0rc1`, `v0.52.0-12-g1a2b3c4`) count as the version they belong to.
    """
    numbers, other = _numbers(version), _numbers(than)
    if not numbers or not other:
        return False
    length = max(len(numbers), len(other))
    return _padded(numbers, length) < _padded(other, length)


def _numbers(version: str) -> tuple[int, ...]:
    match = _NUMBERS.match(version)
    return tuple(map(int, match[1].split("."))) if match else ()


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))
