"""Templates render as in Go; unsupported syntax raises an error with file and line."""

import time

import pytest

from pipecd.errors import ConfigError
from pipecd.templates import render

DATA = {
    "encryptedSecrets": {"password": 'p4ss"w\\rd', "dash-ed": "dashed", "key": "one\ntwo", "empty": ""},
    "attachment": {"motd": "  Hello \n"},
}

CASES = {
    "a file without actions is unchanged": ("a { b } }} c\n", "a { b } }} c\n"),
    "a value": ("x={{ .encryptedSecrets.key }};", "x=one\ntwo;"),
    "no spaces needed": ("{{.encryptedSecrets.empty}}{{.attachment.motd}}", "  Hello \n"),
    "quote as %q": ("{{ .encryptedSecrets.password | quote }}", r'"p4ss\"w\\rd"'),
    "quote as a call": ("{{ quote .encryptedSecrets.key }}", r'"one\ntwo"'),
    "squote": ("{{ .encryptedSecrets.key | squote }}", "'one\ntwo'"),
    "b64enc": ("{{ .encryptedSecrets.key | b64enc }}", "b25lCnR3bw=="),
    "b64enc and b64dec": ("{{ .encryptedSecrets.key | b64enc | b64dec }}", "one\ntwo"),
    "trim": ("[{{ .attachment.motd | trim }}]", "[Hello]"),
    "upper, lower": ("{{ upper .encryptedSecrets.key | lower }}", "one\ntwo"),
    "indent pads every line": ("{{ .encryptedSecrets.key | indent 2 }}", "  one\n  two"),
    "nindent starts a new line": ("k: |{{ .encryptedSecrets.key | nindent 2 }}", "k: |\n  one\n  two"),
    "default for an empty value": ('{{ .encryptedSecrets.empty | default "none" }}', "none"),
    "default keeps a value": ('{{ default "none" .encryptedSecrets.key }}', "one\ntwo"),
    "toString": ("{{ 42 | toString }}", "42"),
    "urlquery": ("{{ .encryptedSecrets.password | urlquery }}", "p4ss%22w%5Crd"),
    "replace": ('{{ .encryptedSecrets.key | replace "\\n" ", " }}', "one, two"),
    "trimSuffix": ('{{ "a.b" | trimSuffix ".b" }}', "a"),
    "index for names with a dash": ('{{ index .encryptedSecrets "dash-ed" }}', "dashed"),
    "index from the root": ('{{ index . "encryptedSecrets" "dash-ed" }}', "dashed"),
    "parentheses": ('{{ (index .encryptedSecrets "dash-ed" | upper) | quote }}', '"DASHED"'),
    "trimmed on the left": ("a \n {{- .encryptedSecrets.empty }} b", "a b"),
    "trimmed on the right": ("a {{ .encryptedSecrets.empty -}} \n b", "a b"),
    "trimmed between two": ("{{ 1 -}}  \n  {{- 2 }}", "12"),
    "a minus without a space is a sign": ("{{-1 }}", "-1"),
    "a comment": ("a{{/* nothing }} here */}}b", "ab"),
    "a trimming comment": ("a {{- /* nothing */ -}} b", "ab"),
    "braces in a string": ('{{ "}}" }}{{ `{{` }}', "}}{{"),
    "escapes": (r'{{ "\x41\u00e9\t\\" }}', "Aé\t\\"),
    "an action over several lines": ("{{ .encryptedSecrets.key\n  | b64enc }}", "b25lCnR3bw=="),
    "inserted text is not rendered again": ('{{ "{{" }} .x }}', "{{ .x }}"),
    "bytes that are not UTF-8": (
        "{{ `/w==` | b64dec | b64enc }}{{ `/w==` | b64dec | quote }}",
        r'/w=="\xff"',
    ),
}


@pytest.mark.parametrize(("template", "expected"), CASES.values(), ids=CASES)
def test_renders_as_in_go(template: str, expected: str) -> None:
    assert render(template, DATA, "x.yaml").text == expected


