"""An agent with the role of one namespace, by a service account's token, and what it says it may not do."""

import json
import re
from pathlib import Path
from typing import Any

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped
from pipecd.model.drift import Drift
from pipecd.piped.provider_check import check_providers
from pipecd.piped.providers import Providers
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.permissions import check_access
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.conftest import Install
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment, provider_of
from tests.platforms.kubernetes.test_clusters import drift

PRUNE: dict[str, Any] = {"quickSync": {"prune": True}}
RESTRICTION = "only the namespace {} is observed: objects of other namespaces"


def provider_with(cluster: Cluster, token: str, file: Path, namespace: str = "") -> Provider:
    file.write_text(json.dumps(cluster.config({"token": token})))
    informer = {"appStateInformer": {"namespace": namespace}} if namespace else {}
    return Provider.model_validate(
        {"kubeConfigPath": str(file), "apiQPS": 1000, "apiBurst": 1000, **informer}
    )


async def test_a_role_of_one_namespace_is_enough(
    cluster: Cluster, namespace: str, install: Install, tmp_path: Path
) -> None:
    token = install("namespace")
    shop = Shop(cluster, namespace, tmp_path)
    shop.provider = provider_with(cluster, token, tmp_path / "kubeconfig", namespace)
    first = shop.commit(deployment("web"), config_map("a"), config_map("gone"))
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    second = shop.commit(deployment("web"), config_map("a"), **PRUNE)
    assert_succeeded(await runner.next_deployment(second).run("K8S_SYNC"))
    assert shop.get("configmaps", "gone") is None
    found: Drift = await drift(shop, second)
    assert found.in_sync, found.details
    [sentence] = await check_access(shop.provider)
    assert sentence.startswith(RESTRICTION.format(namespace))

    definition = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-more"}}
    outcome = await shop.runner(shop.commit(definition)).run("K8S_SYNC")
    assert re.search(r"cannot get resource .*; grant the agent this permission", failure_text(outcome))


async def test_missing_permissions_are_said_at_the_start(
    cluster: Cluster, namespace: str, install: Install, tmp_path: Path
) -> None:
    def without_some(body: Any) -> None:
        for rule in body.get("rules", ()):
            rule["resources"] = [name for name in rule["resources"] if name not in ("secrets", "pods")]
            if "jobs" in rule["resources"]:
                rule["verbs"].remove("delete")

    token = install("namespace", without_some)
    everywhere = provider_with(cluster, token, tmp_path / "everywhere")
    limited = provider_with(cluster, token, tmp_path / "limited", namespace)
    assert (await check_access(limited))[1:] == [
        f"the agent may not get, list, watch pods in {namespace}: live states are incomplete, and failed"
        " deployments do not say why",
        f"the agent may not get, list, watch, create, patch, update, delete secrets in {namespace}:"
        " applications with such objects cannot be deployed",
        f"the agent may not delete jobs.batch, cronjobs.batch in {namespace}: such objects are not shown or"
        " not pruned",
    ]
    found = await check_access(everywhere)
    assert len(found) == 2 and "configmaps, secrets, services" in found[1]

    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "Piped",
        "spec": {
            "projectID": "shop",
            "pipedID": "home",
            "pipedKeyData": "a2V5",
            "apiAddress": "127.0.0.1:1",
            "platformProviders": [
                {
                    "name": "east",
                    "type": "KUBERNETES",
                    "config": {"kubeConfigPath": str(tmp_path / "limited")},
                },
                {"name": "away", "type": "KUBERNETES", "config": {"kubeConfigPath": str(tmp_path / "none")}},
            ],
        },
    }
    spec = piped.load(json.dumps(document), "piped.yaml")
    notices = await check_providers(spec, Providers(spec), SYSTEM_CLOCK)
    assert [(notice.name, notice.text[:20]) for notice in notices] == [
        ("east", "the agent may not ge"),
        ("east", "the agent may not ge"),
        ("away", "permissions are unkn"),
    ]


async def test_the_cluster_role_lacks_nothing(cluster: Cluster, install: Install, tmp_path: Path) -> None:
    token = install("cluster")
    assert await check_access(provider_with(cluster, token, tmp_path / "kubeconfig")) == []
    assert await check_access(provider_of(cluster)) == []
