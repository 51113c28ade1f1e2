"""Request validation. The rules are options of the fields in `proto/`; this module enforces them.

`guard` validates each request once, before the handler. The rules of a message type are read from its
descriptor once and cached. Every string, list and map has a limit of size: the one of its rule, or
`DEFAULT_LIMITS`.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pipecd.errors import Refused
from pipecd.schema.pipecd.v1 import rules_pb2
from pipecd.schema.pipecd.v1.rules_pb2 import Rules

#: Takes a value; raises _Violation.
Check = Callable[[Any], None]

#: In bytes, of a serialized request; the default of gRPC, and the limit of PipeCD's server.
MAX_REQUEST_SIZE = 4 * 1024 * 1024
#: Requests above this size (bytes) are parsed and validated in a thread; they would block the event loop.
MAX_SIZE_ON_LOOP = 64 * 1024
#: Of a value quoted in an error, in characters.
_MAX_QUOTED = 60


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the fields without a rule: characters of a string, items of a list, pairs of a map.

    Of `bytes` only the size of the request is a limit.
    """

    string: int = 4096
    items: int = 1000
    pairs: int = 1000


DEFAULT_LIMITS = Limits()


async def validate_request(message: Message) -> None:
    """As `validate`, without blocking the event loop."""
    if message.ByteSize() > MAX_SIZE_ON_LOOP:
        await asyncio.to_thread(validate, message)
    else:
        validate(message)


def validate(message: Message) -> None:
    """Raises Refused with the path of the first field that violates a rule."""
    try:
        _check_message(message)
    except _Violation as violation:
        raise Refused(
            f"{violation.path}{violation.text}", field=violation.path.partition(": key")[0]
        ) from None


class _Violation(Exception):
    """A violated rule. The path of the value is built on the way out, because it is rarely needed."""

    def __init__(self, text: str) -> None:
        self.path, self.text = "", text
        super().__init__(text)

    def prepend(self, part: str) -> None:
        separator = "." if self.path and self.path[0] not in "[:" else ""
        self.path = f"{part}{separator}{self.path}"


def _check_message(message: Message) -> None:
    for field, check in _checks(message.DESCRIPTOR):
        try:
            check(message)
        except _Violation as violation:
            violation.prepend(field)
            raise


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
    return (lambda message: check(getattr(message, name))) if check else None


def _message_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    required, name = rules.required, field.name
    if not required and not _has_checks(field.message_type):
        return None

    def check(message: Any) -> None:
        if message.HasField(name):
            _check_message(getattr(message, name))
        elif required:
            raise _Violation(" is required")

    return check


def _list_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, min_items = field.name, rules.min_items
    max_items = rules.max_items or DEFAULT_LIMITS.items
    item = _check_message if field.message_type else _value_check(field, rules.items)
    if field.message_type and not _has_checks(field.message_type):
        item = None

    def check(message: Any) -> None:
        values = getattr(message, name)
        if len(values) < min_items:
            raise _Violation(f" requires at least {min_items} item(s)")
        if len(values) > max_items:
            raise _Violation(f" allows at most {max_items} item(s), not {len(values)}")
        if item:
            for index, value in enumerate(values):
                try:
                    item(value)
                except _Violation as violation:
                    violation.prepend(f"[{index}]")
                    raise

    return check


def _map_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    name, min_pairs, max_pairs = field.name, rules.min_pairs, rules.max_pairs or DEFAULT_LIMITS.pairs
    assert field.message_type
    check_key = _value_check(field.message_type.fields_by_name["key"], rules.keys)
    member = field.message_type.fields_by_name["value"]
    check_value = _value_check(member, rules.values)
    if member.message_type and _has_checks(member.message_type):
        check_value = _check_message

    def check(message: Any) -> None:
        pairs = getattr(message, name)
        if len(pairs) < min_pairs:
            raise _Violation(f" requires at least {min_pairs} pair(s)")
        if len(pairs) > max_pairs:
            raise _Violation(f" allows at most {max_pairs} pair(s), not {len(pairs)}")
        for key, value in pairs.items():
            part = ": key {}"
            try:
                if check_key:
                    check_key(key)
                part = "[{}]"
                if check_value:
                    check_value(value)
            except _Violation as violation:
                violation.prepend(part.format(_quote(key)))
                raise

    return check


