"""Invariant 10: a redactor masks known secrets in every encoding, in linear time."""

import base64
import html
import json
import random
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.secret_forms import canonical
from pipecd.secrets import MASK, MIN_BEGINNING, MIN_LENGTH, Redactor, strip_credentials

SECRET = 's3cr3t/with+odd "chars&more'
#: Longer than a line of base64.
LONG = "S3cr3t-Value-With/Plus+And=Equals-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGH"
QUOTED = 'it\'s a "secret" with $(signs) & back\\slashes\\n <tag> ü€😀'


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wrapped(text: str, width: int) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def lower_percent(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text)


def go_json(text: str) -> str:
    """As Go's json.Marshal: `<`, `>` and `&` are escaped too."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"})


ENCODINGS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "base64": base64_text,
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, wrapped as by base64": lambda text: wrapped(base64_text(text), 76),
    "base64, wrapped as by openssl": lambda text: wrapped(base64_text(text), 64),
    "base64 twice": lambda text: base64_text(base64_text(text)),
    "base64 in JSON": lambda text: json.dumps(wrapped(base64_text(text), 76))[1:-1],
    "hexadecimal": lambda text: text.encode().hex(),
    "upper-case hexadecimal": lambda text: text.encode().hex().upper(),
    "hexadecimal bytes": lambda text: text.encode().hex(" "),
    "hexadecimal bytes with colons": lambda text: text.encode().hex(":"),
    "hexadecimal, wrapped as by xxd": lambda text: wrapped(text.encode().hex(), 60),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: lower_percent(quote(text, safe="")),
    "percent-encoded path": quote,
    "percent-encoded entirely": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form field": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with text": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in upper case": lambda text: re.sub(
        r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), json.dumps(text)[1:-1]
    ),
    "Go's JSON": go_json,
    "JSON entirely escaped": lambda text: "".join(
        f"\\u{int.from_bytes(pair):04x}"
        for pair in (
            text.encode("utf-16-be")[at : at + 2] for at in range(0, len(text.encode("utf-16-be")), 2)
        )
    ),
    "Python bytes": lambda text: repr(text.encode())[2:-1],
    "HTML": html.escape,
    "shell": shlex.quote,
}
SECRETS = {"plain": SECRET, "longer than a line": LONG, "with quotes and escapes": QUOTED}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_every_encoding_is_masked(encoding: str, secret: str) -> None:
    encoded = ENCODINGS[encoding](SECRETS[secret])
    text = Redactor([SECRETS[secret]]).text(f"before: {encoded}; after")
    assert re.fullmatch(r"before: .{0,2}\*{6}.{0,2}; after", text, re.DOTALL), text


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", ["plain", "longer than a line"])
@pytest.mark.parametrize("width", [17, 40, 76])
def test_every_encoding_is_masked_when_it_arrives_in_pieces(encoding: str, secret: str, width: int) -> None:
    output = f"before {ENCODINGS[encoding](SECRETS[secret])} after"
    stream = Redactor([SECRETS[secret]]).stream()
    pieces = [line[at : at + width] for line in output.split("\n") for at in range(0, len(line), width)]
    shown = "".join(stream.line(piece) for piece in pieces)
    visible = shown.removeprefix("before ").removesuffix("after").replace(MASK, "")
    # Besides the beginning, parts of escapes may be visible.
    assert len(canonical(visible)) <= 2 * MIN_BEGINNING, shown


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_secret_is_masked_in_the_trace_of_a_shell(shell: str) -> None:
    script = 'set -x; : "$SECRET"; echo "$SECRET" | base64'
    result = subprocess.run(
        [shell, "-c", script], env={"SECRET": QUOTED, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    stream = Redactor([QUOTED]).stream()
    shown = "\n".join(stream.line(line) for line in (result.stderr + result.stdout).splitlines())
    assert MASK in shown
    assert not re.search(r"secret|signs|tag|slash", shown), shown
    assert not any(base64_text(QUOTED)[at : at + 8] in shown for at in range(len(QUOTED))), shown


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_of_a_text_that_contains_the_secret_is_masked(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after).decode()
    assert MASK in Redactor([SECRET]).text(encoded)


@given(
    st.text("abcdefghij-/+ '\"\\%&u0", max_size=60).filter(lambda text: len(canonical(text)) >= MIN_LENGTH),
    st.sampled_from(sorted(ENCODINGS)),
)
def test_any_secret_is_masked_in_every_encoding(secret: str, encoding: str) -> None:
    encoded = ENCODINGS[encoding](secret.strip())
    assert MASK in Redactor([secret]).text(f"before: {encoded}; after")


@given(st.text(max_size=200), st.lists(st.text(min_size=6), max_size=3))
def test_the_rest_of_the_text_is_unchanged(text: str, secrets: list[str]) -> None:
    redactor = Redactor(secrets)
    shown = redactor.text(text)
    at = 0
    for part in shown.split(MASK):
        at = text.index(part, at) + len(part)
    assert MASK in shown or shown == strip_credentials(text)
    assert redactor.stream().line(text).count(MASK) >= shown.count(MASK)


@pytest.mark.parametrize("border", range(1, len(LONG)))
def test_a_secret_across_the_border_of_two_pieces_is_masked(border: int) -> None:
    stream = Redactor([LONG]).stream()
    shown = [stream.line("x " * 1000 + LONG[:border]), stream.line(LONG[border:] + " y")]
    visible = shown[0].removeprefix("x " * 1000).removesuffix(MASK) + shown[1].removesuffix(" y")
    assert len(visible.replace(MASK, "")) < MIN_BEGINNING
    assert shown[1] == f"{MASK} y"


@pytest.mark.parametrize("border", range(1, 12))
def test_of_a_short_secret_across_a_border_at_most_half_is_shown(border: int) -> None:
    stream = Redactor(["hunter2-4711"]).stream()
    shown = stream.line("x" * 20 + "hunter2-4711"[:border]) + stream.line("hunter2-4711"[border:])
    assert len(shown.replace(MASK, "").removeprefix("x" * 20)) < 6
    assert shown.endswith(MASK)


def test_an_escape_across_a_border_is_decoded() -> None:
    encoded = "".join(f"%{byte:02X}" for byte in b"hunter2-4711")
    for border in range(1, len(encoded)):
        stream = Redactor(["hunter2-4711"]).stream()
        shown = stream.line("x" + encoded[:border]) + stream.line(encoded[border:] + "y")
        assert len(shown.replace(MASK, "")) < 2 + 3 * 6, (border, shown)


def test_lines_of_base64_are_masked_after_the_prefix_of_a_log() -> None:
    redactor = Redactor([LONG * 3])
    lines = wrapped(base64_text(LONG * 3), 76).split("\n")
    assert [redactor.text(f"web_1 | {line}") for line in lines[:-1]] == [f"web_1 | {MASK}"] * (len(lines) - 1)


def test_each_line_of_a_private_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAoI\n-----END KEY-----"
    assert "MIIEvQIBADANBgkqhkiG9w0" not in Redactor([key]).text("x MIIEvQIBADANBgkqhkiG9w0 y")
    assert Redactor([key]).text(json.dumps({"key": key})) == '{"key": "******"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fatal: https://me:ghp_token@example.com/a.git", "fatal: https://example.com/a.git"),
        ("HTTPS://me@example.com", "HTTPS://example.com"),
        ("https://me:p@ss@example.com/x@y", "https://example.com/x@y"),
        ("ssh://git@example.com:22/a b://c:d@e", "ssh://example.com:22/a b://e"),
        ("https://example.com/a@b me@example.com", "https://example.com/a@b me@example.com"),
        ('{"url":"https://example.com","mail":"a@b"}', '{"url":"https://example.com","mail":"a@b"}'),
    ],
)
def test_an_unknown_login_in_a_url_is_removed(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected


def test_secrets_in_mappings_lists_and_exceptions_are_masked() -> None:
    event = {"a": [SECRET, {"b": SECRET}], "error": ValueError(SECRET), "n": 3}
    assert SECRET not in str(Redactor([SECRET]).value(event))


def test_secrets_as_short_as_words_are_not_masked() -> None:
    assert Redactor(["abc"]).text("abcdef") == "abcdef"


def test_a_secret_of_quotes_and_spaces_is_masked_verbatim() -> None:
    redactor = Redactor(["a ' b \" c"])
    assert redactor.text("is a ' b \" c!") == f"is {MASK}!"
    assert redactor.text("is a b c!") == "is a b c!"


def test_a_line_that_ends_like_a_secret_begins_is_shown_unless_it_is_half_of_it() -> None:
    stream = Redactor(["postgres://shop:hunter2@db/shop"]).stream()
    assert stream.line("connecting to postgres") == "connecting to postgres"
    assert stream.line("done") == "done"


def test_bytes_that_are_not_text_are_masked_as_base64() -> None:
    secret = bytes(range(200, 240))
    redactor = Redactor([secret.decode(errors="surrogateescape")])
    assert redactor.text(base64.b64encode(secret).decode()) == MASK
    assert redactor.text(f"x {secret.decode(errors='surrogateescape')} y") == f"x {MASK} y"


def test_a_secret_added_later_is_masked_from_then_on() -> None:
    redactor = Redactor([SECRET])
    stream = redactor.stream()
    assert "another one" in redactor.text("another one") and "another one" in stream.line("another one")
    redactor.add("another one")
    assert redactor.text("another one") == MASK == stream.line("another one")


def test_many_secrets_are_all_masked() -> None:
    source = random.Random(1)
    secrets = [f"{number}-{source.randbytes(20).hex()}" for number in range(300)]
    redactor = Redactor(secrets)
    assert [redactor.text(secret) for secret in secrets] == [MASK] * 300
    assert [redactor.text(base64_text(secret)) for secret in secrets] == [MASK] * 300


# Each of these took seconds to minutes when a search started again at each character.
HOSTILE_TEXTS = {
    "letters": "a" * 1_000_000,
    "addresses": "a://" * 250_000,
    "logins": "a://b:c" * 125_000,
    "percent signs": "%" * 1_000_000,
    "escapes": "\\u0061" * 150_000,
    "almost a secret": ("a" * 2999 + "c") * 300,
    "beginnings of a secret": "a" * 1_000_000,
    "base64 of a secret": "YWFh" * 250_000,
    "white space": " \n" * 500_000,
}
HOSTILE_SECRETS = ["a" * 3000 + "b" + str(number) for number in range(30)] + ["a" * 5000, "aaaaaa"]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_time_is_linear_in_the_length_of_the_text(text: str) -> None:
    redactor = Redactor(HOSTILE_SECRETS)
    stream = redactor.stream()
    before = time.thread_time()
    Redactor().text(HOSTILE_TEXTS[text])
    for at in range(0, len(HOSTILE_TEXTS[text]), 65536):
        stream.line(HOSTILE_TEXTS[text][at : at + 65536])
    # Half a second, and three times that on a busy machine; 1 MB arrives in 16 pieces, between which other
    # tasks run.
    assert time.thread_time() - before < 3
