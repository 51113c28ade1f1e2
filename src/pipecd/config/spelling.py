"""Numbers and booleans that remember how they were written in a file.

Where a file needs text (a label, an environment variable, a version), `1.10` and `0.30` are not the numbers
1.1 and 0.3. `str` of these values is the text as written.
"""

from typing import Self


class SpelledInt(int):
    """A whole number."""

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class SpelledBool(SpelledInt):
    """A boolean that is not written `true` or `false`. Python's own type cannot be extended."""


class SpelledFloat(float):
    """A number with a fraction."""

    text: str

    def __new__(cls, value: float, text: str) -> Self:
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__
