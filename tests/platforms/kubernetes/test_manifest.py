"""Manifests: what an application declares, and the errors that name the place in its files."""

from textwrap import dedent
from typing import Any

import pytest

from pipecd.errors import ConfigError, Place
from pipecd.platforms.kubernetes.manifest import Manifest, ManifestReader, digest
from pipecd.platforms.kubernetes.order import groups, sort
from pipecd.platforms.kubernetes.prepare import prepare


def read(text: str, file: str = "app.yaml") -> list[Manifest]:
    reader = ManifestReader()
    reader.read(dedent(text), file)
    return reader.manifests


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(text)
    return str(error.value)


def config_map(name: str, *, wave: str = "", kind: str = "ConfigMap") -> Manifest:
    annotations = {"pipecd.dev/order": wave} if wave else {}
    return Manifest(
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": annotations}}
    )


def test_documents_of_a_stream_are_objects_with_their_places() -> None:
    first, second = read("""\
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: settings}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: shop}
        spec:
          template:
            spec:
              initContainers: [{name: a, image: "setup:1"}]
              containers: [{name: b, image: "web:2"}, {name: c}]
    """)
    assert (str(first), str(first.place)) == ("ConfigMap settings", "app.yaml:1")
    assert (str(second), str(second.place)) == ("Deployment web in shop", "app.yaml:5")
    assert (second.group, second.images) == ("apps", ["web:2"])


def test_a_list_is_taken_apart() -> None:
    found = read("""\
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
        - apiVersion: v1
          kind: ConfigMapList
          items:
          - metadata: {name: two}
    """)
    assert [(str(item), str(item.place)) for item in found] == [
        ("ConfigMap one", "app.yaml:4"),
        ("ConfigMap two", "app.yaml:8"),
    ]
    assert found[1].api_version == "v1"


