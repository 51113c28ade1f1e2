"""A subset of Go templates for files that receive secrets and attachments. Used by `piped.source.rendering`.

Supports `{{ .encryptedSecrets.name }}` and functions, also in pipelines (`|`), with the semantics of Go and
Sprig; no control flow and no variables. Unsupported syntax raises an error with file and line and is never
passed through. Values are strings; bytes that are not valid UTF-8 are represented as surrogates
(`surrogateescape`).
"""

import base64
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from pipecd.errors import ConfigError, Place

Data = Mapping[str, str | Mapping[str, str]]
Value = str | int | Mapping[str, "Value"]
#: A value, and the names in `data` that it was derived from.
_TracedValue = tuple[Value, frozenset[str]]

#: Of a rendered file, and of every text on the way to it, in characters.
MAX_LENGTH = 10 * 1024 * 1024
#: Whitespace in Go templates.
_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<path>(?:\.[^\W\d]\w*)+)
    | (?P<dot>\.)
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<number>-?\d{1,9}+)
    | (?P<name>[^\W\d]\w*)
    | (?P<sign>[|()])
    )""",
    re.VERBOSE,
)
_CONTROL = frozenset(
    {"if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"}
)
_ESCAPES = {"\\": "\\", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTED = {value: f"\\{key}" for key, value in _ESCAPES.items()}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    text: str
    #: By the name in `data`: every string derived from its values, unchanged and after each function.
    inserted: Mapping[str, frozenset[str]]


def render(text: str, data: Data, file: str) -> Rendered:
    """Render `text`. Raises ConfigError with `file` and the line; the message contains no value of `data`."""
    pieces: list[str] = []
    inserted: dict[str, set[str]] = {name: set() for name in data}
    position, line, size, counted = 0, 1, 0, 0
    trim_next = False
    while (start := text.find("{{", position)) >= 0:
        line += text.count("\n", position, start)
        location = _Location(place=Place(file, line))
        action, end, trims_before, trims_after = _parse_action(text, start, location)
        before = text[position:start]
        before = before.lstrip(_SPACE) if trim_next else before
        pieces.append(before.rstrip(_SPACE) if trims_before else before)
        if action is not None:
            evaluation = _Evaluation(data, location, _tokenize(action, location), inserted)
            pieces.append(evaluation.evaluate())
        size += sum(map(len, pieces[counted:]))
        counted = len(pieces)
        if size > MAX_LENGTH:
            raise location.error(f"the file would have more than {MAX_LENGTH} characters", "insert less text")
        line += text.count("\n", start, end)
        trim_next, position = trims_after, end
    rest = text[position:]
    pieces.append(rest.lstrip(_SPACE) if trim_next else rest)
    frozen = {name: frozenset(strings) for name, strings in inserted.items()}
    return Rendered(text="".join(pieces), inserted=frozen)


@dataclass(frozen=True, kw_only=True)
class _Location:
    """The file and line of an action, for errors."""

    place: Place

    def error(self, what: str, remedy: str = "") -> ConfigError:
        return ConfigError(what, remedy=remedy, place=self.place)


def _parse_action(text: str, start: int, location: _Location) -> tuple[str | None, int, bool, bool]:
    """The action's text (None for a comment), its end, and whether to trim before and after it."""
    inner = start + 2
    before = text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in (*_SPACE,)
    inner += before
    comment = re.compile(r"[ \t\r\n]*/\*" if before else r"/\*").match(text, inner)
    if comment:
        closed = re.compile(r"\*/(?P<trim>[ \t\r\n]+-)?\}\}").search(text, comment.end())
        if closed is None:
            raise location.error("a comment is not closed", "end it with */}}")
        return None, closed.end(), before, closed["trim"] is not None
    end = _find_end(text, inner, location)
    action = text[inner:end]
    after = action.endswith("-") and action[-2:-1] in (*_SPACE,)
    return action[:-1] if after else action, end + 2, before, after


def _find_end(text: str, position: int, location: _Location) -> int:
    """The position of the next `}}` outside quoted strings."""
    part = re.compile(r"\}\}|\"(?:[^\"\\\n]|\\.)*+\"|`[^`]*`|[^\"`}]++|\}", re.DOTALL)
    while match := part.match(text, position):
        if match[0] == "}}":
            return position
        position = match.end()
    if position < len(text):
        raise location.error("a quoted text is not closed", f"end it with {text[position]}")
    raise location.error("{{ is not closed", 'end it with }}, or write a literal {{ as {{ "{{" }}')


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    text: str


