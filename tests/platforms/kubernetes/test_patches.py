"""Patches of a canary: paths, and texts that are YAML documents."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipecd.errors import ConfigError, Place
from pipecd.platforms.kubernetes.config import Patch
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.patches import patch
from pipecd.value_path import ValuePath, replaced

TREE = {
    "a": {"b.c": 1, "name": "x"},
    "items": [{"name": "y", "image": "i"}, {"name": "z", "inner": {"name": "deep"}}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [()]),
        ("$.a.name", [("a", "name")]),
        ("$.a.'b.c'", [("a", "b.c")]),
        ("$.items[1].name", [("items", 1, "name")]),
        ("$.items[*].name", [("items", 0, "name"), ("items", 1, "name")]),
        (
            "$..name",
            [("a", "name"), ("items", 0, "name"), ("items", 1, "name"), ("items", 1, "inner", "name")],
        ),
        ("$.items..name", [("items", 0, "name"), ("items", 1, "name"), ("items", 1, "inner", "name")]),
        ("$.items[7]", []),
        ("$.a[0]", []),
        ("$.none", []),
    ],
)
def test_a_path_names_values(path: str, found: list[Any]) -> None:
    parsed = ValuePath.parse(path)
    assert parsed is not None and parsed.find(TREE) == found


@pytest.mark.parametrize("path", ["$a", "$.a[", "$.a[x]", "$.'a", "$..", "$.a b[-1]", "$" + ".a" * 600])
def test_other_paths_are_refused_when_the_file_is_read(path: str) -> None:
    with pytest.raises(ValidationError, match="is not a path"):
        patch_of("ConfigMap", "a", path, "x")


def patch_of(kind: str, name: str, path: str, value: str, root: str = "", **op: str) -> Patch:
    target = {"kind": kind, "name": name, "documentRoot": root}
    return Patch.model_validate({"target": target, "ops": [{"path": path, "value": value, **op}]})


def config_map(text: str) -> Manifest:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"app.yaml": text}}
    return Manifest(body, Place("cm.yaml", 3))


def patched(text: str, path: str, value: str) -> str:
    item = patch_of("ConfigMap", "a", path, value, "$.data.'app.yaml'")
    (result,) = patch([config_map(text)], [item])
    changed: str = result.body["data"]["app.yaml"]
    return changed


@pytest.mark.parametrize(
    ("text", "path", "after"),
    [
        ("a: 1 # one\nb: 2\n", "$.a", 'a: "new" # one\nb: 2\n'),
        ("é: ü\nb: 'x'\n", "$.b", 'é: ü\nb: "new"\n'),
        (
            "a:\n  b:\n  - c: 1\n  - c: 2\nd: 3\n",
            "$.a.b[*].c",
            'a:\n  b:\n  - c: "new"\n  - c: "new"\nd: 3\n',
        ),
        ("a:\n  b: 1\n  c: 2\n\nd: 3\n", "$.a", 'a:\n  "new"\n\nd: 3\n'),
        ("a: |\n  x\n  y\nb: 1\n", "$.a", 'a: "new"\nb: 1\n'),
        ("a:\nb: 1\n", "$.a", 'a: "new"\nb: 1\n'),
        ("[1, {x: 2}]", "$[1].x", '[1, {x: "new"}]'),
        ("a: {b: [1, 2]}\r\nc: 1\r\n", "$.a.b", 'a: {b: "new"}\r\nc: 1\r\n'),
        ("a: 1", "$.a", 'a: "new"'),
    ],
)
def test_a_document_in_a_text_keeps_everything_else(text: str, path: str, after: str) -> None:
    assert patched(text, path, "new") == after


def test_values_are_texts_that_are_quoted() -> None:
    assert patched("a: 1\n", "$.a", 'x: "y"\n- 2') == 'a: "x: \\"y\\"\\n- 2"\n'


@pytest.mark.parametrize(
    "text", ["a: &x 1\nb: *x\n", "base: &b {k: 1}\na:\n  <<: *b\nc: *b\n", "a: &x {k: 1}\nb: *x\n"]
)
def test_values_that_others_refer_to_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="because other values refer to it"):
        patched(text, "$.a.k" if "k" in text else "$.a", "new")


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (patch_of("ConfigMap", "b", "$.data", "x"), "no ConfigMap b, which a patch of the canary changes"),
        (patch_of("ConfigMap", "a", "$.data.none", "x"), r"no \$.data.none, which a patch"),
        (patch_of("ConfigMap", "a", "$", "x"), r"no \$, which a patch"),
        (patch_of("ConfigMap", "a", "$.x", "x", "$.data"), r"\$.data of ConfigMap a is not a text"),
        (patch_of("ConfigMap", "a", "$.x", "x", "$.data.none"), r"no \$.data.none"),
        (patch_of("ConfigMap", "a", "$.z", "x", "$.data.'app.yaml'"), r"no \$.z"),
    ],
)
def test_what_does_not_apply_is_an_error(patches: Patch, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        patch([config_map("a: 1\n")], [patches])


def test_a_document_root_with_several_documents_is_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 YAML documents"):
        patched("a: 1\n---\nb: 2\n", "$.a", "x")


def test_another_operation_is_refused_when_the_file_is_read() -> None:
    with pytest.raises(ValidationError, match="yaml-replace"):
        patch_of("ConfigMap", "a", "$.data", "x", op="yaml-insert")


def test_the_object_itself_is_changed_and_the_first_match_alone() -> None:
    item = patch_of("ConfigMap", "a", "$.data.'app.yaml'", "3")
    first, second = patch([config_map("x"), config_map("y")], [item])
    assert (first.body["data"], second.body["data"]) == ({"app.yaml": "3"}, {"app.yaml": "y"})


NODES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab\n:#'\"- é", max_size=6),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abc"), children, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abc"), NODES, min_size=1), st.sampled_from("abc"), st.text(max_size=8)
)
def test_exactly_the_named_values_of_any_document_change(tree: Any, key: str, value: str) -> None:
    text = json.dumps(tree, indent=1)
    path = ValuePath.parse(f"$..{key}")
    assert path is not None
    locations = path.find(tree)
    value = "".join(character for character in value if character.isprintable())
    if not locations:
        return
    expected = tree
    for location in locations:
        expected = replaced(expected, location, value)
    assert json.loads(patched(text, f"$..{key}", value)) == expected
