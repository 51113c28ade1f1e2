"""Redacts secrets from all output: logs, stage logs, status reasons and metadata.

A `Redactor` holds the secrets of this process and masks them in text before it is written or sent; it is the
first log processor. A `RedactedStream` does the same for the output of a program, which arrives in pieces.
Both recognize the forms of `secret_forms`. Their time is proportional to the length of the text, whatever the
text and the secrets are: a repository's author chooses both.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from threading import Lock
from typing import Any

from pipecd.secret_forms import canonical, canonical_offsets, encoded_forms, incomplete_escape, plain_forms

MASK = "******"
#: In characters. Masking shorter secrets would mask ordinary words.
MIN_LENGTH = 6
#: Of a secret in base64 or hexadecimal, parts of at least this length are masked too (characters).
MIN_FRAGMENT = 20
#: At the end of a line, the beginning of a secret is masked if it has this length or is half of the secret.
MIN_BEGINNING = 12
#: Distance of the places of an encoded form that are indexed: each fragment contains one of them.
_STRIDE = MIN_FRAGMENT - MIN_LENGTH
#: Limits for one text: comparisons per character, and beginnings of secrets at its end.
_MAX_COMPARISONS, _MAX_BEGINNINGS = 4, 32

# A host never contains "/", so the parts that start at different "://" do not overlap: linear time.
_URL_LOGIN = re.compile(r"(?<=://)[^/\s\"<>]*@")

Span = tuple[int, int]
#: A form of a secret, and how many of its first characters a text ends with.
_Beginning = tuple[str, int]


def strip_credentials(url: str) -> str:
    """`url`, or any text, with user name and password removed from every URL in it."""
    return _URL_LOGIN.sub("", url)


class Redactor:
    """Masks secrets in text. Secrets can be added at any time and are masked from then on."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.forms = _Forms()
        #: Secrets that are too short in canonical spelling.
        self._verbatim: tuple[str, ...] = ()
        #: `add` is called from several threads.
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
                    self._add_part(part)
            self._secrets.add(secret)

    def _add_part(self, part: str) -> None:
        if len(canonical(part)) < MIN_LENGTH:
            self._verbatim = (*self._verbatim, part)
        for form in plain_forms(part):
            self.forms.add(canonical(form))
        for form in encoded_forms(part):
            self.forms.add(canonical(form), fragments=True)

    def stream(self) -> "RedactedStream":
        """For the output of one program."""
        return RedactedStream(self)

    def text(self, value: str) -> str:
        value = self.mask_simple(value)
        return _mask(value, value, self.forms.find(canonical(value))) if self.forms else value

    def mask_simple(self, value: str) -> str:
        """`value` without logins in URLs, and without secrets that are masked only verbatim."""
        value = strip_credentials(value)
        for secret in self._verbatim:
            value = value.replace(secret, MASK)
        return value

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