def test_a_custom_kind_may_end_with_list() -> None:
    [found] = read("{apiVersion: example.com/v1, kind: AllowList, metadata: {name: a}, spec: {items: []}}")
    assert found.kind == "AllowList"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: A\nmetadata: {name: b}", "app.yaml:1: document 1: apiVersion is missing; add it"),
        ("apiVersion: v1\nmetadata: {name: b}", "app.yaml:1: document 1: kind is missing; add it"),
        ("apiVersion: v1\nkind: A", "app.yaml:1: document 1: metadata is missing; add it"),
        ("apiVersion: v1\nkind: A\nmetadata: {}", "app.yaml:1: document 1: metadata.name is missing; add it"),
        ("- a", "app.yaml:1: document 1: is not a Kubernetes object; write apiVersion, kind and metadata"),
        (
            "apiVersion: v1\nkind: Job\nmetadata:\n  generateName: b-",
            "app.yaml:4: metadata.generateName: document 1: generateName gives a new object at every sync;"
            " write metadata.name",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata:\n  name: b\n  labels:\n    version: 1.0",
            "app.yaml:6: metadata.labels.version: document 1: the value is a number, and must be text;"
            " put it in quotes",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata:\n  name: b\n  annotations: [a]",
            "app.yaml:5: metadata.annotations: document 1: is not a mapping of names to texts; write one"
            " `name: text` in each line",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: x",
            "app.yaml:4: data: document 1: is not a mapping of names to texts; write one"
            " `name: text` in each line",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  debug: on",
            "app.yaml:5: data.debug: document 1: the value is a boolean, and must be text; put it in quotes",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {template: {metadata:"
            " {annotations: {a: 1}}}}",
            "app.yaml:4: spec.template.metadata.annotations.a: document 1: the value is a number, and must be"
            " text; put it in quotes",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: ../../secrets/b}",
            "document 1: '../../secrets/b' cannot be the name of an object; choose another name",
        ),
        (
            "apiVersion: g/v1\nkind: A\nmetadata: {name: b}\n---\napiVersion: g/v2\nkind: A\nmetadata:"
            " {name: b, namespace: default}",
            "app.yaml:5: A b is declared twice, also in app.yaml:1; remove one of them",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str) -> None:
    assert refusal(text) == message


def test_an_error_names_the_template_of_a_chart() -> None:
    message = refusal("""\
        ---
        # Source: shop/templates/web.yaml
        apiVersion: v1
        kind: Service
        metadata:
          labels: {}
    """)
    assert message == "app.yaml:3: document 1, from shop/templates/web.yaml: metadata.name is missing; add it"


def test_the_number_and_size_of_manifests_are_limited() -> None:
    three = "\n---\n".join(f"{{apiVersion: v1, kind: A, metadata: {{name: a{n}}}}}" for n in range(3))
    with pytest.raises(ConfigError, match="the application has more than 2 objects; split it"):
        ManifestReader(max_manifests=2).read(three, "app.yaml")
    with pytest.raises(ConfigError, match="larger than 0 MiB; split the application"):
        ManifestReader(max_bytes=1000).read("#" * 1001, "app.yaml")


def test_the_digest_depends_on_contents_alone() -> None:
    one = read("{apiVersion: v1, kind: A, metadata: {name: b, labels: {x: y1, z: w}}}")
    other = read("kind: A\nmetadata: {labels: {z: w, x: y1}, name: b}\napiVersion: v1\n", "other.yaml")
    assert digest(one) == digest(other) != digest([*one, config_map("c")])


def test_waves_precede_kinds_and_kinds_precede_the_order_in_the_files() -> None:
    declared = [
        config_map("web", kind="Deployment"),
        config_map("b"),
        config_map("a"),
        config_map("shop", kind="Namespace"),
        config_map("route", kind="Custom"),
        config_map("early", wave="-1", kind="Job"),
        config_map("late", wave="5", kind="Namespace"),
        config_map("checker", kind="ValidatingWebhookConfiguration"),
        config_map("odd", wave="x"),
    ]
    names = ["early", "shop", "b", "a", "odd", "web", "route", "checker", "late"]
    assert [found.name for found in sort(declared)] == names
    assert [[found.name for found in group] for group in groups(sort(declared))] == [
        ["early"],
        ["shop"],
        ["b", "a", "odd"],
        ["web"],
        ["route"],
        ["checker"],
        ["late"],
    ]


def test_the_order_of_the_files_can_be_kept() -> None:
    """PipeCD sorts by its annotation alone, with an unstable algorithm above twelve manifests."""
    declared = [config_map(f"m{n}", wave="2" if n % 2 else "") for n in range(30)]
    expected = [found.name for n in (0, 1) for found in declared[n::2]]
    assert [found.name for found in sort(declared, by_kind=False)] == expected


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"selector": "app=web"}, "spec.selector"),
        ({"selector": {"matchLabels": ["web"]}}, "spec.selector.matchLabels"),
        ({"template": {"metadata": {"labels": "web"}, "spec": {}}}, "spec.template.metadata.labels"),
        ({"template": {"metadata": {"annotations": "x"}, "spec": {}}}, "spec.template.metadata.annotations"),
        ({"template": {"spec": {"volumes": ["data"]}}}, "spec.template.spec.volumes.*"),
        ({"template": {"spec": {"volumes": [{"secret": "a"}]}}}, "spec.template.spec.volumes.*.secret"),
        ({"template": {"spec": {"containers": [{"env": ["A=b"]}]}}}, "spec.template.spec.containers.*.env.*"),
        (
            {"template": {"spec": {"initContainers": [{"envFrom": [{"secretRef": "a"}]}]}}},
            "spec.template.spec.initContainers.*.envFrom.*.secretRef",
        ),
    ],
)
def test_a_workload_of_another_shape_is_refused(spec: dict[str, Any], path: str) -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": []}}, **spec},
    }
    manifest = Manifest(body, Place("web.yaml", 3))
    with pytest.raises(ConfigError) as error:
        prepare([manifest], ("pipecd.dev/variant", "primary"))
    assert f"web.yaml:3: {path}: the field of Deployment web is not a mapping" in str(error.value)
