"""Is a request well formed? The rules stand beside each field in `proto/`; here they are asked.

`validate` is called once a call, before any handler. The rules of a message type are looked up in its
descriptor once and remembered; types whose fields ask for nothing cost one dictionary look-up.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pipecd.errors import Refused
from pipecd.schema.pipecd.v1 import rules_pb2
from pipecd.schema.pipecd.v1.rules_pb2 import Rules

#: Given a value and its path; raises Refused.
Check = Callable[[Any, str], None]


def validate(message: Message) -> None:
    """Raises Refused with the path of the first field that breaks its rule."""
    _check_message(message, "")


def _check_message(message: Message, path: str) -> None:
    for field, check in _checks(message.DESCRIPTOR):
        check(message, f"{path}.{field}" if path else field)


@cache
def _checks(descriptor: Descriptor) -> Sequence[tuple[str, Check]]:
    found = ((field.name, _field_check(field)) for field in descriptor.fields)
    return tuple((name, check) for name, check in found if check)


def _field_check(field: FieldDescriptor) -> Check | None:
    options = field.GetOptions()
    rules = options.Extensions[rules_pb2.rules] if options.HasExtension(rules_pb2.rules) else Rules()
    if field.message_type and field.message_type.GetOptions().map_entry:
        return _map_check(field, rules)
    if field.is_repeated:
        return _list_check(field, rules)
    if field.message_type:
        return _message_check(field, rules)
    check = _value_check(field, rules)
    name = field.name
    return (lambda message, path: check(getattr(message, name), path)) if check else None


def _message_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    required, name = rules.required, field.name
    if not required and not _asks_anything(field.message_type):
        return None

    def check(message: Any, path: str) -> None:
        if message.HasField(name):
            _check_message(getattr(message, name), path)
        elif required:
            raise Refused(f"{path} must be given")

    return check


def _list_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, least, most = field.name, rules.min_items, rules.max_items
    item = _check_message if field.message_type else _value_check(field, rules.items)
    if field.message_type and not _asks_anything(field.message_type):
        item = None
    if not (least or most or item):
        return None

    def check(message: Any, path: str) -> None:
        values = getattr(message, name)
        if len(values) < least:
            raise Refused(f"{path} needs at least {least} item(s)")
        if most and len(values) > most:
            raise Refused(f"{path} takes at most {most} item(s)")
        if item:
            for index, value in enumerate(values):
                item(value, f"{path}[{index}]")

    return check


def _map_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, least = field.name, rules.min_pairs
    assert field.message_type
    key = _value_check(field.message_type.fields_by_name["key"], rules.keys)
    member = field.message_type.fields_by_name["value"]
    value = _value_check(member, rules.values)
    if member.message_type and _asks_anything(member.message_type):
        value = _check_message
    if not (least or key or value):
        return None

    def check(message: Any, path: str) -> None:
        pairs = getattr(message, name)
        if len(pairs) < least:
            raise Refused(f"{path} needs at least {least} pair(s)")
        for one, other in pairs.items():
            if key:
                key(one, f"{path}'s key {one!r}")
            if value:
                value(other, f"{path}[{one!r}]")

    return check


def _value_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    checks = [check for check in (_text(rules), _number(rules), _enum(field, rules)) if check]
    if not checks:
        return None

    def check(value: Any, path: str) -> None:
        for one in checks:
            one(value, path)

    return check


def _text(rules: Rules) -> Check | None:
    if not (rules.min_len or rules.pattern or rules.prefix or rules.in_words):
        return None
    pattern = re.compile(rules.pattern)

    def check(value: str, path: str) -> None:
        if len(value) < rules.min_len:
            least = rules.min_len
            raise Refused(f"{path} must not be empty" if least == 1 else f"{path} is shorter than {least}")
        if not pattern.search(value):
            raise Refused(f"{path} does not match {rules.pattern}")
        if not value.startswith(rules.prefix):
            raise Refused(f"{path} does not begin with {rules.prefix!r}")
        if rules.in_words and value not in rules.in_words:
            raise Refused(f"{path} is none of {', '.join(rules.in_words)}")

    return check


def _number(rules: Rules) -> Check | None:
    if not (rules.HasField("gt") or rules.HasField("gte")):
        return None

    def check(value: float, path: str) -> None:
        if rules.HasField("gt") and not value > rules.gt:
            raise Refused(f"{path} must be greater than {rules.gt}")
        if rules.HasField("gte") and not value >= rules.gte:
            raise Refused(f"{path} must be at least {rules.gte}")

    return check


def _enum(field: FieldDescriptor, rules: Rules) -> Check | None:
    enum = field.enum_type
    if enum is None:
        return None
    known = enum.values_by_number
    allowed = {number: known[number].name for number in getattr(rules, "in")}
    if not (rules.defined_only or allowed):
        return None

    def check(value: int, path: str) -> None:
        if rules.defined_only and value not in known:
            raise Refused(f"{path}: {value} is no {enum.full_name}")
        if allowed and value not in allowed:
            raise Refused(f"{path} must be one of {', '.join(allowed.values())}")

    return check


@cache
def _asks_anything(descriptor: Descriptor) -> bool:
    return _reaches_rules(descriptor, frozenset())


def _reaches_rules(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:
        return False
    for field in descriptor.fields:
        if field.GetOptions().HasExtension(rules_pb2.rules):
            return True
        inner = field.message_type
        if inner and _reaches_rules(inner, above | {descriptor.full_name}):
            return True
    return False
