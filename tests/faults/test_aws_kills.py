"""ECS and Lambda canary deployments have the same result whenever the agent is killed with SIGKILL.

The emulated AWS keeps running. After every change the traffic is checked (invariant 6). After a deployment
its effects are counted from the executed calls (invariant 4): none is missing, and only idempotent calls are
repeated.

Not covered, because moto does not emulate it: tasks of services do not start (the desired count is reported
as running), task sets become stable and are deleted at once, functions become active at once. moto executes a
repeated call where AWS would recognize its `clientToken`, which makes the counts stricter. It publishes a
function's first version again with every call, so the agent is not killed during the first deployment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.aws import COMMIT
from pipecd.schema.model.kind_pb2 import ECS, LAMBDA
from tests.aws import credential_chain
from tests.faults.aws_kill_cycles import AWS_KILLS, KillCycle, deploy_first, run_kill_cycles
from tests.faults.processes import start_processes
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.awslambda import cloud as functions
from tests.platforms.ecs import cloud as services

PROVIDERS = [
    {"name": "ecs", "type": "ECS", "config": {"region": REGION}},
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
]

Stages = Sequence[Mapping[str, Any]]
FAILING = {"name": "SCRIPT_RUN", "with": {"run": "exit 3"}}
SHORT_WAIT = {"name": "WAIT", "with": {"duration": "1s"}}
LAMBDA_STAGES: Stages = [
    {"name": "LAMBDA_CANARY_ROLLOUT"},
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}},
    SHORT_WAIT,
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 50}},
    SHORT_WAIT,
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 100}},
]
ECS_STAGES: Stages = [
    {"name": "ECS_CANARY_ROLLOUT", "with": {"scale": 50}},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"canary": 20}},
    SHORT_WAIT,
    {"name": "ECS_PRIMARY_ROLLOUT"},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"primary": 100}},
    {"name": "ECS_CANARY_CLEAN"},
]
#: After how many stages it fails → how many task sets are created, made primary, and deleted.
EFFECTS = {None: (2, 1, 2), 2: (1, 0, 1), 4: (3, 2, 3), 6: (3, 2, 3)}

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600 + AWS_KILLS * 60)]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as aws, credential_chain(monkeypatch, aws.environment()):
        yield aws


def pipeline(stages: Stages, cut: int | None) -> Any:
    return {"stages": [*stages] if cut is None else [*stages[:cut], FAILING]}


async def test_lambda_canary_has_the_same_result_whenever_the_agent_is_killed(
    aws: Emulator, tmp_path: Path
) -> None:
    world = functions.create_cloud(aws)

    def commit(tag: str, cut: int | None) -> dict[str, str]:
        files = functions.files(world, tag, environments={"ROUND": tag})
        app = functions.app_file(pipeline=pipeline(LAMBDA_STAGES, cut))
        return {**files, "app.pipecd.yaml": app}

    async with start_processes(tmp_path, platformProviders=PROVIDERS) as m:
        first = await deploy_first(m, commit("v1", None), LAMBDA, "lambda")
        world.serving, good, running, old = True, "v1", first.trigger.commit.hash, "1"
        assert functions.traffic(aws) == {old: 100}
        world.seen[:] = [{old: 100}]
        del aws.calls[:]
        async for cycle in run_kill_cycles(m, first.application_id, aws, commit, cuts=(2, 4, 6)):
            assert cycle.deployment.running_commit_hash == running
            new = published_version(aws, cycle)
            expected = [{old: 100}, *promotion_steps(cycle.cut, new, old)]
            if cycle.cut:
                expected.append({old: 100})
            else:
                good, running, old = cycle.tag, cycle.deployment.trigger.commit.hash, new
            assert [shares for shares, _ in groupby(world.seen)] == expected
            assert functions.traffic(aws) == {old: 100}
            latest = aws.client("lambda").get_function(FunctionName=functions.FUNCTION)
            assert latest["Configuration"]["CodeSha256"] == functions.code(good)
            assert latest["Configuration"]["Environment"]["Variables"] == {"ROUND": good}
            assert latest["Tags"][COMMIT] == running
            check_lambda_calls(Counter(aws.changes), cycle, len(expected) - 1)
            world.seen[:] = world.seen[-1:]
            del aws.calls[:]


def published_version(aws: Emulator, cycle: KillCycle) -> str:
    """The version that the deployment published; checks that it is the only one."""
    prefix = f"pipecd {cycle.deployment.id}/"
    versions = [row for row in functions.versions(aws) if row["Description"].startswith(prefix)]
    assert [row["CodeSha256"] for row in versions] == [functions.code(cycle.tag)]
    return str(versions[0]["Version"])


def promotion_steps(cut: int | None, new: str, old: str) -> list[dict[str, float]]:
    """The traffic weights after each promotion stage."""
    percents = [stage["with"]["percent"] for stage in LAMBDA_STAGES[:cut] if "PROMOTE" in stage["name"]]
    return [{new: percent, old: 100 - percent} if percent < 100 else {new: 100} for percent in percents]


def check_lambda_calls(counts: Counter[str], cycle: KillCycle, moves: int) -> None:
    assert counts.pop("lambda.UpdateAlias") == moves
    # These calls are idempotent and are repeated if their response was lost.
    assert counts.pop("lambda.PublishVersion") <= 1 + cycle.kills
    times = 2 if cycle.cut else 1
    for name in ("UpdateFunctionCode", "UpdateFunctionConfiguration", "TagResource"):
        assert times <= counts.pop(f"lambda.{name}") <= times + cycle.kills
    # Cleanup of all but the newest ten versions.
    counts.pop("lambda.DeleteFunction", None)
    assert not counts


async def test_ecs_canary_has_the_same_result_whenever_the_agent_is_killed(
    aws: Emulator, tmp_path: Path
) -> None:
    world = services.create_cloud(aws)

    def commit(tag: str, cut: int | None) -> dict[str, str]:
        return services.files(world, tag, pipeline=pipeline(ECS_STAGES, cut))

    async with start_processes(tmp_path, platformProviders=PROVIDERS) as m:
        first = await deploy_first(m, commit("v1", None), ECS, "ecs")
        assert world.running() == {"v1": "PRIMARY"} and world.weights() == services.ALL_TO_PRIMARY
        world.serving, good = True, "v1"
        world.seen[:] = [services.ALL_TO_PRIMARY]
        del aws.calls[:]
        async for cycle in run_kill_cycles(m, first.application_id, aws, commit, cuts=(2, 4, 6)):
            good = good if cycle.cut else cycle.tag
            (left,) = world.task_sets()
            assert world.running() == {good: "PRIMARY"}
            assert [group["targetGroupArn"] for group in left["loadBalancers"]] == [world.primary]
            assert world.weights() == services.ALL_TO_PRIMARY
            assert world.active_revisions() == [good], "a registered task definition was left behind"
            whole, split = services.ALL_TO_PRIMARY[0], {"primary": 80, "canary": 20}
            for at in range(len(services.ALL_TO_PRIMARY)):
                of_rule = [weights for weights, _ in groupby(state[at] for state in world.seen)]
                assert of_rule == [whole, split, whole]
            check_ecs_calls(Counter(aws.changes), cycle)
            world.seen[:] = world.seen[-1:]
            del aws.calls[:]


def check_ecs_calls(counts: Counter[str], cycle: KillCycle) -> None:
    created, primary, deleted = EFFECTS[cycle.cut]
    assert counts.pop("ecs.RegisterTaskDefinition") == counts.pop("ecs.CreateTaskSet") == created
    assert counts.pop("ecs.UpdateServicePrimaryTaskSet", 0) == primary
    assert counts.pop("ecs.DeleteTaskSet") == deleted
    routed = {name: counts.pop(f"elasticloadbalancing.{name}") for name in ("ModifyRule", "ModifyListener")}
    assert routed == {"ModifyRule": 2, "ModifyListener": 4}
    # These calls are idempotent and are repeated if their response was lost.
    assert deleted <= counts.pop("ecs.DeregisterTaskDefinition") <= deleted + cycle.kills
    times = 2 if cycle.cut else 1
    assert times <= counts.pop("ecs.TagResource") <= times + cycle.kills
    assert not counts
