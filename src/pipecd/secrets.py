"""Redacts secrets from all output: logs, stage logs, status reasons and metadata.

A `Redactor` holds the secrets of this process and masks them in text before it is written or sent; it is the
first log processor. It recognizes secrets verbatim, base64-encoded (at any of the three alignments),
URL-encoded and JSON-escaped.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "******"
#: In characters. Masking shorter secrets would mask ordinary words.
MIN_LENGTH = 6

_URL_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


def strip_credentials(url: str) -> str:
    """`url`, or any text, with user name and password removed from every URL in it."""
    return _URL_LOGIN.sub(r"\g<scheme>", url)


class Redactor:
    """Masks secrets in text. Secrets can be added at any time and are masked from then on."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        #: `add` and `text` are called from several threads.
        self._lock = Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask `secret` from now on; of a multi-line secret (a private key), also each line alone."""
        with self._lock:
            if secret in self._secrets:
                return
            for part in {secret.strip(), *(line.strip() for line in secret.splitlines())}:
                if len(part) >= MIN_LENGTH:
                    self._forms.update(form for form in _forms(part) if len(form) >= MIN_LENGTH)
            self._secrets.add(secret)
            self._pattern = None

    def text(self, value: str) -> str:
        value = strip_credentials(value)
        pattern = self._pattern or self._compile()
        return pattern.sub(MASK, value) if self._forms else value

    def _compile(self) -> re.Pattern[str]:
        with self._lock:
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
            return self._pattern

    def value(self, value: Any) -> Any:
        """Like `text`, also for strings inside mappings and lists, and for exceptions (as their text)."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, BaseException | bytes):
            return self.text(str(value))
        return value

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        """The structlog processor interface."""
        return {key: self.value(item) for key, item in event.items()}


def _forms(secret: str) -> set[str]:
    """All encodings of `secret` to search for."""
    raw = secret.encode(errors="surrogateescape")
    forms = {secret, quote(raw, safe=""), quote_plus(raw), quote(raw)}
    forms.update(json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Drop the characters that depend on the bytes before and after the secret.
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            start = 0 if shift == 0 else shift + 1
            end = len(text) if (shift + len(raw)) % 3 == 0 else len(text) - 1
            forms.add(text[start:end])
        forms.add(encode(raw).decode())
    return forms
