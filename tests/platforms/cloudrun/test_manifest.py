"""Reading a manifest, names of revisions, and the traffic as values."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config.document import read
from pipecd.errors import ConfigError
from pipecd.platforms.cloudrun import platform, traffic
from pipecd.platforms.cloudrun.config import CloudRunApp
from pipecd.platforms.cloudrun.manifest import Manifest, label_value, parse_manifest, revision_name
from tests.platforms.cloudrun.conftest import IMAGE, job, service
from tests.platforms.cloudrun.schema import check_body

COMMIT = "abcdef0123456789abcdef0123456789abcdef01"


def manifest(body: Any, kind: str = "Service") -> Manifest:
    text = body if isinstance(body, str) else yaml.safe_dump(body)
    data, lines = read(text, "app/service.yaml")
    return parse_manifest(data, lines, "app/service.yaml", kind)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        # PipeCD's names, where Cloud Run allows them.
        ("gcr.io/demo/shop:v1.2.3", "shop-v123-abcdef0"),
        ("gcr.io/demo/shop:main-1", "shop-main-1-abcdef0"),
        ("registry:5000/shop:V1_2+a", "shop-v1-2-a-abcdef0"),
        (f"gcr.io/demo/shop@sha256:{'c0ffee' * 10}", "shop-sha-c0ffeec0-abcdef0"),
        ("gcr.io/demo/shop", "shop-latest-abcdef0"),
        (f"gcr.io/demo/shop:{'x' * 100}", f"shop-{'x' * 50}-abcdef0"),
    ],
)
def test_the_name_of_a_revision(image: str, name: str) -> None:
    body = service("v1")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    assert revision_name(manifest(body), COMMIT) == name
    assert len(name) <= 63
    assert len(revision_name(manifest(body), COMMIT, 12)) <= 63


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": "Job"}, "app/service.yaml:2: kind: is Job, not Service; set input.jobManifestFile"),
        ({"kind": "Deployment"}, "kind: is Deployment, not Service; write kind: Service"),
        ({"apiVersion": "v1"}, "app/service.yaml:1: apiVersion: is v1, not serving.knative.dev/v1"),
        ({"metadata": {}}, "app/service.yaml:3: metadata.name: is missing; add the name"),
        ({"metadata": ["x"]}, "metadata: is missing"),
        ({"spec": {"template": {}}}, "spec.template.spec: is missing; add it"),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "spec.template.spec.containers: is missing"),
        (
            {"spec": {"template": {"spec": {"containers": [{}]}}}},
            "containers[0].image: is missing; add the image",
        ),
        ({"spec": {**service("a")["spec"], "traffic": ["a"]}}, "spec.traffic: is not a list of mappings"),
    ],
)
def test_a_mistake_names_file_line_key_and_remedy(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        manifest({**service("v1"), **change})
    assert expected in str(error.value)


def test_what_only_the_server_writes_is_left_out() -> None:
    body = service("v1")
    body["metadata"] |= {"uid": "1", "resourceVersion": "2", "generation": 3, "annotations": {"a": "b"}}
    body["status"] = {"url": "https://example"}
    assert manifest(body).body["metadata"] == {"name": "shop", "annotations": {"a": "b"}}
    assert "status" not in manifest(body).body


def test_numbers_where_google_expects_text_are_sent_as_written() -> None:
    text = f"""
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: shop, labels: {{version: 1.10}}}}
spec:
  template:
    metadata: {{annotations: {{autoscaling.knative.dev/maxScale: 5}}}}
    spec:
      timeoutSeconds: 60
      containers:
      - image: {IMAGE}:v1
        env: [{{name: DEBUG, value: true}}, {{name: RATIO, value: 0.10}}]
        resources: {{limits: {{cpu: 1, memory: 512Mi}}}}
"""
    body = dict(manifest(text).body)
    check_body("Service", body)
    spec = body["spec"]["template"]["spec"]
    assert [item["value"] for item in spec["containers"][0]["env"]] == ["true", "0.10"]
    assert spec["timeoutSeconds"] == 60 and spec["containers"][0]["resources"]["limits"]["cpu"] == "1"
    assert body["metadata"]["labels"] == {"version": "1.10"}


def test_a_job_has_images_too() -> None:
    assert manifest(job("j1"), "Job").images == [f"{IMAGE}:j1"]


def test_two_manifests_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        CloudRunApp.model_validate({"input": {"serviceManifestFile": "a.yaml", "jobManifestFile": "b.yaml"}})


@pytest.mark.parametrize(
    ("running", "target", "expected"),
    [
        (None, service("v1"), "Quick sync of image v1, because this is the first deployment"),
        (service("v1"), service("v2"), "Sync with the pipeline, to update the image from v1 to v2"),
        (service("v1"), service("v1"), "Sync with the pipeline"),
    ],
)
def test_the_strategy(running: Any, target: Any, expected: str) -> None:
    chosen = platform.choose_strategy(manifest(running) if running else None, manifest(target))
    assert chosen.reason == expected


@given(
    st.dictionaries(st.sampled_from([f"r{number}" for number in range(6)]), st.integers(1, 50), max_size=6),
    st.integers(0, 100),
)
def test_shares_always_sum_to_100(weights: dict[str, int], percent: int) -> None:
    total = sum(weights.values())
    before: dict[str, int] = {}
    left = 100
    for name, weight in weights.items():
        before[name] = min(left, round(100 * weight / total))
        left -= before[name]
    if before:
        before[next(iter(before))] += left
    shares = traffic.promote(before, "new", percent)
    assert sum(shares.values()) == 100
    others = {name for name, share in before.items() if share}
    assert shares.get("new", 0) == (percent if others else 100)
    for one in others:
        for other in others:
            if before[one] > before[other]:
                assert shares.get(one, 0) >= shares.get(other, 0), "the proportions stay"


def test_labels_are_valid() -> None:
    assert label_value("App_1.É" + "x" * 80) == "app_1--" + "x" * 56
