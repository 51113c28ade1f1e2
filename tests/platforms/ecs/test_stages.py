"""Every ECS stage against an emulated AWS: what it does, in which order, and what its failure leaves.

What moto does not do, and is brought about by hand here: tasks of services run or fail to (`runningCount`),
task sets take time to become steady, ECS's own deployments proceed, calls are refused. After every call that
changes something, `World.check` looks whether any traffic points at a target group without tasks.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.aws.bench import Bench, failed, succeeded
from tests.platforms.aws.emulator import Emulator
from tests.platforms.ecs.cloud import CLUSTER, SERVICE, WHOLE, World

Checkout = Callable[..., Path]


async def deployed(bench: Bench, world: World) -> None:
    succeeded(await bench.run("ECS_SYNC"))
    world.serving = True
    del world.aws.calls[:]


async def test_the_first_sync_makes_service_and_primary(aws: Emulator, world: World, bench: Bench) -> None:
    succeeded(await bench.run("ECS_SYNC"))
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.CreateService",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
    ]
    assert world.running() == {"v1": "PRIMARY"}
    (made,) = world.task_sets()
    assert made["loadBalancers"] == [
        {"targetGroupArn": world.primary, "containerName": "web", "containerPort": 80}
    ]
    tags = {
        "pipecd-dev-managed-by": "piped",
        "pipecd-dev-piped": "piped-1",
        "pipecd-dev-application": "app-1",
        "pipecd-dev-commit-hash": "commit-v1",
    }
    assert {one["key"]: one["value"] for one in made["tags"]} == tags
    assert {one["key"]: one["value"] for one in world.service()["tags"]} == tags


async def test_a_sync_deletes_the_old_task_set_only_when_the_new_one_is_primary(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"tags": [{"key": "team", "value": "shop"}]}))
    succeeded(await second.run("ECS_SYNC"))
    assert aws.changes == [
        "ecs.RegisterTaskDefinition",
        "ecs.TagResource",
        "ecs.CreateTaskSet",
        "ecs.UpdateServicePrimaryTaskSet",
        "ecs.DeleteTaskSet",
        "ecs.DeregisterTaskDefinition",
    ]
    assert world.running() == {"v2": "PRIMARY"} and world.active_revisions() == ["v2"]
    third = second.next(checkout("v3"))
    succeeded(await third.run("ECS_SYNC"))
    assert "team" not in {one["key"] for one in world.service()["tags"]}


async def test_the_whole_pipeline(aws: Emulator, world: World, bench: Bench, checkout: Checkout) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2"))
    rolled = succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    assert rolled.saved == {"canary-scale": "50"} and world.weights() == WHOLE
    assert world.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}
    (canary,) = [one for one in world.task_sets() if one["status"] == "ACTIVE"]
    assert canary["scale"] == {"value": 50.0, "unit": "PERCENT"}
    assert canary["loadBalancers"][0]["targetGroupArn"] == world.canary

    routed = succeeded(await second.run("ECS_TRAFFIC_ROUTING", stage_id="some", canary=20))
    assert routed.saved == {"primary-percentage": "80", "canary-percentage": "20"}
    assert world.weights() == [{"primary": 80, "canary": 20}] * 3
    assert second.shared["current-listeners"] == ",".join(world.listeners)
    assert second.shared["canary-target-group-arn"] == world.canary

    succeeded(await second.run("ECS_PRIMARY_ROLLOUT"))
    statuses = sorted(one["status"] for one in world.task_sets())
    assert statuses == ["ACTIVE", "PRIMARY"], "the canary still gets traffic, so it still runs"
    succeeded(await second.run("ECS_TRAFFIC_ROUTING", stage_id="all", primary=100))
    succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert world.running() == {"v2": "PRIMARY"} and world.weights() == WHOLE
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


async def test_routing_touches_only_rules_of_exactly_both_groups_and_keeps_their_rest(
    world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    before = [rule for rule in world.rules() if rule["Actions"][0].get("TargetGroupArn") == world.other]
    second = bench.next(checkout("v2"))
    succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    succeeded(await second.run("ECS_TRAFFIC_ROUTING", primary=30))
    after = [rule for rule in world.rules() if rule["Actions"][0].get("TargetGroupArn") == world.other]
    assert after == before and len(before) == 1
    for rule in world.rules():
        if rule not in after:
            config = rule["Actions"][0]["ForwardConfig"]
            assert config["TargetGroupStickinessConfig"]["Enabled"]
    assert world.weights() == [{"primary": 30, "canary": 70}] * 3


async def test_traffic_is_not_routed_to_nothing(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2"))
    assert "traffic would go nowhere" in failed(await second.run("ECS_TRAFFIC_ROUTING", canary=10))
    assert world.weights() == WHOLE and aws.changes == []


async def test_cleaning_a_canary_with_traffic_routes_first(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2"))
    succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=10))
    del aws.calls[:]
    succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert aws.changes[-2:] == ["ecs.DeleteTaskSet", "ecs.DeregisterTaskDefinition"]
    assert aws.changes[:3] == [
        "elasticloadbalancing.ModifyRule",
        "elasticloadbalancing.ModifyListener",
        "elasticloadbalancing.ModifyListener",
    ]
    assert world.running() == {"v1": "PRIMARY"} and world.weights() == WHOLE


async def test_a_sync_over_a_canary_that_was_left_routes_first(
    world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2"))
    succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    succeeded(await second.run("ECS_TRAFFIC_ROUTING", canary=100))
    third = bench.next(checkout("v3"))
    third.id = "deployment-3"
    succeeded(await third.run("ECS_SYNC"))
    assert world.running() == {"v3": "PRIMARY"} and world.weights() == WHOLE


PIPELINE: list[tuple[str, str, dict[str, Any]]] = [
    ("ECS_CANARY_ROLLOUT", "canary", {"scale": 50}),
    ("ECS_TRAFFIC_ROUTING", "some", {"canary": 20}),
    ("ECS_PRIMARY_ROLLOUT", "primary", {}),
    ("ECS_TRAFFIC_ROUTING", "all", {"primary": 100}),
    ("ECS_CANARY_CLEAN", "clean", {}),
]


@pytest.mark.parametrize("calls", [1, 4, 7])
@pytest.mark.parametrize("cancelled", range(len(PIPELINE)))
async def test_rollback_after_a_cancel_leaves_what_ran_and_nothing_else(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout, cancelled: int, calls: int
) -> None:
    """Cancelled after `calls` calls of one stage, the stages before it being done."""
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"desiredCount": 4}))
    for name, stage_id, options in PIPELINE[:cancelled]:
        succeeded(await second.run(name, stage_id=stage_id, **options))
    name, stage_id, options = PIPELINE[cancelled]
    await second.run(name, stage_id=stage_id, calls=calls, **options)
    del aws.calls[:]
    succeeded(await second.run("ROLLBACK"))
    assert world.weights() == WHOLE
    assert world.running() == {"v1": "PRIMARY"} and len(world.task_sets()) == 1
    assert world.service()["desiredCount"] == 2
    tags = {one["key"]: one["value"] for one in world.service()["tags"]}
    assert tags["pipecd-dev-commit-hash"] == "commit-v1"
    moving = [at for at, one in enumerate(aws.changes) if "Modify" in one]
    rest = [at for at, one in enumerate(aws.changes) if "Modify" not in one]
    assert not moving or not rest or max(moving) < min(rest), "traffic goes back before anything else"


async def test_rollback_keeps_the_old_task_set_where_it_still_runs(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    (old,) = world.task_sets()
    second = bench.next(checkout("v2"))
    succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=50))
    succeeded(await second.run("ROLLBACK"))
    (left,) = world.task_sets()
    assert left["taskSetArn"] == old["taskSetArn"]
    assert aws.changes.count("ecs.CreateTaskSet") == 1, "only the canary was ever made"


async def test_rollback_empties_another_service_that_the_commit_made(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"serviceName": "renamed"}))
    succeeded(await second.run("ECS_SYNC"))
    succeeded(await second.run("ROLLBACK"))
    assert world.running() == {"v1": "PRIMARY"}
    found = aws.client("ecs").describe_task_sets(cluster=CLUSTER, service="renamed")
    assert found["taskSets"] == [] and world.active_revisions() == ["v1"]


async def test_rollback_of_a_first_deployment_says_that_there_is_nothing(bench: Bench) -> None:
    assert "nothing was deployed before" in failed(await bench.run("ROLLBACK"))


async def test_recreate_stops_everything_first_and_restores_the_count(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    succeeded(await bench.run("ECS_SYNC"))
    del aws.calls[:]
    second = bench.next(checkout("v2"))
    succeeded(await second.run("ECS_SYNC", recreate=True))
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
    assert [one["desiredCount"] for one in aws.bodies("ecs.UpdateService")] == [0, 2]


@pytest.mark.parametrize("calls", range(4, 8))
async def test_rollback_of_a_recreate_starts_the_tasks_again(
    world: World, bench: Bench, checkout: Checkout, calls: int
) -> None:
    bench.target = checkout("free", service={"desiredCount": 0})
    succeeded(await bench.run("ECS_SYNC"))
    world.aws.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=3)
    second = bench.next(checkout("v2", service={"desiredCount": 0}))
    await second.run("ECS_SYNC", recreate=True, calls=calls)
    succeeded(await second.run("ROLLBACK"))
    assert world.service()["desiredCount"] == 3 and world.running() == {"free": "PRIMARY"}


async def test_a_desired_count_that_autoscaling_owns_is_left_alone(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"desiredCount": 5}))
    succeeded(await second.run("ECS_SYNC"))
    assert world.service()["desiredCount"] == 5
    aws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{CLUSTER}/{SERVICE}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=1,
        MaxCapacity=9,
    )
    third = second.next(checkout("v3", service={"desiredCount": 1}))
    succeeded(await third.run("ECS_SYNC"))
    assert world.service()["desiredCount"] == 5
    assert any("Autoscaling owns the desired count" in line for line in third.log.lines)


async def test_a_desired_count_that_git_leaves_out_is_left_alone(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"desiredCount": 0}))
    succeeded(await second.run("ECS_SYNC"))
    assert world.service()["desiredCount"] == 2 and not aws.bodies("ecs.UpdateService")


async def test_service_discovery_has_canaries_and_no_traffic_stage(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    given = {"accessType": "SERVICE_DISCOVERY", "targetGroups": None}
    registry = [{"registryArn": "arn:aws:servicediscovery:eu-central-1:123456789012:service/srv-1"}]
    bench.target = checkout("one", given=given, service={"serviceRegistries": registry})
    succeeded(await bench.run("ECS_SYNC"))
    second = bench.next(checkout("two", given=given, service={"serviceRegistries": registry}))
    succeeded(await second.run("ECS_CANARY_ROLLOUT", scale=10))
    sent = aws.bodies("ecs.CreateTaskSet")
    assert [one["serviceRegistries"] for one in sent] == [registry, registry]
    assert not any("loadBalancers" in one for one in sent)
    assert "cannot be routed with accessType" in failed(await second.run("ECS_TRAFFIC_ROUTING", canary=10))
    succeeded(await second.run("ECS_PRIMARY_ROLLOUT"))
    succeeded(await second.run("ECS_CANARY_CLEAN"))
    assert world.running() == {"two": "PRIMARY"}
    assert not any(call.name.startswith("elasticloadbalancing") for call in aws.calls)


async def test_a_standalone_task_is_started_once(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    vpc = {"subnets": [world.subnet], "securityGroups": [world.group], "assignPublicIp": "DISABLED"}
    given = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    bench.target = checkout("task", given=given)
    succeeded(await bench.run("ECS_SYNC"))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.RunTask"]
    (sent,) = aws.bodies("ecs.RunTask")
    assert sent["count"] == 1 and sent["launchType"] == "FARGATE" and sent["clientToken"]
    assert sent["networkConfiguration"] == {"awsvpcConfiguration": vpc}
    bench.saved.clear()
    succeeded(await bench.run("ECS_SYNC"))
    assert len(aws.bodies("ecs.RunTask")) == 1, "a call whose answer was lost is found again"
    assert "needs a service" in failed(await bench.run("ECS_CANARY_ROLLOUT", scale=1))

    second = bench.next(checkout("task2", given={**given, "runStandaloneTask": False}))
    succeeded(await second.run("ECS_SYNC"))
    succeeded(await second.run("ROLLBACK"))
    assert len(aws.bodies("ecs.RunTask")) == 1
    assert world.image("shop") == "task", "the newest revision is the old one again"


async def test_a_task_that_cannot_be_placed_is_said_so(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    vpc = {"subnets": [world.subnet], "securityGroups": [world.group]}
    given = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    bench.target = checkout("task", given=given)
    failures = [{"reason": "RESOURCE:MEMORY"}]
    aws.rewrite("ecs.RunTask", lambda answer: answer.update(tasks=[], failures=failures))
    assert "RESOURCE:MEMORY" in failed(await bench.run("ECS_SYNC"))


async def test_ecs_replaces_the_tasks_of_a_rolling_service(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    bench.target = checkout("r1", service=rolling)
    succeeded(await bench.run("ECS_SYNC"))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.CreateService"]
    second = bench.next(checkout("r2", service={**rolling, "desiredCount": 3}))
    succeeded(await second.run("ECS_SYNC"))
    assert aws.changes[2:] == ["ecs.RegisterTaskDefinition", "ecs.UpdateService", "ecs.TagResource"]
    live = world.service()
    assert world.image(live["taskDefinition"]) == "r2" and live["desiredCount"] == 3
    assert "has no canaries" in failed(await second.run("ECS_CANARY_ROLLOUT", scale=10))
    succeeded(await second.run("ROLLBACK"))
    live = world.service()
    assert world.image(live["taskDefinition"]) == "r1" and live["desiredCount"] == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"rolloutState": "FAILED", "rolloutStateReason": "tasks failed to start"}, "tasks failed to start"),
        ({"taskDefinition": "shop:1"}, "went to shop:1 instead"),
    ],
)
async def test_a_rolling_update_that_ecs_gives_up_fails(
    aws: Emulator, bench: Bench, checkout: Checkout, answer: dict[str, str], told: str
) -> None:
    rolling = {"deploymentController": {"type": "ECS"}}
    bench.target = checkout("r1", service=rolling)
    succeeded(await bench.run("ECS_SYNC"))
    second = bench.next(checkout("r2", service=rolling))

    def given_up(content: Any) -> None:
        for service in content["services"]:
            if "taskDefinition" in answer:
                service.update(answer)
            service["deployments"][0].update(answer)

    aws.rewrite("ecs.DescribeServices", given_up)
    assert told in failed(await second.run("ECS_SYNC"))


async def test_the_controller_of_a_service_cannot_be_changed(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    second = bench.next(checkout("v2", service={"deploymentController": {"type": "ECS"}}))
    assert "that cannot be changed" in failed(await second.run("ECS_SYNC"))
    third = bench.next(checkout("v3", service={"deploymentController": None}))
    third.id = "deployment-3"
    succeeded(await third.run("ECS_SYNC"))
    assert world.running() == {"v3": "PRIMARY"}, "a file that says nothing goes with the service"


async def test_a_new_service_must_say_its_controller(bench: Bench, checkout: Checkout) -> None:
    bench.target = checkout("none", service={"deploymentController": None})
    assert "write deploymentController.type: EXTERNAL" in failed(await bench.run("ECS_SYNC"))


async def test_tasks_that_never_become_steady_fail_and_leave_the_old_ones(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)

    def unsteady(answer: Any) -> None:
        for one in answer["taskSets"]:
            if one["status"] != "PRIMARY":
                one["stabilityStatus"] = "STABILIZING"

    aws.rewrite("ecs.DescribeTaskSets", unsteady)
    second = bench.next(checkout("v2"))
    assert "not steady after 10 minutes" in failed(await second.run("ECS_SYNC"))
    assert 600 <= second.waited < 640
    assert world.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}
    succeeded(await second.run("ROLLBACK"))
    assert world.running() == {"v1": "PRIMARY"}


async def test_a_service_that_never_becomes_stable_fails(aws: Emulator, bench: Bench) -> None:
    def half(answer: Any) -> None:
        for service in answer["services"]:
            service["runningCount"], service["pendingCount"] = 1, 1
            service["events"] = [{"message": "unable to pull the image"}]

    aws.rewrite("ecs.DescribeServices", half)
    reason = failed(await bench.run("ECS_SYNC"))
    assert "only 1 of 2 tasks run after 10 minutes: unable to pull the image" in reason


async def test_a_denied_permission_names_itself_and_deletes_nothing(
    aws: Emulator, world: World, bench: Bench, checkout: Checkout
) -> None:
    await deployed(bench, world)
    aws.fail("ecs.UpdateServicePrimaryTaskSet", 400, "AccessDeniedException", "not authorized")
    second = bench.next(checkout("v2"))
    assert "allow ecs:UpdateServicePrimaryTaskSet" in failed(await second.run("ECS_SYNC"))
    assert world.running() == {"v1": "PRIMARY", "v2": "ACTIVE"}


async def test_stages_say_what_they_miss(bench: Bench, checkout: Checkout) -> None:
    bench.target = checkout("bare", given={"targetGroups": None})
    assert "needs the primary target group" in failed(await bench.run("ECS_PRIMARY_ROLLOUT"))
    assert "needs the canary target group" in failed(await bench.run("ECS_CANARY_ROLLOUT", scale=10))
    assert "needs both target groups" in failed(await bench.run("ECS_TRAFFIC_ROUTING", canary=10))
    assert "put ECS_CANARY_ROLLOUT before" in failed(await bench.run("ECS_CANARY_CLEAN"))
