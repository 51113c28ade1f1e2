import json

import pytest

from pipecd.json_input import decode_json


@pytest.mark.parametrize("text", ["", "{", b"\xff", "9" * 5000, "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_document_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        decode_json(text)


def test_a_document_is_decoded() -> None:
    document = {"name": "shop", "ports": [80, 8080.5, None, True]}
    assert decode_json(json.dumps(document)) == decode_json(json.dumps(document).encode()) == document
