"""From a push to shifted traffic, with a real control plane, agent and Git server, and an emulated AWS."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipecd.model.status import SyncStatus
from pipecd.piped.settings import DriftSettings, LiveStateSettings
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import LAMBDA
from tests.controlplane.server_fixture import CallFailed
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.awslambda.cloud import traffic
from tests.world import REPOSITORY, SETTINGS, world

PROVIDERS = [{"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}}]
STAGES: list[dict[str, Any]] = [
    {"name": "LAMBDA_CANARY_ROLLOUT"},
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}},
]


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


async def test_commits_become_versions_and_a_failed_analysis_restores_the_traffic(
    aws: Emulator, role: str, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        remote = w.git.url(REPOSITORY)
        code = {"code/app.py": "def handler(*_): return 1\n"}
        await w.push("Begin", {**code, **files(role, remote, *STAGES)})
        app = await w.register("shop", kind=LAMBDA, provider="lambda")
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert first.stages[0].id == "LambdaSync"
        assert traffic(aws) == {"1": 100}

        code = {"code/app.py": "def handler(*_): return 2\n"}
        commit = await w.push("Better", {**code, "shop/note": "2"})
        second = await w.wait_for_deployment(app, commit)
        assert second.status == DeploymentStatus.DEPLOYMENT_SUCCESS, second.status_reason
        assert traffic(aws) == {"2": 10, "1": 90}

        check = {"url": w.plane.url, "method": "GET", "expectedCode": 204, "interval": "1s"}
        broken = [*STAGES, {"name": "ANALYSIS", "with": {"duration": "1s", "https": [check]}}]
        code = {"code/app.py": "def handler(*_): return 3\n"}
        commit = await w.push("Worse", {**code, **files(role, remote, *broken)})
        third = await w.wait_for_deployment(app, commit)
        assert third.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert third.status_reason.startswith("Stage ANALYSIS failed: http-0: the status is 200, not 204")
        assert traffic(aws) == {"2": 10, "1": 90}


async def test_live_state_and_manual_changes_are_shown(aws: Emulator, role: str, tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, live_state=LiveStateSettings(interval=0.5), drift=DriftSettings(interval=0.5)
    )
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS, settings=settings):
        code = {"code/app.py": "def handler(*_): return 1\n"}
        await w.push("Begin", {**code, **files(role, w.git.url(REPOSITORY), *STAGES)})
        app = await w.register("shop", kind=LAMBDA, provider="lambda")
        await w.wait_for_deployment(app)

        async def live_resources() -> list[tuple[str, str, int]]:
            try:
                response = await w.console.call("GetApplicationLiveState", application_id=app)
            except CallFailed as error:
                raise AssertionError(error) from error
            resources = getattr(response.snapshot, "lambda").resources
            names = [(resource.kind, resource.name, resource.health_status) for resource in resources]
            assert names == [("Function", "shop", 1), ("Alias", "Service", 1), ("Version", "1", 1)]
            assert response.snapshot.health_status == 1
            return names

        with w.plane.server.services.store.feed.subscribe() as changes:
            await eventually(live_resources)
            client = aws.client("lambda")
            client.update_function_configuration(FunctionName="shop", Timeout=77)
            client.publish_version(FunctionName="shop")
            client.update_alias(FunctionName="shop", Name="Service", FunctionVersion="2")

            async def live_state_changed() -> bool:
                return (await changes.get()).kind == "live_state"

            await eventually(live_state_changed)

        summary = "Differs from Git: 1 changed"
        state = await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC, short_reason=summary)
        assert state.short_reason == summary
        assert "-Timeout: 77\n+Timeout: 5" in state.reason


async def test_a_change_that_aws_refuses_is_named_in_the_plan_and_changes_nothing(
    aws: Emulator, role: str, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        code = {"code/app.py": "def handler(*_): return 1\n"}
        first = files(role, w.git.url(REPOSITORY))
        await w.push("Begin", {**code, **first})
        app = await w.register("shop", kind=LAMBDA, provider="lambda")
        await w.wait_for_deployment(app)
        manifest = yaml.safe_load(first["shop/function.yaml"])
        del manifest["spec"]["source"]
        manifest["spec"]["image"] = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop:v2"
        commit = await w.push("As an image", {"shop/function.yaml": yaml.safe_dump(manifest)})
        second = await w.wait_for_deployment(app, commit)
        refused = "AWS cannot change the package type of the function shop from Zip to Image"
        assert refused in second.summary and "give the function another name" in second.summary
        assert second.status == DeploymentStatus.DEPLOYMENT_FAILURE and refused in second.status_reason
        assert traffic(aws) == {"1": 100}
