"""The blocks of a Terraform file, read without Terraform: enough to know its modules and its backend.

Not an evaluator: an attribute is known when it is written as a plain text. Called by `source`.
Syntax: https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.errors import ConfigError, Place


@dataclass(frozen=True, kw_only=True)
class Block:
    """`module "name" { … }`. `attributes` holds those whose value is a plain text."""

    kind: str
    labels: Sequence[str]
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    blocks: Sequence["Block"] = ()


def read(text: str, file: str) -> Sequence[Block]:
    """The top-level blocks of `text`. Raises ConfigError with `file` and line."""
    try:
        return _Reader(text, file).body(end="").blocks
    except RecursionError:
        raise ConfigError(
            "this is no Terraform configuration: it is nested too deeply",
            place=Place(file),
            remedy="write it with fewer brackets inside one another",
        ) from None


def read_json(text: str, file: str) -> Sequence[Block]:
    """The same from JSON syntax (`*.tf.json`): modules and the terraform block."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise ConfigError("is not JSON", place=Place(file, line), remedy="correct it") from None
    modules = [
        Block(kind="module", labels=(name,), line=0, attributes=_texts(body))
        for name, body in _labelled(_member(document, "module"))
    ]
    settings = [
        Block(
            kind="terraform",
            labels=(),
            line=0,
            blocks=tuple(
                Block(kind=kind, labels=labels, line=0, attributes=_texts(body))
                for kind in ("backend", "cloud")
                for labels, body in _inner(_member(part, kind), kind)
            ),
        )
        for part in _listed(_member(document, "terraform"))
    ]
    return [*modules, *settings]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\ufeff]+)
  | (?P<newline>\n)
  | (?P<comment>\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<heredoc><<-?(?P<tag>[\w-]+)[ \t]*\r?\n.*?^[ \t]*(?P=tag)(?=[ \t\r]*$))
  | (?P<word>[^\W\d][\w-]*)
  | (?P<open>[{(\[])
  | (?P<close>[})\]])
  | (?P<quote>")
  | (?P<equals>=(?![=>]))
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_CLOSES = {"{": "}", "(": ")", "[": "]"}


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._tokens = list(self._tokenized())
        self._at = 0

    def body(self, end: str) -> Block:
        """Attributes and blocks up to `end`, gathered in a nameless block."""
        attributes: dict[str, str] = {}
        blocks: list[Block] = []
        while True:
            token = self._next()
            if token.text == end and token.kind in ("close", "end"):
                return Block(kind="", labels=(), line=token.line, attributes=attributes, blocks=tuple(blocks))
            if token.kind == "newline":
                continue
            if token.kind not in ("word", "string"):
                raise self._wrong(token, f"{token.text or 'the end of the file'!r} cannot stand here")
            if self._peek().kind == "equals":
                self._next()
                value = self._value()
                if value is not None:
                    attributes[token.text] = value
            else:
                blocks.append(self._block(token))

    def _block(self, kind: _Token) -> Block:
        labels = []
        while (token := self._next()).kind in ("word", "string"):
            labels.append(token.text)
        if token.text != "{":
            raise self._wrong(token, f"the block {kind.text} has no {{")
        body = self.body(end="}")
        return Block(
            kind=kind.text,
            labels=tuple(labels),
            line=kind.line,
            attributes=body.attributes,
            blocks=body.blocks,
        )

    def _value(self) -> str | None:
        """The expression after `=`, to the end of its line; its text when it is nothing but that."""
        seen: list[_Token] = []
        while self._peek().kind not in ("newline", "end") and self._peek().text != "}":
            token = self._next()
            seen.append(token)
            if token.kind == "open":
                self._skip(token)
        return seen[0].text if len(seen) == 1 and seen[0].kind == "string" else None

    def _skip(self, opening: _Token) -> None:
        """What stands between brackets, whatever it is."""
        while (token := self._next()).kind != "close":
            if token.kind == "end":
                raise self._wrong(opening, f"{opening.text!r} is never closed")
            if token.kind == "open":
                self._skip(token)
        if token.text != _CLOSES[opening.text]:
            raise self._wrong(token, f"{token.text!r} closes the {opening.text!r} of line {opening.line}")

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _wrong(self, token: _Token, what: str) -> ConfigError:
        return ConfigError(
            f"this is no Terraform configuration: {what}",
            place=Place(self._file, token.line),
            remedy="run `terraform validate` in this directory",
        )

    def _tokenized(self) -> Iterator[_Token]:
        at, line = 0, 1
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            assert found is not None
            kind, end = found.lastgroup or "", found.end()
            if kind == "tag":
                kind = "heredoc"
            if kind == "quote":
                end = self._string_end(at, line)
                yield _string(self._text[at + 1 : end - 1], line)
            elif kind not in ("space", "comment"):
                yield _Token(kind, found[0], line)
            line += self._text.count("\n", at, end)
            at = end
        yield _Token("end", "", line)

    def _string_end(self, at: int, line: int) -> int:
        """Behind the quote that closes the one at `at`; templates inside may hold quotes of their own."""
        at += 1
        while at < len(self._text) and self._text[at] != "\n":
            two = self._text[at : at + 2]
            if self._text[at] == '"':
                return at + 1
            if two in ("${", "%{") and self._text[at - 1] != two[0]:
                at = self._template_end(at + 2, line)
            else:
                at += 2 if two[0] == "\\" else 1
        raise self._wrong(_Token("quote", '"', line), "a text has no closing quote")

    def _template_end(self, at: int, line: int) -> int:
        depth = 1
        while at < len(self._text):
            sign = self._text[at]
            if sign == '"':
                at = self._string_end(at, line)
                continue
            depth += (sign == "{") - (sign == "}")
            at += 1
            if not depth:
                return at
        raise self._wrong(_Token("quote", "${", line), "a template has no closing brace")


def _string(inside: str, line: int) -> _Token:
    plain = re.fullmatch(r'(?:[^\\$%]|\\["\\]|[$%](?!\{))*', inside)
    return _Token("string" if plain else "template", re.sub(r'\\(["\\])', r"\1", inside), line)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _labelled(value: Any) -> Iterator[tuple[str, Any]]:
    for part in _listed(value):
        if isinstance(part, Mapping):
            yield from ((name, body) for name, each in part.items() for body in _listed(each))


def _inner(value: Any, kind: str) -> Iterator[tuple[Sequence[str], Any]]:
    if kind == "backend":
        yield from (((name,), body) for name, body in _labelled(value))
    else:
        yield from (((), body) for body in _listed(value))


def _texts(body: Any) -> Mapping[str, str]:
    if not isinstance(body, Mapping):
        return {}
    return {key: value for key, value in body.items() if isinstance(value, str) and "${" not in value}
