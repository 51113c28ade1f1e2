"""Every ECS stage against an emulated AWS: its calls, their order, and the result of failures.

The tests simulate what moto does not do: tasks of services run or fail (`runningCount`), task sets take time
to become steady, ECS's own deployments proceed, and calls are refused. After every changing call,
`Cloud.check` checks that no traffic points at a target group without tasks.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.ecs.cloud import ALL_TO_PRIMARY, CLUSTER, SERVICE, Cloud

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
