"""YAML as Kubernetes reads it. The expected values are those that kubectl sends to an API server."""

from typing import Any

import pytest

from pipecd.config.document import Limits
from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.yaml_reader import LIMITS, Warned, read_documents
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.widgets import define_widgets

SCALARS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), None),
    "yEs": "yEs",
    "0": 0,
    "12": 12,
    "-12": -12,
    "+12": 12,
    "0644": 420,
    "0o644": 420,
    "-0o17": -15,
    "08": 8,
    "0x1F": 31,
    "0b11": 3,
    "1_000": 1000,
    "1.0": 1,
    "1.": 1,
    "1.5": 1.5,
    ".5": 0.5,
    "+.5": 0.5,
    "1e3": 1000,
    "12e03": 12000,
    "1.5e3": 1500,
    ".1e3": 100,
    "5e-1": 0.5,
    "100m": "100m",
    "1.2.3": "1.2.3",
    "1:30": "1:30",
    "2026-01-02": "2026-01-02",
    "2026-01-02T10:00:00Z": "2026-01-02T10:00:00Z",
    "'yes'": "yes",
    '"012"': "012",
    "=": "=",
}


def value(text: str) -> Any:
    [document] = read_documents(f"value: {text}\n", "file.yaml")
    return document.data["value"]


@pytest.mark.parametrize("written", SCALARS)
def test_a_scalar_has_the_type_that_kubernetes_gives_it(written: str) -> None:
    expected = SCALARS[written]
    assert (value(written), type(value(written))) == (expected, type(expected))


def test_an_api_server_reads_scalars_alike(cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.com"
    define_widgets(cluster, group)
    fields = "".join(f"  f{number}: {written}\n" for number, written in enumerate(SCALARS))
    text = f"apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: a}}\nspec:\n{fields}  last: 1\n"
    url = f"/apis/{group}/v1/namespaces/{namespace}/widgets/a?fieldManager=test&dryRun=All"
    content_type = "application/apply-patch+yaml"
    answer = cluster.request(url, text.encode(), method="PATCH", content_type=content_type)
    [document] = read_documents(text, "file.yaml")
    read = document.data["spec"]
    assert {key: (value, type(value)) for key, value in answer["spec"].items()} == {
        key: (value, type(value)) for key, value in read.items()
    }


def test_keys_are_text_and_a_surprising_one_is_reported() -> None:
    warnings: list[Warned] = []
    [document] = read_documents("n: 1\n012: 2\n12: 3\nname: 4\n", "file.yaml", warnings)
    assert document.data == {"false": 1, "10": 2, "12": 3, "name": 4}
    assert [str(warning) for warning in warnings] == [
        "file.yaml:1: false: the key n is read as false; put it in quotes",
        "file.yaml:2: 10: the key 012 is read as 10; put it in quotes",
    ]


def test_the_last_duplicate_key_is_used_and_reported() -> None:
    warnings: list[Warned] = []
    [document] = read_documents("a:\n  b: 1\n  b: 2\n", "file.yaml", warnings)
    assert document.data == {"a": {"b": 2}}
    assert [str(warning) for warning in warnings] == [
        "file.yaml:3: a.b: duplicate key, first in line 2; the last is used"
    ]


def test_merge_keys_are_merged() -> None:
    [document] = read_documents("a: &a {x: 1, y1: 2}\nb:\n  <<: *a\n  x: 3\n", "file.yaml")
    assert document.data["b"] == {"x": 3, "y1": 2}


def test_empty_documents_are_skipped_and_others_know_their_lines() -> None:
    text = "---\n# a comment\n---\na: 1\n---\n---\nb:\n  - c\n  - d: 2\n"
    documents = list(read_documents(text, "file.yaml"))
    assert [(document.number, document.data) for document in documents] == [
        (1, {"a": 1}),
        (2, {"b": ["c", {"d": 2}]}),
    ]
    assert [documents[1].line(path) for path in ((), ("b", 1, "d"), ("b", 7), ("missing",))] == [7, 9, 7, 7]


def test_json_is_read_too() -> None:
    [document] = read_documents('{"a": [true, null, 1.5, "no"]}', "file.json")
    assert document.data == {"a": [True, None, 1.5, "no"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "file.yaml:2: YAML syntax: "),
        ("a: .inf\n", "file.yaml:1: YAML syntax: infinity is not a number in JSON"),
        ("a: !!python/object:os.system x\n", "file.yaml:1: YAML syntax: the tag "),
        ("a: !secret x\n", "file.yaml:1: YAML syntax: the tag !secret is not supported"),
        (f"a: 0x{'f' * 5000}\n", "file.yaml:1: YAML syntax: a number has more than 1000 digits"),
        ("? [a]\n: b\n", "file.yaml:1: YAML syntax: a key must be text"),
        ("a: &a [*a]\n", "file.yaml:1: an alias refers to itself"),
    ],
)
def test_other_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        list(read_documents(text, "file.yaml"))
    assert str(error.value).startswith(message)


def test_a_document_that_grows_by_its_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    with pytest.raises(ConfigError, match="more than 1000000 values"):
        list(read_documents("\n".join(lines), "file.yaml"))


@pytest.mark.parametrize("text", ["[" * 500_000, "- " * 500_000, "{a: " * 500_000, "? " * 500_000])
def test_deep_nesting_is_refused_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(ConfigError, match=f"nested more than {LIMITS.depth} levels"):
        list(read_documents(text, "file.yaml"))


def test_nesting_counts_through_aliases() -> None:
    """What is nested deeper cannot be written as JSON."""
    lines = ["a0: &a0 [x]"]
    for level in range(1, LIMITS.depth):
        lines.append(f"a{level}: &a{level} [*a{level - 1}]")
    with pytest.raises(ConfigError, match=f"nested more than {LIMITS.depth} levels"):
        list(read_documents("\n".join(lines), "file.yaml"))


def test_a_document_is_measured_before_it_is_built() -> None:
    limits = Limits(depth=10, values=10)
    with pytest.raises(ConfigError, match="more than 10 values"):
        list(read_documents("[a, b, c, d, e, f, g, h, i, j]\n] not YAML", "file.yaml", limits=limits))


def test_limits_apply_to_each_document() -> None:
    limits = Limits(depth=3, values=5)
    assert len(list(read_documents("---\na: [b]\n" * 10, "file.yaml", limits=limits))) == 10
    with pytest.raises(ConfigError, match=r"file\.yaml:4: the file has more than 5 values"):
        list(read_documents("---\na: [b]\n---\na: [b, c, d]\n", "file.yaml", limits=limits))
