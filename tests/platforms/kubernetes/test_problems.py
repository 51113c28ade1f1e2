"""What a failed deployment says of its pods: on a real cluster, with a kubelet that serves logs only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.node import Node, running_node
from tests.platforms.kubernetes.stage_runner import HOOKS, Shop, deployment, hook

LINES = [*(f"line {number}" for number in range(30)), "\x1b[31mpanic: no \x00database\x1b[0m", ""]


@pytest.fixture
def node(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Node]:
    with running_node(cluster, f"node-{namespace}", tmp_path) as found:
        found.text = "\n".join(LINES)
        yield found


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def test_the_last_lines_of_the_container_that_crashes(shop: Shop, node: Node) -> None:
    runner = shop.runner(shop.commit(deployment("web", "web:crash", deadline=2, nodeName=node.name)))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert "container web: CrashLoopBackOff: back-off 2m40s restarting failed container" in message
    assert "it last exited with code 1; its log ends with: panic: no database" in message
    shown = [line.strip() for line in runner.log.lines if line.startswith("  ")]
    assert shown == [*(f"line {number}" for number in range(11, 30)), "panic: no database"]
    (request,) = node.requests
    assert f"/containerLogs/{shop.namespace}/web-" in request
    for parameter in ("tailLines=20", "previous=true", "limitBytes=16384"):
        assert parameter in request


async def test_the_container_of_a_job_that_fails(shop: Shop, node: Node) -> None:
    node.text = "x" * 100_000
    template = {
        "spec": {
            "restartPolicy": "Never",
            "nodeName": node.name,
            "containers": [{"name": "a", "image": "a:fail"}],
        }
    }
    failing = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"backoffLimit": 0, "template": template},
    }
    message = failure_text(await shop.runner(shop.commit(failing)).run("K8S_SYNC"))
    assert "BackoffLimitExceeded" in message
    assert "container a exited with code 1: Error; its log ends with: xxx" in message
    assert len(message) < 2000


async def test_the_log_of_a_hook_is_shown(shop: Shop, node: Node) -> None:
    node.text = "\n".join(f"row {number}" for number in range(300))
    declared = hook("migrate", "PreSync")
    declared["spec"]["template"]["spec"]["nodeName"] = node.name
    runner = shop.runner(shop.commit(declared, **HOOKS))
    assert_succeeded(await runner.run("K8S_SYNC"))
    shown = [line.strip() for line in runner.log.lines if line.startswith("  row")]
    assert (shown[0], shown[-1], len(shown)) == ("row 100", "row 299", 200)
