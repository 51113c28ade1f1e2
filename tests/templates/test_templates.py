"""Go templates mean here what they mean in Go, or are refused with their file and line."""

import pytest

from pipecd.errors import ConfigError
from pipecd.templates import render

DATA = {
    "encryptedSecrets": {"password": 'p4ss"w\\rd', "dash-ed": "dashed", "key": "one\ntwo", "empty": ""},
    "attachment": {"motd": "  Hello \n"},
}

CASES = {
    "a file without actions is left alone": ("a { b } }} c\n", "a { b } }} c\n"),
    "a value": ("x={{ .encryptedSecrets.key }};", "x=one\ntwo;"),
    "no spaces needed": ("{{.encryptedSecrets.empty}}{{.attachment.motd}}", "  Hello \n"),
    "quote as %q": ("{{ .encryptedSecrets.password | quote }}", r'"p4ss\"w\\rd"'),
    "quote as a call": ("{{ quote .encryptedSecrets.key }}", r'"one\ntwo"'),
    "squote": ("{{ .encryptedSecrets.key | squote }}", "'one\ntwo'"),
    "b64enc": ("{{ .encryptedSecrets.key | b64enc }}", "b25lCnR3bw=="),
    "there and back": ("{{ .encryptedSecrets.key | b64enc | b64dec }}", "one\ntwo"),
    "trim": ("[{{ .attachment.motd | trim }}]", "[Hello]"),
    "upper, lower": ("{{ upper .encryptedSecrets.key | lower }}", "one\ntwo"),
    "indent pads every line": ("{{ .encryptedSecrets.key | indent 2 }}", "  one\n  two"),
    "nindent begins a line": ("k: |{{ .encryptedSecrets.key | nindent 2 }}", "k: |\n  one\n  two"),
    "default for an empty value": ('{{ .encryptedSecrets.empty | default "none" }}', "none"),
    "default leaves a value": ('{{ default "none" .encryptedSecrets.key }}', "one\ntwo"),
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
    "braces in a text": ('{{ "}}" }}{{ `{{` }}', "}}{{"),
    "escapes": (r'{{ "\x41\u00e9\t\\" }}', "Aé\t\\"),
    "an action over lines": ("{{ .encryptedSecrets.key\n  | b64enc }}", "b25lCnR3bw=="),
    "what was inserted is not rendered again": ('{{ "{{" }} .x }}', "{{ .x }}"),
    "bytes that are no text": ("{{ `/w==` | b64dec | b64enc }}{{ `/w==` | b64dec | quote }}", r'/w=="\xff"'),
}


@pytest.mark.parametrize(("template", "expected"), CASES.values(), ids=CASES)
def test_rendered_as_in_go(template: str, expected: str) -> None:
    assert render(template, DATA, "x.yaml").text == expected


REFUSED = {
    "missing key": ("{{ .encryptedSecrets.nope }}", "there is no .encryptedSecrets.nope"),
    "missing root": ("{{ .Values.x }}", "there is no .Values"),
    "missing key in spite of a default": ('{{ .attachment.x | default "y" }}', "there is no .attachment.x"),
    "index of a missing key": ('{{ index .attachment "x-y" }}', "there is no 'x-y'"),
    "below a text": ("{{ .attachment.motd.x }}", "is a text and has no x"),
    "many values": ("{{ .encryptedSecrets }}", "is not one value"),
    "many values to a function": ("{{ .encryptedSecrets | quote }}", "quote: takes one value"),
    "an unknown function": ("{{ .attachment.motd | env }}", "the function env is not known"),
    "control flow": ("{{ if .attachment.motd }}x{{ end }}", "{{ if }} is not supported"),
    "a variable": ("{{ $x := 1 }}", "'$' is not understood"),
    "a dash in a path": ("{{ .encryptedSecrets.dash-ed }}", "is written as (index .encryptedSecrets"),
    "not closed": ("{{ .attachment.motd ", "{{ is not closed"),
    "empty": ("{{ }}", "is empty"),
    "an open comment": ("{{/* x }}", "a comment is not closed"),
    "an open parenthesis": ("{{ (1 }}", "( is not closed"),
    "too many parentheses": ("{{ 1) }}", "too much"),
    "nothing behind a pipe": ("{{ 1 | }}", "a value or a function is missing"),
    "a value behind a pipe": ("{{ 1 | 2 }}", "a value cannot be called"),
    "two values": ("{{ 1 2 }}", "a value cannot be called"),
    "too few values": ("{{ .attachment.motd | nindent }}", "nindent is given 1 values"),
    "no number": ('{{ .attachment.motd | indent "2" }}', "a number of spaces"),
    "a huge number": ("{{ .attachment.motd | indent 1000000 }}", "a number of spaces"),
    "no base64": ("{{ .attachment.motd | b64dec }}", "the value is not base64"),
    "a bad escape": (r'{{ "\q" }}', "is not an escape"),
    "a text over lines": ('{{ "a\nb" }}', "is not understood"),
    "a function as a value": ("{{ quote upper }}", "'upper' is not a value"),
}


@pytest.mark.parametrize(("template", "what"), REFUSED.values(), ids=REFUSED)
def test_refused_with_its_place(template: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render(f"first\n{template}\n", DATA, "dir/x.yaml")
    assert str(caught.value).startswith("dir/x.yaml:2: ")
    assert what in str(caught.value)
    assert DATA["encryptedSecrets"]["password"] not in str(caught.value)


def test_what_was_made_of_values_is_told() -> None:
    rendered = render("{{ .encryptedSecrets.key | upper | b64enc }}{{ `other` }}", DATA, "x")
    assert rendered.inserted["encryptedSecrets"] == {"one\ntwo", "ONE\nTWO", "T05FClRXTw=="}
    assert not rendered.inserted["attachment"]


def test_what_is_made_of_two_values_is_told_of_both() -> None:
    rendered = render('{{ index . "attachment" "motd" | default .encryptedSecrets.empty }}', DATA, "x")
    assert rendered.inserted["encryptedSecrets"] == {"", "  Hello \n"}
    assert rendered.inserted["attachment"] == {"  Hello \n"}
