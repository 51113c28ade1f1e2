"""What the files of an ECS application ask for: a task definition, and a service unless it runs alone.

Called by the planner and by every stage, each with a checkout. Both files are AWS's own structures, in YAML
or JSON; what of them is used, and what is not, is PipeCD's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecd.config.document import read
from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source
from pipecd.platforms.ecs.config import Input
from pipecd.platforms.ecs.shapes import Lines, fitted

EXTERNAL, ROLLING = "EXTERNAL", "ECS"
#: Members of RegisterTaskDefinition that are taken from the file. `tags` are not.
_REGISTERED = (
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
#: Names that AWS's answers use for what its requests call otherwise.
_OTHER_NAMES = {"clusterarn": "cluster", "rolearn": "role"}


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    family: str
    images: Sequence[str]
    #: As RegisterTaskDefinition names them.
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """`controller` is empty where the file says nothing; a `desired_count` of 0 leaves AWS's alone."""

    name: str
    cluster: str
    controller: str
    desired_count: int
    tags: Mapping[str, str]
    #: As CreateService names them.
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Desired:
    input: Input
    task: TaskDefinition
    #: None: a standalone task.
    service: ServiceDefinition | None


def desired(source: Source) -> Desired:
    """Raises ConfigError with file, line and key."""
    given: Input = source.config.spec.input
    return Desired(
        input=given,
        task=_task(source, given.task_definition_file),
        service=_service(source, given) if given.service_definition_file else None,
    )


def versions(wanted: Desired) -> Sequence[Version]:
    return tuple(
        Version(kind=VersionKind.CONTAINER_IMAGE, version=tag(image), name=_name(image), url=image)
        for image in dict.fromkeys(wanted.task.images)
    )


def tag(image: str) -> str:
    """What people call the image's version."""
    last = image.rsplit("/", 1)[-1]
    if "@" in last:
        return last.rpartition("@")[2]
    return last.rpartition(":")[2] if ":" in last else "latest"


def _name(image: str) -> str:
    return image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[0]


def _task(source: Source, name: str) -> TaskDefinition:
    file, data, lines = _read(source, name, "input.taskDefinitionFile")
    fields = fitted("RegisterTaskDefinitionRequest", data, file, lines)
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
        fields={name: fields[name] for name in _REGISTERED if name in fields},
    )


def _service(source: Source, given: Input) -> ServiceDefinition:
    file, data, lines = _read(source, given.service_definition_file, "input.serviceDefinitionFile")
    # Both names may stand in a file that was copied from an answer; the request's own wins.
    renamed = {_OTHER_NAMES[key.lower()]: value for key, value in data.items() if key.lower() in _OTHER_NAMES}
    written = {key: value for key, value in data.items() if key.lower() not in _OTHER_NAMES}
    fields = fitted("CreateServiceRequest", {**renamed, **written}, file, lines)
    fields.setdefault("cluster", given.cluster_arn)
    for key in ("serviceName", "cluster"):
        if not fields.get(key):
            raise _missing(key, file)
    controller = (fields.get("deploymentController") or {}).get("type", "")
    if controller not in ("", EXTERNAL, ROLLING):
        raise ConfigError(
            f"the deployment controller {controller} is not supported",
            remedy=f"write {EXTERNAL} for canaries, or {ROLLING} to let ECS replace the tasks",
            place=Place(file, lines.get(("deploymentController",), 1), "deploymentController.type"),
        )
    return ServiceDefinition(
        name=fields["serviceName"],
        cluster=fields["cluster"],
        controller=controller,
        desired_count=fields.get("desiredCount", 0),
        tags={one["key"]: one.get("value", "") for one in fields.get("tags") or [] if "key" in one},
        fields=fields,
    )


def _read(source: Source, name: str, key: str) -> tuple[str, Mapping[str, Any], Lines]:
    path = source.directory / name
    file = _relative(path, source.root)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", remedy=f"write it, or correct {key}", place=Place(file)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=Place(file)) from error
    data, lines = read(text, file)
    return file, data, lines


def _relative(path: Path, root: Path) -> str:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)


def _missing(key: str, file: str) -> ConfigError:
    return ConfigError("is missing", remedy="write it", place=Place(file, 1, key))
