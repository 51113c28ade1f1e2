"""Schema messages as JSON in the form that PipeCD's programs write and read.

Keys are the schema's own names, what is zero is left out, enums are numbers, 64-bit integers are JSON
numbers, bytes are base64. (Protobuf's own JSON differs in each of these.) It is what stage-log files,
command outputs, live states and plan previews are made of.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def dumps(message: Message) -> str:
    return json.dumps(to_object(message), ensure_ascii=False, separators=(",", ":"))


def loads(kind: type[M], text: str | bytes) -> M:
    """Raises ValueError when `text` is no such message; members that are not known are skipped."""
    try:
        made: M = json_format.ParseDict(json.loads(text), kind(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error
    return made


def to_object(message: Message) -> dict[str, Any]:
    return {field.name: _member(field, value) for field, value in message.ListFields()}


def _member(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        pairs: Mapping[Any, Any] = value
        return {str(key): _scalar(inner, pairs[key]) for key in sorted(pairs)}
    if field.is_repeated:
        return [_scalar(field, one) for one in value]
    return _scalar(field, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type:
        return to_object(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.standard_b64encode(value).decode()
    return value
