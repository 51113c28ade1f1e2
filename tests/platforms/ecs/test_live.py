"""What is told of a running service, and when it is not what Git asks for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipecd.model.resource import Health, health_of
from pipecd.platforms.ecs import platform
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.live import _service, _task
from tests.platforms.aws.bench import Bench, succeeded
from tests.platforms.aws.looks import look
from tests.platforms.ecs.cloud import CLUSTER, SERVICE, World


async def test_before_the_first_deployment_nothing_runs(world: World, bench: Bench) -> None:
    asked = await look(platform, bench.provider, bench.target)
    assert await platform.live(asked) == []
    found = await platform.drift(asked)
    assert found.summary == "Differs from Git: 1 missing"
    assert f"+ Service {SERVICE} in {CLUSTER}: does not run" in found.details


async def test_a_deployed_service_is_a_tree_and_no_drift(world: World, bench: Bench) -> None:
    succeeded(await bench.run("ECS_SYNC"))
    asked = await look(platform, bench.provider, bench.target)
    service, primary = (await platform.live(asked))[:2]
    assert (service.kind, service.name, service.id) == ("Service", SERVICE, world.service()["serviceArn"])
    assert (primary.kind, primary.parents, primary.health) == ("TaskSet", (service.id,), Health.HEALTHY)
    assert primary.why.startswith("primary, ")
    found = await platform.drift(asked)
    assert found.none, found.details


async def test_a_task_definition_that_git_does_not_have_is_told(world: World, bench: Bench) -> None:
    succeeded(await bench.run("ECS_SYNC"))
    client = world.aws.client("ecs")
    arn = world.task_sets()[0]["taskDefinition"]
    live = client.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    container = {**live["containerDefinitions"][0], "image": "somebody/elses:1"}
    made = client.register_task_definition(family=live["family"], containerDefinitions=[container])
    other = made["taskDefinition"]["taskDefinitionArn"]
    strange = client.create_task_set(cluster=CLUSTER, service=SERVICE, taskDefinition=other)["taskSet"]
    client.update_service_primary_task_set(
        cluster=CLUSTER, service=SERVICE, primaryTaskSet=strange["taskSetArn"]
    )
    family = live["family"]

    found = await platform.drift(await look(platform, bench.provider, bench.target))
    assert f"# TaskDefinition {family}" in found.details
    lines = [line.replace(" ", "") for line in found.details.splitlines()]
    assert any(line.startswith("-") and "image:somebody/elses:1" in line for line in lines)
    ignored = f"ecs:TaskDefinition::{family}#containerDefinitions.0.image"
    found = await platform.drift(await look(platform, bench.provider, bench.target, ignored))
    assert "somebody" not in found.details


def service(**more: Any) -> Service:
    base: dict[str, Any] = {
        "arn": "arn:service",
        "status": "ACTIVE",
        "controller": "ECS",
        "task_definition": "",
        "desired": 2,
        "running": 2,
        "pending": 0,
        "tags": {},
        "rollout": "COMPLETED",
        "rollout_reason": "",
        "event": "",
        "fields": {"createdAt": datetime(2026, 1, 1, tzinfo=UTC)},
    }
    return Service(**{**base, **more})


@pytest.mark.parametrize(
    ("more", "health", "why"),
    [
        ({}, Health.HEALTHY, "2 of 2 tasks run"),
        ({"running": 1, "pending": 1}, Health.UNKNOWN, "1 of 2 tasks run, 1 are starting"),
        ({"status": "DRAINING"}, Health.UNHEALTHY, "The service is draining"),
        ({"rollout": "FAILED", "rollout_reason": "circuit"}, Health.UNHEALTHY, "circuit"),
    ],
)
def test_health_of_a_service(more: dict[str, Any], health: Health, why: str) -> None:
    found = _service("shop", service(**more))
    assert (found.health, found.why, found.created_at) == (health, why, 1767225600)


@pytest.mark.parametrize(
    ("live", "health", "why"),
    [
        ({"healthStatus": "HEALTHY"}, Health.HEALTHY, "running"),
        ({"healthStatus": "UNKNOWN"}, Health.UNKNOWN, "running, without a health check"),
        (
            {"healthStatus": "UNHEALTHY", "containers": [{"name": "web", "healthStatus": "UNHEALTHY"}]},
            Health.UNHEALTHY,
            "running; web: unhealthy",
        ),
        (
            {"stoppedReason": "Out of memory", "healthStatus": "UNKNOWN"},
            Health.UNHEALTHY,
            "running, without a health check; Out of memory",
        ),
    ],
)
def test_health_of_a_task(live: dict[str, Any], health: Health, why: str) -> None:
    sets = {"arn:set": {"id": "ecs-svc/1"}}
    task = {"taskArn": "arn:task/shop/1", "lastStatus": "RUNNING", "startedBy": "ecs-svc/1", **live}
    found = _task(service(), sets, task)
    assert (found.health, found.why, found.parents, found.name) == (health, why, ("arn:set",), "1")
    assert health_of([found]) is health
