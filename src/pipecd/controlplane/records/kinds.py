"""The names of the kinds that a project can have: PipeCD's, and those of its agents' platforms."""

from collections.abc import Collection, Iterable

from pipecd.controlplane.store import Store, lists
from pipecd.errors import Refused
from pipecd.model.application import kind_of_plugin
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.wire import kind_from


async def check_kinds(store: Store, project_id: str, names: Collection[str]) -> Collection[str]:
    """`names`, if every one is a kind of the project. Raises Refused for an unknown name."""
    if any(name not in ApplicationKind.keys() for name in names):  # noqa: SIM118 - an enum wrapper
        _refuse_unknown(names, kinds_of_agents(await lists.pipeds(store, project_id)))
    return names


def kinds_of_agents(pipeds: Iterable[Piped]) -> set[str]:
    """The kinds that the agents reported, and PipeCD's."""
    reported = {kind_of_plugin(plugin.name) for piped in pipeds for plugin in piped.plugins}
    return {*ApplicationKind.keys(), *reported}


def check_kind_of_applications(name: str, applications: Iterable[Application]) -> None:
    """Raises Refused if `name` is neither one of PipeCD's kinds nor that of an application."""
    _refuse_unknown([name], {*ApplicationKind.keys(), *map(kind_from, applications)})


def _refuse_unknown(names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise Refused(
                f"{name} is not a valid application kind", remedy=f"use one of {', '.join(sorted(known))}"
            )
