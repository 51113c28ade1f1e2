"""Go templates, as far as files that receive secrets and attachments need them. Called by `piped.rendering`.

`{{ .encryptedSecrets.name }}`, through functions by `|`, with Go's and Sprig's meanings. No control flow, no
variables: what is not known here is refused with its file and line, never passed through. Values are texts;
bytes that are no UTF-8 travel in them as surrogates (`surrogateescape`).
"""

import base64
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from pipecd.errors import ConfigError, Place

Data = Mapping[str, Mapping[str, str]]
Value = str | int | Mapping[str, "Value"]
#: A value, and the names in `data` that it is made of.
_Made = tuple[Value, frozenset[str]]

#: White space in Go's templates.
_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<path>(?:\.[^\W\d]\w*)+)
    | (?P<dot>\.)
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<number>-?\d+)
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
    #: Every text that a value of `data` became on its way into the file, as it is and after each function, by
    #: the name in `data` that it comes from.
    inserted: Mapping[str, frozenset[str]]


def render(text: str, data: Data, file: str) -> Rendered:
    """Raises ConfigError with `file` and the line. What is wrong is told without a value of `data`."""
    pieces: list[str] = []
    inserted: dict[str, set[str]] = {name: set() for name in data}
    at = 0
    trim_next = False
    while (start := text.find("{{", at)) >= 0:
        spot = _Spot(place=Place(file, text.count("\n", 0, start) + 1))
        action, end, trims_before, trims_after = _action(text, start, spot)
        before = text[at:start]
        before = before.lstrip(_SPACE) if trim_next else before
        pieces.append(before.rstrip(_SPACE) if trims_before else before)
        if action is not None:
            evaluation = _Evaluation(data, spot, _tokens(action, spot), inserted)
            pieces.append(evaluation.whole())
        trim_next, at = trims_after, end
    rest = text[at:]
    pieces.append(rest.lstrip(_SPACE) if trim_next else rest)
    told = {name: frozenset(texts) for name, texts in inserted.items()}
    return Rendered(text="".join(pieces), inserted=told)


@dataclass(frozen=True, kw_only=True)
class _Spot:
    place: Place

    def wrong(self, what: str, remedy: str = "") -> ConfigError:
        return ConfigError(what, remedy=remedy, place=self.place)


def _action(text: str, start: int, spot: _Spot) -> tuple[str | None, int, bool, bool]:
    """What stands between the braces (None: a comment), where it ends, and which sides are trimmed."""
    inner = start + 2
    before = text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in (*_SPACE,)
    inner += before
    comment = re.compile(r"[ \t\r\n]*/\*" if before else r"/\*").match(text, inner)
    if comment:
        closed = re.compile(r"\*/(?P<trim>[ \t\r\n]+-)?\}\}").search(text, comment.end())
        if closed is None:
            raise spot.wrong("a comment is not closed", "end it with */}}")
        return None, closed.end(), before, closed["trim"] is not None
    end = _closing(text, inner, spot)
    action = text[inner:end]
    after = action.endswith("-") and action[-2:-1] in (*_SPACE,)
    return action[:-1] if after else action, end + 2, before, after


def _closing(text: str, at: int, spot: _Spot) -> int:
    """Where `}}` stands that is in no quoted text."""
    part = re.compile(r"\}\}|\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|.", re.DOTALL)
    while found := part.match(text, at):
        if found[0] == "}}":
            return at
        at = found.end()
    raise spot.wrong("{{ is not closed", 'end it with }}, or write a literal {{ as {{ "{{" }}')


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    text: str


