"""Policies of a role as text, in PipeCD's format, and back:

    resources=application{env:dev,team:a},deployment;actions=get,list

An empty line separates policies, and white space is ignored. The console has the same in
`web/src/policies.ts`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipecd.errors import ConfigError
from pipecd.model.access import Action, Labels, Resource

_RESOURCES: Mapping[str, Resource] = {
    "*": Resource.ALL,
    "application": Resource.APPLICATION,
    "deployment": Resource.DEPLOYMENT,
    "event": Resource.EVENT,
    "piped": Resource.PIPED,
    "deploymentChain": Resource.DEPLOYMENT_CHAIN,
    "project": Resource.PROJECT,
    "apiKey": Resource.API_KEY,
    "insight": Resource.INSIGHT,
    "containerLog": Resource.CONTAINER_LOG,
    "auditLog": Resource.AUDIT_LOG,
}
_ACTIONS: Mapping[str, Action] = {"*": Action.ALL} | {
    action.name.lower(): action for action in Action if action is not Action.ALL
}
_POLICY = re.compile(r"resources=([^;]+);actions=([^;]+);?")
_RESOURCE = re.compile(r"([^{}]+)(?:\{([^{}]*)\})?")
#: What is between two commas that are not between braces.
_ITEM = re.compile(r"(?:[^,{}]|\{[^{}]*\})+|[{}]")


@dataclass(frozen=True, kw_only=True)
class WrittenPolicy:
    """A policy as it is written: each resource has labels of its own. Numbers may be unknown ones."""

    resources: Sequence[tuple[int, Labels]]
    actions: Sequence[int]


def parse_policies(texts: Iterable[str]) -> Sequence[WrittenPolicy]:
    """Raises ConfigError that says which policy is wrong, and why: PipeCD leaves such a policy out."""
    blocks = [block for text in texts for block in re.split(r"\n[ \t]*\n", text)]
    return [_parse_policy(compact) for block in blocks if (compact := re.sub(r"\s+", "", block))]


def format_policy(policy: WrittenPolicy) -> str:
    resources = []
    for resource, labels in policy.resources:
        pairs = ",".join(f"{key}:{value}" for key, value in sorted(labels.items()))
        resources.append(_name(_RESOURCES, resource) + (f"{{{pairs}}}" if pairs else ""))
    actions = ",".join(_name(_ACTIONS, action) for action in policy.actions)
    return f"resources={','.join(resources)};actions={actions}"


def _name(names: Mapping[str, int], value: int) -> str:
    return next((name for name, number in names.items() if number == value), str(value))


def _parse_policy(text: str) -> WrittenPolicy:
    match = _POLICY.fullmatch(text)
    if not match:
        raise ConfigError(f"policy {text!r} is not written as resources=…;actions=…")
    resources = [_parse_resource(item) for item in _ITEM.findall(match[1])]
    if not resources:
        raise ConfigError(f"policy {text!r} has no resource")
    names = match[2].split(",")
    for name in names:
        if name not in _ACTIONS:
            raise ConfigError(f"{name!r} is not an action; use some of {', '.join(_ACTIONS)}")
    return WrittenPolicy(resources=resources, actions=[_ACTIONS[name] for name in names])


def _parse_resource(text: str) -> tuple[Resource, Labels]:
    match = _RESOURCE.fullmatch(text)
    if not match or match[1] not in _RESOURCES:
        raise ConfigError(f"{text!r} is not a resource; use one of {', '.join(_RESOURCES)}")
    labels = {}
    for pair in () if match[2] is None else match[2].split(","):
        key, colon, value = pair.partition(":")
        if not key or not colon or not value:
            raise ConfigError(f"{pair!r} is not a label such as env:dev")
        labels[key] = value
    return _RESOURCES[match[1]], labels
