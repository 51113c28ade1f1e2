"""Reads the blocks of an HCL file, such as one of Terraform, with the positions of their attributes.

It does not evaluate expressions: only attributes with a plain string have a value. Called by Terraform's
`source`, to find modules and backends, and by `edits`.
Syntax: https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.errors import ConfigError, Place
from pipecd.json_input import decode_json


@dataclass(frozen=True)
class Expression:
    """The position of an expression in the text; `string` if it is a plain string."""

    start: int
    end: int
    line: int
    string: str | None = None


@dataclass(frozen=True, kw_only=True)
class Block:
    """`module "name" { … }`. `attributes` holds only those whose value is a plain string."""

    kind: str
    labels: Sequence[str]
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    blocks: Sequence["Block"] = ()
    expressions: Mapping[str, Expression] = field(default_factory=dict)


def read(text: str, file: str) -> Sequence[Block]:
    """The top-level blocks of `text`. Raises ConfigError with `file` and line."""
    return read_body(text, file).blocks


def read_body(text: str, file: str) -> Block:
    """The attributes and blocks of `text`, as one unnamed block. Raises ConfigError with `file` and line."""
    try:
        return _Reader(text, file).body(end="")
    except RecursionError:
        raise ConfigError(
            "invalid Terraform configuration: it is nested too deeply",
            place=Place(file),
            remedy="reduce the nesting",
        ) from None


def read_object(text: str, file: str, expression: Expression) -> Block | None:
    """The members of an object such as `{ a = 1 }`; None if the expression is something else."""
    if text[expression.start : expression.start + 1] != "{":
        return None
    try:
        return _Reader(text, file, expression).body(end="")
    except (ConfigError, RecursionError):
        return None


def read_json(text: str, file: str) -> Sequence[Block]:
    """The module and terraform blocks of a file in JSON syntax (`*.tf.json`)."""
    try:
        document = decode_json(text)
    except ValueError as error:
        line = getattr(error, "lineno", 0)
        raise ConfigError("invalid JSON", place=Place(file, line), remedy="fix the syntax") from None
    modules = [
        Block(kind="module", labels=(name,), line=0, attributes=_plain_strings(body))
        for name, body in _labelled_blocks(_member(document, "module"))
    ]
    settings = [
        Block(
            kind="terraform",
            labels=(),
            line=0,
            blocks=tuple(
                Block(kind=kind, labels=labels, line=0, attributes=_plain_strings(body))
                for kind in ("backend", "cloud")
                for labels, body in _nested_blocks(_member(part, kind), kind)
            ),
        )
        for part in _as_list(_member(document, "terraform"))
    ]
    return [*modules, *settings]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int
    start: int = 0
    end: int = 0


#: The end of what may be long is searched for separately, once: each token takes time proportional to it.
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\ufeff]+)
  | (?P<newline>\n)
  | (?P<comment>\#[^\n]*|//[^\n]*)
  | (?P<block_comment>/\*)
  | (?P<heredoc><<-?(?P<tag>[\w-]++)[ \t]*+\r?\n)
  | (?P<word>[^\W\d][\w-]*)
  | (?P<open>[{(\[])
  | (?P<close>[})\]])
  | (?P<quote>")
  | (?P<equals>=(?![=>]))
  | (?P<comma>,)
  | (?P<colon>:(?!:))
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"{": "}", "(": ")", "[": "]"}


class _Reader:
    def __init__(self, text: str, file: str, inside: Expression | None = None) -> None:
        """Reads only what is between the brackets of `inside`, if given."""
        self._text, self._file = text, file
        self._start, self._end, self._line = 0, len(text), 1
        if inside:
            self._start, self._end, self._line = inside.start + 1, inside.end - 1, inside.line
        self._tokens = list(self._tokenize())
        self._at = 0

    def body(self, end: str) -> Block:
        """Attributes and blocks up to `end`, as one unnamed block."""
        expressions: dict[str, Expression] = {}
        blocks: list[Block] = []
        while True:
            token = self._next()
            if token.text == end and token.kind in ("close", "end"):
                return Block(
                    kind="",
                    labels=(),
                    line=token.line,
                    attributes={
                        key: value.string for key, value in expressions.items() if value.string is not None
                    },
                    blocks=tuple(blocks),
                    expressions=expressions,
                )
            if token.kind in ("newline", "comma"):
                continue
            if token.kind not in ("word", "string"):
                raise self._error(token, f"{token.text or 'the end of the file'!r} is not allowed here")
            if self._peek().kind in ("equals", "colon"):
                self._next()
                expressions[token.text] = self._expression()
            else:
                blocks.append(self._block(token))

    def _block(self, kind: _Token) -> Block:
        labels = []
        while (token := self._next()).kind in ("word", "string"):
            labels.append(token.text)
        if token.text != "{":
            raise self._error(token, f"the block {kind.text} has no opening brace")
        body = self.body(end="}")
        return Block(
            kind=kind.text,
            labels=tuple(labels),
            line=kind.line,
            attributes=body.attributes,
            blocks=body.blocks,
            expressions=body.expressions,
        )

    def _expression(self) -> Expression:
        """Reads what follows `=`, to the end of the line, the next comma or the closing brace."""
        first = last = self._peek()
        count = 0
        while self._peek().kind not in ("newline", "comma", "end") and self._peek().text != "}":
            last, count = self._next(), count + 1
            if last.kind == "open":
                last = self._skip(last)
        if not count:
            raise self._error(first, "an attribute has no value")
        string = first.text if count == 1 and first.kind == "string" else None
        return Expression(first.start, last.end, first.line, string)

    def _skip(self, opening: _Token) -> _Token:
        """Skips everything up to the closing bracket, and returns that."""
        while (token := self._next()).kind != "close":
            if token.kind == "end":
                raise self._error(opening, f"{opening.text!r} is not closed")
            if token.kind == "open":
                self._skip(token)
        if token.text != _CLOSES[opening.text]:
            raise self._error(token, f"{token.text!r} closes the {opening.text!r} of line {opening.line}")
        return token

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _error(self, token: _Token, problem: str) -> ConfigError:
        return ConfigError(
            f"invalid Terraform configuration: {problem}",
            place=Place(self._file, token.line),
            remedy="run `terraform validate` in this directory",
        )

    def _tokenize(self) -> Iterator[_Token]:
        at, line = self._start, self._line
        while at < self._end:
            match = _TOKEN.match(self._text, at)
            assert match is not None
            kind, end = match.lastgroup or "", match.end()
            if match["heredoc"]:
                kind, end = "heredoc", self._heredoc_end(end, match["tag"], line)
            elif kind == "block_comment":
                end = self._comment_end(end, line)
            if kind == "quote":
                end = self._string_end(at, line)
                yield _string(self._text, at, end, line)
            elif kind not in ("space", "comment", "block_comment"):
                yield _Token(kind, match[0], line, at, end)
            line += self._text.count("\n", at, end)
            at = end
        yield _Token("end", "", line, at, at)

    def _comment_end(self, at: int, line: int) -> int:
        end = self._text.find("*/", at)
        if end < 0:
            raise self._error(_Token("comment", "/*", line), "a comment is not closed")
        return end + 2

    def _heredoc_end(self, at: int, tag: str, line: int) -> int:
        """The position after the tag that is alone in its line."""
        while at < len(self._text):
            end = self._text.find("\n", at)
            end = len(self._text) if end < 0 else end
            if self._text[at:end].strip(" \t\r") == tag:
                return self._text.index(tag, at) + len(tag)
            at = end + 1
        raise self._error(_Token("heredoc", tag, line), f"the text {tag} is not closed")

    def _string_end(self, at: int, line: int) -> int:
        """The position after the closing quote. Templates inside the string may contain quotes."""
        at += 1
        while at < len(self._text) and self._text[at] != "\n":
            two = self._text[at : at + 2]
            if self._text[at] == '"':
                return at + 1
            if two in ("${", "%{") and self._text[at - 1] != two[0]:
                at = self._template_end(at + 2, line)
            else:
                at += 2 if two[0] == "\\" else 1
        raise self._error(_Token("quote", '"', line), "a string has no closing quote")

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
        raise self._error(_Token("quote", "${", line), "a template has no closing brace")


def _string(text: str, start: int, end: int, line: int) -> _Token:
    inside = text[start + 1 : end - 1]
    # `$${` and `%%{` are a `${` and a `%{` that begin no template.
    plain = re.fullmatch(r'(?:[^\\$%]|\\["\\]|([$%])\1\{|[$%](?!\{))*', inside)
    value = re.sub(r'\\(["\\])|([$%])\2(?=\{)', lambda found: found[1] or found[2], inside)
    return _Token("string" if plain else "template", value, line, start, end)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _labelled_blocks(value: Any) -> Iterator[tuple[str, Any]]:
    for part in _as_list(value):
        if isinstance(part, Mapping):
            yield from ((name, body) for name, each in part.items() for body in _as_list(each))


def _nested_blocks(value: Any, kind: str) -> Iterator[tuple[Sequence[str], Any]]:
    if kind == "backend":
        yield from (((name,), body) for name, body in _labelled_blocks(value))
    else:
        yield from (((), body) for body in _as_list(value))


def _plain_strings(body: Any) -> Mapping[str, str]:
    if not isinstance(body, Mapping):
        return {}
    return {key: value for key, value in body.items() if isinstance(value, str) and "${" not in value}
