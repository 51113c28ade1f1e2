"""A file's mapping → the members of one of AWS's structures, spelt and typed as AWS wants them.

Files are written by hand or copied from AWS's answers: keys in any case, members that a request does not
have, numbers where AWS wants a text. AWS's own description of the structure decides, member by member.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from botocore.model import ServiceModel, Shape
from botocore.session import Session

from pipecd.config.document import dotted
from pipecd.errors import ConfigError, Place

Lines = Mapping[tuple[str | int, ...], int]


@cache
def _ecs() -> ServiceModel:
    return Session().get_service_model("ecs")


def fitted(shape: str, data: Mapping[str, Any], file: str, lines: Lines) -> dict[str, Any]:
    """What of `data` the structure `shape` has. Raises ConfigError with the place of a wrong value."""
    made: dict[str, Any] = _Fitting(file, lines).value(_ecs().shape_for(shape), data, ())
    return made


class _Fitting:
    def __init__(self, file: str, lines: Lines) -> None:
        self._file, self._lines = file, lines

    def value(self, shape: Any, data: Any, path: tuple[str | int, ...]) -> Any:
        match shape.type_name:
            case "structure":
                return self._structure(shape, data, path)
            case "list":
                items = self._expect(data, list, "a list", path)
                return [self.value(shape.member, item, (*path, at)) for at, item in enumerate(items)]
            case "map":
                items = self._expect(data, dict, "a mapping", path)
                return {str(key): self.value(shape.value, item, (*path, key)) for key, item in items.items()}
            case "string":
                return self._text(data, path)
            case "boolean":
                return self._expect(data, bool, "true or false", path)
            case "integer" | "long":
                return self._number(data, int, path)
            case "float" | "double":
                return self._number(data, float, path)
            case _:
                return data

    def _structure(self, shape: Any, data: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
        members: Mapping[str, Shape] = shape.members
        spelt = {name.lower(): name for name in members}
        made = {}
        for key, item in self._expect(data, dict, "a mapping", path).items():
            name = spelt.get(str(key).lower())
            if name is not None and item is not None:
                made[name] = self.value(members[name], item, (*path, key))
        return made

    def _text(self, data: Any, path: tuple[str | int, ...]) -> str:
        if isinstance(data, bool):
            return "true" if data else "false"
        if isinstance(data, str | int | float):
            return str(data)
        raise self._wrong("a text", path)

    def _number(self, data: Any, kind: type[int] | type[float], path: tuple[str | int, ...]) -> Any:
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            raise self._wrong("a number", path)
        try:
            return kind(data)
        except ValueError:
            raise self._wrong("a number", path) from None

    def _expect(self, data: Any, kind: type, words: str, path: tuple[str | int, ...]) -> Any:
        if not isinstance(data, kind):
            raise self._wrong(words, path)
        return data

    def _wrong(self, words: str, path: Sequence[str | int]) -> ConfigError:
        known = tuple(path)
        while known and known not in self._lines:
            known = known[:-1]
        return ConfigError(
            f"is not {words}", place=Place(self._file, self._lines.get(known, 1), dotted(path))
        )