def _tokens(action: str, spot: _Spot) -> Sequence[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(action.rstrip(_SPACE))
    while at < end:
        match = _TOKEN.match(action, at)
        if match is None or match.lastgroup is None:
            rest = action[at:].strip(_SPACE)
            remedy = "only values, functions, | and parentheses can be used here"
            if rest.startswith("-") and found and found[-1].kind == "path":
                remedy = 'a name with - in it is written as (index .encryptedSecrets "the-name")'
            raise spot.wrong(f"{rest[:1]!r} is not understood in a template", remedy)
        found.append(_Token(kind=match.lastgroup, text=match[match.lastgroup]))
        at = match.end()
    if not found:
        raise spot.wrong("{{ }} is empty", "name a value, such as {{ .encryptedSecrets.password }}")
    return found


@dataclass
class _Evaluation:
    """One action, from its tokens to the text that stands in its place."""

    data: Data
    spot: _Spot
    tokens: Sequence[_Token]
    inserted: Mapping[str, set[str]]
    at: int = field(default=0)

    def whole(self) -> str:
        value, _ = self._pipeline()
        if self.at < len(self.tokens):
            raise self.spot.wrong(f"{self.tokens[self.at].text!r} is too much here")
        if isinstance(value, Mapping):
            raise self.spot.wrong("this is not one value", "name one: {{ .encryptedSecrets.password }}")
        return str(value)

    def _next(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _pipeline(self) -> _Made:
        """A value, and the names in `data` that it is made of."""
        value, touched = self._command(())
        while (token := self._next()) and token.text == "|" and token.kind == "sign":
            self.at += 1
            value, touched = self._command(((value, touched),))
        return value, touched

    def _command(self, piped: Sequence[_Made]) -> _Made:
        """A value by itself, or a function with its arguments; what is piped comes last."""
        token = self._next()
        if token is None or (token.kind == "sign" and token.text != "("):
            raise self.spot.wrong("a value or a function is missing")
        if token.kind != "name":
            value = self._operand()
            if piped or self._has_operand():
                raise self.spot.wrong(
                    "a value cannot be called", "put a function before or behind it: a | b64enc"
                )
            return value
        self.at += 1
        if token.text in _CONTROL:
            raise self.spot.wrong(
                f"{{{{ {token.text} }}}} is not supported here",
                "these files take values and functions only; write the alternatives as separate files",
            )
        given = []
        while self._has_operand():
            given.append(self._operand())
        return self._called(token.text, [*given, *piped])

    def _called(self, name: str, given: Sequence[_Made]) -> _Made:
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.spot.wrong(
                f"the function {name} is not known", f"known are {', '.join(sorted(FUNCTIONS))}"
            )
        touched = frozenset[str]().union(*(names for _, names in given))
        values = [one for one, _ in given]
        try:
            inspect.signature(function).bind(*values)
        except TypeError:
            what = f"{name} is given {len(given)} values, which is not what it takes"
            raise self.spot.wrong(what) from None
        try:
            value = function(*values)
        except _Wrong as error:
            raise self.spot.wrong(f"{name}: {error}") from None
        return self._noted(value, touched), touched

    def _has_operand(self) -> bool:
        token = self._next()
        return token is not None and (token.kind != "sign" or token.text == "(")

    def _operand(self) -> _Made:
        token = self.tokens[self.at]
        self.at += 1
        match token.kind:
            case "path" | "dot":
                names = token.text.split(".")[1:]
                return self._found(token.text), frozenset(names[:1] if any(names) else self.data)
            case "text":
                return self._unescaped(token.text[1:-1]), frozenset()
            case "raw":
                return token.text[1:-1], frozenset()
            case "number":
                return int(token.text), frozenset()
            case "sign":
                value = self._pipeline()
                closing = self._next()
                if closing is None or closing.text != ")":
                    raise self.spot.wrong("( is not closed")
                self.at += 1
                return value
            case _:
                raise self.spot.wrong(
                    f"{token.text!r} is not a value", "put a function with its values in parentheses"
                )

    def _found(self, path: str) -> Value:
        value: Value = self.data
        walked = ""
        for name in filter(None, path.split(".")):
            if not isinstance(value, Mapping):
                raise self.spot.wrong(f"{walked} is a text and has no {name}")
            walked += f".{name}"
            if name not in value:
                known = ", ".join(f"{walked.removesuffix(name)}{one}" for one in value) or "nothing"
                raise self.spot.wrong(
                    f"there is no {walked}", f"there is {known}; correct the name, or add it"
                )
            value = value[name]
        return self._noted(value, frozenset(path.split(".")[1:2]))

    def _noted(self, value: Value, touched: frozenset[str]) -> Value:
        if isinstance(value, str):
            for name in touched:
                self.inserted[name].add(value)
        return value

    def _unescaped(self, text: str) -> str:
        def one(found: re.Match[str]) -> str:
            if found["code"]:
                return chr(int(found["code"][1:], 16))
            if found["plain"] not in _ESCAPES:
                raise self.spot.wrong(f"\\{found['plain']} is not an escape in a quoted text")
            return _ESCAPES[found["plain"]]

        return re.sub(r"\\(?:(?P<code>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|(?P<plain>.))", one, text)


class _Wrong(Exception):
    """What a function cannot do with what it is given. Its words hold no value."""


def _text(value: Value) -> str:
    if isinstance(value, Mapping):
        raise _Wrong("takes one value, not many")
    return str(value)


def _bytes(value: Value) -> bytes:
    return _text(value).encode(errors="surrogateescape")


def _b64enc(value: Value) -> str:
    return base64.standard_b64encode(_bytes(value)).decode()


def _b64dec(value: Value) -> str:
    try:
        plain = base64.b64decode(re.sub(rb"[\r\n]", b"", _bytes(value)), validate=True)
    except ValueError:
        raise _Wrong("the value is not base64") from None
    return plain.decode(errors="surrogateescape")


def _width(value: Value) -> str:
    if not isinstance(value, int) or not 0 <= value <= 1000:
        raise _Wrong("takes a number of spaces first, such as `indent 4`")
    return " " * value


def _indent(width: Value, value: Value) -> str:
    pad = _width(width)
    return pad + _text(value).replace("\n", "\n" + pad)


def _quoted(value: Value) -> str:
    """As Go's `%q` writes it."""
    return '"' + "".join(_QUOTED.get(one) or _visible(one) for one in _text(value)) + '"'


def _visible(one: str) -> str:
    code = ord(one)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if one.isprintable():
        return one
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _index(value: Value, *names: Value) -> Value:
    for name in names:
        if not isinstance(value, Mapping):
            raise _Wrong("looks into a text, which has no members")
        if _text(name) not in value:
            raise _Wrong(f"there is no {_text(name)!r}")
        value = value[_text(name)]
    return value


def _default(otherwise: Value, value: Value) -> Value:
    return value or otherwise


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
    "quote": lambda value: _quoted(value),
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
