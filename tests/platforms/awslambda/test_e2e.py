"""From a push to shifted traffic: control plane, agent, Git and an emulated AWS, through every real door."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.platforms.awslambda import platform
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import LAMBDA
from tests.controlplane.server_fixture import CallFailed
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.awslambda.cloud import traffic
from tests.world import REPOSITORY, world

PROVIDERS = [{"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}}]
STAGES = [{"name": "LAMBDA_CANARY_ROLLOUT"}, {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}}]


def files(role: str, remote: str, *stages: dict[str, Any], ref: str = "main") -> dict[str, str]:
    envelope = {"apiVersion": "pipecd.dev/v1beta1"}
    function = {
        "name": "shop",
        "role": role,
        "memory": 128,
        "timeout": 5,
        "handler": "app.handler",
        "runtime": "python3.12",
        "source": {"git": remote, "ref": ref, "path": "code"},
    }
    app = {"name": "shop", "pipeline": {"stages": list(stages)}}
    return {
        "shop/function.yaml": yaml.safe_dump({**envelope, "kind": "LambdaFunction", "spec": function}),
        "shop/app.pipecd.yaml": yaml.safe_dump({**envelope, "kind": "LambdaApp", "spec": app}),
    }


async def test_commits_become_versions_and_a_failing_stage_gives_the_traffic_back(
    aws: Emulator, role: str, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        remote = w.git.url(REPOSITORY)
        code = {"code/app.py": "def handler(*_): return 1\n"}
        await w.push("Begin", {**code, **files(role, remote, *STAGES)})
        app = await w.registered("shop", kind=LAMBDA, provider="lambda")
        first = await w.ended(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert first.stages[0].id == "LambdaSync"
        assert traffic(aws) == {"1": 100}

        code = {"code/app.py": "def handler(*_): return 2\n"}
        commit = await w.push("Better", {**code, "shop/note": "2"})
        second = await w.ended(app, commit)
        assert second.status == DeploymentStatus.DEPLOYMENT_SUCCESS, second.status_reason
        assert traffic(aws) == {"2": 10, "1": 90}

        broken = [*STAGES, {"name": "SCRIPT_RUN", "with": {"run": "false"}}]
        code = {"code/app.py": "def handler(*_): return 3\n"}
        commit = await w.push("Worse", {**code, **files(role, remote, *broken)})
        third = await w.ended(app, commit)
        assert third.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert traffic(aws) == {"2": 10, "1": 90}


async def test_what_runs_and_what_somebody_changed_by_hand_are_shown(
    aws: Emulator, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "live_interval", 0.5)
    monkeypatch.setattr(platform, "drift_interval", 0.5)
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        code = {"code/app.py": "def handler(*_): return 1\n"}
        await w.push("Begin", {**code, **files(role, w.git.url(REPOSITORY), *STAGES)})
        app = await w.registered("shop", kind=LAMBDA, provider="lambda")
        await w.ended(app)

        async def told() -> list[tuple[str, str, int]]:
            try:
                answer = await w.console.call("GetApplicationLiveState", application_id=app)
            except CallFailed as error:
                raise AssertionError(error) from error
            found = getattr(answer.snapshot, "lambda").resources
            names = [(one.kind, one.name, one.health_status) for one in found]
            assert names == [("Function", "shop", 1), ("Alias", "Service", 1), ("Version", "1", 1)]
            assert answer.snapshot.health_status == 1
            return names

        with w.plane.served.plane.store.feed.listening() as changes:
            await eventually(told)
            client = aws.client("lambda")
            client.update_function_configuration(FunctionName="shop", Timeout=77)
            client.publish_version(FunctionName="shop")
            client.update_alias(FunctionName="shop", Name="Service", FunctionVersion="2")

            async def heard() -> bool:
                return (await changes.get()).kind == "live_state"

            await eventually(heard)

        async def drifted() -> str:
            state = await w.state(app)
            assert state.short_reason == "Differs from Git: 1 changed"
            return str(state.reason)

        reason = await eventually(drifted)
        assert "-Timeout: 77\n+Timeout: 5" in reason
