"""Pure parts: what a plan's document counts, which flags go where, what an error of Terraform means."""

from dataclasses import replace
from typing import Any

import pytest

from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.platforms.terraform.changes import Change, Changes, agrees, parse_plan
from pipecd.platforms.terraform.config import CommandFlags
from pipecd.platforms.terraform.failure import ErrorOutput, StalePlan
from pipecd.platforms.terraform.flags import for_apply, for_plan, redact_arguments


def resource(address: str, *actions: str, **more: Any) -> dict[str, Any]:
    reason = {"action_reason": more.pop("reason")} if "reason" in more else {}
    return {"address": address, "change": {"actions": list(actions), **more}, **reason}


PLANS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"applyable": False, "resource_changes": [resource("a", "no-op")]}, "No changes"),
    "a replacement is one of each": (
        {"applyable": True, "resource_changes": [resource("a", "delete", "create")]},
        "1 to add, 0 to change, 1 to destroy",
    ),
    "reading data changes nothing": (
        {"resource_changes": [resource("data.a", "read"), resource("b", "update")]},
        "0 to add, 1 to change, 0 to destroy",
    ),
    "an import": (
        {"resource_changes": [resource("a", "no-op", importing={"id": "x"})]},
        "1 to import, 0 to add, 0 to change, 0 to destroy",
    ),
    "something that is only forgotten": (
        {"resource_changes": [resource("a", "forget")]},
        "0 to add, 0 to change, 0 to destroy, 1 to forget",
    ),
    "only an output": ({"output_changes": {"o": {"actions": ["create"]}}}, "Only outputs change"),
    "a move, message by a Terraform that does not say whether the plan can be applied": (
        {"resource_changes": [{**resource("b", "no-op"), "previous_address": "a"}]},
        "Only the state is put in order",
    ),
}


@pytest.mark.parametrize(("plan", "words"), PLANS.values(), ids=PLANS)
def test_a_plan_is_told_in_words(plan: dict[str, Any], words: str) -> None:
    assert str(parse_plan(plan)) == words


SHOWN = {
    "made": Change(address="made", actions=("create",), after={"x": "1"}, unknown={"id": True}),
    "replaced": Change(address="replaced", actions=("delete", "create"), after={"x": "1"}),
    "changed": Change(address="changed", actions=("update",), after={"x": "2"}),
    "gone": Change(address="gone", actions=("delete",)),
}
RESTS: dict[str, tuple[Change, bool]] = {
    "not made yet": (Change(address="made", actions=("create",), after={"x": "1"}), True),
    "with a value that is known by now": (
        Change(address="made", actions=("create",), after={"x": "1", "id": "i"}),
        True,
    ),
    "made with another value": (Change(address="made", actions=("create",), after={"x": "9"}), False),
    "half-made, so made again": (
        Change(address="made", actions=("delete", "create"), after={"x": "1"}, tainted=True),
        True,
    ),
    "made, and now replaced for another reason": (
        Change(address="made", actions=("delete", "create"), after={"x": "1"}),
        False,
    ),
    "made, and now deleted": (Change(address="made", actions=("delete",)), False),
    "deleted, and not made again yet": (
        Change(address="replaced", actions=("create",), after={"x": "1"}),
        True,
    ),
    "made, and the old one not deleted yet": (Change(address="replaced", actions=("delete",)), True),
    "not changed yet": (Change(address="changed", actions=("update",), after={"x": "2"}), True),
    "changed otherwise": (Change(address="changed", actions=("update",), after={"x": "3"}), False),
    "not deleted yet": (Change(address="gone", actions=("delete",)), True),
    "never shown": (Change(address="other", actions=("create",), after={}), False),
}


@pytest.mark.parametrize(("left", "fits"), RESTS.values(), ids=RESTS)
def test_the_rest_of_a_plan_is_told_from_another_plan(left: Change, fits: bool) -> None:
    beyond = Changes(resources=(left,)).exceeding(Changes(resources=tuple(SHOWN.values())))
    assert beyond == ([] if fits else [left.address])


