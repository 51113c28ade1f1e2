"""From a pydantic model to the keys that a file may contain: path, type, default and meaning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import BaseModel, IPvAnyNetwork
from pydantic.fields import FieldInfo

from docsite.descriptions import field_docstrings
from pipecd.config import values
from pipecd.patterns import PathPattern, Regex
from pipecd.value_path import ValuePath

_SCALARS: Mapping[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    timedelta: "duration",
    Any: "any",
    PathPattern: "path pattern",
    Regex: "regular expression",
    ValuePath: "path of a value",
    IPvAnyNetwork: "network",
}
#: First validator of an annotated type in `config.values` → the name of its format.
_FORMATS: Mapping[Any, str] = {
    get_args(annotated)[1]: name
    for annotated, name in (
        (values.Duration, "duration"),
        (values.Percentage, "percentage"),
        (values.Replicas, "replicas"),
        (values.InsideApplication, "path"),
        (values.Text, "string"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """`path` is relative to the model, such as `routes[].name`; `type_name` and `default` are Markdown."""

    path: str
    type_name: str
    default: str
    meaning: str
    #: The type of the object or of the list's items, if it has keys of its own.
    model: type[BaseModel] | None


def keys(model: type[BaseModel]) -> Sequence[Key]:
    """The keys of the model itself, in the order of its fields."""
    docstrings = field_docstrings(model)
    return [_key(name, field, docstrings.get(name, "")) for name, field in model.model_fields.items()]


def nested_keys(model: type[BaseModel]) -> Iterator[Key]:
    """The keys of the model and of everything below it."""
    yield from _nested(model, "")


def models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model, and the models of all keys below it."""
    yield model
    for key in keys(model):
        if key.model:
            yield from models_below(key.model)


def _nested(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for key in keys(model):
        path = prefix + key.path
        yield Key(
            path=path, type_name=key.type_name, default=key.default, meaning=key.meaning, model=key.model
        )
        if key.model:
            yield from _nested(key.model, f"{path}.")


def _key(name: str, field: FieldInfo, meaning: str) -> Key:
    model = _model(field.annotation)
    is_list = get_origin(_without_none(field.annotation)) is Sequence
    return Key(
        path=(field.alias or name) + ("[]" if model and is_list else ""),
        type_name=_type_name(field.annotation, field.metadata),
        default=_default(field),
        meaning=meaning,
        model=model,
    )


def _type_name(annotation: Any, metadata: Sequence[Any]) -> str:
    annotation = _without_none(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments if value != "")
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if origin is Sequence:
        return ", ".join([f"list of {_type_name(arguments[0], ())}", *_limits(metadata)])
    if origin is Mapping and arguments[1] is Any:
        return "object"
    if origin is Mapping:
        return ", ".join([f"map of {_type_name(arguments[1], ())}", *_limits(metadata)])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    name = next((_FORMATS[item] for item in metadata if item in _FORMATS), _SCALARS[annotation])
    # "required" already says that a string is not empty.
    return ", ".join([name, *_limits([item for item in metadata if not isinstance(item, MinLen)])])


def _limits(metadata: Sequence[Any]) -> Sequence[str]:
    words: list[str] = []
    for item in metadata:
        match item:
            case Ge(ge=limit):
                words.append(f"at least {limit}")
            case Gt(gt=limit):
                words.append(f"greater than {limit}")
            case Le(le=limit):
                words.append(f"at most {limit}")
            case FieldInfo(metadata=inner):
                words += _limits(inner)
            case MinLen():
                words.append("not empty")
            case MaxLen(max_length=limit):
                words.append(f"at most {limit}")
    return words


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    match field.get_default(call_default_factory=True, validated_data={}):
        case Enum() as member:
            return f"`{member.value}`"
        case None | BaseModel():
            return ""
        case bool(value):
            return f"`{str(value).lower()}`"
        case timedelta() as duration:
            return f"`{format_duration(duration)}`"
        case "" | () | [] | {}:
            return "empty"
        case value:
            return f"`{value}`"


def format_duration(duration: timedelta) -> str:
    """The duration in the notation of the files, such as `1h30m`."""
    seconds = duration.total_seconds()
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{value:g}{unit}" for value, unit in parts if value) or "0s"


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model with at least one key in an annotation such as `Sequence[Route]` or `Slack | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if annotation.model_fields else None
    return next((model for part in get_args(annotation) if (model := _model(part))), None)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    return annotation
