"""Policies of a role as text, in PipeCD's format, and back:

    resources=application{env:dev,team:a},deployment;actions=get,list

An empty line separates policies, and white space is ignored. The console has the same in
`web/src/policies.ts`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from pipecd.errors import ConfigError
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource

_RESOURCES: Mapping[str, ProjectRBACResource.ResourceType.ValueType] = {
    "*": ProjectRBACResource.ALL,
    "application": ProjectRBACResource.APPLICATION,
    "deployment": ProjectRBACResource.DEPLOYMENT,
    "event": ProjectRBACResource.EVENT,
    "piped": ProjectRBACResource.PIPED,
    "deploymentChain": ProjectRBACResource.DEPLOYMENT_CHAIN,
    "project": ProjectRBACResource.PROJECT,
    "apiKey": ProjectRBACResource.API_KEY,
    "insight": ProjectRBACResource.INSIGHT,
    "containerLog": ProjectRBACResource.CONTAINER_LOG,
    "auditLog": ProjectRBACResource.AUDIT_LOG,
}
_ACTIONS: Mapping[str, ProjectRBACPolicy.Action.ValueType] = {
    "*": ProjectRBACPolicy.ALL,
    "get": ProjectRBACPolicy.GET,
    "list": ProjectRBACPolicy.LIST,
    "create": ProjectRBACPolicy.CREATE,
    "update": ProjectRBACPolicy.UPDATE,
    "delete": ProjectRBACPolicy.DELETE,
}
_POLICY = re.compile(r"resources=([^;]+);actions=([^;]+);?")
_RESOURCE = re.compile(r"([^{}]+)(?:\{([^{}]*)\})?")
#: What is between two commas that are not between braces.
_ITEM = re.compile(r"(?:[^,{}]|\{[^{}]*\})+|[{}]")


def parse_policies(texts: Iterable[str]) -> Sequence[ProjectRBACPolicy]:
    """Raises ConfigError that says which policy is wrong, and why: PipeCD leaves such a policy out."""
    blocks = [block for text in texts for block in re.split(r"\n[ \t]*\n", text)]
    return [_parse_policy(compact) for block in blocks if (compact := re.sub(r"\s+", "", block))]


def format_policy(policy: ProjectRBACPolicy) -> str:
    resources = []
    for resource in policy.resources:
        labels = ",".join(f"{key}:{value}" for key, value in sorted(resource.labels.items()))
        resources.append(_name(_RESOURCES, resource.type) + (f"{{{labels}}}" if labels else ""))
    actions = ",".join(_name(_ACTIONS, action) for action in policy.actions)
    return f"resources={','.join(resources)};actions={actions}"


def _name(names: Mapping[str, int], value: int) -> str:
    return next((name for name, number in names.items() if number == value), str(value))


def _parse_policy(text: str) -> ProjectRBACPolicy:
    match = _POLICY.fullmatch(text)
    if not match:
        raise ConfigError(f"policy {text!r} is not written as resources=…;actions=…")
    policy = ProjectRBACPolicy()
    for item in _ITEM.findall(match[1]):
        policy.resources.append(_parse_resource(item))
    if not policy.resources:
        raise ConfigError(f"policy {text!r} has no resource")
    for name in match[2].split(","):
        if name not in _ACTIONS:
            raise ConfigError(f"{name!r} is not an action; use some of {', '.join(_ACTIONS)}")
        policy.actions.append(_ACTIONS[name])
    return policy


def _parse_resource(text: str) -> ProjectRBACResource:
    match = _RESOURCE.fullmatch(text)
    if not match or match[1] not in _RESOURCES:
        raise ConfigError(f"{text!r} is not a resource; use one of {', '.join(_RESOURCES)}")
    resource = ProjectRBACResource(type=_RESOURCES[match[1]])
    for pair in () if match[2] is None else match[2].split(","):
        key, colon, value = pair.partition(":")
        if not key or not colon or not value:
            raise ConfigError(f"{pair!r} is not a label such as env:dev")
        resource.labels[key] = value
    return resource
