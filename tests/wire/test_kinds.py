"""Kinds on the wire: numbered ones as PipeCD's v0, all others as the plugins of its v1."""

from dataclasses import replace

import pytest

from pipecd.model.resource import Health, Resource
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.wire import deployment_from, deployment_to, kind_from, kind_number, provider_from, snapshot_to
from tests.model.samples import deployment
from tests.stages.stage_runner import application

NUMBERED = set(ApplicationKind.keys())
KINDS = [*sorted(NUMBERED), "DIRECTORY", "KUBERNETES_MULTICLUSTER", "ACME-CLOUD"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deployment_has_the_same_kind_and_provider_after_a_round_trip(kind: str) -> None:
    sent = replace(deployment(), kind=kind, platform_provider="main")
    message = deployment_to(sent, now=1)
    received = deployment_from(message)
    assert (received.kind, received.platform_provider) == (kind, "main")
    # Every PipeCD program accepts the number, and takes a record with plugins for one of its own v1 agents.
    assert message.kind in ApplicationKind.values()
    assert bool(message.deploy_targets_by_plugin) == (kind not in NUMBERED)
    assert bool(message.platform_provider) == (kind in NUMBERED)


@pytest.mark.parametrize(
    ("message", "kind", "provider"),
    [
        (Application(), "KUBERNETES", ""),
        (Application(kind=ApplicationKind.ECS, cloud_provider="old"), "ECS", "old"),
        (
            Application(deploy_targets_by_plugin={"terraform": DeployTargets(deploy_targets=["tf"])}),
            "TERRAFORM",
            "tf",
        ),
        (Application(deploy_targets_by_plugin={"directory": DeployTargets()}), "DIRECTORY", ""),
        (
            Application(deploy_targets_by_plugin={"a": DeployTargets(), "b": DeployTargets()}),
            "APPLICATION",
            "",
        ),
        (
            Application(deploy_targets_by_plugin={"a": DeployTargets(deploy_targets=["x", "y"])}),
            "A",
            "x, y",
        ),
        (Application(kind=ApplicationKind.ValueType(77)), "KIND_77", ""),
    ],
)
def test_records_of_every_version_of_pipecd_have_a_kind(
    message: Application, kind: str, provider: str
) -> None:
    assert (kind_from(message), provider_from(message)) == (kind, provider)


def test_a_kind_without_a_number_has_the_number_that_plugins_have() -> None:
    assert kind_number("DIRECTORY") == 0 and kind_number("ECS") == ApplicationKind.ECS


RESOURCE = Resource(
    id="r", kind="Deployment", name="web", api_version="apps/v1", namespace="shop", health=Health.HEALTHY
)


@pytest.mark.parametrize("kind", ["KUBERNETES", "CLOUDRUN"])
def test_a_resource_list_of_a_kind_has_api_version_and_namespace(kind: str) -> None:
    app = replace(application(deployment()), kind=kind)
    snapshot = snapshot_to(app, [RESOURCE], now=1)
    (resource,) = getattr(snapshot, kind.lower()).resources
    assert (resource.api_version, resource.namespace, resource.kind) == ("apps/v1", "shop", "Deployment")
    assert not snapshot.application_live_state.resources


@pytest.mark.parametrize("kind", ["ECS", "LAMBDA"])
def test_a_resource_list_without_these_fields_is_used_too(kind: str) -> None:
    app = replace(application(deployment()), kind=kind)
    snapshot = snapshot_to(app, [RESOURCE], now=1)
    (resource,) = getattr(snapshot, kind.lower()).resources
    assert (resource.name, resource.kind) == ("web", "Deployment")


@pytest.mark.parametrize("kind", ["TERRAFORM", "DIRECTORY", "LAMBDA_EDGE"])
def test_other_kinds_use_the_generic_list(kind: str) -> None:
    app = replace(application(deployment()), kind=kind, platform_provider="main")
    (resource,) = snapshot_to(app, [RESOURCE], now=1).application_live_state.resources
    assert dict(resource.resource_metadata) == {"API Version": "apps/v1", "Namespace": "shop"}
    assert (resource.plugin_name, resource.deploy_target) == (kind.lower(), "main")
