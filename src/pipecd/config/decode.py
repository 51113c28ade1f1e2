"""A document's mapping → a typed, frozen value, or every mistake in it at once.

The models say what is allowed; this module puts pydantic's findings into sentences with file, line,
key and remedy. Keys match whatever their case, as in PipeCD.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from pipecd.config.document import Document
from pipecd.errors import ConfigError


class Part(BaseModel):
    """Base of everything decoded from a file: camelCase keys, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
    )


class OpenPart(Part):
    """Like `Part` where PipeCD ignores keys that it does not know."""

    model_config = ConfigDict(extra="ignore")


Model = TypeVar("Model", bound=BaseModel)


def decode(model: type[Model], data: Any, document: Document, path: Sequence[str | int]) -> Model:
    """`data`, which stands at `path` of `document`, as a `model`. The ConfigError lists all mistakes."""
    if data is None:
        data = {}
    try:
        return model.model_validate(keys_as_declared(model, data))
    except ValidationError as error:
        raise _told(error, model, document, tuple(path)) from error


def keys_as_declared(model: type[BaseModel], data: Any) -> Any:
    """The same data with keys spelt as the model spells them, wherever only their case differs."""
    if not isinstance(data, Mapping):
        return data
    fields = {
        _alias(name, info).lower(): (_alias(name, info), info) for name, info in model.model_fields.items()
    }
    known: dict[Any, Any] = {}
    for key, value in data.items():
        alias, info = fields.get(str(key).lower(), (key, None))
        known[alias] = _inside(info.annotation, value) if info else value
    return known


def _inside(annotation: Any, value: Any) -> Any:
    """Follows the annotation into models in lists, mappings and unions."""
    for candidate in _models(annotation):
        if isinstance(value, Mapping) and get_origin(annotation) in (dict, Mapping):
            return {key: keys_as_declared(candidate, item) for key, item in value.items()}
        if isinstance(value, Mapping):
            return keys_as_declared(candidate, value)
        if isinstance(value, list):
            return [keys_as_declared(candidate, item) for item in value]
    if isinstance(value, Mapping) and annotation is not None:
        for part in get_args(annotation):
            return _inside(part, value) if _models(part) else value
    return value


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _alias(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _told(
    error: ValidationError, model: type[BaseModel], document: Document, path: tuple[str | int, ...]
) -> ConfigError:
    """The first mistake as the error, the others as further lines of it."""
    told = []
    for found in error.errors(include_url=False, include_input=False):
        where = (*path, *(part for part in found["loc"] if not _is_union_arm(part)))
        what, remedy = _sentence(found, model, where[len(path) :])
        told.append(ConfigError(what, remedy=remedy, place=document.place(where)))
    first = told[0]
    if len(told) == 1:
        return first
    rest = "\n".join(str(other) for other in told[1:])
    remedy = f"{first.remedy}\n{rest}" if first.remedy else f"and more:\n{rest}"
    return ConfigError(first.what, remedy=remedy, place=first.place)


def _is_union_arm(part: str | int) -> bool:
    return isinstance(part, str) and (part.startswith("function-") or "[" in part)


def _sentence(found: Any, model: type[BaseModel], where: tuple[str | int, ...]) -> tuple[str, str]:
    kind, context = found["type"], found.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = _known_keys(model, where[:-1])
            near = difflib.get_close_matches(str(where[-1]), known, 1)
            remedy = (
                f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known)) or 'nothing'}"
            )
            return f"unknown key {str(where[-1])!r}", remedy
        case "missing":
            return "is missing", "write it"
        case "value_error":
            return str(context.get("error", found["msg"])), ""
        case "literal_error" | "enum":
            return f"is not one of {context.get('expected', 'the known words')}", ""
        case "bool_type" | "bool_parsing":
            return "is not true or false", "write true or false without quotes"
        case "string_type":
            return "is not a text", "put it in quotes"
        case "int_type" | "int_parsing" | "int_from_float":
            return "is not a whole number", ""
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            return "is not a mapping", "write keys and values below it"
        case "list_type" | "sequence_str" | "is_instance_of":
            return "is not a list", "write one item a line, each after '- '"
        case "string_too_short" | "too_short":
            return "is empty", "write at least one"
        case _:
            message = str(found["msg"])
            return message[0].lower() + message[1:], ""


def _known_keys(model: type[BaseModel], where: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed at `where` inside `model`."""
    current: type[BaseModel] | None = model
    for part in where:
        if isinstance(part, int) or current is None:
            continue
        info = next((i for n, i in current.model_fields.items() if _alias(n, i) == part), None)
        models = _models(info.annotation) if info else []
        current = models[0] if models else None
    return [_alias(name, info) for name, info in current.model_fields.items()] if current else []
