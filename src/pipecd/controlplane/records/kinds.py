"""The names of the kinds of a project: PipeCD's, and those of its agents' platforms and its applications."""

from collections.abc import Collection, Iterable

from pipecd.controlplane.store import Store, lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.errors import Refused
from pipecd.model.application import kind_of_plugin
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.wire import has_number, kind_from


async def check_kinds(store: Store, project_id: str, names: Collection[str]) -> Collection[str]:
    """`names`, if every one is a kind of the project. Raises Refused for an unknown name."""
    for name in names:
        if not has_number(name) and not await _is_used(store, project_id, name):
            pipeds = await lists.pipeds(store, project_id)
            plugins = {kind_of_plugin(plugin.name) for piped in pipeds for plugin in piped.plugins}
            _refuse_unknown(name, plugins)
    return names


async def _is_used(store: Store, project_id: str, name: str) -> bool:
    filters = ApplicationFilter(kinds=[name], deleted=None)
    return await lists.count_applications(store, project_id, filters) > 0


def check_kind_of_applications(name: str, applications: Iterable[Application]) -> None:
    """Raises Refused if `name` is neither one of PipeCD's kinds nor that of an application."""
    _refuse_unknown(name, set(map(kind_from, applications)))


def _refuse_unknown(name: str, kinds: Collection[str]) -> None:
    """Raises Refused unless `name` is one of PipeCD's kinds or of `kinds`."""
    known = sorted({*ApplicationKind.keys(), *kinds})
    if name not in known:
        raise Refused(f"{name} is not a valid application kind", remedy=f"use one of {', '.join(known)}")
