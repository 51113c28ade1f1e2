"""What a plan is going to do, from `terraform show -json`. Pure.

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
    """One resource. `unknown` marks what in `after` is known only once it is applied."""

    address: str
    actions: tuple[str, ...]
    type: str = ""
    #: Its module's address, empty at the root.
    module: str = ""
    before: Any = None
    after: Any = None
    unknown: Any = None
    imported: bool = False
    #: A half-made thing that has to be made again.
    tainted: bool = False


@dataclass(frozen=True, kw_only=True)
class Changes:
    resources: Sequence[Change] = ()
    outputs: bool = False
    #: Whether applying would do anything, be it only to write down in the state that a resource has moved.
    applyable: bool = False

    @property
    def none(self) -> bool:
        return not self.applyable

    @property
    def counts(self) -> Mapping[str, int]:
        """How many resources per word: import, add, change, destroy, forget."""
        return {
            "import": sum(one.imported for one in self.resources),
            **{word: sum(action in one.actions for one in self.resources) for action, word in _WORDS},
            "forget": sum("forget" in one.actions for one in self.resources),
        }

    def __str__(self) -> str:
        """`1 to add, 2 to change, 0 to destroy`."""
        if self.none:
            return "No changes"
        counted = self._counted({word: f"to {word}" for word in _DONE})
        return counted or ("Only outputs change" if self.outputs else "Only the state is put in order")

    @property
    def applied(self) -> str:
        """`1 added, 2 changed, 0 destroyed`."""
        return self._counted(_DONE) or ("only outputs" if self.outputs else "the state is in order")

    def _counted(self, words: Mapping[str, str]) -> str:
        """Empty where no resource changes."""
        counts = self.counts
        always = [word for _, word in _WORDS]
        told = [f"{count} {words[word]}" for word, count in counts.items() if count or word in always]
        return ", ".join(told) if any(counts.values()) else ""

    def beyond(self, shown: "Changes") -> Sequence[str]:
        """Addresses that would change otherwise than `shown` says."""
        return [
            one.address for one in self.resources if not any(_is_rest(one, was) for was in shown.resources)
        ]

    def unlike(self, shown: "Changes") -> Sequence[str]:
        """Addresses to which other things would be done than `shown` says.

        Values are left aside: some differ from plan to plan (`plantimestamp()`, a time of the last backup)
        and tell nothing of the world, and the plan that was shown brings its own.
        """
        done = {(one.address, one.actions) for one in self.resources}
        said = {(one.address, one.actions) for one in shown.resources}
        return sorted({address for address, _ in done ^ said})


def changes(plan: Mapping[str, Any]) -> Changes:
    found = tuple(
        change
        for resource in plan.get("resource_changes", ())
        if (change := _change(resource)).actions or change.imported
    )
    moved = any("previous_address" in resource for resource in plan.get("resource_changes", ()))
    outputs = any(
        tuple(change["actions"]) != ("no-op",) for change in plan.get("output_changes", {}).values()
    )
    return Changes(
        resources=found,
        outputs=outputs,
        # Before Terraform 1.8 and in OpenTofu the plan does not say it.
        applyable=bool(plan.get("applyable", found or outputs or moved)),
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


def _is_rest(one: Change, was: Change) -> bool:
    """Whether `one` is what an interrupted apply has left of `was`, or all of it."""
    if one.address != was.address:
        return False
    if one.actions == ("delete",):
        return "delete" in was.actions
    same = one.actions == was.actions
    half = one.actions == ("create",) and "create" in was.actions
    again = one.tainted and "create" in was.actions
    return (same or half or again) and agrees(was.after, was.unknown, one.after)


def agrees(shown: Any, unknown: Any, now: Any) -> bool:
    """Whether `now` is what was shown, wherever something definite was shown."""
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
                agrees(was, marked[index] if index < len(marked) else None, now[index])
                for index, was in enumerate(shown)
            )
        )
    return bool(shown == now)