ERRORS = {
    "missing key": ("{{ .encryptedSecrets.nope }}", ".encryptedSecrets.nope does not exist"),
    "missing root": ("{{ .Values.x }}", ".Values does not exist"),
    "missing key despite a default": ('{{ .attachment.x | default "y" }}', ".attachment.x does not exist"),
    "index of a missing key": ('{{ index .attachment "x-y" }}', "'x-y' does not exist"),
    "member of a string": ("{{ .attachment.motd.x }}", "is a string and has no x"),
    "a mapping": ("{{ .encryptedSecrets }}", "is not a single value"),
    "a mapping as an argument": ("{{ .encryptedSecrets | quote }}", "quote: takes a single value"),
    "an unknown function": ("{{ .attachment.motd | env }}", "unknown function env"),
    "control flow": ("{{ if .attachment.motd }}x{{ end }}", "{{ if }} is not supported"),
    "a variable": ("{{ $x := 1 }}", "unexpected '$'"),
    "a dash in a path": (
        "{{ .encryptedSecrets.dash-ed }}",
        "write a name that contains - as (index .encryptedSecrets",
    ),
    "not closed": ("{{ .attachment.motd ", "{{ is not closed"),
    "empty": ("{{ }}", "is empty"),
    "an unclosed comment": ("{{/* x }}", "a comment is not closed"),
    "an unclosed parenthesis": ("{{ (1 }}", "( is not closed"),
    "too many parentheses": ("{{ 1) }}", "unexpected ')'"),
    "nothing after a pipe": ("{{ 1 | }}", "a value or a function is missing"),
    "a value after a pipe": ("{{ 1 | 2 }}", "a value cannot be called"),
    "two values": ("{{ 1 2 }}", "a value cannot be called"),
    "too few arguments": ("{{ .attachment.motd | nindent }}", "wrong number of arguments for nindent: 1"),
    "not a number": ('{{ .attachment.motd | indent "2" }}', "a number of spaces"),
    "a huge number": ("{{ .attachment.motd | indent 1000000 }}", "a number of spaces"),
    "not base64": ("{{ .attachment.motd | b64dec }}", "the value is not base64"),
    "an invalid escape": (r'{{ "\q" }}', "is not a valid escape"),
    "a string over two lines": ('{{ "a\nb" }}', "a quoted text is not closed"),
    "a function as a value": ("{{ quote upper }}", "'upper' is not a value"),
}


@pytest.mark.parametrize(("template", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_names_file_and_line_and_no_secret(template: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render(f"first\n{template}\n", DATA, "dir/x.yaml")
    assert str(caught.value).startswith("dir/x.yaml:2: ")
    assert message in str(caught.value)
    assert DATA["encryptedSecrets"]["password"] not in str(caught.value)


def test_strings_derived_from_a_value_are_recorded() -> None:
    rendered = render("{{ .encryptedSecrets.key | upper | b64enc }}{{ `other` }}", DATA, "x")
    assert rendered.inserted["encryptedSecrets"] == {"one\ntwo", "ONE\nTWO", "T05FClRXTw=="}
    assert not rendered.inserted["attachment"]


def test_a_string_derived_from_two_values_is_recorded_for_both() -> None:
    rendered = render('{{ index . "attachment" "motd" | default .encryptedSecrets.empty }}', DATA, "x")
    assert rendered.inserted["encryptedSecrets"] == {"", "  Hello \n"}
    assert rendered.inserted["attachment"] == {"  Hello \n"}


HOSTILE = {
    "escaped quotes in an open text": ('{{ "' + '\\"' * 500_000, "not closed"),
    "many open texts": ("{{ ` " * 200_000, "not closed|unexpected"),
    "an error after many actions": ("{{ 1 }}\n" * 100_000 + "{{ x }}", "unknown function x"),
    "many parentheses": ("{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}", "too many parentheses"),
    "replace that multiplies": (
        '{{ "aaaa"' + ' | replace "a" "aaaaaaaaaaaaaaaa"' * 30 + " }}",
        "would have more",
    ),
    "replace of nothing": ('{{ "aaaa"' + ' | replace "" "aaaaaaaaaaaaaaaa"' * 30 + " }}", "would have more"),
    "indented lines": ('{{ "' + "\\n" * 50_000 + '" | indent 1000 }}', "would have more"),
    "one text many times": ("{{ .attachment.large }}" * 100, "would have more"),
    "a large number": ("{{ " + "1" * 100_000 + " }}", "cannot be called|not a value"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_quickly(name: str) -> None:
    text, message = HOSTILE[name]
    started = time.thread_time()
    with pytest.raises(ConfigError, match=message):
        render(text, {"attachment": {"large": "x" * 1_000_000}}, "app.yaml")
    assert time.thread_time() - started < 5


def test_a_line_after_many_actions_is_counted() -> None:
    with pytest.raises(ConfigError, match=r"^app\.yaml:4: "):
        render("{{ 1 -}}\n\n{{ 2\n}}{{ x }}", {}, "app.yaml")
