"""ECS and Lambda canaries end the same whenever the agent dies by SIGKILL; the emulated AWS lives on.

After every change the traffic is looked at (invariant 6). When a deployment is over, its effects are counted
by the calls that were carried out (invariant 4): none is left out, and only those are repeated that change
nothing then.

What moto does not do, and so is not shown here: tasks of services do not start (all that are wanted are said
to run), task sets are steady and gone at once, functions settle at once. It carries out a repeated call where
AWS knows its `clientToken`, which makes the counts stricter; and it publishes a function's first version
anew with every call, so nobody is killed during the first deployment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.aws import COMMIT
from pipecd.schema.model.kind_pb2 import ECS, LAMBDA
from tests.aws import chain
from tests.faults.aws_rounds import AWS_KILLS, Round, first_deployed, rounds
from tests.faults.machines import machines
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.platforms.awslambda import cloud as functions
from tests.platforms.ecs import cloud as services

PROVIDERS = [
    {"name": "ecs", "type": "ECS", "config": {"region": REGION}},
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
]

Stages = Sequence[Mapping[str, Any]]
FAILING = {"name": "SCRIPT_RUN", "with": {"run": "exit 3"}}
A_MOMENT = {"name": "WAIT", "with": {"duration": "1s"}}
LAMBDA_STAGES: Stages = [
    {"name": "LAMBDA_CANARY_ROLLOUT"},
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}},
    A_MOMENT,
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 50}},
    A_MOMENT,
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 100}},
]
ECS_STAGES: Stages = [
    {"name": "ECS_CANARY_ROLLOUT", "with": {"scale": 50}},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"canary": 20}},
    A_MOMENT,
    {"name": "ECS_PRIMARY_ROLLOUT"},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"primary": 100}},
    {"name": "ECS_CANARY_CLEAN"},
]
#: After how many stages it fails → how many task sets are made, made the primary one, and deleted.
EFFECTS = {None: (2, 1, 2), 2: (1, 0, 1), 4: (3, 2, 3), 6: (3, 2, 3)}

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600 + AWS_KILLS * 60)]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as made, chain(monkeypatch, made.environment()):
        yield made


def pipeline(stages: Stages, cut: int | None) -> Any:
    return {"stages": [*stages] if cut is None else [*stages[:cut], FAILING]}


async def test_a_lambda_canary_ends_the_same_whenever_the_agent_dies(aws: Emulator, tmp_path: Path) -> None:
    world = functions.cloud(aws)

    def commit(tag: str, cut: int | None) -> dict[str, str]:
        files = functions.files(world, tag, environments={"ROUND": tag})
        app = functions.app_file(pipeline=pipeline(LAMBDA_STAGES, cut))
        return {**files, "app.pipecd.yaml": app}

    async with machines(tmp_path, platformProviders=PROVIDERS) as m:
        first = await first_deployed(m, commit("v1", None), LAMBDA, "lambda")
        world.serving, good, running, old = True, "v1", first.trigger.commit.hash, "1"
        assert functions.traffic(aws) == {old: 100}
        world.seen[:] = [{old: 100}]
        del aws.calls[:]
        async for one in rounds(m, first.application_id, aws, commit, cuts=(2, 4, 6)):
            assert one.deployment.running_commit_hash == running
            new = published(aws, one)
            wanted = [{old: 100}, *promoted(one.cut, new, old)]
            if one.cut:
                wanted.append({old: 100})
            else:
                good, running, old = one.tag, one.deployment.trigger.commit.hash, new
            assert [shares for shares, _ in groupby(world.seen)] == wanted
            assert functions.traffic(aws) == {old: 100}
            latest = aws.client("lambda").get_function(FunctionName=functions.FUNCTION)
            assert latest["Configuration"]["CodeSha256"] == functions.code(good)
            assert latest["Configuration"]["Environment"]["Variables"] == {"ROUND": good}
            assert latest["Tags"][COMMIT] == running
            check_lambda_calls(Counter(aws.changes), one, len(wanted) - 1)
            world.seen[:] = world.seen[-1:]
            del aws.calls[:]


def published(aws: Emulator, one: Round) -> str:
    """The only version that the deployment published."""
    ours = f"pipecd {one.deployment.id}/"
    made = [row for row in functions.versions(aws) if row["Description"].startswith(ours)]
    assert [row["CodeSha256"] for row in made] == [functions.code(one.tag)]
    return str(made[0]["Version"])


def promoted(cut: int | None, new: str, old: str) -> list[dict[str, float]]:
    """The traffic of one promotion after the other."""
    percents = [stage["with"]["percent"] for stage in LAMBDA_STAGES[:cut] if "PROMOTE" in stage["name"]]
    return [{new: percent, old: 100 - percent} if percent < 100 else {new: 100} for percent in percents]


def check_lambda_calls(counts: Counter[str], one: Round, moves: int) -> None:
    assert counts.pop("lambda.UpdateAlias") == moves
    # Whoever repeats these changes nothing: they are sent again when their answer was lost.
    assert counts.pop("lambda.PublishVersion") <= 1 + one.kills
    times = 2 if one.cut else 1
    for name in ("UpdateFunctionCode", "UpdateFunctionConfiguration", "TagResource"):
        assert times <= counts.pop(f"lambda.{name}") <= times + one.kills
    # Versions older than the newest ten.
    counts.pop("lambda.DeleteFunction", None)
    assert not counts


async def test_an_ecs_canary_ends_the_same_whenever_the_agent_dies(aws: Emulator, tmp_path: Path) -> None:
    world = services.cloud(aws)

    def commit(tag: str, cut: int | None) -> dict[str, str]:
        return services.files(world, tag, pipeline=pipeline(ECS_STAGES, cut))

    async with machines(tmp_path, platformProviders=PROVIDERS) as m:
        first = await first_deployed(m, commit("v1", None), ECS, "ecs")
        assert world.running() == {"v1": "PRIMARY"} and world.weights() == services.WHOLE
        world.serving, good = True, "v1"
        world.seen[:] = [services.WHOLE]
        del aws.calls[:]
        async for one in rounds(m, first.application_id, aws, commit, cuts=(2, 4, 6)):
            good = good if one.cut else one.tag
            (left,) = world.task_sets()
            assert world.running() == {good: "PRIMARY"}
            assert [group["targetGroupArn"] for group in left["loadBalancers"]] == [world.primary]
            assert world.weights() == services.WHOLE
            assert world.active_revisions() == [good], "nothing that was registered was forgotten"
            whole, split = services.WHOLE[0], {"primary": 80, "canary": 20}
            for at in range(len(services.WHOLE)):
                of_rule = [weights for weights, _ in groupby(state[at] for state in world.seen)]
                assert of_rule == [whole, split, whole]
            check_ecs_calls(Counter(aws.changes), one)
            world.seen[:] = world.seen[-1:]
            del aws.calls[:]


def check_ecs_calls(counts: Counter[str], one: Round) -> None:
    made, primary, deleted = EFFECTS[one.cut]
    assert counts.pop("ecs.RegisterTaskDefinition") == counts.pop("ecs.CreateTaskSet") == made
    assert counts.pop("ecs.UpdateServicePrimaryTaskSet", 0) == primary
    assert counts.pop("ecs.DeleteTaskSet") == deleted
    routed = {name: counts.pop(f"elasticloadbalancing.{name}") for name in ("ModifyRule", "ModifyListener")}
    assert routed == {"ModifyRule": 2, "ModifyListener": 4}
    # Whoever repeats these changes nothing: they are sent again when their answer was lost.
    assert deleted <= counts.pop("ecs.DeregisterTaskDefinition") <= deleted + one.kills
    times = 2 if one.cut else 1
    assert times <= counts.pop("ecs.TagResource") <= times + one.kills
    assert not counts