def _tokenize(action: str, location: _Location) -> Sequence[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(action.rstrip(_SPACE))
    while position < end:
        match = _TOKEN.match(action, position)
        if match is None or match.lastgroup is None:
            rest = action[position:].strip(_SPACE)
            remedy = "only values, functions, | and parentheses are supported"
            if rest.startswith("-") and tokens and tokens[-1].kind == "path":
                remedy = 'write a name that contains - as (index .encryptedSecrets "the-name")'
            raise location.error(f"unexpected {rest[:1]!r} in a template", remedy)
        tokens.append(_Token(kind=match.lastgroup, text=match[match.lastgroup]))
        position = match.end()
    if not tokens:
        raise location.error("{{ }} is empty", "name a value, such as {{ .encryptedSecrets.password }}")
    return tokens


@dataclass
class _Evaluation:
    """Evaluates the tokens of one action to the string that replaces it, recording derived strings."""

    data: Data
    location: _Location
    tokens: Sequence[_Token]
    inserted: Mapping[str, set[str]]
    position: int = field(default=0)

    def evaluate(self) -> str:
        try:
            value, _ = self._pipeline()
        except RecursionError:
            raise self.location.error("too many parentheses", "split the expression") from None
        if self.position < len(self.tokens):
            raise self.location.error(f"unexpected {self.tokens[self.position].text!r}")
        if isinstance(value, Mapping):
            raise self.location.error(
                "this is not a single value", "name one, such as {{ .encryptedSecrets.password }}"
            )
        return str(value)

    def _next(self) -> _Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _pipeline(self) -> _TracedValue:
        """The value of one or more commands joined by `|`."""
        value, sources = self._command(())
        while (token := self._next()) and token.text == "|" and token.kind == "sign":
            self.position += 1
            value, sources = self._command(((value, sources),))
        return value, sources

    def _command(self, piped: Sequence[_TracedValue]) -> _TracedValue:
        """A single value, or a function with its arguments; the piped value is the last argument."""
        token = self._next()
        if token is None or (token.kind == "sign" and token.text != "("):
            raise self.location.error("a value or a function is missing")
        if token.kind != "name":
            value = self._operand()
            if piped or self._has_operand():
                raise self.location.error(
                    "a value cannot be called", "put the function first, or pipe the value: a | b64enc"
                )
            return value
        self.position += 1
        if token.text in _CONTROL:
            raise self.location.error(
                f"{{{{ {token.text} }}}} is not supported",
                "use only values and functions; write alternatives as separate files",
            )
        arguments = []
        while self._has_operand():
            arguments.append(self._operand())
        return self._call(token.text, [*arguments, *piped])

    def _call(self, name: str, arguments: Sequence[_TracedValue]) -> _TracedValue:
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.location.error(
                f"unknown function {name}", f"supported functions: {', '.join(sorted(FUNCTIONS))}"
            )
        sources = frozenset[str]().union(*(names for _, names in arguments))
        values = [value for value, _ in arguments]
        try:
            inspect.signature(function).bind(*values)
        except TypeError:
            raise self.location.error(f"wrong number of arguments for {name}: {len(arguments)}") from None
        try:
            _check_length(name, values)
            result = function(*values)
        except _FunctionError as error:
            raise self.location.error(f"{name}: {error}") from None
        return self._record(result, sources), sources

    def _has_operand(self) -> bool:
        token = self._next()
        return token is not None and (token.kind != "sign" or token.text == "(")

    def _operand(self) -> _TracedValue:
        token = self.tokens[self.position]
        self.position += 1
        match token.kind:
            case "path" | "dot":
                names = token.text.split(".")[1:]
                return self._lookup(token.text), frozenset(names[:1] if any(names) else self.data)
            case "text":
                return self._unescape(token.text[1:-1]), frozenset()
            case "raw":
                return token.text[1:-1], frozenset()
            case "number":
                return int(token.text), frozenset()
            case "sign":
                value = self._pipeline()
                closing = self._next()
                if closing is None or closing.text != ")":
                    raise self.location.error("( is not closed")
                self.position += 1
                return value
            case _:
                raise self.location.error(
                    f"{token.text!r} is not a value", "put a function and its arguments in parentheses"
                )

    def _lookup(self, path: str) -> Value:
        value: Value = self.data
        current = ""
        for name in filter(None, path.split(".")):
            if not isinstance(value, Mapping):
                raise self.location.error(f"{current} is a string and has no {name}")
            current += f".{name}"
            if name not in value:
                existing = ", ".join(f"{current.removesuffix(name)}{key}" for key in value) or "nothing"
                raise self.location.error(
                    f"{current} does not exist", f"available: {existing}; correct the name, or add it"
                )
            value = value[name]
        return self._record(value, frozenset(path.split(".")[1:2]))

    def _record(self, value: Value, sources: frozenset[str]) -> Value:
        if isinstance(value, str):
            for name in sources:
                self.inserted[name].add(value)
        return value

    def _unescape(self, text: str) -> str:
        def replace(match: re.Match[str]) -> str:
            if match["code"]:
                return chr(int(match["code"][1:], 16))
            if match["plain"] not in _ESCAPES:
                raise self.location.error(f"\\{match['plain']} is not a valid escape in a quoted string")
            return _ESCAPES[match["plain"]]

        return re.sub(r"\\(?:(?P<code>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|(?P<plain>.))", replace, text)


class _FunctionError(Exception):
    """A template function cannot process its arguments. The message contains no value."""


def _check_length(function: str, values: Sequence[Value]) -> None:
    """Raises _FunctionError before a result of more than `MAX_LENGTH` characters is built."""
    texts = [value for value in values if isinstance(value, str)]
    length = sum(map(len, texts))
    if function == "replace" and len(texts) == 3:
        old, new, text = texts
        length = len(text) + text.count(old) * len(new)
    elif function in ("indent", "nindent") and isinstance(values[0], int):
        length += max(values[0], 0) * sum(text.count("\n") + 1 for text in texts)
    if length > MAX_LENGTH:
        raise _FunctionError(f"the text would have more than {MAX_LENGTH} characters")


def _text(value: Value) -> str:
    if isinstance(value, Mapping):
        raise _FunctionError("takes a single value")
    return str(value)


def _bytes(value: Value) -> bytes:
    return _text(value).encode(errors="surrogateescape")


def _b64enc(value: Value) -> str:
    return base64.standard_b64encode(_bytes(value)).decode()


def _b64dec(value: Value) -> str:
    try:
        plain = base64.b64decode(re.sub(rb"[\r\n]", b"", _bytes(value)), validate=True)
    except ValueError:
        raise _FunctionError("the value is not base64") from None
    return plain.decode(errors="surrogateescape")


def _width(value: Value) -> str:
    if not isinstance(value, int) or not 0 <= value <= 1000:
        raise _FunctionError("the first argument must be a number of spaces, such as `indent 4`")
    return " " * value


def _indent(width: Value, value: Value) -> str:
    pad = _width(width)
    return pad + _text(value).replace("\n", "\n" + pad)


def _quote(value: Value) -> str:
    """Formats like Go's `%q`."""
    return '"' + "".join(_QUOTED.get(char) or _printable(char) for char in _text(value)) + '"'


def _printable(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _index(value: Value, *names: Value) -> Value:
    for name in names:
        if not isinstance(value, Mapping):
            raise _FunctionError("a string has no members")
        if _text(name) not in value:
            raise _FunctionError(f"{_text(name)!r} does not exist")
        value = value[_text(name)]
    return value


def _default(default: Value, value: Value) -> Value:
    return value or default


def _replace(old: Value, new: Value, value: Value) -> str:
    return _text(value).replace(_text(old), _text(new))


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "b64dec": lambda value: _b64dec(value),
    "b64enc": lambda value: _b64enc(value),
    "default": _default,
    "indent": _indent,
    "index": _index,
    "lower": lambda value: _text(value).lower(),
    "nindent": lambda width, value: "\n" + _indent(width, value),
    "print": lambda value: _text(value),
    "quote": lambda value: _quote(value),
    "replace": _replace,
    "squote": lambda value: f"'{_text(value)}'",
    "toString": lambda value: _text(value),
    "trim": lambda value: _text(value).strip(),
    "trimAll": lambda cut, value: _text(value).strip(_text(cut)),
    "trimPrefix": lambda cut, value: _text(value).removeprefix(_text(cut)),
    "trimSuffix": lambda cut, value: _text(value).removesuffix(_text(cut)),
    "upper": lambda value: _text(value).upper(),
    "urlquery": lambda value: quote_plus(_bytes(value)),
}
