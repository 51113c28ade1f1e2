"""Converts a file's mapping to an AWS request structure, with AWS's spelling and types.

Files are written by hand or copied from AWS's responses: keys in any case, fields that a request does not
have, numbers where AWS requires a string, empty texts where AWS requires the value of an enum. The SDK's
model of the structure determines each field.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pipecd.config.document import dotted_path
from pipecd.config.spelling import SpelledBool
from pipecd.errors import ConfigError, Place

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

Lines = Mapping[tuple[str | int, ...], int]


@cache
def _ecs() -> "ServiceModel":
    # Imported on first use: the SDK takes 20 MB of memory.
    from botocore.session import Session

    return Session().get_service_model("ecs")


@cache
def members(shape: str) -> frozenset[str]:
    """The members of a structure of AWS's API."""
    structure: Any = _ecs().shape_for(shape)
    return frozenset(structure.members)


def fit_to_shape(shape: str, data: Mapping[str, Any], file: str, lines: Lines) -> dict[str, Any]:
    """The fields of `data` that `shape` has. Raises ConfigError with the place of an invalid value."""
    fields: dict[str, Any] = _ShapeReader(file, lines).value(_ecs().shape_for(shape), data, ())
    return fields


class _ShapeReader:
    def __init__(self, file: str, lines: Lines) -> None:
        self._file, self._lines = file, lines

    def value(self, shape: Any, data: Any, path: tuple[str | int, ...]) -> Any:
        match shape.type_name:
            case "structure":
                return self._structure(shape, data, path)
            case "list":
                items = self._expect(data, list, "a list", path)
                return [
                    self.value(shape.member, item, (*path, at))
                    for at, item in enumerate(items)
                    if not _is_empty_enum(shape.member, item)
                ]
            case "map":
                items = self._expect(data, dict, "a mapping", path)
                return {str(key): self.value(shape.value, item, (*path, key)) for key, item in items.items()}
            case "string":
                return self._text(data, path)
            case "boolean":
                if isinstance(data, SpelledBool):
                    return bool(data)
                return self._expect(data, bool, "true or false", path)
            case "integer" | "long":
                return self._number(data, int, path)
            case "float" | "double":
                return self._number(data, float, path)
            case _:
                return data

    def _structure(self, shape: Any, data: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
        members: Mapping[str, Shape] = shape.members
        by_lowercase = {name.lower(): name for name in members}
        fields = {}
        for key, item in self._expect(data, dict, "a mapping", path).items():
            name = by_lowercase.get(str(key).lower())
            if name is None or item is None or _is_empty_enum(members[name], item):
                continue
            value = self.value(members[name], item, (*path, key))
            # A structure whose only members are empty enum values is absent too.
            if value or not isinstance(item, dict) or not item:
                fields[name] = value
        return fields

    def _text(self, data: Any, path: tuple[str | int, ...]) -> str:
        """The text as written. A key of a mapping without a value has an empty one."""
        if data is None:
            return ""
        if isinstance(data, bool):
            return "true" if data else "false"
        if isinstance(data, str | int | float):
            return str(data)
        raise self._error("a string", path)

    def _number(self, data: Any, kind: type[int] | type[float], path: tuple[str | int, ...]) -> Any:
        if isinstance(data, bool | SpelledBool) or not isinstance(data, str | int | float):
            raise self._error("a number", path)
        try:
            return kind(data)
        except (ValueError, OverflowError):
            raise self._error("a number", path) from None

    def _expect(self, data: Any, kind: type, expected: str, path: tuple[str | int, ...]) -> Any:
        if not isinstance(data, kind):
            raise self._error(expected, path)
        return data

    def _error(self, expected: str, path: Sequence[str | int]) -> ConfigError:
        known = tuple(path)
        while known and known not in self._lines:
            known = known[:-1]
        return ConfigError(
            f"is not {expected}", place=Place(self._file, self._lines.get(known, 1), dotted_path(path))
        )


def _is_empty_enum(shape: Any, item: Any) -> bool:
    """Whether `item` is empty where AWS requires the value of an enum: it means the same as an absent one."""
    return item == "" and shape.type_name == "string" and bool(shape.enum)
