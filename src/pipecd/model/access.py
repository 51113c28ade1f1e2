"""Role-based access control. `controlplane.rpc.guard` checks it before any handler runs.

A role is a set of policies; a policy allows actions on kinds of resource. The built-in roles are fixed and
their names reserved.

A policy with labels allows its actions only on records that have all of them, of the kinds that have labels:
for other kinds its labels mean nothing. Which records that are is checked where they are read
(`controlplane.records.ownership`), and as a condition of every list.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Resource(IntEnum):
    ALL = 0
    APPLICATION = 1
    DEPLOYMENT = 2
    EVENT = 3
    PIPED = 4
    DEPLOYMENT_CHAIN = 5
    PROJECT = 6
    API_KEY = 7
    INSIGHT = 8
    #: Ours: logs of an application's containers. They have the labels of the application.
    CONTAINER_LOG = 1000
    #: Ours: the audit log of the project. Of the built-in roles, only Admin has it.
    AUDIT_LOG = 1001


class Action(IntEnum):
    ALL = 0
    GET = 1
    LIST = 2
    CREATE = 3
    UPDATE = 4
    DELETE = 5


#: The kinds of resource whose records have labels.
LABELLED = frozenset({Resource.APPLICATION, Resource.DEPLOYMENT, Resource.EVENT, Resource.CONTAINER_LOG})

Labels = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Policy:
    resources: frozenset[Resource]
    actions: frozenset[Action]
    #: Pairs of key and value that a record must have.
    labels: frozenset[tuple[str, str]] = frozenset()

    def allows(self, resource: Resource, action: Action) -> bool:
        """Whether it allows the action on at least some records."""
        if resource is Resource.AUDIT_LOG and self.labels:
            # The log has the changes of all records, also of those without the labels.
            return False
        resource_matches = not self.resources.isdisjoint((resource, Resource.ALL))
        return resource_matches and not self.actions.isdisjoint((action, Action.ALL))


#: What a right allows, after "may", for rights whose verb is not that of the action.
_DESCRIPTIONS: Mapping[tuple[Resource, Action], str] = {
    (Resource.APPLICATION, Action.CREATE): "add applications",
    (Resource.APPLICATION, Action.UPDATE): "sync or change applications",
    (Resource.DEPLOYMENT, Action.UPDATE): "approve, skip or cancel deployments",
    (Resource.PIPED, Action.CREATE): "register pipeds",
    (Resource.PIPED, Action.UPDATE): "change, upgrade or restart pipeds",
    (Resource.API_KEY, Action.CREATE): "create API keys",
    (Resource.API_KEY, Action.UPDATE): "disable API keys",
    (Resource.PROJECT, Action.GET): "view the project",
    (Resource.PROJECT, Action.UPDATE): "administer the project",
}
_NOUNS: Mapping[Resource, str] = {
    Resource.ALL: "everything",
    Resource.APPLICATION: "applications",
    Resource.DEPLOYMENT: "deployments",
    Resource.EVENT: "events",
    Resource.PIPED: "pipeds",
    Resource.DEPLOYMENT_CHAIN: "deployment chains",
    Resource.PROJECT: "the project",
    Resource.API_KEY: "API keys",
    Resource.INSIGHT: "insights",
    Resource.CONTAINER_LOG: "container logs",
    Resource.AUDIT_LOG: "the audit log",
}
_VERBS: Mapping[Action, str] = {
    Action.ALL: "view and change",
    Action.GET: "view",
    Action.LIST: "view",
    Action.CREATE: "create",
    Action.UPDATE: "change",
    Action.DELETE: "delete",
}


def describe(resource: Resource, action: Action) -> str:
    """What the right allows, such as `view the audit log`."""
    return _DESCRIPTIONS.get((resource, action)) or f"{_VERBS[action]} {_NOUNS[resource]}"


ADMIN, EDITOR, VIEWER = "Admin", "Editor", "Viewer"


def _policy(resources: Iterable[Resource], actions: Iterable[Action]) -> Policy:
    return Policy(resources=frozenset(resources), actions=frozenset(actions))


_READ = (Action.GET, Action.LIST)
_DEPLOYMENT_RESOURCES = (Resource.APPLICATION, Resource.DEPLOYMENT)
#: PipeCD refuses deployment chains to everyone. They show nothing that deployments do not.
_COMMON = (
    _policy((Resource.DEPLOYMENT_CHAIN,), _READ),
    _policy((Resource.PIPED,), _READ),
    _policy((Resource.PROJECT, Resource.INSIGHT), (Action.GET,)),
    _policy((Resource.EVENT,), (Action.LIST,)),
)

BUILT_IN: Mapping[str, Sequence[Policy]] = {
    ADMIN: (_policy((Resource.ALL,), (Action.ALL,)),),
    EDITOR: (
        _policy(_DEPLOYMENT_RESOURCES, (Action.ALL,)),
        _policy((Resource.CONTAINER_LOG,), (Action.GET,)),
        *_COMMON,
    ),
    VIEWER: (_policy(_DEPLOYMENT_RESOURCES, _READ), *_COMMON),
}


_ROLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


def is_role_name(text: str) -> bool:
    """Whether a custom role may have the name."""
    return text not in BUILT_IN and _ROLE_NAME.fullmatch(text) is not None


def allows(policies: Iterable[Policy], resource: Resource, action: Action) -> bool:
    """Whether any of the policies allows the action on at least some records."""
    return any(policy.allows(resource, action) for policy in policies)


def conditions(policies: Iterable[Policy], resource: Resource, action: Action) -> Sequence[Labels] | None:
    """On which records the action is allowed: those with all labels of one of these; None means on all."""
    allowing = [policy for policy in policies if policy.allows(resource, action)]
    if any(not policy.labels or resource not in LABELLED for policy in allowing):
        return None
    return [dict(policy.labels) for policy in allowing]


def allows_record(policies: Iterable[Policy], resource: Resource, action: Action, labels: Labels) -> bool:
    """Whether any of the policies allows the action on a record with these labels."""
    alternatives = conditions(policies, resource, action)
    return alternatives is None or any(wanted.items() <= labels.items() for wanted in alternatives)


def policies_of(names: Iterable[str], roles: Mapping[str, Sequence[Policy]]) -> tuple[Policy, ...]:
    """The policies of the roles called `names`; an unknown role contributes none."""
    return tuple(policy for name in names for policy in {**roles, **BUILT_IN}.get(name, ()))
