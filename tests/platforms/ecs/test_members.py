"""Every member that AWS's API has is sent, or refused with its place; tests walk the SDK's model."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError, Place
from pipecd.platforms.ecs import members, platform, shapes
from pipecd.platforms.ecs.config import Input
from pipecd.platforms.ecs.members import EXTERNAL, ROLLING
from pipecd.platforms.ecs.shapes import fit_to_shape
from pipecd.platforms.ecs.source import load_desired_state
from tests.platforms.aws.ecs_rules import EXTERNAL_CREATE, EXTERNAL_UPDATE, MODEL
from tests.platforms.aws.stage_runner import load_source

#: Members that the deployment determines itself.
DETERMINED = {"taskDefinition", "clientToken"}
CREATE = MODEL.shape_for("CreateServiceRequest").members
UPDATE = MODEL.shape_for("UpdateServiceRequest").members


def sample(shape: Any, *, enum_value: str | None = None, within: tuple[str, ...] = ()) -> Any:
    """A value with every member of the structure; `enum_value` replaces the values of enums."""
    match shape.type_name:
        case "structure":
            inner = {
                name: sample(member, enum_value=enum_value, within=(*within, shape.name))
                for name, member in shape.members.items()
                if shape.name not in within
            }
            return {name: value for name, value in inner.items() if value is not None}
        case "list":
            return [sample(shape.member, enum_value=enum_value, within=within)]
        case "map":
            return {"key": sample(shape.value, enum_value=enum_value, within=within)}
        case "boolean":
            return True
        case "integer" | "long":
            return 3
        case "float" | "double":
            return 1.5
        case "timestamp":
            return None
        case _:
            return (shape.enum[0] if enum_value is None else enum_value) if shape.enum else "text"


def enum_values(shape: Any, value: Any) -> Iterator[str]:
    """The texts in `value` for which AWS has an enum."""
    if shape.type_name == "structure":
        for key, item in value.items():
            yield from enum_values(shape.members[key], item)
    elif shape.type_name == "list":
        for item in value:
            yield from enum_values(shape.member, item)
    elif shape.type_name == "map":
        for item in value.values():
            yield from enum_values(shape.value, item)
    elif shape.type_name == "string" and shape.enum:
        yield value


def write(folder: Path, task: Mapping[str, Any], service: Mapping[str, Any]) -> Path:
    (folder / "taskdef.json").write_text(json.dumps(task))
    (folder / "servicedef.yaml").write_text(yaml.safe_dump(dict(service)))
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ECSApp",
        "spec": {"name": "shop", "input": {"serviceDefinitionFile": "servicedef.yaml"}},
    }
    (folder / "app.pipecd.yaml").write_text(yaml.safe_dump(document))
    return folder


TASK = {"family": "shop", "containerDefinitions": [{"name": "web", "image": "web:v1"}]}


@pytest.mark.parametrize("request_shape", ["RegisterTaskDefinitionRequest", "CreateServiceRequest"])
def test_no_member_at_any_depth_is_lost(request_shape: str) -> None:
    shape = MODEL.shape_for(request_shape)
    assert fit_to_shape(request_shape, sample(shape), "file", {}) == sample(shape)


@pytest.mark.parametrize("request_shape", ["RegisterTaskDefinitionRequest", "CreateServiceRequest"])
def test_an_empty_enum_value_is_not_sent_at_any_depth(request_shape: str) -> None:
    """PipeCD's examples have `pidMode: ""`, which AWS refuses."""
    shape = MODEL.shape_for(request_shape)
    assert len(list(enum_values(shape, sample(shape)))) > 15
    empty = fit_to_shape(request_shape, sample(shape, enum_value=""), "file", {})
    assert list(enum_values(shape, empty)) == []


def test_every_member_of_a_task_definition_is_registered(tmp_path: Path) -> None:
    shape = MODEL.shape_for("RegisterTaskDefinitionRequest")
    task = {**sample(shape), "tags": [{"key": "team", "value": "shop"}]}
    service = {"serviceName": "shop", "cluster": "c"}
    desired = load_desired_state(load_source(platform, write(tmp_path, task, service)))
    assert {*desired.task.fields, "tags"} == set(shape.members) and desired.task.tags == {"team": "shop"}


@pytest.mark.parametrize("name", sorted(set(CREATE) - DETERMINED - {"tags", "loadBalancers"}))
def test_every_member_of_a_service_is_sent_or_refused_with_its_place(tmp_path: Path, name: str) -> None:
    value = sample(CREATE[name])
    for controller in (EXTERNAL, ROLLING):
        fields = {"serviceName": "shop", "cluster": "c", "deploymentController": {"type": controller}}
        if name not in fields:
            fields[name] = value
        source = load_source(platform, write(tmp_path, TASK, fields))
        try:
            desired = load_desired_state(source)
        except ConfigError as error:
            assert controller == EXTERNAL and name not in {*EXTERNAL_CREATE, *members.task_set_members()}
            assert error.place and error.place.key == name and error.place.line
            assert "set deploymentController.type: ECS" in error.remedy
            service = load_desired_state(source, deployed=True).service
            assert service and name not in members.creation(service.fields, EXTERNAL)
            continue
        assert desired.service
        sent = members.creation(desired.service.fields, controller)
        if controller == EXTERNAL:
            assert set(sent) <= EXTERNAL_CREATE
            sent |= members.task_set(desired.service.fields)
        assert sent[name] == fields[name]
        if controller == ROLLING and name in UPDATE and name not in {
            "cluster", "desiredCount", "deploymentController"
        }:  # fmt: skip
            assert members.update(desired.service.fields, {}, controller)[name] == value


