"""Fields that hold credentials, as the schema marks them (`pipecd.v1.secret`).

`redact` hides them in a response; `store.audit` masks them in the audit log.
"""

from collections.abc import Iterable, Set
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from pipecd.schema.pipecd.v1 import secret_pb2

M = TypeVar("M", bound=Message)
#: What PipeCD's control plane sends in place of a credential.
REDACTED = "redacted"


@cache
def secret_fields(descriptor: Descriptor) -> Set[int]:
    """The numbers of the message's fields that hold credentials."""
    return frozenset(
        field.number for field in descriptor.fields if field.GetOptions().Extensions[secret_pb2.secret]
    )


def redact(message: M) -> M:
    """A copy of `message` in which every credential, also in sub-messages, is replaced by `REDACTED`."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy)
    return copy


def _redact(message: Message) -> None:
    secrets = secret_fields(message.DESCRIPTOR)
    for field, value in message.ListFields():
        if field.number in secrets:
            setattr(message, field.name, REDACTED)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type:
                _redact_all(value.values())
        elif field.message_type:
            _redact_all(value if field.is_repeated else [value])


def _redact_all(messages: Iterable[Message]) -> None:
    for message in messages:
        _redact(message)
