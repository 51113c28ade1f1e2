"""Evaluates expressions of the Common Expression Language over a live object.

The only module that uses the engine, which is Google's own in C++. The engine limits an evaluation to 10,000
iterations and an expression to 32 levels, and its regular expressions take linear time; the size of what an
expression reads is limited here.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pipecd.platforms.kubernetes.health.fields import MAX_TEXT, Object

#: The fields of an object that expressions can read. One that an object lacks is empty.
FIELDS = ("apiVersion", "kind", "metadata", "spec", "status", "data")
#: Of an expression, in characters.
MAX_EXPRESSION = 2_000
#: Of the fields that an expression reads: number of values, and length of all texts in characters.
MAX_VALUES, MAX_CHARACTERS = 10_000, 128 * 1024
#: Of one text, in characters. The rest is not read, because an iteration may search it again and again.
MAX_SEARCHED = 4096
#: Written at every request; large, and never decisive.
_NOT_READ = frozenset({"managedFields"})
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_MISSING = "the package cel-expr-python is not installed; install pipecd[kubernetes]"


class NotEvaluated(Exception):
    """The expression has no value for the object, for example because a field is missing."""


class Expression:
    def __init__(self, text: str) -> None:
        """Raises ValueError with the position of the error, also if the engine is not installed."""
        if len(text) > MAX_EXPRESSION:
            raise ValueError(f"is longer than {MAX_EXPRESSION} characters")
        environment = _environment()
        if environment is None:
            raise ValueError(_MISSING)
        try:
            self._compiled = environment.compile(text)
        except (RuntimeError, ValueError) as error:
            raise ValueError(_describe(str(error))) from error
        kind = self._compiled.return_type().name()
        if kind not in ("BOOL", "DYN"):
            raise ValueError(f"is of the type {kind}, not BOOL")
        self._fields = [name for name in FIELDS if re.search(rf"\b{name}\b", text)]

    def holds(self, live: Object) -> bool:
        """Raises NotEvaluated."""
        data = {name: _readable(name, live.get(name)) for name in self._fields}
        longest = _measure(data)
        try:
            if longest > MAX_SEARCHED:
                data = _cut(data)
            value = self._compiled.eval(data=data)
            result, is_error = value.value(), value.type().name() == "ERROR"
        except (RuntimeError, ValueError, TypeError) as error:
            raise NotEvaluated(str(error)[:MAX_TEXT]) from error
        if is_error:
            raise NotEvaluated(str(result)[:MAX_TEXT])
        if not isinstance(result, bool):
            raise NotEvaluated("the rule is not true or false")
        return result


def is_available() -> bool:
    """Whether the engine is installed."""
    return _environment() is not None


@cache
def _environment() -> Any:
    try:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_optional
    except ImportError:
        return None
    variables = dict.fromkeys(FIELDS, cel.Type.DYN)
    return cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()])


def _describe(error: str) -> str:
    found = _PLACE.search(error)
    if found is None:
        return error.splitlines()[0][:MAX_TEXT]
    line, column, what = found.groups()
    return f"line {line}, column {column}: {what[:MAX_TEXT]}"


def _readable(name: str, value: Any) -> Any:
    if name == "metadata" and isinstance(value, dict):
        return {key: item for key, item in value.items() if key not in _NOT_READ}
    return {} if value is None else value


def _measure(data: Any) -> int:
    """The length of the longest text. Raises NotEvaluated if the limits are exceeded."""
    characters = longest = 0
    for values, text in enumerate(_texts(data), 1):
        characters += len(text)
        longest = max(longest, len(text))
        if values > MAX_VALUES or characters > MAX_CHARACTERS:
            raise NotEvaluated("the object is too large for its health rule")
    return longest


def _cut(value: Any) -> Any:
    """A copy with shorter texts. Raises RecursionError, a RuntimeError, if it is nested too deeply."""
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value[:MAX_SEARCHED] if isinstance(value, str) else value


def _texts(data: Any) -> Iterator[str]:
    """Each value: its text if it is one, else an empty one."""
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.keys()
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        yield value if isinstance(value, str) else ""
