"""The forms that a secret takes in output, and a canonical spelling in which most of them are equal.

`canonical` undoes what shells, URLs, JSON, Go, Python and HTML do to a text: it decodes escapes and drops
quotes, backslashes and white space. So a secret is found whether it was quoted by `sh -x`, percent-encoded in
either case, partly escaped, or wrapped into lines. `encoded_forms` adds what it does not undo: base64 and
hexadecimal. Both take time proportional to the length of their input. Used by `secrets`.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

#: White space and quotes, which shells add and remove.
_DROPPED = {ord(character): None for character in " \t\r\n\f\v'\""}
_TOKEN = re.compile(
    r"""
    %(?P<percent>[0-9A-Fa-f]{2})
  | \\(?:u(?P<utf16>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|[nrtfv\\]?)
  | &(?:\#(?P<decimal>[0-9]{1,7})|\#[xX](?P<hex>[0-9A-Fa-f]{1,6})|(?P<entity>amp|lt|gt|quot|apos));
  | [\ \t\r\n\f\v'"]+
    """,
    re.VERBOSE,
)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": "", "apos": ""}
#: The characters that begin a token which is not only dropped.
_ESCAPES = re.compile(r"[\\%&]")
#: An escape that may continue in the text that follows.
_INCOMPLETE = re.compile(
    r"(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&(?:\#?[0-9A-Za-z]{0,7}))$"
)
_PERCENT = re.compile(r"%[0-9A-F]{2}")


def canonical(text: str) -> str:
    if _ESCAPES.search(text) is None:
        return text.translate(_DROPPED)
    return _TOKEN.sub(_decoded, text)


@dataclass(frozen=True)
class Offsets:
    """For each character of `canonical(text)`, where its part of `text` starts and ends."""

    starts: Sequence[int]
    ends: Sequence[int]


def canonical_offsets(text: str) -> Offsets:
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for token in _TOKEN.finditer(text):
        starts.extend(range(at, token.start()))
        ends.extend(range(at + 1, token.start() + 1))
        for _ in _decoded(token):
            starts.append(token.start())
            ends.append(token.end())
        at = token.end()
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return Offsets(starts, ends)


def incomplete_escape(text: str) -> str:
    """The end of `text` that may be the first part of an escape; empty if there is none."""
    match = _INCOMPLETE.search(text, max(0, len(text) - 10))
    return match[0] if match else ""


def _decoded(token: re.Match[str]) -> str:
    if percent := token["percent"]:
        code = int(percent, 16)
        # A byte of a longer UTF-8 sequence stays encoded, in upper case.
        return _without_dropped(chr(code)) if code < 0x80 else f"%{percent.upper()}"
    for group, radix in (("utf16", 16), ("byte", 16), ("decimal", 10), ("hex", 16)):
        if digits := token[group]:
            code = int(digits, radix)
            return _without_dropped(chr(code)) if code <= 0x10FFFF else ""
    return _ENTITIES[token["entity"]] if token["entity"] else ""


def _without_dropped(character: str) -> str:
    return "" if character in " \t\r\n\f\v'\"\\" else character


def plain_forms(secret: str) -> Iterator[str]:
    """Spellings of `secret` of which `canonical` undoes the escapes, where it has any."""
    raw = secret.encode(errors="surrogateescape")
    for text in (secret, raw.decode("latin-1")):
        yield text
        # Where backslashes are escaped, they do not begin an escape.
        yield text.replace("\\", "")
    yield quote_plus(raw)
    once = quote(raw, safe="")
    yield once
    yield quote(once, safe="")
    yield quote(_PERCENT.sub(_lower, once), safe="")
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1]


def encoded_forms(secret: str) -> Iterator[str]:
    """`secret` in base64, at any of the three alignments, also twice, and in hexadecimal."""
    raw = secret.encode(errors="surrogateescape")
    yield from _base64_forms(raw, base64.standard_b64encode)
    yield from _base64_forms(raw, base64.urlsafe_b64encode)
    # The data of a Kubernetes Secret, for example.
    yield from _base64_forms(base64.standard_b64encode(raw), base64.standard_b64encode)
    for digits in (raw.hex(), raw.hex(":")):
        yield digits
        yield digits.upper()


def _base64_forms(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    yield encode(raw).decode()
    for shift in range(3):
        # Drop the characters that depend on the bytes before and after the secret.
        text = encode(b"\0" * shift + raw).decode().rstrip("=")
        start = 0 if shift == 0 else shift + 1
        end = len(text) if (shift + len(raw)) % 3 == 0 else len(text) - 1
        yield text[start:end]


def _lower(match: re.Match[str]) -> str:
    return match[0].lower()
