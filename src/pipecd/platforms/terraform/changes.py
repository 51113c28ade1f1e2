"""The changes of a plan, from `terraform show -json`. Pure.

Format: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WORDS = (("create", "add"), ("update", "change"), ("delete", "destroy"))
_DONE = {
    "import": "imported",
    "add": "added",
    "change": "changed",
    "destroy": "destroyed",
    "forget": "forgotten",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change of one resource. `unknown` marks values in `after` that are known only after the apply."""

    address: str
    actions: tuple[str, ...]
    type: str = ""
    #: Address of its module; empty for the root module.
    module: str = ""
    before: Any = None
    after: Any = None
    unknown: Any = None
    imported: bool = False
    #: Its creation did not complete, so it is replaced.
    tainted: bool = False


@dataclass(frozen=True, kw_only=True)
class Changes:
    resources: Sequence[Change] = ()
    outputs: bool = False
    #: Whether an apply has any effect, even if it only records a moved resource in the state.
    applyable: bool = False

    @property
    def empty(self) -> bool:
        return not self.applyable

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of resources per kind of change: import, add, change, destroy, forget."""
        return {
            "import": sum(change.imported for change in self.resources),
            **{word: sum(action in change.actions for change in self.resources) for action, word in _WORDS},
            "forget": sum("forget" in change.actions for change in self.resources),
        }

    def __str__(self) -> str:
        """`1 to add, 2 to change, 0 to destroy`."""
        if self.empty:
            return "No changes"
        summary = self._summarize({word: f"to {word}" for word in _DONE})
        return summary or ("Only outputs change" if self.outputs else "Only the state changes")

    @property
    def applied_summary(self) -> str:
        """`1 added, 2 changed, 0 destroyed`."""
        return self._summarize(_DONE) or ("only outputs" if self.outputs else "only the state")

    def _summarize(self, words: Mapping[str, str]) -> str:
        """Empty if no resource changes."""
        counts = self.counts
        always = [word for _, word in _WORDS]
        parts = [f"{count} {words[word]}" for word, count in counts.items() if count or word in always]
        return ", ".join(parts) if any(counts.values()) else ""

    def exceeding(self, shown: "Changes") -> Sequence[str]:
        """Addresses whose changes are not part of `shown`."""
        return [
            change.address
            for change in self.resources
            if not any(_is_remainder(change, other) for other in shown.resources)
        ]

    def differing_from(self, shown: "Changes") -> Sequence[str]:
        """Addresses whose actions differ from `shown`.

        Values are not compared: some differ between plans (`plantimestamp()`, the time of the last backup)
        without a change of the infrastructure, and the shown plan contains its own values.
        """
        actions = {(change.address, change.actions) for change in self.resources}
        shown_actions = {(change.address, change.actions) for change in shown.resources}
        return sorted({address for address, _ in actions ^ shown_actions})


def parse_plan(plan: Mapping[str, Any]) -> Changes:
    resources = tuple(
        change
        for resource in plan.get("resource_changes", ())
        if (change := _change(resource)).actions or change.imported
    )
    moved = any("previous_address" in resource for resource in plan.get("resource_changes", ()))
    outputs = any(
        tuple(change["actions"]) != ("no-op",) for change in plan.get("output_changes", {}).values()
    )
    return Changes(
        resources=resources,
        outputs=outputs,
        # Plans of OpenTofu and of Terraform before 1.8 do not contain `applyable`.
        applyable=bool(plan.get("applyable", resources or outputs or moved)),
    )


def _change(resource: Mapping[str, Any]) -> Change:
    change = resource["change"]
    return Change(
        address=resource["address"],
        actions=tuple(action for action in change["actions"] if action not in ("no-op", "read")),
        type=resource.get("type", ""),
        module=resource.get("module_address", ""),
        before=change.get("before"),
        after=change.get("after"),
        unknown=change.get("after_unknown"),
        imported=bool(change.get("importing")),
        tainted=resource.get("action_reason") == "replace_because_tainted",
    )


def _is_remainder(change: Change, shown: Change) -> bool:
    """Whether `change` is all of `shown`, or what an interrupted apply has left of it."""
    if change.address != shown.address:
        return False
    if change.actions == ("delete",):
        return "delete" in shown.actions
    same = change.actions == shown.actions
    deleted = change.actions == ("create",) and "create" in shown.actions
    recreated = change.tainted and "create" in shown.actions
    return (same or deleted or recreated) and agrees(shown.after, shown.unknown, change.after)


def agrees(shown: Any, unknown: Any, now: Any) -> bool:
    """Whether `now` equals `shown` wherever the shown value was known."""
    if unknown is True:
        return True
    if isinstance(shown, Mapping):
        marks = unknown if isinstance(unknown, Mapping) else {}
        return isinstance(now, Mapping) and all(
            agrees(shown.get(key), marks.get(key), now.get(key)) for key in {*shown, *now}
        )
    if isinstance(shown, list):
        marked = unknown if isinstance(unknown, list) else []
        return (
            isinstance(now, list)
            and len(now) == len(shown)
            and all(
                agrees(item, marked[index] if index < len(marked) else None, now[index])
                for index, item in enumerate(shown)
            )
        )
    return bool(shown == now)
