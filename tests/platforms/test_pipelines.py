"""Pipelines whose stages can only fail are refused when the application's file is read, with their line."""

import json
from typing import Any

import pytest

from pipecd.config import application
from pipecd.errors import ConfigError
from pipecd.platforms.registry import load_platform
from pipecd.platforms.stage_tables import application_types

SERVICE = {"serviceDefinitionFile": "servicedef.json"}
BOTH = {
    "targetGroups": {"primary": {"targetGroupArn": "arn:a"}, "canary": {"targetGroupArn": "arn:b"}},
    **SERVICE,
}
PRIMARY_ONLY = {"targetGroups": {"primary": {"targetGroupArn": "arn:a"}}, **SERVICE}
DISCOVERY = {"accessType": "SERVICE_DISCOVERY", **SERVICE}
ECS_CANARY = ("ECS_CANARY_ROLLOUT", "ECS_TRAFFIC_ROUTING", "ECS_PRIMARY_ROLLOUT", "ECS_CANARY_CLEAN")
JOB = {"jobManifestFile": "job.yaml"}


def load(kind: str, app_input: dict[str, Any], *stages: str, deployed: bool = False) -> None:
    platform = load_platform(kind)
    lines = [
        "apiVersion: pipecd.dev/v1beta1",
        f"kind: {platform.config_kind}",
        "spec:",
        f"  input: {json.dumps(app_input)}",
        "  pipeline:",
        "    stages:",
        *(f"    - name: {stage}" for stage in stages),
    ]
    types = application_types(platform)
    application.load("\n".join(lines), "app.pipecd.yaml", lambda _: types, deployed=deployed)


@pytest.mark.parametrize(
    ("kind", "app_input", "stages"),
    [
        ("ECS", BOTH, ECS_CANARY),
        ("ECS", DISCOVERY, ("ECS_CANARY_ROLLOUT", "ECS_PRIMARY_ROLLOUT", "WAIT", "ECS_CANARY_CLEAN")),
        ("ECS", {}, ("WAIT", "ECS_SYNC")),
        ("LAMBDA", {}, ("LAMBDA_CANARY_ROLLOUT", "LAMBDA_PROMOTE", "WAIT", "LAMBDA_PROMOTE")),
        ("LAMBDA", {}, ("LAMBDA_SYNC",)),
        ("CLOUDRUN", {}, ("CLOUDRUN_PROMOTE", "WAIT", "CLOUDRUN_SYNC")),
        ("CLOUDRUN", JOB, ("CLOUDRUN_JOB_SYNC", "CLOUDRUN_SYNC")),
    ],
)
def test_pipelines_that_can_succeed_are_accepted(
    kind: str, app_input: dict[str, Any], stages: tuple[str, ...]
) -> None:
    load(kind, app_input, *stages)


@pytest.mark.parametrize(
    ("kind", "app_input", "stages", "faulty", "message"),
    [
        ("ECS", PRIMARY_ONLY, ECS_CANARY[:1], 0, "requires the canary target group; set input.targetGroups"),
        (
            "ECS",
            PRIMARY_ONLY,
            ECS_CANARY[1:2],
            0,
            "requires both target groups; set input.targetGroups.primary",
        ),
        (
            "ECS",
            DISCOVERY,
            ECS_CANARY[:2],
            1,
            "accessType SERVICE_DISCOVERY does not support traffic routing",
        ),
        ("ECS", BOTH, ECS_CANARY[3:], 0, "add ECS_CANARY_ROLLOUT before ECS_CANARY_CLEAN"),
        ("ECS", BOTH, ("ECS_CANARY_CLEAN", "ECS_CANARY_ROLLOUT"), 0, "add ECS_CANARY_ROLLOUT before"),
        *(("ECS", {}, (stage,), 0, "requires a service, and this is") for stage in ECS_CANARY),
        ("LAMBDA", {}, ("LAMBDA_PROMOTE",), 0, "add LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE"),
        ("LAMBDA", {}, ("LAMBDA_PROMOTE", "LAMBDA_CANARY_ROLLOUT"), 0, "no version was rolled out"),
        ("CLOUDRUN", JOB, ("WAIT", "CLOUDRUN_PROMOTE"), 1, "this is a job; use CLOUDRUN_JOB_SYNC"),
        (
            "CLOUDRUN",
            {},
            ("CLOUDRUN_SYNC", "CLOUDRUN_JOB_SYNC"),
            1,
            "this is a service; set input.jobManifestFile",
        ),
    ],
)
def test_pipelines_that_can_only_fail_are_refused(
    kind: str, app_input: dict[str, Any], stages: tuple[str, ...], faulty: int, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(kind, app_input, *stages)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"app.pipecd.yaml:{7 + faulty}: spec.pipeline.stages[{faulty}]")
    load(kind, app_input, *stages, deployed=True)
