"""Live state and drift of a service."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipecd.model.drift import Drift
from pipecd.model.resource import Health, aggregate_health
from pipecd.platforms.ecs import platform
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.live import _service, _task
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded
from tests.platforms.ecs.cloud import CLUSTER, SERVICE, Cloud

assert platform.compares and platform.observes
detect, load = platform.compares.detect, platform.observes.load


async def detect_drift(runner: AwsRunner, *ignored: str) -> Drift:
    request = await observation_request(platform, runner.provider, runner.target, *ignored)
    return await detect(request)


async def test_before_the_first_deployment_nothing_runs(cloud: Cloud, runner: AwsRunner) -> None:
    request = await observation_request(platform, runner.provider, runner.target)
    assert await load(request) == []
    drift = await detect(request)
    assert drift.summary == "Differs from Git: 1 missing"
    assert f"+ Service {SERVICE} in {CLUSTER}: not running" in drift.details


async def test_a_deployed_service_is_a_resource_tree_without_drift(cloud: Cloud, runner: AwsRunner) -> None:
    assert_succeeded(await runner.run("ECS_SYNC"))
    request = await observation_request(platform, runner.provider, runner.target)
    service, primary = (await load(request))[:2]
    assert (service.kind, service.name, service.id) == ("Service", SERVICE, cloud.service()["serviceArn"])
    assert (primary.kind, primary.parents, primary.health) == ("TaskSet", (service.id,), Health.HEALTHY)
    assert primary.health_reason.startswith("primary, ")
    drift = await detect(request)
    assert drift.in_sync, drift.details


async def test_a_task_definition_that_differs_from_git_is_drift(cloud: Cloud, runner: AwsRunner) -> None:
    assert_succeeded(await runner.run("ECS_SYNC"))
    client = cloud.aws.client("ecs")
    arn = cloud.task_sets()[0]["taskDefinition"]
    live = client.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    container = {**live["containerDefinitions"][0], "image": "other/image:1"}
    response = client.register_task_definition(family=live["family"], containerDefinitions=[container])
    other = response["taskDefinition"]["taskDefinitionArn"]
    task_set = client.create_task_set(cluster=CLUSTER, service=SERVICE, taskDefinition=other)["taskSet"]
    client.update_service_primary_task_set(
        cluster=CLUSTER, service=SERVICE, primaryTaskSet=task_set["taskSetArn"]
    )
    family = live["family"]

    drift = await detect_drift(runner)
    assert f"# TaskDefinition {family}" in drift.details
    lines = [line.replace(" ", "") for line in drift.details.splitlines()]
    assert any(line.startswith("-") and "image:other/image:1" in line for line in lines)
    ignored = f"ecs:TaskDefinition::{family}#containerDefinitions.0.image"
    drift = await detect_drift(runner, ignored)
    assert "other/image" not in drift.details


def service(**more: Any) -> Service:
    base: dict[str, Any] = {
        "arn": "arn:service",
        "status": "ACTIVE",
        "controller": "ECS",
        "task_definition": "",
        "desired_count": 2,
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
        ({}, Health.HEALTHY, "2 of 2 tasks are running"),
        ({"running": 1, "pending": 1}, Health.UNKNOWN, "1 of 2 tasks are running, 1 are starting"),
        ({"status": "DRAINING"}, Health.UNHEALTHY, "The service is draining"),
        ({"rollout": "FAILED", "rollout_reason": "circuit"}, Health.UNHEALTHY, "circuit"),
    ],
)
def test_health_of_a_service(more: dict[str, Any], health: Health, why: str) -> None:
    resource = _service("shop", service(**more))
    assert (resource.health, resource.health_reason, resource.created_at) == (health, why, 1767225600)


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
    resource = _task(service(), sets, task)
    assert (resource.health, resource.health_reason, resource.parents, resource.name) == (
        health,
        why,
        ("arn:set",),
        "1",
    )
    assert aggregate_health([resource]) is health
