"""Keeping secret bytes out of everything that people read.

A `Redactor` knows the secrets of this process and replaces them wherever text is about to leave: in
logs (it is the first processor), stage logs, reasons and metadata. It finds them as they are, as
base64 (at any of its three alignments), URL-encoded and as JSON escapes them.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "******"
#: Shorter words would black out ordinary text.
SHORTEST = 6

_URL_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


def without_login(url: str) -> str:
    """The text with user name and password taken out of every URL in it."""
    return _URL_LOGIN.sub(r"\g<scheme>", url)


class Redactor:
    """Secrets may be added while it is in use; a text is clean of all that were added before."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        #: Secrets come from threads that open them, texts from anywhere.
        self._lock = Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Each line of a secret of several lines (a private key) counts by itself too."""
        with self._lock:
            if secret in self._known:
                return
            for part in {secret.strip(), *(line.strip() for line in secret.splitlines())}:
                if len(part) >= SHORTEST:
                    self._forms.update(form for form in _forms(part) if len(form) >= SHORTEST)
            self._known.add(secret)
            self._pattern = None

    def text(self, value: str) -> str:
        value = without_login(value)
        pattern = self._pattern or self._made()
        return pattern.sub(MASK, value) if self._forms else value

    def _made(self) -> re.Pattern[str]:
        with self._lock:
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))
            return self._pattern

    def value(self, value: Any) -> Any:
        """The same for strings inside mappings and lists, and for exceptions (as their text)."""
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
        """As a structlog processor."""
        return {key: self.value(item) for key, item in event.items()}


def _forms(secret: str) -> set[str]:
    raw = secret.encode(errors="surrogateescape")
    forms = {secret, quote(raw, safe=""), quote_plus(raw), quote(raw)}
    forms.update(json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The characters that depend on the bytes before and after the secret are cut off.
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            start = 0 if shift == 0 else shift + 1
            end = len(text) if (shift + len(raw)) % 3 == 0 else len(text) - 1
            forms.add(text[start:end])
        forms.add(encode(raw).decode())
    return forms
