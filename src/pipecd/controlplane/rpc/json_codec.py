"""Requests in JSON, which the Connect server parses on the event loop, with a limit of what one may cost.

The time to parse one depends on the number of its values. The console sends binary requests.
"""

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from google.protobuf.message import Message

from pipecd.json_input import decode_json

#: Elements of lists, members of objects, texts and numbers; parsing that many takes up to 10 ms.
MAX_VALUES = 5_000


class JsonCodec(Codec[Message, Message]):
    def __init__(self) -> None:
        self._codec: Codec[Message, Message] = google_protobuf_json_codec()

    def name(self) -> str:
        return self._codec.name()

    def encode(self, message: Message) -> bytes:
        return self._codec.encode(message)

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        # Cheap, and an upper bound, as each value but the first comes after one of these.
        if data.count(b",") + data.count(b":") + data.count(b"[") > MAX_VALUES and _is_large(data):
            raise ConnectError(
                Code.INVALID_ARGUMENT,
                f"a request in JSON may have at most {MAX_VALUES} values; send it as application/proto",
            )
        return self._codec.decode(data, message_class)


def codecs() -> list[Codec[Message, Message]]:
    return [google_protobuf_binary_codec(), JsonCodec()]


def _is_large(data: bytes | bytearray) -> bool:
    """Whether it has too many values; commas and colons may be those of a text. Invalid JSON is not large."""
    try:
        pending = [decode_json(data)]
    except ValueError:
        return False
    count = 0
    while pending and count <= MAX_VALUES:
        value = pending.pop()
        if isinstance(value, dict | list):
            pending += value.values() if isinstance(value, dict) else value
            count += len(value)
    return count > MAX_VALUES
