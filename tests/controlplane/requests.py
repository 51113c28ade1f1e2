"""Requests for tests of every call: `fill` makes one that the field rules accept."""

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pipecd.schema.pipecd.v1 import rules_pb2
from pipecd.schema.pipecd.v1.rules_pb2 import Rules

#: A text for each pattern of the schema.
_MATCHES = {
    "^[^/].+$": "folder",
    "^[A-Z][A-Z0-9_-]{0,62}$": "TERRAFORM",
    "^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$": "key",
    "^[A-Za-z0-9_-]*$": "PipeCD-Signature",
    "": "x",
}


def fields_of(descriptor: Any) -> Sequence[FieldDescriptor]:
    """The fields of a message: the type checker knows two classes of descriptors."""
    return list(descriptor.fields)


def rules_of(field: FieldDescriptor) -> Rules:
    return field.GetOptions().Extensions[rules_pb2.rules]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def map_value(field: FieldDescriptor) -> FieldDescriptor:
    """The field of a map's values."""
    assert field.message_type
    value: FieldDescriptor = field.message_type.fields_by_name["value"]
    return value


def fill(message: Message) -> Any:
    """`message` with the least that its field rules require."""
    for field in fields_of(message.DESCRIPTOR):
        rules = rules_of(field)
        if is_map(field):
            if rules.min_pairs:
                getattr(message, field.name)["key"].SetInParent()
        elif field.is_repeated:
            for _ in range(rules.min_items):
                add_item(message, field)
        elif field.message_type:
            if rules.required:
                getattr(message, field.name).SetInParent()
                fill(getattr(message, field.name))
        elif (value := valid_value(field, rules)) is not None:
            setattr(message, field.name, value)
    return message


def add_item(message: Message, field: FieldDescriptor) -> Any:
    """Append a valid item to a list."""
    items = getattr(message, field.name)
    if field.message_type:
        return fill(items.add())
    default: Any = b"" if field.type == FieldDescriptor.TYPE_BYTES else ""
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        default = 0
    value = valid_value(field, rules_of(field).items)
    items.append(default if value is None else value)
    return items[-1]


def valid_value(field: FieldDescriptor, rules: Rules) -> Any:
    """None if the default is valid."""
    if field.type == FieldDescriptor.TYPE_STRING:
        if rules.in_words:
            return rules.in_words[0]
        if rules.min_len or rules.pattern or rules.prefix:
            return rules.prefix + _MATCHES[rules.pattern]
    if field.enum_type and getattr(rules, "in"):
        return getattr(rules, "in")[0]
    if rules.HasField("gt"):
        return rules.gt + 1
    return None


def paths(descriptor: Any, ancestors: tuple[str, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The way to every field that a request may contain, fields of its sub-messages included."""
    if descriptor.full_name in ancestors:
        return
    for field in fields_of(descriptor):
        yield (field,)
        inner = map_value(field).message_type if is_map(field) else field.message_type
        if inner:
            for rest in paths(inner, (*ancestors, descriptor.full_name)):
                yield (field, *rest)


def parent_of(message: Message, path: tuple[FieldDescriptor, ...]) -> Message:
    """The valid message that contains the last field of `path`, added to `message`."""
    for field in path[:-1]:
        if is_map(field):
            message = fill(getattr(message, field.name)["key"])
        elif field.is_repeated:
            message = add_item(message, field)
        else:
            message = getattr(message, field.name)
            message.SetInParent()
            fill(message)
    return message