def _value_check(field: FieldDescriptor, rules: Rules) -> Check | None:
    every_check = (_size(field, rules), _text(rules), _number(rules), _enum(field, rules))
    checks = [check for check in every_check if check]
    if not checks:
        return None

    def check(value: Any) -> None:
        for check_rule in checks:
            check_rule(value)

    return check


def _size(field: FieldDescriptor, rules: Rules) -> Check | None:
    """Limits of a string. They are checked before anything else reads the string."""
    if field.type != FieldDescriptor.TYPE_STRING:
        return None
    max_len, max_words, allow_nul = rules.max_len or DEFAULT_LIMITS.string, rules.max_words, rules.allow_nul
    if max_len >= MAX_REQUEST_SIZE and allow_nul and not max_words:
        # The transport rejects longer ones.
        return None

    def check(value: str) -> None:
        if len(value) > max_len:
            raise _Violation(f" allows at most {max_len} characters, not {len(value)}")
        if not allow_nul and "\0" in value:
            raise _Violation(" contains the character NUL")
        if max_words and len(value.split()) > max_words:
            raise _Violation(f" allows at most {max_words} words, not {len(value.split())}")

    return check


def _text(rules: Rules) -> Check | None:
    if not (rules.min_len or rules.pattern or rules.prefix or rules.in_words):
        return None
    pattern = re.compile(rules.pattern)

    def check(value: str) -> None:
        if len(value) < rules.min_len:
            minimum = rules.min_len
            raise _Violation(
                " must not be empty" if minimum == 1 else f" is shorter than {minimum} characters"
            )
        if not pattern.search(value):
            raise _Violation(f" does not match {rules.pattern}")
        if not value.startswith(rules.prefix):
            raise _Violation(f" does not start with {rules.prefix!r}")
        if rules.in_words and value not in rules.in_words:
            raise _Violation(f" must be one of {', '.join(rules.in_words)}")

    return check


def _number(rules: Rules) -> Check | None:
    if not (rules.HasField("gt") or rules.HasField("gte") or rules.HasField("lte")):
        return None

    def check(value: float) -> None:
        if rules.HasField("gt") and not value > rules.gt:
            raise _Violation(f" must be greater than {rules.gt}")
        if rules.HasField("gte") and not value >= rules.gte:
            raise _Violation(f" must be at least {rules.gte}")
        if rules.HasField("lte") and not value <= rules.lte:
            raise _Violation(f" must be at most {rules.lte}")

    return check


def _enum(field: FieldDescriptor, rules: Rules) -> Check | None:
    enum = field.enum_type
    if enum is None:
        return None
    known = enum.values_by_number
    allowed = {number: known[number].name for number in getattr(rules, "in")}
    if not (rules.defined_only or allowed):
        return None

    def check(value: int) -> None:
        if rules.defined_only and value not in known:
            raise _Violation(f": {value} is not a value of {enum.full_name}")
        if allowed and value not in allowed:
            raise _Violation(f" must be one of {', '.join(allowed.values())}")

    return check


@cache
def _has_checks(descriptor: Descriptor) -> bool:
    """Whether messages of this type, or of the types that it contains, can violate a rule."""
    return _reaches_checks(descriptor, frozenset())


def _reaches_checks(descriptor: Descriptor, ancestors: frozenset[str]) -> bool:
    if descriptor.full_name in ancestors:
        return False
    for field in descriptor.fields:
        submessage = field.message_type
        limited = field.is_repeated or (submessage is None and _value_check(field, Rules()) is not None)
        if limited or field.GetOptions().HasExtension(rules_pb2.rules):
            return True
        if submessage and _reaches_checks(submessage, ancestors | {descriptor.full_name}):
            return True
    return False


def _quote(key: object) -> str:
    text = repr(key)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"
