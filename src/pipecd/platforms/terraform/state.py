"""Converts Terraform's state to a tree of modules and resources: names and health, never values.

Called by `live`, with the output of `terraform state pull` (version 4 of the format). Attributes contain
secrets in plain text, so only addresses, types, providers and status marks are read. A key of `for_each` is
part of an address; Terraform rejects sensitive ones. Data sources are omitted, because they create nothing.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from pipecd.errors import Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.model.resource import Health, Resource, aggregate_health

FORMAT = 4
#: A snapshot is one message of at most about 4 MiB. Beyond this number, healthy resources are omitted first.
MAX_RESOURCES = 5000
MODULE = "module"
TAINTED = "tainted: creation did not complete, or it was marked manually; the next apply replaces it"
DEPOSED = "the replaced object still exists (deposed); the next apply destroys it"

_STEP = re.compile(r'module\.[^.\[]+(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?')
_PROVIDER = re.compile(r'provider\["(?P<source>[^"]+)"\]')


def parse_state(state: bytes) -> Sequence[Resource]:
    """Modules before their contents. Empty before the first apply."""
    if not state.strip():
        return []
    try:
        document: Mapping[str, Any] = decode_json(state)
    except ValueError:
        # Without the decoder's message, which may quote the state.
        raise Temporary("Terraform's state is not valid JSON; it may be being written") from None
    if not isinstance(document, Mapping):
        raise _malformed()
    if document.get("version") != FORMAT:
        raise Refused(
            f"Terraform's state has format {document.get('version')}, not {FORMAT}",
            remedy="apply once with Terraform 0.12 or newer, which upgrades the format",
        )
    entries = document.get("resources") or ()
    try:
        resources = [resource for entry in entries for resource in _instances(entry)]
    except (AttributeError, KeyError, TypeError):
        raise _malformed() from None
    return _truncate([*_modules(resources), *resources])


def _malformed() -> Refused:
    return Refused(
        "Terraform's state is valid JSON, but not a state of Terraform",
        remedy="restore a backup of the state, or correct the backend's path",
    )


def _truncate(resources: Sequence[Resource]) -> Sequence[Resource]:
    if len(resources) <= MAX_RESOURCES:
        return resources
    # The stable sort keeps modules before their contents.
    ordered = sorted(resources, key=lambda resource: resource.health is Health.HEALTHY)
    more = f"and {len(resources) - MAX_RESOURCES} more"
    rest = Resource(id=more, kind="", name=more, health=aggregate_health(ordered[MAX_RESOURCES:]))
    return [*ordered[:MAX_RESOURCES], rest]


def _instances(entry: Mapping[str, Any]) -> Iterator[Resource]:
    if entry.get("mode") != "managed":
        return
    module = entry.get("module", "")
    reasons_by_key: dict[str, list[str]] = {}
    for instance in entry.get("instances") or ():
        # A deposed object is listed next to the one that replaced it.
        reasons_by_key.setdefault(_key(instance.get("index_key")), []).extend(_marks(instance))
    provider = _PROVIDER.search(entry.get("provider", ""))
    for key, reasons in reasons_by_key.items():
        name = f"{entry['name']}{key}"
        yield Resource(
            id=".".join(part for part in (module, entry["type"], name) if part),
            kind=entry["type"],
            name=name,
            parents=(module,) if module else (),
            health=Health.UNHEALTHY if reasons else Health.HEALTHY,
            health_reason=_sentence("; ".join(reasons)),
            metadata={"provider": provider["source"]} if provider else {},
        )


def _marks(instance: Mapping[str, Any]) -> Iterator[str]:
    if instance.get("deposed"):
        yield DEPOSED
    elif instance.get("status") == "tainted":
        yield TAINTED


def _modules(resources: Sequence[Resource]) -> Iterator[Resource]:
    """Each module instance with resources at any depth, with their aggregated health."""
    contents: dict[str, list[Resource]] = {}
    for resource in resources:
        for address in _path(resource.parents):
            contents.setdefault(address, []).append(resource)
    for address, members in contents.items():
        *outer, last = _STEP.findall(address)
        module = Resource(
            id=address,
            kind=MODULE,
            name=last.removeprefix("module."),
            parents=(".".join(outer),) if outer else (),
            health=aggregate_health(members),
        )
        unhealthy = sum(member.health is Health.UNHEALTHY for member in members)
        yield (
            replace(module, health_reason=f"{unhealthy} of {len(members)} resources in it are unhealthy")
            if unhealthy
            else module
        )


def _path(parents: Iterable[str]) -> Iterator[str]:
    """The addresses of the modules that contain a resource, outermost first."""
    for address in parents:
        yield from accumulate(_STEP.findall(address), "{}.{}".format)


def _key(index: object) -> str:
    """The index as part of an address, with template markers escaped as Terraform does."""
    if isinstance(index, str):
        quoted = json.dumps(index, ensure_ascii=False)
        return f"[{quoted.replace('${', '$${').replace('%{', '%%{')}]"
    return "" if index is None else f"[{index}]"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
