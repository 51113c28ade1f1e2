"""Setting values in files: the value is there afterwards, and every other character stays."""

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecd.edits import Edit
from pipecd.edits.hcl_text import set_hcl
from pipecd.edits.json_text import set_json
from pipecd.edits.pattern_text import set_matches
from pipecd.edits.yaml_text import set_yaml
from pipecd.errors import Refused
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
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none())
TREES = st.dictionaries(
    st.sampled_from("abcd"),
    st.recursive(
        SCALARS,
        lambda children: (
            st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abcd"), children, max_size=3)
        ),
        max_leaves=8,
    ),
    min_size=1,
)


@settings(max_examples=60, deadline=None)
@given(tree=TREES, value=TEXTS, flow=st.booleans(), style=st.sampled_from([None, "'", '"']))
def test_only_the_value_changes_in_any_yaml(
    tree: dict[str, object], value: str, flow: bool, style: str
) -> None:
    text = "# first\n" + yaml.safe_dump(
        tree, default_flow_style=flow, default_style=style, allow_unicode=True
    )
    for key, old in tree.items():
        if isinstance(old, dict | list):
            continue
        try:
            changed = edit(set_yaml, text, f"$.{key}", value)
        except Refused as error:
            assert "block of text" in str(error) or "tag of YAML" in str(error)
            continue
        new = yaml.safe_load(changed.text)
        assert str(new[key]) == value or isinstance(new[key], type(old))
        assert {**new, key: 0} == {**tree, key: 0}
        assert changed.text.startswith("# first\n")


@settings(max_examples=60, deadline=None)
@given(tree=TREES, value=TEXTS, indent=st.sampled_from([None, 2]))
def test_only_the_value_changes_in_any_json(tree: dict[str, object], value: str, indent: int | None) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=False)
    for key, old in tree.items():
        if not isinstance(old, dict | list):
            new = json.loads(edit(set_json, text, f"$.{key}", value).text)
            assert str(new[key]) == value or not isinstance(old, str)
            assert {**new, key: 0} == {**tree, key: 0}
