"""Reads the desired state of an ECS application: a task definition, and a service unless it is standalone.

Called by the planner and by every stage, each with a checkout. Both files are AWS structures, in YAML or
JSON. `members` says where each of their fields is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.config.document import read, read_file
from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Version
from pipecd.model.stage import Source
from pipecd.platforms import deploys_by_script
from pipecd.platforms.ecs.config import Input
from pipecd.platforms.ecs.members import EXTERNAL, ROLLING, find_unsupported
from pipecd.platforms.ecs.shapes import Lines, fit_to_shape
from pipecd.platforms.images import image_version

#: Field names that differ between AWS's responses and requests.
_REQUEST_NAMES = {"clusterarn": "cluster", "rolearn": "role"}


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    family: str
    images: Sequence[str]
    tags: Mapping[str, str]
    #: As RegisterTaskDefinition names them, without `tags`.
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """`controller` is empty if the file sets none. A `desired_count` of 0 keeps the live count."""

    name: str
    cluster: str
    controller: str
    desired_count: int
    tags: Mapping[str, str]
    #: As CreateService names them.
    fields: Mapping[str, Any]
    #: Where each field is written.
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DesiredState:
    input: Input
    task: TaskDefinition
    #: None for a standalone task.
    service: ServiceDefinition | None
    #: Whether these files were deployed before.
    deployed: bool = False

    def require_supported(self, controller: str) -> None:
        """Raises ConfigError for a field that AWS refuses for a service with this controller.

        Files that were deployed before are not checked: what AWS refuses is not sent.
        """
        if self.service is None or self.deployed:
            return
        if error := find_unsupported(self.service.fields, controller, self.input, self.service.places):
            raise error


def load_desired_state(source: Source, *, deployed: bool = False) -> DesiredState:
    """Raises ConfigError with file, line and key. `deployed`: the files were deployed before."""
    app_input: Input = source.config.spec.input
    desired = DesiredState(
        input=app_input,
        task=_task(source, app_input.task_definition_file),
        service=_service(source, app_input) if app_input.service_definition_file else None,
        deployed=deployed,
    )
    if desired.service:
        desired.require_supported(desired.service.controller)
    return desired


def load_if_used(source: Source, *, deployed: bool = False) -> DesiredState | None:
    """As `load_desired_state`; None if the pipeline has no ECS stage and there is no task definition."""
    file = source.directory / source.config.spec.input.task_definition_file
    if deploys_by_script(source, "ECS_") and not file.exists():
        return None
    return load_desired_state(source, deployed=deployed)


def versions(desired: DesiredState | None) -> Sequence[Version]:
    if desired is None:
        return ()
    return tuple(image_version(image) for image in dict.fromkeys(desired.task.images))


def _task(source: Source, name: str) -> TaskDefinition:
    file, data, lines = _read(source, name, "input.taskDefinitionFile")
    fields = fit_to_shape("RegisterTaskDefinitionRequest", data, file, lines)
    containers = fields.get("containerDefinitions") or []
    if not fields.get("family"):
        raise _missing("family", file)
    if not containers:
        raise _missing("containerDefinitions", file)
    for at, container in enumerate(containers):
        if not container.get("image"):
            raise _missing(f"containerDefinitions[{at}].image", file)
    return TaskDefinition(
        family=fields["family"],
        images=[container["image"] for container in containers],
        tags=_tags(fields),
        fields={name: value for name, value in fields.items() if name != "tags" and value != ""},
    )


def _service(source: Source, app_input: Input) -> ServiceDefinition:
    file, data, lines = _read(source, app_input.service_definition_file, "input.serviceDefinitionFile")
    # A file copied from a response may have both names; the request's name takes precedence.
    renamed = {
        _REQUEST_NAMES[key.lower()]: value for key, value in data.items() if key.lower() in _REQUEST_NAMES
    }
    written = {key: value for key, value in data.items() if key.lower() not in _REQUEST_NAMES}
    fields = fit_to_shape("CreateServiceRequest", {**renamed, **written}, file, lines)
    fields = {name: value for name, value in fields.items() if value != ""}
    fields.setdefault("cluster", app_input.cluster_arn)
    for key in ("serviceName", "cluster"):
        if not fields.get(key):
            raise _missing(key, file)
    controller = (fields.get("deploymentController") or {}).get("type", "")
    if controller not in ("", EXTERNAL, ROLLING):
        raise ConfigError(
            f"the deployment controller {controller} is not supported",
            remedy=f"set {EXTERNAL} for canaries, or {ROLLING} for rolling updates by ECS",
            place=Place(file, lines.get(("deploymentController",), 1), "deploymentController.type"),
        )
    if controller == EXTERNAL and "role" not in {key.lower() for key in written}:
        # A response contains the role that AWS itself uses.
        fields.pop("role", None)
    names = {name.lower(): name for name in fields}
    return ServiceDefinition(
        name=fields["serviceName"],
        cluster=fields["cluster"],
        controller=controller,
        desired_count=fields.get("desiredCount", 0),
        tags=_tags(fields),
        fields=fields,
        places={
            names[key.lower()]: Place(file, lines.get((key,), 1), key) for key in data if key.lower() in names
        },
    )


def _tags(fields: Mapping[str, Any]) -> Mapping[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in fields.get("tags") or [] if "key" in tag}


def _read(source: Source, name: str, key: str) -> tuple[str, Mapping[str, Any], Lines]:
    path = source.directory / name
    file = source.relative(path)
    data, lines = read(read_file(path, file, missing=f"create it, or correct {key}"), file)
    return file, data, lines


def _missing(key: str, file: str) -> ConfigError:
    return ConfigError("is missing", remedy="add it", place=Place(file, 1, key))
