"""Every ECS stage against an emulated AWS: its calls, their order, and the result of failures.

The tests simulate what moto does not do: tasks of services run or fail (`runningCount`), task sets take time
to become steady, ECS's own deployments proceed, and calls are refused. After every changing call,
`Cloud.check` checks that no traffic points at a target group without tasks.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.ecs import platform
from tests.platforms.aws.ecs_rules import EcsRules
from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.ecs.cloud import ALL_TO_PRIMARY, CLUSTER, SERVICE, Cloud
from tests.platforms.ecs.test_live import detect

Checkout = Callable[..., Path]


async def deploy(runner: AwsRunner, cloud: Cloud) -> None:
    assert_succeeded(await runner.run("ECS_SYNC"))
    cloud.serving = True
    del cloud.aws.calls[:]


async def test_the_first_sync_creates_the_service_and_a_primary_task_set(
    aws: Emulator, cloud: Cloud, runner: AwsRunner
) -> None:
    assert_succeeded(await runner.run("ECS_SYNC"))
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.CreateService",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
    ]
    assert cloud.running() == {"v1": "PRIMARY"}
    (task_set,) = cloud.task_sets()
    assert task_set["loadBalancers"] == [
        {"targetGroupArn": cloud.primary, "containerName": "web", "containerPort": 80}
    ]
    tags = {
        "pipecd-dev-managed-by": "piped",
        "pipecd-dev-piped": "piped-1",
        "pipecd-dev-application": "app-1",
        "pipecd-dev-commit-hash": "commit-v1",
    }
    assert {tag["key"]: tag["value"] for tag in task_set["tags"]} == tags
    assert {tag["key"]: tag["value"] for tag in cloud.service()["tags"]} == tags


async def test_a_sync_deletes_the_old_task_set_only_when_the_new_one_is_primary(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"tags": [{"key": "team", "value": "shop"}]}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.TagResource",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
        "ecs.DeleteTaskSet",
        "ecs.DeregisterTaskDefinition",
    ]
    assert cloud.running() == {"v2": "PRIMARY"} and cloud.active_revisions() == ["v2"]
    third = second.next_deployment(checkout("v3"))
    assert_succeeded(await third.run("ECS_SYNC"))
    assert "team" not in {tag["key"] for tag in cloud.service()["tags"]}


async def test_the_whole_pipeline(aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    rollout = assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert rollout.saved == {"canary-scale": "50"} and cloud.weights() == ALL_TO_PRIMARY
    assert cloud.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}
    (canary,) = [task_set for task_set in cloud.task_sets() if task_set["status"] == "ACTIVE"]
    assert canary["scale"] == {"value": 50.0, "unit": "PERCENT"}
    assert canary["loadBalancers"][0]["targetGroupArn"] == cloud.canary

    routing = assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", stage_id="some", canary=20))
    assert routing.saved == {"primary-percentage": "80", "canary-percentage": "20"}
    assert cloud.weights() == [{"primary": 80, "canary": 20}] * 3
    assert second.shared["current-listeners"] == ",".join(cloud.listeners)
    assert second.shared["canary-target-group-arn"] == cloud.canary

    assert_succeeded(await second.run("ECS_PRIMARY_ROLLOUT"))
    statuses = sorted(task_set["status"] for task_set in cloud.task_sets())
    assert statuses == ["ACTIVE", "PRIMARY"], "the canary still receives traffic, so it still runs"
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", stage_id="all", primary=100))
    assert_succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert cloud.running() == {"v2": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.TagResource",
        "ecs.CreateTaskSet",
        "elasticloadbalancing.ModifyRule",
        "elasticloadbalancing.ModifyListener",
        "elasticloadbalancing.ModifyListener",
        "ecs.RegisterTaskDefinition",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
        "ecs.DeleteTaskSet",
        "ecs.DeregisterTaskDefinition",
        "elasticloadbalancing.ModifyRule",
        "elasticloadbalancing.ModifyListener",
        "elasticloadbalancing.ModifyListener",
        "ecs.DeleteTaskSet",
        "ecs.DeregisterTaskDefinition",
    ]


async def test_routing_changes_only_rules_with_exactly_both_groups_and_keeps_their_settings(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    before = [rule for rule in cloud.rules() if rule["Actions"][0].get("TargetGroupArn") == cloud.other]
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", primary=30))
    after = [rule for rule in cloud.rules() if rule["Actions"][0].get("TargetGroupArn") == cloud.other]
    assert after == before and len(before) == 1
    for rule in cloud.rules():
        if rule not in after:
            config = rule["Actions"][0]["ForwardConfig"]
            assert config["TargetGroupStickinessConfig"]["Enabled"]
    assert cloud.weights() == [{"primary": 30, "canary": 70}] * 3


async def test_traffic_is_not_routed_to_an_empty_group(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert "so its traffic would be lost" in failure_text(await second.run("ECS_TRAFFIC_ROUTING", canary=10))
    assert cloud.weights() == ALL_TO_PRIMARY and aws.changes == []


async def test_cleaning_a_canary_with_traffic_routes_first(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=10))
    del aws.calls[:]
    assert_succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert aws.changes[-2:] == ["ecs.DeleteTaskSet", "ecs.DeregisterTaskDefinition"]
    assert aws.changes[:3] == [
        "elasticloadbalancing.ModifyRule",
        "elasticloadbalancing.ModifyListener",
        "elasticloadbalancing.ModifyListener",
    ]
    assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY


async def test_a_sync_with_a_leftover_canary_routes_first(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=100))
    third = runner.next_deployment(checkout("v3"))
    third.id = "deployment-3"
    assert_succeeded(await third.run("ECS_SYNC"))
    assert cloud.running() == {"v3": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY


PIPELINE: list[tuple[str, str, dict[str, Any]]] = [
    ("ECS_CANARY_ROLLOUT", "canary", {"scale": 50}),
    ("ECS_TRAFFIC_ROUTING", "some", {"canary": 20}),
    ("ECS_PRIMARY_ROLLOUT", "primary", {}),
    ("ECS_TRAFFIC_ROUTING", "all", {"primary": 100}),
    ("ECS_CANARY_CLEAN", "clean", {}),
]


@pytest.mark.parametrize("calls", [1, 4, 7])
@pytest.mark.parametrize("cancelled", range(len(PIPELINE)))
async def test_rollback_after_a_cancellation_keeps_only_the_previous_version(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout, cancelled: int, calls: int
) -> None:
    """Cancelled after `calls` calls of one stage; the earlier stages succeeded."""
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"desiredCount": 4}))
    for name, stage_id, options in PIPELINE[:cancelled]:
        assert_succeeded(await second.run(name, stage_id=stage_id, **options))
    name, stage_id, options = PIPELINE[cancelled]
    await second.run(name, stage_id=stage_id, calls=calls, **options)
    del aws.calls[:]
    assert_succeeded(await second.run("ROLLBACK"))
    assert cloud.weights() == ALL_TO_PRIMARY
    assert cloud.running() == {"v1": "PRIMARY"} and len(cloud.task_sets()) == 1
    assert cloud.service()["desiredCount"] == 2
    tags = {tag["key"]: tag["value"] for tag in cloud.service()["tags"]}
    assert tags["pipecd-dev-commit-hash"] == "commit-v1"
    moving = [index for index, name in enumerate(aws.changes) if "Modify" in name]
    rest = [index for index, name in enumerate(aws.changes) if "Modify" not in name]
    assert not moving or not rest or max(moving) < min(rest), "traffic is restored before anything else"


async def test_rollback_keeps_the_old_task_set_if_it_still_runs(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    (old,) = cloud.task_sets()
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ROLLBACK"))
    (remaining,) = cloud.task_sets()
    assert remaining["taskSetArn"] == old["taskSetArn"]
    assert aws.changes.count("ecs.CreateTaskSet") == 1, "only the canary was created"


async def test_rollback_empties_another_service_that_the_commit_created(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"serviceName": "renamed"}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert_succeeded(await second.run("ROLLBACK"))
    assert cloud.running() == {"v1": "PRIMARY"}
    response = aws.client("ecs").describe_task_sets(cluster=CLUSTER, service="renamed")
    assert response["taskSets"] == [] and cloud.active_revisions() == ["v1"]


async def test_rollback_of_a_first_deployment_fails(runner: AwsRunner) -> None:
    assert "nothing was deployed before" in failure_text(await runner.run("ROLLBACK"))


async def test_recreate_stops_everything_first_and_restores_the_count(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    assert_succeeded(await runner.run("ECS_SYNC"))
    del aws.calls[:]
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_SYNC", recreate=True))
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.TagResource",
        "ecs.UpdateService",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
        "ecs.DeleteTaskSet",
        "ecs.DeregisterTaskDefinition",
        "ecs.UpdateService",
    ]
    assert [body["desiredCount"] for body in aws.bodies("ecs.UpdateService")] == [0, 2]


@pytest.mark.parametrize("calls", range(4, 8))
async def test_rollback_of_a_recreate_starts_the_tasks_again(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout, calls: int
) -> None:
    runner.target = checkout("free", service={"desiredCount": 0})
    assert_succeeded(await runner.run("ECS_SYNC"))
    cloud.aws.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=3)
    second = runner.next_deployment(checkout("v2", service={"desiredCount": 0}))
    await second.run("ECS_SYNC", recreate=True, calls=calls)
    assert_succeeded(await second.run("ROLLBACK"))
    assert cloud.service()["desiredCount"] == 3 and cloud.running() == {"free": "PRIMARY"}


async def test_a_desired_count_controlled_by_autoscaling_is_not_changed(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"desiredCount": 5}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert cloud.service()["desiredCount"] == 5
    aws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{CLUSTER}/{SERVICE}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=1,
        MaxCapacity=9,
    )
    third = second.next_deployment(checkout("v3", service={"desiredCount": 1}))
    assert_succeeded(await third.run("ECS_SYNC"))
    assert cloud.service()["desiredCount"] == 5
    assert any("Autoscaling controls the desired count" in line for line in third.log.lines)


async def test_a_desired_count_that_is_not_in_git_is_not_changed(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"desiredCount": 0}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert cloud.service()["desiredCount"] == 2 and not aws.bodies("ecs.UpdateService")


async def test_service_discovery_has_canaries_and_no_traffic_stage(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    app_input = {"accessType": "SERVICE_DISCOVERY", "targetGroups": None}
    registry = [{"registryArn": "arn:aws:servicediscovery:eu-central-1:123456789012:service/srv-1"}]
    runner.target = checkout("one", app_input=app_input, service={"serviceRegistries": registry})
    assert_succeeded(await runner.run("ECS_SYNC"))
    second = runner.next_deployment(
        checkout("two", app_input=app_input, service={"serviceRegistries": registry})
    )
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=10))
    sent = aws.bodies("ecs.CreateTaskSet")
    assert [body["serviceRegistries"] for body in sent] == [registry, registry]
    assert not any("loadBalancers" in body for body in sent)
    assert "accessType SERVICE_DISCOVERY does not support traffic routing" in failure_text(
        await second.run("ECS_TRAFFIC_ROUTING", canary=10)
    )
    assert_succeeded(await second.run("ECS_PRIMARY_ROLLOUT"))
    assert_succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert cloud.running() == {"two": "PRIMARY"}
    assert not any(call.name.startswith("elasticloadbalancing") for call in aws.calls)


async def test_a_standalone_task_is_started_once(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    vpc = {"subnets": [cloud.subnet], "securityGroups": [cloud.group], "assignPublicIp": "DISABLED"}
    app_input = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    runner.target = checkout("task", app_input=app_input)
    assert_succeeded(await runner.run("ECS_SYNC"))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.RunTask"]
    (sent,) = aws.bodies("ecs.RunTask")
    assert sent["count"] == 1 and sent["launchType"] == "FARGATE" and sent["clientToken"]
    assert sent["networkConfiguration"] == {"awsvpcConfiguration": vpc}
    runner.saved.clear()
    assert_succeeded(await runner.run("ECS_SYNC"))
    assert len(aws.bodies("ecs.RunTask")) == 1, "the task is found if the response to the first call was lost"
    assert "requires a service" in failure_text(await runner.run("ECS_CANARY_ROLLOUT", scale=1))

    second = runner.next_deployment(checkout("task2", app_input={**app_input, "runStandaloneTask": False}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert_succeeded(await second.run("ROLLBACK"))
    assert len(aws.bodies("ecs.RunTask")) == 1
    assert cloud.image("shop") == "task", "the newest revision has the previous version"


async def test_a_task_that_cannot_be_placed_fails_with_its_reason(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    vpc = {"subnets": [cloud.subnet], "securityGroups": [cloud.group]}
    app_input = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    runner.target = checkout("task", app_input=app_input)
    failures = [{"reason": "RESOURCE:MEMORY"}]
    aws.rewrite("ecs.RunTask", lambda response: response.update(tasks=[], failures=failures))
    assert "RESOURCE:MEMORY" in failure_text(await runner.run("ECS_SYNC"))


async def test_ecs_replaces_the_tasks_of_a_rolling_service(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    runner.target = checkout("r1", service=rolling)
    assert_succeeded(await runner.run("ECS_SYNC"))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.CreateService"]
    second = runner.next_deployment(checkout("r2", service={**rolling, "desiredCount": 3}))
    assert_succeeded(await second.run("ECS_SYNC"))
    assert aws.changes[2:] == ["ecs.RegisterTaskDefinition", "ecs.UpdateService", "ecs.TagResource"]
    live = cloud.service()
    assert cloud.image(live["taskDefinition"]) == "r2" and live["desiredCount"] == 3
    assert "does not support canaries" in failure_text(await second.run("ECS_CANARY_ROLLOUT", scale=10))
    assert_succeeded(await second.run("ROLLBACK"))
    live = cloud.service()
    assert cloud.image(live["taskDefinition"]) == "r1" and live["desiredCount"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rolloutState": "FAILED", "rolloutStateReason": "tasks failed to start"}, "tasks failed to start"),
        ({"taskDefinition": "shop:1"}, "was changed to shop:1 instead"),
    ],
)
async def test_a_rolling_update_that_ecs_aborts_fails(
    aws: Emulator, runner: AwsRunner, checkout: Checkout, change: dict[str, str], message: str
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    runner.target = checkout("r1", service=rolling)
    assert_succeeded(await runner.run("ECS_SYNC"))
    second = runner.next_deployment(checkout("r2", service=rolling))

    def aborted(content: Any) -> None:
        for service in content["services"]:
            if "taskDefinition" in change:
                service.update(change)
            service["deployments"][0].update(change)

    aws.rewrite("ecs.DescribeServices", aborted)
    assert message in failure_text(await second.run("ECS_SYNC"))


async def test_the_controller_of_a_service_cannot_be_changed(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2", service={"deploymentController": {"type": "ECS"}}))
    assert "which cannot be changed to ECS" in failure_text(await second.run("ECS_SYNC"))
    third = runner.next_deployment(checkout("v3", service={"deploymentController": None}))
    third.id = "deployment-3"
    assert_succeeded(await third.run("ECS_SYNC"))
    assert cloud.running() == {"v3": "PRIMARY"}, "a file without a controller uses the service's"


async def test_a_new_service_requires_a_controller(runner: AwsRunner, checkout: Checkout) -> None:
    runner.target = checkout("none", service={"deploymentController": None})
    assert "set deploymentController.type: EXTERNAL" in failure_text(await runner.run("ECS_SYNC"))


async def test_tasks_that_never_become_healthy_fail_and_keep_the_old_ones(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)

    def unsteady(response: Any) -> None:
        for task_set in response["taskSets"]:
            if task_set["status"] != "PRIMARY":
                task_set["stabilityStatus"] = "STABILIZING"

    aws.rewrite("ecs.DescribeTaskSets", unsteady)
    second = runner.next_deployment(checkout("v2"))
    second.min_wait = 35.0
    assert "not healthy after 10 minutes" in failure_text(await second.run("ECS_SYNC"))
    assert 600 <= second.waited < 640
    assert cloud.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}
    assert_succeeded(await second.run("ROLLBACK"))
    assert cloud.running() == {"v1": "PRIMARY"}


async def test_a_service_that_never_becomes_stable_fails(aws: Emulator, runner: AwsRunner) -> None:
    def half_running(response: Any) -> None:
        for service in response["services"]:
            service["runningCount"], service["pendingCount"] = 1, 1
            service["events"] = [{"message": "unable to pull the image"}]

    aws.rewrite("ecs.DescribeServices", half_running)
    runner.min_wait = 60.0
    reason = failure_text(await runner.run("ECS_SYNC"))
    assert "only 1 of 2 tasks are running after 10 minutes: unable to pull the image" in reason


async def test_a_denied_permission_is_named_and_nothing_is_deleted(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    aws.fail("ecs.UpdateServicePrimaryTaskSet", 400, "AccessDeniedException", "not authorized")
    second = runner.next_deployment(checkout("v2"))
    assert "to call ecs:UpdateServicePrimaryTaskSet" in failure_text(await second.run("ECS_SYNC"))
    assert cloud.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}


async def test_stages_name_missing_settings(runner: AwsRunner, checkout: Checkout) -> None:
    runner.target = checkout("bare", app_input={"targetGroups": None})
    assert "requires the primary target group" in failure_text(await runner.run("ECS_PRIMARY_ROLLOUT"))
    assert "requires the canary target group" in failure_text(
        await runner.run("ECS_CANARY_ROLLOUT", scale=10)
    )
    assert "requires both target groups" in failure_text(await runner.run("ECS_TRAFFIC_ROUTING", canary=10))
    assert "add ECS_CANARY_ROLLOUT before" in failure_text(await runner.run("ECS_CANARY_CLEAN"))


SPOT = [
    {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0},
    {"capacityProvider": "FARGATE", "weight": 1},
]


@pytest.mark.parametrize("controller", ["EXTERNAL", "ECS"])
async def test_a_capacity_provider_strategy_is_sent_and_is_no_drift(
    aws: Emulator, runner: AwsRunner, checkout: Checkout, controller: str
) -> None:
    service = {
        "deploymentController": {"type": controller},
        "launchType": None,
        "capacityProviderStrategy": SPOT,
    }
    runner.target = checkout("spot", service=service)
    assert_succeeded(await runner.run("ECS_SYNC"))
    (sent,) = aws.bodies("ecs.CreateTaskSet" if controller == "EXTERNAL" else "ecs.CreateService")
    assert sent["capacityProviderStrategy"] == SPOT and "launchType" not in sent
    request = await observation_request(platform, runner.provider, runner.target)
    drift = await detect(request)
    assert drift.in_sync, drift.details


async def test_a_rolling_service_goes_from_a_launch_type_to_capacity_providers_and_back(
    aws: Emulator, runner: AwsRunner, checkout: Checkout
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    runner.target = checkout("r1", service=rolling)
    assert_succeeded(await runner.run("ECS_SYNC"))
    spot = {**rolling, "launchType": None, "capacityProviderStrategy": SPOT}
    second = runner.next_deployment(checkout("r2", service=spot))
    assert_succeeded(await second.run("ECS_SYNC"))
    third = second.next_deployment(checkout("r3", service=rolling))
    assert_succeeded(await third.run("ECS_SYNC"))
    sent = [body["capacityProviderStrategy"] for body in aws.bodies("ecs.UpdateService")]
    assert sent == [SPOT, []]


async def test_everything_that_aws_knows_of_a_rolling_service_is_sent_when_it_changes(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    runner.target = checkout("r1", service=rolling)
    assert_succeeded(await runner.run("ECS_SYNC"))
    port = {"containerName": "web", "containerPort": 80}
    more = {
        "loadBalancers": [{"targetGroupArn": arn, **port} for arn in (cloud.primary, cloud.other)],
        "serviceConnectConfiguration": {"enabled": True, "namespace": "shop"},
        "volumeConfigurations": [
            {"name": "data", "managedEBSVolume": {"roleArn": "arn:role", "sizeInGiB": 9}}
        ],
        "availabilityZoneRebalancing": "ENABLED",
        "vpcLatticeConfigurations": [{"roleArn": "arn:role", "targetGroupArn": "arn:tg", "portName": "web"}],
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    }
    second = runner.next_deployment(checkout("r2", service={**rolling, **more}))
    assert_succeeded(await second.run("ECS_SYNC"))
    (sent,) = aws.bodies("ecs.UpdateService")
    assert {name: sent[name] for name in more} == more
    request = await observation_request(platform, second.provider, second.target)
    drift = await detect(request)
    assert drift.in_sync, drift.details
    third = second.next_deployment(
        checkout("r3", service={**rolling, "loadBalancers": []}, app_input={"targetGroups": None})
    )
    assert_succeeded(await third.run("ECS_SYNC"))
    assert aws.bodies("ecs.UpdateService")[-1]["loadBalancers"] == []


async def test_a_launch_type_that_aws_cannot_change_is_refused(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    runner.target = checkout("r1", service=rolling)
    assert_succeeded(await runner.run("ECS_SYNC"))
    second = runner.next_deployment(checkout("r2", service={**rolling, "launchType": "EC2"}))
    reason = failure_text(await second.run("ECS_SYNC"))
    assert "has launchType FARGATE, which AWS cannot change to EC2; " in reason
    assert "set launchType: FARGATE, or delete the service first" in reason
    assert cloud.image(cloud.service()["taskDefinition"]) == "r1"


async def test_a_file_without_a_controller_is_checked_against_that_of_the_service(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    connect = {"serviceConnectConfiguration": {"enabled": True}}
    second = runner.next_deployment(checkout("v2", service={"deploymentController": None, **connect}))
    reason = failure_text(await second.run("ECS_SYNC"))
    assert "servicedef.yaml:" in reason and "serviceConnectConfiguration: AWS does not allow it" in reason
    assert_succeeded(await second.run("ROLLBACK"))


async def test_a_rollback_to_files_that_are_refused_today_works(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    """An agent of before the check deployed them, without what AWS refuses."""
    await deploy(runner, cloud)
    old = checkout("v2", service={"serviceConnectConfiguration": {"enabled": True}})
    assert "does not allow it" in failure_text(await runner.next_deployment(old).run("ECS_SYNC"))
    third = runner.next_deployment(checkout("v3"))
    assert_succeeded(await third.run("ECS_SYNC"))
    third.running = old
    assert_succeeded(await third.run("ROLLBACK"))
    assert cloud.running() == {"v2": "PRIMARY"}


async def test_units_and_words_of_pipecds_examples(
    aws: Emulator, runner: AwsRunner, checkout: Checkout
) -> None:
    folder = checkout("units")
    task = json.loads((folder / "taskdef.json").read_text())
    task |= {
        "cpu": ".25 vCPU",
        "memory": "0.5 GB",
        "pidMode": "",
        "ipcMode": "",
        "runtimePlatform": {"operatingSystemFamily": "", "cpuArchitecture": ""},
        "taskRoleArn": "web",
        "tags": [{"key": "team", "value": "shop"}],
    }
    variables = [{"name": name, "value": name.lower()} for name in "ABC"]
    task["containerDefinitions"][0]["environment"] = variables
    (folder / "taskdef.json").write_text(json.dumps(task))
    runner.target = folder
    assert_succeeded(await runner.run("ECS_SYNC"))
    (sent,) = aws.bodies("ecs.RegisterTaskDefinition")
    assert not {"pidMode", "ipcMode", "runtimePlatform"} & set(sent)
    assert {"key": "team", "value": "shop"} in sent["tags"]
    request = await observation_request(platform, runner.provider, runner.target)
    drift = await detect(request)
    assert drift.in_sync, drift.details


async def leave_canaries(runner: AwsRunner, checkout: Checkout, *names: str) -> AwsRunner:
    """Deployments that are cancelled without a rollback after their canary rollout."""
    for name in names:
        running = runner.running or runner.target
        runner = runner.next_deployment(checkout(name))
        runner.running = running
        assert_succeeded(await runner.run("ECS_CANARY_ROLLOUT", scale=10))
    return runner


async def test_canaries_of_cancelled_deployments_do_not_fill_the_service(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    last = await leave_canaries(runner, checkout, "c1", "c2", "c3", "c4", "c5", "c6")
    assert cloud.running() == {"v1": "PRIMARY", "c6": "ACTIVE"}
    fixed = last.next_deployment(checkout("fix"))
    fixed.running = runner.target
    assert_succeeded(await fixed.run("ECS_SYNC"))
    assert cloud.running() == {"fix": "PRIMARY"} and cloud.active_revisions() == ["fix"]


async def fill(cloud: Cloud, rules: EcsRules, count: int, *, managed: bool) -> list[str]:
    """Task sets in the canary group, next to the primary one."""
    client = cloud.aws.client("ecs")
    tags = [{"key": "pipecd-dev-managed-by", "value": "piped"}] if managed else []
    arns = []
    for _ in range(count):
        response = client.create_task_set(
            cluster=CLUSTER,
            service=SERVICE,
            taskDefinition=cloud.task_sets()[0]["taskDefinition"],
            loadBalancers=[{"targetGroupArn": cloud.canary, "containerName": "web", "containerPort": 80}],
            tags=tags,
        )
        arns.append(response["taskSet"]["taskSetArn"])
    rules._task_sets[SERVICE] |= set(arns)
    return arns


@pytest.mark.parametrize("drains", [0, 1, 6])
async def test_leftovers_with_traffic_are_deleted_only_at_the_limit_and_after_routing(
    aws: Emulator, cloud: Cloud, rules: EcsRules, runner: AwsRunner, checkout: Checkout, drains: int
) -> None:
    rules.drains = drains
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=30))
    third = runner.next_deployment(checkout("v3"))
    third.id = "deployment-3"
    assert_succeeded(await third.run("ECS_CANARY_ROLLOUT", scale=10))
    assert cloud.running() == {"v1": "PRIMARY", "v2": "ACTIVE", "v3": "ACTIVE"}, "v2 has 30 % of the traffic"

    await fill(cloud, rules, 2, managed=True)
    fourth = runner.next_deployment(checkout("v4"))
    fourth.id = "deployment-4"
    del aws.calls[:]
    assert_succeeded(await fourth.run("ECS_SYNC"))
    changes = [name for name in aws.changes if "Modify" in name or "TaskSet" in name]
    assert changes[:4] == [*["elasticloadbalancing.ModifyRule"], *["elasticloadbalancing.ModifyListener"] * 2,
                           "ecs.DeleteTaskSet"]  # fmt: skip
    assert cloud.running() == {"v4": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY


async def test_task_sets_of_others_are_never_deleted(
    cloud: Cloud, rules: EcsRules, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    await fill(cloud, rules, 4, managed=False)
    second = runner.next_deployment(checkout("v2"))
    reason = failure_text(await second.run("ECS_SYNC"))
    assert "the service shop has 5 task sets, and AWS allows 5; delete task sets" in reason
    assert len(cloud.task_sets()) == 5


async def test_task_sets_that_never_drain_fail_the_stage(
    cloud: Cloud, rules: EcsRules, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    await fill(cloud, rules, 4, managed=True)
    rules.drains = 10_000
    second = runner.next_deployment(checkout("v2"))
    second.min_wait = 35.0
    assert "old task sets were not deleted within 10 minutes" in failure_text(await second.run("ECS_SYNC"))
    assert 600 <= second.waited < 640


async def test_a_stage_lists_all_rules_once(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    for number, stage in enumerate(("ECS_TRAFFIC_ROUTING", "ECS_CANARY_CLEAN")):
        del aws.calls[:]
        options: dict[str, Any] = {"canary": 20} if number == 0 else {}
        assert_succeeded(await second.run(stage, **options))
        names = [call.name for call in aws.calls]
        assert names.count("elasticloadbalancing.DescribeTargetGroups") == 1
        bodies = aws.bodies("elasticloadbalancing.DescribeRules")
        assert len([body for body in bodies if "ListenerArn" in body]) == len(cloud.listeners)


async def test_a_rule_that_is_deleted_during_a_stage_is_no_failure(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Checkout
) -> None:
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    await second.run("ECS_TRAFFIC_ROUTING", canary=20, calls=2)
    aws.fail("elasticloadbalancing.DescribeRules", 400, "RuleNotFound")
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=20))
    assert cloud.weights() == [{"primary": 80, "canary": 20}] * 3


@pytest.mark.parametrize("before", ["none", "another"])
async def test_rollback_restores_the_weights_if_the_commit_brought_the_canary_group(
    cloud: Cloud, runner: AwsRunner, checkout: Checkout, before: str
) -> None:
    port = {"containerName": "web", "containerPort": 80}
    groups = {"primary": {"targetGroupArn": cloud.primary, **port}}
    if before == "another":
        groups["canary"] = {"targetGroupArn": cloud.other, **port}
    runner.target = checkout("one", app_input={"targetGroups": groups})
    await deploy(runner, cloud)
    second = runner.next_deployment(checkout("two"))
    assert_succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert_succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=20))
    assert_succeeded(await second.run("ROLLBACK"))
    assert cloud.weights() == ALL_TO_PRIMARY and cloud.running() == {"one": "PRIMARY"}
