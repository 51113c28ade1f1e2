"""Protobuf messages as JSON in the form that PipeCD's programs write and read.

Keys are the field names of the schema, 64-bit integers are JSON numbers, bytes are base64; Protobuf's
standard JSON mapping differs in each of these. `STORED` omits zero values and writes enums as numbers:
used for stage log files, command outputs, live states and plan previews. `SHOWN` is for output that users'
programs read.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pipecd.json_input import decode_json

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Form:
    """Which fields are written, and how enum values are written."""

    members: Callable[[Message], Iterable[tuple[FieldDescriptor, Any]]]
    enum: Callable[[FieldDescriptor, int], str | int]


def _all_fields(message: Message) -> Iterable[tuple[FieldDescriptor, Any]]:
    fields: Iterable[Any] = message.DESCRIPTOR.fields
    for field in fields:
        if not field.has_presence or message.HasField(field.name):
            yield field, getattr(message, field.name)


def _enum_name(field: FieldDescriptor, number: int) -> str | int:
    value = field.enum_type.values_by_number.get(number) if field.enum_type else None
    return value.name if value else number


STORED = Form(members=lambda message: message.ListFields(), enum=lambda _, number: number)
#: Includes zero and empty fields; enums are names.
SHOWN = Form(members=_all_fields, enum=_enum_name)


def dumps(message: Message) -> str:
    return json.dumps(to_object(message), ensure_ascii=False, separators=(",", ":"))


def loads(kind: type[M], text: str | bytes) -> M:
    """Parse a message of type `kind`, ignoring unknown fields. Raises ValueError if `text` is not one."""
    try:
        message: M = json_format.ParseDict(decode_json(text), kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return message


def to_object(message: Message, form: Form = STORED) -> dict[str, Any]:
    return {field.name: _member(field, value, form) for field, value in form.members(message)}


def _member(field: FieldDescriptor, value: Any, form: Form) -> Any:
    if field.message_type and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        pairs: Mapping[Any, Any] = value
        return {str(key): _scalar(inner, pairs[key], form) for key in sorted(pairs)}
    if field.is_repeated:
        return [_scalar(field, item, form) for item in value]
    return _scalar(field, value, form)


def _scalar(field: FieldDescriptor, value: Any, form: Form) -> Any:
    if field.message_type:
        return to_object(value, form)
    if field.enum_type:
        return form.enum(field, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.standard_b64encode(value).decode()
    return value
