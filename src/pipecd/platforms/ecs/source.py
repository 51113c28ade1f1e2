"""Reads the desired state of an ECS application: a task definition, and a service unless it is standalone.

Called by the planner and by every stage, each with a checkout. Both files are AWS structures, in YAML or
JSON. Which of their fields are used is the same as in PipeCD.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecd.config.document import read, read_file
from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source
from pipecd.platforms.ecs.config import Input
from pipecd.platforms.ecs.shapes import Lines, fit_to_shape

EXTERNAL, ROLLING = "EXTERNAL", "ECS"
#: Fields of RegisterTaskDefinition that are taken from the file. `tags` is not.
_REGISTERED_FIELDS = (
    "family",
    "containerDefinitions",
    "requiresCompatibilities",
    "executionRoleArn",
    "taskRoleArn",
    "networkMode",
    "volumes",
    "runtimePlatform",
    "ephemeralStorage",
    "cpu",
    "memory",
    "inferenceAccelerators",
    "ipcMode",
    "pidMode",
    "placementConstraints",
    "proxyConfiguration",
)
#: Field names that differ between AWS's responses and requests.
_REQUEST_NAMES = {"clusterarn": "cluster", "rolearn": "role"}


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    family: str
    images: Sequence[str]
    #: As RegisterTaskDefinition names them.
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


@dataclass(frozen=True, kw_only=True)
class DesiredState:
    input: Input
    task: TaskDefinition
    #: None for a standalone task.
    service: ServiceDefinition | None


def load_desired_state(source: Source) -> DesiredState:
    """Raises ConfigError with file, line and key."""
    app_input: Input = source.config.spec.input
    return DesiredState(
        input=app_input,
        task=_task(source, app_input.task_definition_file),
        service=_service(source, app_input) if app_input.service_definition_file else None,
    )


def versions(desired: DesiredState) -> Sequence[Version]:
    return tuple(
        Version(
            kind=VersionKind.CONTAINER_IMAGE, version=image_tag(image), name=_image_name(image), url=image
        )
        for image in dict.fromkeys(desired.task.images)
    )


def image_tag(image: str) -> str:
    """The tag or digest of an image, as its displayed version."""
    last = image.rsplit("/", 1)[-1]
    if "@" in last:
        return last.rpartition("@")[2]
    return last.rpartition(":")[2] if ":" in last else "latest"


def _image_name(image: str) -> str:
    return image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[0]


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
        fields={name: fields[name] for name in _REGISTERED_FIELDS if name in fields},
    )


def _service(source: Source, app_input: Input) -> ServiceDefinition:
    file, data, lines = _read(source, app_input.service_definition_file, "input.serviceDefinitionFile")
    # A file copied from a response may have both names; the request's name takes precedence.
    renamed = {
        _REQUEST_NAMES[key.lower()]: value for key, value in data.items() if key.lower() in _REQUEST_NAMES
    }
    written = {key: value for key, value in data.items() if key.lower() not in _REQUEST_NAMES}
    fields = fit_to_shape("CreateServiceRequest", {**renamed, **written}, file, lines)
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
    return ServiceDefinition(
        name=fields["serviceName"],
        cluster=fields["cluster"],
        controller=controller,
        desired_count=fields.get("desiredCount", 0),
        tags={tag["key"]: tag.get("value", "") for tag in fields.get("tags") or [] if "key" in tag},
        fields=fields,
    )


def _read(source: Source, name: str, key: str) -> tuple[str, Mapping[str, Any], Lines]:
    path = source.directory / name
    file = _relative(path, source.root)
    data, lines = read(read_file(path, file, missing=f"create it, or correct {key}"), file)
    return file, data, lines


def _relative(path: Path, root: Path) -> str:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)


def _missing(key: str, file: str) -> ConfigError:
    return ConfigError("is missing", remedy="add it", place=Place(file, 1, key))
