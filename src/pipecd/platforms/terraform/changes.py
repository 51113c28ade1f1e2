"""What a plan is going to do, from `terraform show -json`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource. `after` is what it becomes, with what is not known yet left out."""

    address: str
    actions: tuple[str, ...]
    after: Any
    imported: bool


@dataclass(frozen=True, kw_only=True)
class Changes:
    resources: Sequence[Change]
    outputs: bool

    @property
    def none(self) -> bool:
        return not self.resources and not self.outputs

    def __str__(self) -> str:
        if self.none:
            return "No changes"
        if not self.resources:
            return "Only outputs change"
        imports = sum(one.imported for one in self.resources)
        parts = [f"{imports} to import"] if imports else []
        for action, word in (("create", "add"), ("update", "change"), ("delete", "destroy")):
            parts.append(f"{sum(action in one.actions for one in self.resources)} to {word}")
        return ", ".join(parts)

    def beyond(self, shown: "Changes") -> Sequence[str]:
        """Addresses that would change otherwise than `shown` says."""
        agreed = {(one.address, one.actions): one.after for one in shown.resources}
        return [
            one.address
            for one in self.resources
            if (one.address, one.actions) not in agreed or agreed[one.address, one.actions] != one.after
        ]


def changes(plan: Mapping[str, Any]) -> Changes:
    found = []
    for resource in plan.get("resource_changes", ()):
        change = resource["change"]
        actions = tuple(change["actions"])
        imported = bool(change.get("importing"))
        if actions in (("no-op",), ("read",)) and not imported:
            continue
        found.append(
            Change(
                address=resource["address"],
                actions=tuple(action for action in actions if action != "no-op"),
                after=change.get("after"),
                imported=imported,
            )
        )
    outputs = any(
        tuple(change["actions"]) != ("no-op",) for change in plan.get("output_changes", {}).values()
    )
    return Changes(resources=found, outputs=outputs)
