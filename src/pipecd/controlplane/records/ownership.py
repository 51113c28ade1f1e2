"""Reads and changes records of the caller's project, and rejects access to those of other projects.

Of a user whose roles have conditions on labels, also access to records without these labels.

Called by all RPCs for users and API clients. For RPCs of agents see `rpc.piped.ownership`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Caller, Person, Program
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.errors import NotFound, PermissionDenied, PipecdError, Refused
from pipecd.model.access import Action, Resource, conditions
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import ChainApplicationRef, ChainDeploymentRef, DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped

M = TypeVar("M", bound=Message)
#: Stands for the name of an application that the roles of the user do not include.
HIDDEN = "(hidden)"
_RESOURCES: Mapping[type[Message], Resource] = {
    Application: Resource.APPLICATION,
    Deployment: Resource.DEPLOYMENT,
    Event: Resource.EVENT,
}
#: Deployments have the labels that their application had when they were triggered.
_WITH_LABELS_OF_APPLICATION = (Resource.APPLICATION, Resource.DEPLOYMENT)


async def get(
    services: Services, caller: Caller, kind: type[M], id: str, foreign_error: type[PipecdError] | None = None
) -> M:
    """The record. Raises NotFound, or `foreign_error` if it belongs to another project."""
    record = (await services.store.get(kind, id)).message
    check(caller, record, foreign_error)
    return record


async def change(
    services: Services,
    caller: Caller,
    kind: type[M],
    id: str,
    alter: Callable[[M], None],
    foreign_error: type[PipecdError] | None = None,
) -> M:
    """Apply `alter` to the record by compare-and-set, set `updated_at`, and return the new record."""

    def checked(record: Any) -> None:
        check(caller, record, foreign_error)
        alter(record)
        record.updated_at = services.now()

    return (await services.store.update(kind, id, checked, by=caller.actor)).message


def check(caller: Caller, record: Any, foreign_error: type[PipecdError] | None = None) -> None:
    """Raises an error if `record` belongs to another project, or the user's roles do not include it.

    The default is PipeCD's: INVALID_ARGUMENT for API clients, PERMISSION_DENIED for users.
    """
    if record.project_id != caller.project_id:
        error = foreign_error or (Refused if isinstance(caller, Program) else PermissionDenied)
        raise error(
            f"{record.DESCRIPTOR.name.lower()} {record.id} does not belong to project {caller.project_id}"
        )
    if not includes(caller, record):
        raise PermissionDenied(
            f"the roles of {caller.name} do not include {record.DESCRIPTOR.name.lower()} {record.id};"
            " ask an administrator for a role whose labels match"
        )


def includes(caller: Caller, record: Any) -> bool:
    """Whether the labels of `record` satisfy the roles of the caller."""
    resource = _RESOURCES.get(type(record))
    return not isinstance(caller, Person) or resource is None or caller.may(resource, record.labels)


async def includes_command(services: Services, caller: Caller, command: Command) -> bool:
    """Whether the roles of the caller include the application of `command`.

    Every member may read a command, so that roles without any application or deployment include all. Of
    others, any right to an application suffices: who may only sync it follows the command.
    """
    if not isinstance(caller, Person) or not command.application_id:
        return True
    alternatives = [
        conditions(caller.policies, resource, action)
        for resource in _WITH_LABELS_OF_APPLICATION
        for action in Action
    ]
    if None in alternatives or not any(alternatives):
        return True
    try:
        application = (await services.store.get(Application, command.application_id)).message
    except NotFound:
        return False
    labels = application.labels
    return any(wanted.items() <= labels.items() for each in alternatives for wanted in each or ())


async def hide_in_chains(
    services: Services, caller: Caller, chains: Iterable[DeploymentChain]
) -> Sequence[DeploymentChain]:
    """Copies of the chains that have an application that the roles of the caller include.

    Of other applications, they have the status of the deployment only.
    """
    if not isinstance(caller, Person) or caller.conditions(Resource.APPLICATION) is None:
        return list(chains)
    copies = []
    for chain in chains:
        copy = DeploymentChain()
        copy.CopyFrom(chain)
        copies.append(copy)
    nodes = [node for chain in copies for block in chain.blocks for node in block.nodes]
    ids = [node.application_ref.application_id for node in nodes]
    applications = await lists.by_ids(services.store, Application, ids)
    included = {application.id for application in applications if includes(caller, application)}
    for node in nodes:
        if node.application_ref.application_id not in included:
            node.application_ref.CopyFrom(ChainApplicationRef(application_name=HIDDEN))
            if node.HasField("deployment_ref"):
                node.deployment_ref.CopyFrom(ChainDeploymentRef(status=node.deployment_ref.status))
    return [chain for chain in copies if any(_applications_of(chain))]


def _applications_of(chain: DeploymentChain) -> Iterable[str]:
    """Ids; empty for what is hidden."""
    return (node.application_ref.application_id for block in chain.blocks for node in block.nodes)


def hide_in_piped(caller: Caller, piped: Piped) -> Piped:
    """`piped` without its configuration, if the roles of the caller include only some applications.

    The configuration names applications, as in routes of notifications. `piped` is changed.
    """
    if isinstance(caller, Person) and caller.conditions(Resource.APPLICATION) is not None:
        piped.ClearField("config")
    return piped
