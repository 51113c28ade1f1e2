"""Decodes a document's mapping to a typed, frozen value, or reports all errors in it at once.

The models define what is allowed; this module converts pydantic's errors to messages with file, line, key
and remedy. As in PipeCD, keys are matched case-insensitively, a key without a value counts as absent, and so
does a zero (`0`, `0s`, an empty string) where the default is another value.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from pipecd.config.document import Document
from pipecd.config.spelling import SpelledBool
from pipecd.config.values import duration
from pipecd.errors import ConfigError, Place


class StrictModel(BaseModel):
    """Base class of all values decoded from a file: camelCase keys; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
        # A program decodes only some of the models that it imports, and most only as part of another one.
        defer_build=True,
    )


class LenientModel(StrictModel):
    """Like `StrictModel`, but ignores unknown keys. Used where PipeCD ignores them too."""

    model_config = ConfigDict(extra="ignore")


#: Errors of one file that are described.
MAX_ERRORS = 20

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Unused:
    """Marks a key that is accepted for compatibility with PipeCD and has no effect, and says why."""

    reason: str


class ZeroCounts:
    """Marks a key whose zero is a value of its own, although its default is another one."""


def decode(model: type[Model], data: Any, document: Document, path: Sequence[str | int]) -> Model:
    """Decode `data`, located at `path` of `document`, as `model`. Raises ConfigError with all errors."""
    if data is None:
        data = {}
    try:
        return model.model_validate(normalize_keys(model, data))
    except ValidationError as error:
        raise _config_error(error, model, document, tuple(path)) from error


def keys_without_effect(
    model: type[BaseModel], data: Any, document: Document, path: Sequence[str | int]
) -> Iterator[tuple[Place, str]]:
    """The place of each key of `data` that has no effect, and why. `data` was decoded as `model`."""
    fields = {_alias(name, info).lower(): info for name, info in model.model_fields.items()}
    for key, value in data.items() if isinstance(data, Mapping) else ():
        info, place = fields.get(str(key).lower()), document.place((*path, str(key)))
        if info is None:
            near = difflib.get_close_matches(str(key), _valid_keys(model, ()), 1)
            yield place, f"unknown key; did you mean {near[0]}?" if near else "unknown key"
            continue
        unused = next((item for item in info.metadata if isinstance(item, Unused)), None)
        if unused and not _means_default(info, value):
            # The reason also covers the keys below.
            yield place, unused.reason
            continue
        for part in _models(info.annotation)[:1]:
            if isinstance(value, list):
                for index, item in enumerate(value):
                    yield from keys_without_effect(part, item, document, (*path, str(key), index))
            else:
                yield from keys_without_effect(part, value, document, (*path, str(key)))


def value_of(data: Any, key: str) -> Any:
    """The value of `key` in a mapping of a file, in any spelling that `decode` accepts; None without one."""
    items = data.items() if isinstance(data, Mapping) else ()
    return next((value for name, value in items if str(name).lower() == key.lower()), None)


def normalize_keys(model: type[BaseModel], data: Any) -> Any:
    """`data` with its keys in the spelling of `model`, where they differ only in case."""
    if not isinstance(data, Mapping):
        return data
    fields = {
        _alias(name, info).lower(): (_alias(name, info), info) for name, info in model.model_fields.items()
    }
    normalized: dict[Any, Any] = {}
    for key, value in data.items():
        alias, info = fields.get(str(key).lower(), (key, None))
        if info is None:
            normalized[alias] = value
        elif not _means_default(info, value):
            normalized[alias] = _normalize_value(info.annotation, value)
    return normalized


def _means_default(info: FieldInfo, value: Any) -> bool:
    """Whether the field has its default although the file names it."""
    if value is None:
        return True
    default = info.default
    if ZeroCounts in info.metadata:
        return False
    if isinstance(value, bool | SpelledBool) or isinstance(default, bool) or not default:
        return False
    if isinstance(default, timedelta):
        return _is_zero_duration(value)
    return (isinstance(default, int) and value == 0) or (isinstance(default, str) and value == "")


def _is_zero_duration(value: Any) -> bool:
    try:
        return not duration(value)
    except ValueError:
        return False


def _normalize_value(annotation: Any, value: Any) -> Any:
    """Normalize the keys of models inside lists, mappings and unions."""
    for candidate in _models(annotation):
        if isinstance(value, Mapping) and get_origin(annotation) in (dict, Mapping):
            return {
                key: normalize_keys(candidate, {} if item is None else item) for key, item in value.items()
            }
        if isinstance(value, Mapping):
            return normalize_keys(candidate, value)
        if isinstance(value, list):
            return [normalize_keys(candidate, {} if item is None else item) for item in value]
    if isinstance(value, Mapping) and annotation is not None:
        for part in get_args(annotation):
            return _normalize_value(part, value) if _models(part) else value
    return value


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _alias(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _config_error(
    error: ValidationError, model: type[BaseModel], document: Document, path: tuple[str | int, ...]
) -> ConfigError:
    """The first error, with the others on the following lines of its message."""
    errors = []
    for detail in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]:
        location = (*path, *(part for part in detail["loc"] if not _is_union_member(part)))
        what, remedy = _describe(detail, model, location[len(path) :])
        errors.append(ConfigError(what, remedy=remedy, place=document.place(location)))
    first = errors[0]
    if len(errors) == 1:
        return first
    rest = "\n".join(str(other) for other in errors[1:])
    if (more := error.error_count() - MAX_ERRORS) > 0:
        rest += f"\n{more} more"
    remedy = f"{first.remedy}\n{rest}" if first.remedy else f"further errors:\n{rest}"
    return ConfigError(first.what, remedy=remedy, place=first.place)


def _is_union_member(part: str | int) -> bool:
    return isinstance(part, str) and (part.startswith("function-") or "[" in part)


def _describe(detail: Any, model: type[BaseModel], path: tuple[str | int, ...]) -> tuple[str, str]:
    """What is wrong, and the remedy, for one of pydantic's error details."""
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "extra_forbidden":
            valid = _valid_keys(model, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), valid, 1)
            remedy = (
                f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(sorted(valid)) or 'none'}"
            )
            return f"unknown key {str(path[-1])!r}", remedy
        case "missing":
            return "is missing", "add it"
        case "value_error":
            problem = context.get("error", detail["msg"])
            return str(problem), getattr(problem, "remedy", "")
        case "literal_error" | "enum":
            return f"is not one of {context.get('expected', 'the valid values')}", ""
        case "bool_type" | "bool_parsing":
            return "is not true or false", "write true or false without quotes"
        case "string_type":
            return "is not a string", "put it in quotes"
        case "int_type" | "int_parsing" | "int_from_float":
            return "is not a whole number", ""
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            return "is not a mapping", "write key: value pairs below it"
        case "list_type" | "sequence_str" | "is_instance_of":
            return "is not a list", "write one item per line, each starting with '- '"
        case "string_too_short":
            return "is empty", "write a value"
        case "too_short":
            return "is empty", "add at least one"
        case _:
            message = str(detail["msg"])
            return message[0].lower() + message[1:], ""


def _valid_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys allowed at `path` inside `model`."""
    current: type[BaseModel] | None = model
    is_key_of_mapping = False
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        if is_key_of_mapping:
            is_key_of_mapping = False
            continue
        info = next((i for n, i in current.model_fields.items() if _alias(n, i) == part), None)
        models = _models(info.annotation) if info else []
        is_key_of_mapping = info is not None and get_origin(info.annotation) in (dict, Mapping)
        current = models[0] if models else None
    return [_alias(name, info) for name, info in current.model_fields.items()] if current else []
