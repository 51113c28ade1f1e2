"""Setting values in files: the value is there afterwards, and every other character stays."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecd.edits import Edit
from pipecd.edits.hcl_text import _quoted, set_hcl
from pipecd.edits.json_text import set_json
from pipecd.edits.pattern_text import set_matches
from pipecd.edits.yaml_text import set_yaml
from pipecd.errors import Refused
from pipecd.hcl import read_body
from pipecd.patterns import Regex
from pipecd.value_path import Index, Key, ValuePath

YAML = """\
# The shop.
spec:
  image: web:1.0   # by the event watcher
  "quoted": "a"
  single: 'b'
  replicas: 3
  version: 1.1
  flow: [ {name: a, tag: 'x'}, {name: b, tag: y} ]
  empty:
  block: |
    text
  anchor: &tag v1
  alias: *tag
  tagged: !!str v1
---
other: 1
"""
HCL = """\
# The shop.
locals {
  tag    = "v1" // by the event watcher
  count  = 3
  images = { web = "a", "api" : "b" }
  nested = {
    x = "1"
    y = [1, 2]
  }
}
module "web" {
  source  = "git::https://example.com/x?ref=v1"
  version = "${var.version}-1"
}
"""
JSON = '{ "a" : [1, {"b":"x"}],\n  "c": true, "e":{}, "l":[] }\n'
Set = Callable[[str, str, ValuePath, str], Edit]


def edit(function: Set, text: str, path: str, value: str) -> Edit:
    parsed = ValuePath.parse(path)
    assert parsed
    return function(text, "file", parsed, value)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("$.spec.image", "web:2.0", "  image: web:2.0   # by the event watcher"),
        ("spec.image", "a: b", '  image: "a: b"   # by the event watcher'),
        ("$.spec.image", "", '  image: ""   # by the event watcher'),
        ("$.spec['quoted']", 'say "x"', '  "quoted": "say \\"x\\""'),
        ("$.spec.single", "it's", "  single: 'it''s'"),
        ("$.spec.replicas", "4", "  replicas: 4"),
        ("$.spec.replicas", "four", "  replicas: four"),
        ("$.spec.version", "1.10", "  version: 1.10"),
        ("$.spec.flow[1].tag", "z", "  flow: [ {name: a, tag: 'x'}, {name: b, tag: z} ]"),
        ("$.spec.flow[1].tag", "k, l", "  flow: [ {name: a, tag: 'x'}, {name: b, tag: \"k, l\"} ]"),
        ("$.spec.flow[*].tag", "z", "  flow: [ {name: a, tag: 'z'}, {name: b, tag: z} ]"),
        ("$..tag", "z", "  flow: [ {name: a, tag: 'z'}, {name: b, tag: z} ]"),
        ("$.spec.empty", "full", "  empty: full"),
        ("$.spec.anchor", "v2", "  anchor: &tag v2"),
        ("$.spec.tagged", "v2", "  tagged: !!str v2"),
        ("$.other", "2", "other: 2"),
    ],
)
def test_a_value_in_yaml_is_set_in_its_own_style(path: str, value: str, line: str) -> None:
    changed = edit(set_yaml, YAML, path, value)
    (new,) = set(changed.text.splitlines()) - set(YAML.splitlines())
    assert new == line
    assert changed.count == (2 if "*" in path or ".." in path else 1)


@pytest.mark.parametrize(
    "value", ["1.10", "true", "on", "null", "~", "12:30", "2024-01-01", "1e3", "0o7", "y", "0x1f"]
)
def test_a_text_in_yaml_stays_a_text(value: str) -> None:
    changed = edit(set_yaml, YAML, "$.spec.image", value)
    assert f'  image: "{value}"   # by the event watcher' in changed.text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.spec.missing", r"file: nothing is at \$\.spec\.missing; correct the path"),
        ("$.spec.flow", r"file:8: \$\.spec\.flow is a list, not a single value"),
        ("$.spec", r"file:3: \$\.spec is a mapping"),
        ("$.spec.block", r"file:10: \$\.spec\.block is a block of text"),
        ("$.spec.alias", r"file:13: \$\.spec\.alias leads through an alias"),
    ],
)
def test_what_is_no_value_in_yaml_is_refused(path: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        edit(set_yaml, YAML, path, "x")


@pytest.mark.parametrize(
    ("function", "text", "message"),
    [
        (set_yaml, "a: [", r"file:2: not YAML: "),
        (set_yaml, "a: &a [*a]", r"file:1: an alias refers to itself"),
        (set_yaml, "[" * 200 + "]" * 200, "nested more than 100 levels"),
        (set_json, '{"a": 1,}', "file:1: not JSON: a key is missing"),
        (set_json, '{"a":\n}', "file:2: not JSON: a value is missing"),
        (set_json, "[" * 200 + "]" * 200, "nested more than 100 levels"),
        (set_hcl, 'a = "', "file:1: invalid Terraform configuration: a string has no closing quote"),
        (set_hcl, "a " + "{" * 5000, "file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(function: Set, text: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        edit(function, text, "$.a", "x")


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("$.a[1].b", "y", '"x"', '"y"'),
        ("$.a[0]", "2", "[1,", "[2,"),
        ("$.a[0]", "two", "[1,", '["two",'),
        ("$.c", "false", "true", "false"),
        ("$..b", "1", '"x"', '"1"'),
    ],
)
def test_a_value_in_json_is_set(path: str, value: str, old: str, new: str) -> None:
    assert edit(set_json, JSON, path, value) == Edit(text=JSON.replace(old, new), count=1)


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("locals.tag", 'v2 ${x} "', '"v1" //', '"v2 $${x} \\"" //'),
        ("locals.count", "4", "= 3", "= 4"),
        ("locals.count", "four", "= 3", '= "four"'),
        ("locals.images.web", "z", 'web = "a"', 'web = "z"'),
        ("locals.images['api']", "z", ': "b"', ': "z"'),
        ("locals.nested.x", "2", 'x = "1"', 'x = "2"'),
        ("module.web.source", "y", '"git::https://example.com/x?ref=v1"', '"y"'),
    ],
)
def test_a_value_in_hcl_is_set(path: str, value: str, old: str, new: str) -> None:
    assert edit(set_hcl, HCL, path, value) == Edit(text=HCL.replace(old, new), count=1)


@pytest.mark.parametrize("old", ["${x}", "%{", "$${x} %%{ y"])
def test_a_value_in_hcl_that_looks_like_a_template_is_set_again(old: str) -> None:
    text = edit(set_hcl, 'tag = "v1"\n', "tag", old).text
    assert edit(set_hcl, text, "tag", old).text == text
    assert edit(set_hcl, text, "tag", "v2").text == 'tag = "v2"\n'


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("module.web.version", "file:13: module.web.version is not a plain value"),
        ("locals.nested.y", "file:8: locals.nested.y is not a plain value"),
        ("locals.missing", "file: nothing is at locals.missing"),
        ("locals[0]", r"file: locals\[0\] has a part that HCL does not have"),
    ],
)
def test_what_is_no_value_in_hcl_is_refused(path: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        edit(set_hcl, HCL, path, "x")


def test_the_group_of_every_match_is_replaced() -> None:
    text = "é tag: v1\nother\ntag: v2\n"
    assert set_matches(text, "file", Regex.parse("tag: (v[0-9]+)"), "v9") == Edit(
        text="é tag: v9\nother\ntag: v9\n", count=2
    )
    with pytest.raises(Refused, match="matches nothing"):
        set_matches(text, "file", Regex.parse("image: (.*)"), "v9")


def test_a_value_that_is_there_already_is_no_change() -> None:
    assert edit(set_yaml, YAML, "$.spec.image", "web:1.0") == Edit(text=YAML, count=0)
    assert edit(set_json, JSON, "$.a[1].b", "x") == Edit(text=JSON, count=0)
    assert edit(set_hcl, HCL, "locals.tag", "v1") == Edit(text=HCL, count=0)
    assert set_matches("a1", "file", Regex.parse("a(1)"), "1") == Edit(text="a1", count=0)


def test_paths_are_read_as_in_pipecd() -> None:
    path = ValuePath.parse("$.a['b.c'][0][*].'d e'")
    assert path
    assert path.steps == (
        Key("a"),
        Key("b.c"),
        Index(0),
        Index(None),
        Key("d e"),
    )
    for text in ("$.a[", "$.a[x]", "$a b]", "$.a.", "x" * 1001):
        with pytest.raises(ValueError, match="is not a path"):
            ValuePath.parse(text)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)
GAPS = st.sampled_from(["", " ", "  "])
ENDS = st.sampled_from(["\n", "\r\n"])
LITERALS = st.sampled_from(["3", "-1.5", "true", "null"])


@dataclass(frozen=True)
class Document:
    """Values and the texts around them, by name; `target` is the one to set."""

    names: list[str]
    values: list[str]
    texts: list[str]
    target: int

    @property
    def text(self) -> str:
        return "".join(part for pair in zip(self.texts, [*self.values, ""], strict=True) for part in pair)

    def check(self, changed: str) -> str:
        """Every character outside the value is as before. Returns what is in the place of the value."""
        before = Document(self.names, self.values[: self.target], self.texts[: self.target + 1], 0).text
        after = self.text[len(before) + len(self.values[self.target]) :]
        assert changed.startswith(before) and changed.endswith(after)
        return changed[len(before) : len(changed) - len(after)]


@st.composite
def documents(
    draw: st.DrawFn,
    begin: str,
    member: Callable[[str, str], str],
    comments: Sequence[str],
    separator: str,
    end: str,
    values: st.SearchStrategy[str],
) -> Document:
    """`member` is what precedes the value of a name, with a gap. `comments` are what may follow a value."""
    names, line = draw(NAMES), draw(ENDS)
    texts = [begin.replace("\n", line)]
    for name in names:
        texts[-1] += draw(st.sampled_from(["", *comments])) + line + member(name, draw(GAPS))
        texts.append(draw(GAPS) + separator if name != names[-1] else draw(GAPS))
    texts[-1] += draw(st.sampled_from(["", *comments])) + line + end.replace("\n", line)
    chosen = [draw(values) for _ in names]
    return Document(names, chosen, texts, draw(st.integers(0, len(names) - 1)))


JSON_VALUES = st.one_of(TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)), LITERALS)
YAML_VALUES = st.one_of(
    JSON_VALUES,
    TEXTS.map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.text("abcxyz1.:/-", min_size=1, max_size=9).filter(
        lambda text: isinstance(_parsed_yaml(f"a: {text}").get("a"), str)
    ),
)


def _parsed_yaml(text: str) -> dict[str, object]:
    """Empty if it is invalid."""
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


@settings(max_examples=60, deadline=None)
@given(
    document=documents("# first", "{0}: {1}".format, [" # é"], "", "# last\nz: [1]\n", YAML_VALUES),
    value=TEXTS,
)
def test_only_the_value_changes_in_any_yaml(document: Document, value: str) -> None:
    name, old = document.names[document.target], yaml.safe_load(document.values[document.target])
    changed = edit(set_yaml, document.text, f"$.{name}", value).text
    place = document.check(changed)
    before, after = yaml.safe_load(document.text), yaml.safe_load(changed)
    assert {**after, name: 0} == {**before, name: 0}
    if isinstance(old, str):
        assert after[name] == value
    else:
        assert place == value or after[name] == value


@settings(max_examples=60, deadline=None)
@given(document=documents("{", '"{0}"{1}:{1}'.format, [" "], ",", "}\n", JSON_VALUES), value=TEXTS)
def test_only_the_value_changes_in_any_json(document: Document, value: str) -> None:
    name, old = document.names[document.target], json.loads(document.values[document.target])
    changed = edit(set_json, document.text, f"$.{name}", value).text
    place = document.check(changed)
    assert {**json.loads(changed), name: 0} == {**json.loads(document.text), name: 0}
    assert json.loads(changed)[name] == value or (not isinstance(old, str) and place == value)


HCL_VALUES = st.one_of(TEXTS.map(_quoted), LITERALS)


@settings(max_examples=60, deadline=None)
@given(
    document=documents(
        "# first\nlocals {", "  {0}{1}={1}".format, [" # x = 1", " // {", " /* } */"], "", "}\n", HCL_VALUES
    ),
    value=TEXTS,
)
def test_only_the_value_changes_in_any_hcl(document: Document, value: str) -> None:
    name, old = document.names[document.target], document.values[document.target]
    changed = edit(set_hcl, document.text, f"locals.{name}", value).text
    place = document.check(changed)
    assert place == _quoted(value) or (not old.startswith('"') and place == value)
    before, after = (read_body(text, "file").blocks[0].expressions for text in (document.text, changed))
    assert before.keys() == after.keys()
    assert after[name].string in (value, None)
    assert {key: each.string for key, each in before.items() if key != name} == {
        key: each.string for key, each in after.items() if key != name
    }


@settings(max_examples=60, deadline=None)
@given(
    document=documents(
        "first", "{0}:{1}".format, [" # é"], "", "last\n", st.text("xyz.é", min_size=1, max_size=9)
    ),
    value=TEXTS,
)
def test_only_the_group_changes_in_any_text(document: Document, value: str) -> None:
    name = document.names[document.target]
    changed = set_matches(document.text, "file", Regex.parse(f"(?m)^{name}: *([xyz.é]*)"), value).text
    assert document.check(changed) == value
