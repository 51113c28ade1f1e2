"""Requests in JSON have a limit of values, because they are parsed on the event loop."""

import json
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from google.protobuf.json_format import ParseError

from pipecd.controlplane.rpc.json_codec import MAX_VALUES, JsonCodec
from pipecd.schema.web.applications_pb2 import AddApplicationRequest


def decode(content: Any) -> Any:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return JsonCodec().decode(data, AddApplicationRequest)


def test_a_request_may_have_many_values_and_long_texts() -> None:
    labels = {f"k{number}": "v" for number in range(MAX_VALUES - 2)}
    assert len(decode({"labels": labels}).labels) == MAX_VALUES - 2
    assert len(decode({"description": "a, b: [" * 10_000}).description) == 70_000


@pytest.mark.parametrize(
    "content",
    [
        {"labels": {f"k{number}": "v" for number in range(MAX_VALUES + 1)}},
        {f"unknown{number}": number for number in range(MAX_VALUES + 1)},
        {"unknown": [[[number]] for number in range(MAX_VALUES // 2)]},
        {"unknown": [[]] * (MAX_VALUES + 1)},
    ],
)
def test_a_request_with_too_many_values_is_refused(content: Any) -> None:
    with pytest.raises(ConnectError, match="at most 5000 values"):
        decode(content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"," * 100_000, b'{"a":' * 50_000])
def test_what_is_no_json_is_not_parsed(content: bytes) -> None:
    with pytest.raises((ParseError, RecursionError)):
        decode(content)