def test_updates_of_external_services_contain_only_what_aws_accepts() -> None:
    fields = sample(MODEL.shape_for("CreateServiceRequest"))
    assert set(members.update(fields, {}, EXTERNAL)) <= EXTERNAL_UPDATE
    assert set(members.task_set(fields)) <= set(MODEL.shape_for("CreateTaskSetRequest").members)


def test_a_member_that_aws_adds_later_is_sent_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = shapes.members
    later = {"CreateServiceRequest", "UpdateServiceRequest"}
    monkeypatch.setattr(
        members, "members", lambda shape: known(shape) | ({"new"} if shape in later else set())
    )
    fields = {"serviceName": "shop", "cluster": "c", "new": {"a": 1}}
    assert members.creation(fields, ROLLING)["new"] == members.update(fields, {}, ROLLING)["new"] == {"a": 1}
    places = {"new": Place("servicedef.yaml", 3, "new")}
    assert members.find_unsupported(fields, ROLLING, Input(), places) is None
    found = members.find_unsupported(fields, EXTERNAL, Input(), places)
    assert str(found).startswith(
        "servicedef.yaml:3: new: AWS does not allow it with the deployment controller"
    )


PRIMARY = {"targetGroupArn": "arn:primary", "containerName": "web", "containerPort": 80}
OTHER = {"targetGroupArn": "arn:other", "containerName": "web", "containerPort": 81}
GROUPS = Input.model_validate({"targetGroups": {"primary": PRIMARY}})


@pytest.mark.parametrize(
    ("fields", "controller", "message"),
    [
        ({"launchType": "FARGATE", "capacityProviderStrategy": [{}]}, ROLLING, "together with launchType"),
        ({"launchType": "FARGATE", "capacityProviderStrategy": []}, EXTERNAL, None),
        ({"schedulingStrategy": "DAEMON"}, EXTERNAL, "does not allow DAEMON"),
        ({"schedulingStrategy": "DAEMON"}, ROLLING, None),
        ({"loadBalancers": [PRIMARY, OTHER]}, EXTERNAL, "allows one target group"),
        ({"loadBalancers": [PRIMARY, OTHER]}, ROLLING, None),
        ({"loadBalancers": [OTHER]}, ROLLING, "does not contain the target group of input.targetGroups"),
        ({"availabilityZoneRebalancing": "DISABLED"}, EXTERNAL, None),
        ({"availabilityZoneRebalancing": "ENABLED"}, EXTERNAL, "does not allow it"),
        ({"serviceConnectConfiguration": {"enabled": False}}, EXTERNAL, None),
        ({"serviceConnectConfiguration": {"enabled": True}}, EXTERNAL, "does not allow it"),
        ({"volumeConfigurations": []}, EXTERNAL, None),
    ],
)
def test_combinations_that_aws_refuses(fields: Any, controller: str, message: str | None) -> None:
    found = members.find_unsupported(fields, controller, GROUPS, {})
    assert found is None if message is None else found is not None and message in str(found)


def test_load_balancers_of_the_file_take_precedence_over_the_target_group() -> None:
    assert members.load_balancers({}, GROUPS) == [PRIMARY]
    assert members.load_balancers({"loadBalancers": [PRIMARY, OTHER]}, GROUPS) == [PRIMARY, OTHER]
    assert members.load_balancers({}, Input()) == []


def test_capacity_providers_are_removed_when_git_has_a_launch_type() -> None:
    live = {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}
    assert members.update({"launchType": "FARGATE"}, live, ROLLING) == {"capacityProviderStrategy": []}
    assert members.update({"launchType": "FARGATE"}, {}, ROLLING) == {}


@pytest.mark.parametrize(
    ("old", "new", "controller", "named"),
    [
        ({"launchType": "EC2"}, {"launchType": "FARGATE"}, ROLLING, ["launchType"]),
        ({"launchType": "EC2"}, {"capacityProviderStrategy": [{}]}, ROLLING, []),
        ({"launchType": "EC2"}, {"launchType": "FARGATE"}, EXTERNAL, []),
        ({"schedulingStrategy": "DAEMON"}, {"schedulingStrategy": "REPLICA"}, ROLLING,
         ["schedulingStrategy"]),
        ({"deploymentController": {"type": "ECS"}}, {"deploymentController": {"type": EXTERNAL}}, EXTERNAL,
         ["deploymentController"]),
        ({"deploymentConfiguration": {"maximumPercent": 200}}, {"deploymentConfiguration": {}}, EXTERNAL,
         ["deploymentConfiguration"]),
        ({"deploymentConfiguration": {"maximumPercent": 200}}, {"deploymentConfiguration": {}}, ROLLING, []),
        ({"role": "a"}, {"role": "b"}, ROLLING, ["role"]),
    ],
)  # fmt: skip
def test_changes_of_fixed_fields_are_named(old: Any, new: Any, controller: str, named: list[str]) -> None:
    sentences = members.refused_changes(old, {"serviceName": "shop", **new}, controller)
    assert [sentence.split()[3] for sentence in sentences] == named
    assert all("; restore it, or delete the service" in sentence for sentence in sentences)


@pytest.mark.parametrize("controller", [EXTERNAL, ROLLING])
def test_a_deployment_configuration_is_compared_whether_or_not_aws_can_change_it(controller: str) -> None:
    fields = {"serviceName": "shop", "deploymentConfiguration": {"maximumPercent": 150}, "launchType": "EC2"}
    assert members.comparable(fields, controller)["deploymentConfiguration"] == {"maximumPercent": 150}
