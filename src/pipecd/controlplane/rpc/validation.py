"""Request validation. The rules are options of the fields in `proto/`; this module enforces them.

`guard` calls `validate` once per call, before the handler. The rules of a message type are read from its
descriptor once and cached; a type without rules costs one dictionary lookup.
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

#: Takes a value and its path; raises Refused.
Check = Callable[[Any, str], None]


def validate(message: Message) -> None:
    """Raises Refused with the path of the first field that violates a rule."""
    _check_message(message, "")


def _check_message(message: Message, path: str) -> None:
    for field, check in _checks(message.DESCRIPTOR):
        check(message, f"{path}.{field}" if path else field)


@cache
def _checks(descriptor: Descriptor) -> Sequence[tuple[str, Check]]:
    checks = ((field.name, _field_check(field)) for field in descriptor.fields)
    return tuple((name, check) for name, check in checks if check)


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
    if not required and not _has_rules(field.message_type):
        return None

    def check(message: Any, path: str) -> None:
        if message.HasField(name):
            _check_message(getattr(message, name), path)
        elif required:
            raise Refused(f"{path} is required")

    return check


def _list_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, min_items, max_items = field.name, rules.min_items, rules.max_items
    item = _check_message if field.message_type else _value_check(field, rules.items)
    if field.message_type and not _has_rules(field.message_type):
        item = None
    if not (min_items or max_items or item):
        return None

    def check(message: Any, path: str) -> None:
        values = getattr(message, name)
        if len(values) < min_items:
            raise Refused(f"{path} requires at least {min_items} item(s)")
        if max_items and len(values) > max_items:
            raise Refused(f"{path} allows at most {max_items} item(s)")
        if item:
            for index, value in enumerate(values):
                item(value, f"{path}[{index}]")

    return check


def _map_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, min_pairs = field.name, rules.min_pairs
    assert field.message_type
    check_key = _value_check(field.message_type.fields_by_name["key"], rules.keys)
    member = field.message_type.fields_by_name["value"]
    check_value = _value_check(member, rules.values)
    if member.message_type and _has_rules(member.message_type):
        check_value = _check_message
    if not (min_pairs or check_key or check_value):
        return None

    def check(message: Any, path: str) -> None:
        pairs = getattr(message, name)
        if len(pairs) < min_pairs:
            raise Refused(f"{path} requires at least {min_pairs} pair(s)")
        for key, value in pairs.items():
            if check_key:
                check_key(key, f"{path}: key {key!r}")
            if check_value:
                check_value(value, f"{path}[{key!r}]")

    return check


def _value_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    checks = [check for check in (_text(rules), _number(rules), _enum(field, rules)) if check]
    if not checks:
        return None

    def check(value: Any, path: str) -> None:
        for check_rule in checks:
            check_rule(value, path)

    return check


def _text(rules: Rules) -> Check | None:
    if not (rules.min_len or rules.pattern or rules.prefix or rules.in_words):
        return None
    pattern = re.compile(rules.pattern)

    def check(value: str, path: str) -> None:
        if len(value) < rules.min_len:
            minimum = rules.min_len
            raise Refused(
                f"{path} must not be empty"
                if minimum == 1
                else f"{path} is shorter than {minimum} characters"
            )
        if not pattern.search(value):
            raise Refused(f"{path} does not match {rules.pattern}")
        if not value.startswith(rules.prefix):
            raise Refused(f"{path} does not start with {rules.prefix!r}")
        if rules.in_words and value not in rules.in_words:
            raise Refused(f"{path} must be one of {', '.join(rules.in_words)}")

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
            raise Refused(f"{path}: {value} is not a value of {enum.full_name}")
        if allowed and value not in allowed:
            raise Refused(f"{path} must be one of {', '.join(allowed.values())}")

    return check


@cache
def _has_rules(descriptor: Descriptor) -> bool:
    return _reaches_rules(descriptor, frozenset())


def _reaches_rules(descriptor: Descriptor, ancestors: frozenset[str]) -> bool:
    if descriptor.full_name in ancestors:
        return False
    for field in descriptor.fields:
        if field.GetOptions().HasExtension(rules_pb2.rules):
            return True
        submessage = field.message_type
        if submessage and _reaches_rules(submessage, ancestors | {descriptor.full_name}):
            return True
    return False
