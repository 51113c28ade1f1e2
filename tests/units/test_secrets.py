"""Invariant 10: a redactor masks known secrets in every encoding."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.secrets import MASK, Redactor

SECRET = 's3cr3t/with+odd "chars&more'


@pytest.mark.parametrize(
    "encoded",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
    ],
)
def test_every_encoding_is_masked(encoded: str) -> None:
    text = Redactor([SECRET]).text(f"before {encoded} after")
    assert encoded not in text and MASK in text
    assert text.startswith("before ") and text.endswith(" after")


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_of_a_text_that_contains_the_secret_is_masked(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after).decode()
    assert MASK in Redactor([SECRET]).text(encoded)


def test_each_line_of_a_private_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAoI\n-----END KEY-----"
    assert "MIIEvQIBADANBgkqhkiG9w0" not in Redactor([key]).text("x MIIEvQIBADANBgkqhkiG9w0 y")


def test_an_unknown_login_in_a_url_is_removed() -> None:
    text = Redactor().text("fatal: https://me:ghp_token@example.com/a.git not found")
    assert text == "fatal: https://example.com/a.git not found"


def test_secrets_in_mappings_lists_and_exceptions_are_masked() -> None:
    event = {"a": [SECRET, {"b": SECRET}], "error": ValueError(SECRET), "n": 3}
    assert SECRET not in str(Redactor([SECRET]).value(event))


def test_secrets_as_short_as_words_are_not_masked() -> None:
    assert Redactor(["abc"]).text("abcdef") == "abcdef"


def test_bytes_that_are_not_text_are_masked_as_base64() -> None:
    secret = bytes(range(200, 240))
    redactor = Redactor([secret.decode(errors="surrogateescape")])
    assert redactor.text(base64.b64encode(secret).decode()) == MASK


def test_a_secret_added_later_is_masked_from_then_on() -> None:
    redactor = Redactor([SECRET])
    assert "another one" in redactor.text("another one")
    redactor.add("another one")
    assert redactor.text("another one") == MASK
