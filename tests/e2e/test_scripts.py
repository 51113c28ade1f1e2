"""Applications of every platform can be deployed by scripts alone, as PipeCD's example for SAM."""

from pathlib import Path

import yaml

from pipecd.model.status import DeploymentStatus, SyncStatus
from pipecd.schema.model.kind_pb2 import ECS, LAMBDA
from tests.world import world

PROVIDERS = [
    {"name": "lambda", "type": "LAMBDA", "config": {"region": "eu-central-1"}},
    {"name": "ecs", "type": "ECS", "config": {"region": "eu-central-1"}},
]


def scripts(kind: str, stage: str, name: str) -> str:
    stages = [{"name": stage, "with": {"run": f"echo deploys {name}"}}]
    spec = {"name": name, "pipeline": {"stages": stages}}
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": kind, "spec": spec})


async def test_applications_that_scripts_deploy_need_no_files_of_their_platform(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        commit = await w.push(
            "Scripts",
            {
                "sam/app.pipecd.yaml": scripts("LambdaApp", "CUSTOM_SYNC", "sam"),
                "sam/template.yaml": "Resources: {}\n",
                "tasks/app.pipecd.yaml": scripts("ECSApp", "SCRIPT_RUN", "tasks"),
            },
        )
        expected = {"sam": ["CUSTOM_SYNC", "CUSTOM_SYNC_ROLLBACK"], "tasks": ["SCRIPT_RUN"]}
        for name, kind, provider in (("sam", LAMBDA, "lambda"), ("tasks", ECS, "ecs")):
            app = await w.register(name, kind=kind, provider=provider)
            deployment = await w.wait_for_deployment(app, commit)
            assert deployment.status == DeploymentStatus.SUCCESS.value, deployment.status_reason
            assert [stage.name for stage in deployment.stages] == expected[name]
            await w.wait_for_sync_status(app, SyncStatus.SYNCED)
