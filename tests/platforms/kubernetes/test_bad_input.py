"""What users write wrong, on a real cluster: one sentence with file, object, key and remedy."""

import base64
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Again
from tests.cluster.control_plane import Cluster
from tests.cluster.https import https_server
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment

NO_WAITING: dict[str, Any] = {"input": {"waitForReady": False}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


def changed(manifest: Any, *path: str | int, value: Any) -> Any:
    """`manifest` with another value."""
    target = manifest
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return manifest


CONTAINER = ("spec", "template", "spec", "containers", 0)
CASES = {
    "unknown field of an object": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}},
        ": dat: ConfigMap a in {ns} was refused: there is no field dat; correct its name, or remove it",
    ),
    "unknown fields of a container": (
        changed(changed(deployment("a"), *CONTAINER, "imag", value="x"), "spec", "replica", value=1),
        "was refused: there is no field spec.",
    ),
    "text where a number belongs": (
        changed(deployment("a"), "spec", "replicas", value="two"),
        "the value of spec.replicas is not a number; correct it",
    ),
    "number where text belongs": (
        changed(deployment("a"), *CONTAINER, "env", value=[{"name": "A", "value": 1}]),
        ".value is not text; put it in quotes",
    ),
    "invalid value": (
        changed(deployment("a"), "spec", "replicas", value=-1),
        ": spec.replicas: Deployment a in {ns} was refused: ",
    ),
    "selector that does not match": (
        changed(deployment("a"), "spec", "selector", "matchLabels", value={"x": "y"}),
        "`selector` does not match template `labels`; correct the field",
    ),
    "invalid name": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "A_b"}},
        ": metadata.name: ConfigMap A_b in {ns} was refused: ",
    ),
    "secret that is not base64": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"x": "%%"}},
        "was refused: a value cannot be read: error decoding from json: illegal base64 data at input byte 0",
    ),
    "value that is a list": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"x": ["y"]}},
        "001.yaml:1: stringData.x: document 1: the value is a list, and must be text; put it in quotes",
    ),
    "label that is a number": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"v": 1.0}}},
        "001.yaml:1: metadata.labels.v: document 1: the value is a number, and must be text; put it in",
    ),
    "namespace that does not exist": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "none-such"}},
        'ConfigMap a in none-such cannot be applied: namespaces "none-such" not found; add its namespace',
    ),
    "kind without a version": (
        {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}},
        "the cluster has no Deployment in apps/v1beta1; it has: apps/v1",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_sentence_names_file_object_key_and_remedy(shop: Shop, case: str) -> None:
    manifest, expected = CASES[case]
    if case.startswith("namespace"):
        shop.spec["input"] = {}
    namespace = {"namespace": shop.namespace} if case.startswith("namespace") else {}
    first = config_map("z")
    first["metadata"] |= namespace
    text = failure_text(await shop.runner(shop.commit(first, manifest, **NO_WAITING)).run("K8S_SYNC"))
    assert expected.format(ns=shop.namespace) in text
    assert "001.yaml:1" in text or "has no Deployment" in text
    assert "\n" not in text and len(text) < 1500


async def test_the_line_of_an_unknown_field_is_that_of_the_field(shop: Shop) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndat:\n  x: y\n"
    failure = failure_text(await shop.runner(shop.commit(files={"a.yaml": text})).run("K8S_SYNC"))
    assert "a.yaml:5: dat: ConfigMap a in" in failure


async def test_a_quota_is_named(shop: Shop) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"services": "0"}},
    }
    shop.create("resourcequotas", quota)
    shop.wait_until(lambda: "services" in (shop.get("resourcequotas", "few")["status"].get("hard") or {}))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 80}]},
    }
    text = failure_text(await shop.runner(shop.commit(service)).run("K8S_SYNC"))
    assert "Service a in" in text and "exceeded quota: few" in text
    assert "raise the quota of the namespace" in text