def test_another_world_is_told_by_what_would_be_done_and_not_by_values() -> None:
    shown = Changes(resources=tuple(SHOWN.values()))
    values = replace(SHOWN["made"], after={"x": "later"})
    assert Changes(resources=(values, *list(SHOWN.values())[1:])).differing_from(shown) == []
    already = Changes(resources=tuple(list(SHOWN.values())[1:]))
    assert already.differing_from(shown) == ["made"]
    gone = replace(SHOWN["changed"], actions=("create",))
    assert Changes(resources=(*SHOWN.values(), gone)).differing_from(shown) == ["changed"]


def test_what_was_shown_agrees_wherever_it_was_definite() -> None:
    shown, unknown = {"a": [{"b": 1}, None], "c": "x"}, {"a": [{}, True], "d": True}
    assert agrees(shown, unknown, {"a": [{"b": 1}, "now"], "c": "x", "d": "now"})
    assert not agrees(shown, unknown, {"a": [{"b": 1}], "c": "x"})
    assert not agrees(shown, unknown, {"a": [{"b": 2}, "now"], "c": "x"})
    assert not agrees(shown, unknown, {"a": [{"b": 1}, "now"], "c": "x", "e": "more"})


def test_flags_that_shape_a_plan_go_to_plan_alone() -> None:
    flags = CommandFlags.model_validate(
        {
            "shared": ["-var", "a=b", "-parallelism=3"],
            "plan": ["-refresh=false"],
            "apply": ["-target", "x.y", "-auto-approve", "-compact-warnings", "--replace=z"],
        }
    )
    shared = ["-var", "a=b", "-parallelism=3"]
    assert for_plan(flags) == [*shared, "-refresh=false", "-target", "x.y", "--replace=z"]
    assert for_apply(flags) == ["-parallelism=3", "-compact-warnings"]


def test_values_that_may_be_secrets_are_not_shown() -> None:
    arguments = [
        "plan",
        "-var=a=SECRET",
        "-var",
        "b=SECRET",
        "-backend-config=password=SECRET",
        "-lock=false",
    ]
    assert redact_arguments(arguments) == "plan -var=a=… -var b=… -backend-config=password=… -lock=false"


LOCKED = """\
╷
│ Error: Error acquiring the state lock
│
│ Error message: resource temporarily unavailable
│ Lock Info:
│   ID:        7c1a
│   Path:      s3://bucket/state
│   Who:       ada@laptop
│   Created:   2026-11-23 09:00:00 UTC
╵
"""
SAYINGS: dict[str, tuple[str, str, type[PipecdError], str]] = {
    "an error with its place": (
        "plan",
        "Error: \x1b[1mUnsupported argument\x1b[0m\n\n  on main.tf line 3, in x:\n   3: y = SECRET\n",
        Refused,
        "terraform plan: Unsupported argument (main.tf line 3)",
    ),
    "several errors": (
        "plan",
        "Error: One\n\nError: Two\n\n  on b.tf line 1:\n",
        Refused,
        "terraform plan: One",
    ),
    "nothing said": ("apply", "Killed\n", Refused, "terraform apply: it ended with code 1"),
    "a lock": ("plan", LOCKED, Refused, "the state is locked by ada@laptop since 2026-11-23 09:00:00 UTC"),
    "a stale plan": (
        "apply",
        "Error: Saved plan is stale\n",
        StalePlan,
        "the state has changed since this plan was",
    ),
    "an outage while fetching": (
        "init",
        "Error: Failed to query available provider packages\n\nGet: dial tcp: i/o timeout\n",
        Temporary,
        "terraform init could not fetch everything: i/o timeout",
    ),
    "an outage while planning is message, not repeated": (
        "plan",
        "Error: reading instance\n\ndial tcp: i/o timeout\n",
        Refused,
        "terraform plan: reading instance",
    ),
}


@pytest.mark.parametrize(("command", "output", "kind", "message"), SAYINGS.values(), ids=SAYINGS)
def test_what_terraform_says_becomes_a_reason(
    command: str, output: str, kind: type[PipecdError], message: str
) -> None:
    errors = ErrorOutput()
    for line in output.splitlines():
        errors.add_line(line)
    error = errors.error(command, 1)
    assert type(error) is kind
    assert str(error).startswith(message)
    assert "SECRET" not in str(error)


def test_a_lock_can_be_freed_by_its_id() -> None:
    errors = ErrorOutput()
    for line in LOCKED.splitlines():
        errors.add_line(line)
    error = errors.error("plan", 1)
    assert isinstance(error, Refused)
    assert "`terraform force-unlock 7c1a`" in error.remedy
