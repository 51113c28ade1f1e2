"""What Terraform's state records, as a tree of modules and resources: names and health, never a value.

Called by `live`, with what `terraform state pull` prints (version 4 of the format). Attributes hold secrets
in the clear; nothing but addresses, types, providers and marks is read here. A key of `for_each` is part of
an address: Terraform refuses sensitive ones. Data sources are left out, because nothing was made for them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from pipecd.errors import Refused, Temporary
from pipecd.model.resource import Health, Resource, health_of

FORMAT = 4
#: A snapshot is one message, of some 4 MiB at most. Of more things the healthy ones are left out.
MOST = 5000
MODULE = "module"
TAINTED = "tainted: it was not made completely, or somebody marked it; the next apply makes it anew"
DEPOSED = "an object that was to be replaced is still there (deposed); the next apply destroys it"

_STEP = re.compile(r'module\.[^.\[]+(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?')
_PROVIDER = re.compile(r'provider\["(?P<source>[^"]+)"\]')


def recorded(state: bytes) -> Sequence[Resource]:
    """Modules stand before what they hold. Empty where nothing was ever applied."""
    if not state.strip():
        return []
    try:
        document: Mapping[str, Any] = json.loads(state)
    except ValueError:
        # Not the decoder's words: they may quote the state.
        raise Temporary("Terraform's state cannot be read; is it being written?") from None
    if document.get("version") != FORMAT:
        raise Refused(
            f"Terraform's state has format {document.get('version')}, not {FORMAT}",
            remedy="apply once with Terraform 0.12 or newer, which writes it anew",
        )
    resources = [one for found in document.get("resources") or () for one in _instances(found)]
    return _most([*_modules(resources), *resources])


def _most(found: Sequence[Resource]) -> Sequence[Resource]:
    if len(found) <= MOST:
        return found
    # Sorting keeps modules before what they hold.
    ordered = sorted(found, key=lambda one: one.health is Health.HEALTHY)
    more = f"and {len(found) - MOST} more"
    rest = Resource(id=more, kind="", name=more, health=health_of(ordered[MOST:]))
    return [*ordered[:MOST], rest]


def _instances(found: Mapping[str, Any]) -> Iterator[Resource]:
    if found.get("mode") != "managed":
        return
    module = found.get("module", "")
    reasons: dict[str, list[str]] = {}
    for instance in found.get("instances") or ():
        # A deposed object stands beside the one that took its place.
        reasons.setdefault(_key(instance.get("index_key")), []).extend(_marks(instance))
    provider = _PROVIDER.search(found.get("provider", ""))
    for key, whys in reasons.items():
        name = f"{found['name']}{key}"
        yield Resource(
            id=".".join(part for part in (module, found["type"], name) if part),
            kind=found["type"],
            name=name,
            parents=(module,) if module else (),
            health=Health.UNHEALTHY if whys else Health.HEALTHY,
            why=_sentence("; ".join(whys)),
            facts={"provider": provider["source"]} if provider else {},
        )


def _marks(instance: Mapping[str, Any]) -> Iterator[str]:
    if instance.get("deposed"):
        yield DEPOSED
    elif instance.get("status") == "tainted":
        yield TAINTED


def _modules(resources: Sequence[Resource]) -> Iterator[Resource]:
    """Each module instance that holds something, however deep; as healthy as all of that."""
    below: dict[str, list[Resource]] = {}
    for one in resources:
        for address in _path(one.parents):
            below.setdefault(address, []).append(one)
    for address, held in below.items():
        *outer, last = _STEP.findall(address)
        module = Resource(
            id=address,
            kind=MODULE,
            name=last.removeprefix("module."),
            parents=(".".join(outer),) if outer else (),
            health=health_of(held),
        )
        bad = sum(one.health is Health.UNHEALTHY for one in held)
        yield replace(module, why=f"{bad} of {len(held)} resources in it are not healthy") if bad else module


def _path(parents: Iterable[str]) -> Iterator[str]:
    """The addresses of the modules that lead to a resource, the outermost first."""
    for address in parents:
        yield from accumulate(_STEP.findall(address), "{}.{}".format)


def _key(index: object) -> str:
    """As it stands in an address, where Terraform keeps templates from being understood."""
    if isinstance(index, str):
        quoted = json.dumps(index, ensure_ascii=False)
        return f"[{quoted.replace('${', '$${').replace('%{', '%%{')}]"
    return "" if index is None else f"[{index}]"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