class RedactedStream:
    """The output of one program, line by line. Also masks a secret that was broken into several lines.

    Of such a secret, the first line shows at most the first `MIN_BEGINNING` - 1 characters, or half of them.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self._forms = redactor, redactor.forms
        self._beginnings: Sequence[_Beginning] = ()
        #: The last characters of the preceding lines, in canonical spelling.
        self._before = ""
        #: An escape that the preceding line ended within, such as the `%4` of `%41`.
        self._escape = ""

    def line(self, text: str) -> str:
        """The next line or, if a line is very long, the next piece of it."""
        text = self._redactor.mask_simple(text)
        if not self._forms:
            return text
        shown, joined = len(self._escape), self._escape + text
        self._escape = incomplete_escape(joined)
        complete = joined[: len(joined) - len(self._escape)]
        spelled = canonical(complete)
        return _mask(joined, complete, self._find(spelled), shown)

    def _find(self, line: str) -> Sequence[Span]:
        continued, self._beginnings = self._continue(line) if line else ((), self._beginnings)
        start, spelled = len(self._before), self._before + line
        self._before = spelled[-MIN_LENGTH + 1 :]
        spans = self._forms.find(spelled)
        if line:
            beginnings = self._forms.find_beginnings(spelled)
            self._beginnings = (*self._beginnings, *beginnings)[:_MAX_BEGINNINGS]
            spans += [
                (len(spelled) - length, len(spelled))
                for form, length in beginnings
                if length >= min(MIN_BEGINNING, len(form) / 2)
            ]
        return [*continued, *((max(0, first - start), last - start) for first, last in spans if last > start)]

    def _continue(self, line: str) -> tuple[Sequence[Span], Sequence[_Beginning]]:
        """The parts of `line` that continue what the preceding lines began, and what is still incomplete."""
        spans: list[Span] = []
        incomplete: list[_Beginning] = []
        for form, length in self._beginnings:
            rest = form[length:]
            if line.startswith(rest):
                spans.append((0, len(rest)))
            elif rest.startswith(line):
                spans.append((0, len(line)))
                incomplete.append((form, length + len(line)))
        return spans, incomplete


class _Forms:
    """Forms of secrets in canonical spelling, indexed by six of their characters."""

    def __init__(self) -> None:
        #: The forms that begin with these characters, longest first.
        self._heads: dict[str, tuple[str, ...]] = {}
        #: An encoded form that contains these characters, and where.
        self._fragments: dict[str, tuple[str, int]] = {}
        self._keys: set[str] = set()
        self._longest = 0

    def __bool__(self) -> bool:
        return bool(self._heads)

    def add(self, form: str, *, fragments: bool = False) -> None:
        """Ignores a form that is too short. With `fragments`, parts of it are found too."""
        head = form[:MIN_LENGTH]
        forms = self._heads.get(head, ())
        if len(form) < MIN_LENGTH or form in forms:
            return
        at = bisect_left(forms, -len(form), key=lambda other: -len(other))
        # Other threads read the index meanwhile, so its values never change.
        self._heads[head] = (*forms[:at], form, *forms[at:])
        self._keys.add(head)
        self._longest = max(self._longest, len(form))
        if fragments and len(form) > MIN_FRAGMENT:
            for offset in range(_STRIDE, len(form) - MIN_LENGTH + 1, _STRIDE):
                key = form[offset : offset + MIN_LENGTH]
                self._fragments.setdefault(key, (form, offset))
                self._keys.add(key)

    def find(self, text: str) -> list[Span]:
        """Where forms and fragments are in `text`, without overlaps.

        If there are so many similar ones that this would take long, the rest of the text counts as one.
        """
        spans: list[Span] = []
        end, comparisons = 0, 0
        for at in self._positions(text):
            if at < end:
                continue
            key = text[at : at + MIN_LENGTH]
            forms = self._heads.get(key, ())
            comparisons += 1 + len(forms)
            if comparisons > 1000 + _MAX_COMPARISONS * len(text):
                return [*spans, (at, len(text))]
            length = next((len(form) for form in forms if text.startswith(form, at)), 0)
            span = (at, at + length) if length else _fragment(text, at, *self._fragments.get(key, ("", 0)))
            if span:
                spans.append(span)
                end = span[1]
        return spans

    def find_beginnings(self, text: str) -> list[_Beginning]:
        """The forms of which `text` ends with at least six characters, longest beginning first."""
        end = text[-self._longest :]
        beginnings: list[_Beginning] = []
        comparisons = 0
        for at in self._positions(end):
            rest = end[at:]
            forms = self._heads.get(rest[:MIN_LENGTH], ())
            beginnings += [
                (form, len(rest)) for form in forms if len(form) > len(rest) and form.startswith(rest)
            ]
            comparisons += len(forms)
            if len(beginnings) >= _MAX_BEGINNINGS or comparisons > 1000 + _MAX_COMPARISONS * len(end):
                break
        return beginnings[:_MAX_BEGINNINGS]

    def _positions(self, text: str) -> Sequence[int]:
        """Where six characters are in the index."""
        keys = self._keys
        return [at for at in range(len(text) - MIN_LENGTH + 1) if text[at : at + MIN_LENGTH] in keys]


def _fragment(text: str, at: int, form: str, offset: int) -> Span | None:
    """The part of `form` in `text` around the characters that both have there; None if it is short."""
    before = _common(reversed(text[max(0, at - _STRIDE) : at]), reversed(form[:offset]))
    after = _common(text[at : at + len(form)], form[offset:])
    return (at - before, at + after) if before + after >= MIN_FRAGMENT else None


def _common(first: Iterable[str], second: Iterable[str]) -> int:
    """The number of characters that both begin with."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return sum(1 for _ in pairs)


def _mask(text: str, spelled: str, spans: Sequence[Span], shown: int = 0) -> str:
    """`text` without its first `shown` characters, and with `spans` masked.

    The spans refer to the canonical spelling of `spelled`, which `text` begins with.
    """
    if not spans:
        return text[shown:]
    offsets = canonical_offsets(spelled)
    output: list[str] = []
    at = shown
    for first, last in _union(spans):
        start, end = max(offsets.starts[first], at), offsets.ends[last - 1]
        if end > at:
            output += (text[at:start], MASK)
            # An escape that is not complete yet belongs to what it continues.
            at = len(text) if end == len(spelled) else end
    return "".join((*output, text[at:]))


def _union(spans: Iterable[Span]) -> Sequence[Span]:
    """The spans in order; those that overlap or touch become one."""
    united: list[Span] = []
    for first, last in sorted(spans):
        if united and first <= united[-1][1]:
            united[-1] = (united[-1][0], max(last, united[-1][1]))
        else:
            united.append((first, last))
    return united
