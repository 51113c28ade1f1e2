"""Whether a change needs the pipeline or a quick sync: by the same differences as in PipeCD.

Pod templates and configuration use the pipeline, everything else a quick sync. Differences of notation that
an API server would not keep, such as `0.1` and `100m` of CPU, are none.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from pipecd.model.deployment import SyncStrategy
from pipecd.model.plan import Strategy
from pipecd.platforms.images import image_name, image_tag
from pipecd.platforms.kubernetes.config import WorkloadReference
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.source import DesiredState

#: Groups of workloads. Others may have kinds of the same names.
_GROUPS = frozenset({"apps", "batch", "extensions", ""})
_Key = tuple[str, str, str]


def choose_strategy(running: DesiredState | None, target: DesiredState) -> Strategy:
    """The pipeline where pods change, and a quick sync for everything else, as PipeCD decides."""
    if running is None:
        return _quick("this is the first deployment")
    old, new = _workloads(running, target.workloads), _workloads(target, target.workloads)
    if not old:
        return _quick("the running manifests contain no workloads to compare with")
    if not new:
        return _quick("the new manifests contain no workloads")
    pairs = [(old[key], new[key]) for key in new if key in old]
    for before, after in pairs:
        if reason := _template_change(before, after):
            return _pipeline(reason)
    if reason := _config_change(running.manifests, target.manifests):
        return _pipeline(reason)
    scaled = sorted(
        f"{after.name} is scaled from {_count(before)} to {_count(after)}"
        for before, after in pairs
        if before.spec.get("replicas") != after.spec.get("replicas")
    )
    return _quick(", ".join(scaled) or "no pod template and no configuration changed")


def _workloads(desired: DesiredState, references: Sequence[WorkloadReference]) -> Mapping[_Key, Manifest]:
    wanted = references or (WorkloadReference(),)
    return {
        _key(manifest): manifest
        for manifest in desired.manifests
        if manifest.group in _GROUPS
        and any(
            reference.kind == manifest.kind and reference.name in ("", manifest.name) for reference in wanted
        )
    }


def _key(manifest: Manifest) -> _Key:
    return (manifest.kind, manifest.namespace or DEFAULT_NAMESPACE, manifest.name)


def _template_change(before: Manifest, after: Manifest) -> str:
    """What changed in the pods of a workload; empty if nothing did."""
    old, new = before.spec.get("template"), after.spec.get("template")
    if old == new or _canonical(old) == _canonical(new):
        return ""
    images = [
        _image_change(first, second)
        for first, second in zip(_images(old), _images(new), strict=False)
        if first and second and first != second
    ]
    if images:
        return f"the image of {after.name} changed: {', '.join(images)}"
    return f"the pod template of {after.name} changed"


def _images(template: Any) -> list[str]:
    """That of each container; empty where there is none."""
    spec = template.get("spec") if isinstance(template, Mapping) else None
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    if not isinstance(containers, list):
        return []
    images = (item.get("image") if isinstance(item, Mapping) else None for item in containers)
    return [image if isinstance(image, str) else "" for image in images]


def _image_change(before: str, after: str) -> str:
    old, new = image_name(before), image_name(after)
    if old != new:
        return f"{old}:{image_tag(before)} to {new}:{image_tag(after)}"
    return f"{new} from {image_tag(before)} to {image_tag(after)}"


def _count(manifest: Manifest) -> str:
    count = manifest.spec.get("replicas")
    return "the default" if count is None else str(count)


def _config_change(old: Sequence[Manifest], new: Sequence[Manifest]) -> str:
    """Why a change of ConfigMaps and Secrets needs the pipeline; empty if none changed."""
    before, after = _configs(old), _configs(new)
    for key in sorted(before.keys() - after.keys()):
        return f"the {key[0]} {key[2]} was removed"
    for key in sorted(after.keys() - before.keys()):
        return f"the {key[0]} {key[2]} was added"
    for key in sorted(after):
        if before[key].body != after[key].body and _compact(before[key].body) != _compact(after[key].body):
            return f"the {key[0]} {key[2]} changed"
    return ""


def _configs(manifests: Sequence[Manifest]) -> Mapping[_Key, Manifest]:
    return {
        _key(manifest): manifest
        for manifest in manifests
        if manifest.kind in ("ConfigMap", "Secret") and manifest.group == ""
    }


def _compact(value: Any) -> Any:
    """Without members that are null or empty."""
    if not isinstance(value, Mapping):
        return value
    members = {key: _compact(item) for key, item in value.items()}
    return {key: item for key, item in members.items() if item is not None and item not in ({}, [])}


# What a pod template means, whatever its notation

#: Mappings of any keys, whose values count as they are.
_MAPS = frozenset({"labels", "annotations", "nodeSelector", "matchLabels"})
_QUANTITIES = frozenset({"limits", "requests", "overhead", "capacity"})
_QUANTITY = frozenset({"sizeLimit", "divisor"})
#: Without members they are as if absent. Of other fields, such as `emptyDir`, the presence counts.
_OPTIONAL = _MAPS | _QUANTITIES | {"resources", "metadata"}
#: Whose zero value is as if absent.
_ZERO = frozenset(
    {"hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "hostPort"}
    | {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}
)
_NUMBER = re.compile(r"([+-]?[0-9]*\.?[0-9]*)(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?")
_BINARY = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def _canonical(value: Any) -> Any:
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    members = {}
    for key, item in value.items():
        if key in _MAPS:
            item = _compact(item)
        elif key in _QUANTITIES and isinstance(item, Mapping):
            item = {name: _quantity(amount) for name, amount in item.items()}
        elif key in _QUANTITY:
            item = _quantity(item)
        else:
            item = _canonical(item)
        if not (_is_absent(item) or (key in _OPTIONAL and item == {}) or (key in _ZERO and not item)):
            members[key] = item
    return members


def _is_absent(value: Any) -> bool:
    return value is None or value == [] or value == ""


def _quantity(value: Any) -> Any:
    """A quantity's value, and how it is scaled: `1Ki` and `1024` are different to an API server."""
    found = _NUMBER.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if found is None or isinstance(value, bool):
        return value
    digits, binary, decimal, exponent = found.groups()
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return value
    if binary:
        return "binary", number * _BINARY[binary]
    if exponent:
        return "exponent", number.scaleb(int(exponent))
    return "decimal", number.scaleb(_DECIMAL.get(decimal or "", 0))


def _quick(reason: str) -> Strategy:
    return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=f"Quick sync, because {reason}")


def _pipeline(reason: str) -> Strategy:
    return Strategy(strategy=SyncStrategy.PIPELINE, reason=f"Sync with the pipeline, because {reason}")