async def test_pods_that_a_quota_forbids_fail_the_deployment(shop: Shop) -> None:
    hard = {"hard": {"pods": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": hard}
    shop.create("resourcequotas", quota)
    shop.wait_until(lambda: "pods" in (shop.get("resourcequotas", "none")["status"].get("hard") or {}))
    text = failure_text(await shop.runner(shop.commit(deployment("web"))).run("K8S_SYNC"))
    assert "Deployment web in" in text and "exceeded quota: none" in text


async def test_a_policy_is_named(shop: Shop) -> None:
    """Decided by the API server itself, as a webhook would."""
    name, group = shop.namespace, "admissionregistration.k8s.io"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "validations": [{"expression": "!has(object.data.secret)", "message": "no secrets in ConfigMaps"}],
    }
    for kind, spec in {
        "ValidatingAdmissionPolicy": policy,
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }.items():
        plural = (
            "validatingadmissionpolicies" if kind.endswith("Policy") else "validatingadmissionpolicybindings"
        )
        body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        shop.cluster.request(f"/apis/{group}/v1/{plural}", body)
    shop.wait_until(lambda: refuses(shop))
    text = failure_text(await shop.runner(shop.commit(config_map("a", {"secret": "x"}))).run("K8S_SYNC"))
    assert "ConfigMap a in" in text and "no secrets in ConfigMaps; change the manifest" in text


async def test_a_webhook_that_refuses_or_does_not_answer_is_named(
    shop: Shop, cluster: Cluster, tmp_path: Path
) -> None:
    def review(path: str, body: Any) -> Any:
        response = {"uid": body["request"]["uid"], "allowed": False, "status": {"message": "team is missing"}}
        return {"apiVersion": body["apiVersion"], "kind": body["kind"], "response": response}

    name = f"{shop.namespace}.example.com"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    runner = shop.runner(shop.commit(config_map("a")))
    with https_server(cluster, tmp_path, review) as port:
        client = {
            "url": f"https://127.0.0.1:{port}/",
            "caBundle": base64.b64encode(cluster.ca_file.read_bytes()).decode(),
        }
        webhook = {
            "name": name,
            "clientConfig": client,
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [webhook],
        }
        cluster.request(path, body)
        shop.wait_until(lambda: refuses(shop))
        text = failure_text(await runner.run("K8S_SYNC"))
    assert f'admission webhook "{name}" denied the request: team is missing; change the manifest' in text
    # Its server is gone: the stage is tried again, as after other failures of the cluster.
    outcome = await runner.run("K8S_SYNC", stage_id="again", calls=2)
    assert isinstance(outcome, Again)
    assert f'failed calling webhook "{name}"' in runner.log.lines[-1]
    cluster.request(f"{path}/{name}", method="DELETE")


def refuses(shop: Shop) -> bool:
    """Whether a ConfigMap with the key `secret` is refused."""
    probe = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "probe"}, "data": {"secret": "x"}}
    try:
        shop.cluster.request(f"{shop.path('configmaps')}?dryRun=All", probe)
    except OSError:
        return True
    return False


async def test_a_namespace_that_is_being_deleted_is_waited_for(shop: Shop) -> None:
    """It is created again as soon as it is gone; what keeps it is named."""
    own = f"{shop.namespace}-own"
    shop.namespace, spec = own, {"namespace": own, "autoCreateNamespace": True}
    commit = shop.commit(config_map("a"), input=spec)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hangs"]
    shop.create("configmaps", held)
    shop.cluster.request(f"/api/v1/namespaces/{own}", method="DELETE")
    plain = shop.commit(config_map("a"), input={"namespace": own})
    shop.wait_until(lambda: shop.get("configmaps", "a") is None)
    text = failure_text(await shop.runner(plain).run("K8S_SYNC"))
    assert "because it is being terminated; wait until the namespace is deleted" in text
    runner = shop.runner(commit)
    text = failure_text(await runner.run("K8S_SYNC"))
    assert f"Namespace {own} is still being deleted: it waits for its finalizers kubernetes" in text
    assert "example.com/hangs in 1 resource instances" in text
    shop.patch("configmaps", "held", {"metadata": {"finalizers": None}})
