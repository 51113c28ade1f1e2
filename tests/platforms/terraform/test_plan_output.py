"""Pure functions: changes of a plan, assignment of flags, and translation of Terraform's errors."""

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
    "no changes": ({"applyable": False, "resource_changes": [resource("a", "no-op")]}, "No changes"),
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
    "a forgotten resource": (
        {"resource_changes": [resource("a", "forget")]},
        "0 to add, 0 to change, 0 to destroy, 1 to forget",
    ),
    "only an output": ({"output_changes": {"o": {"actions": ["create"]}}}, "Only outputs change"),
    "a move, in a plan without applyable": (
        {"resource_changes": [{**resource("b", "no-op"), "previous_address": "a"}]},
        "Only the state changes",
    ),
}


@pytest.mark.parametrize(("plan", "summary"), PLANS.values(), ids=PLANS)
def test_a_plan_is_summarized(plan: dict[str, Any], summary: str) -> None:
    assert str(parse_plan(plan)) == summary


SHOWN = {
    "created": Change(address="created", actions=("create",), after={"x": "1"}, unknown={"id": True}),
    "replaced": Change(address="replaced", actions=("delete", "create"), after={"x": "1"}),
    "changed": Change(address="changed", actions=("update",), after={"x": "2"}),
    "deleted": Change(address="deleted", actions=("delete",)),
}
REMAINDERS: dict[str, tuple[Change, bool]] = {
    "not created yet": (Change(address="created", actions=("create",), after={"x": "1"}), True),
    "with a value that is now known": (
        Change(address="created", actions=("create",), after={"x": "1", "id": "i"}),
        True,
    ),
    "created with another value": (Change(address="created", actions=("create",), after={"x": "9"}), False),
    "created partially, so replaced": (
        Change(address="created", actions=("delete", "create"), after={"x": "1"}, tainted=True),
        True,
    ),
    "created, and now replaced for another reason": (
        Change(address="created", actions=("delete", "create"), after={"x": "1"}),
        False,
    ),
    "created, and now deleted": (Change(address="created", actions=("delete",)), False),
    "deleted, and not created again yet": (
        Change(address="replaced", actions=("create",), after={"x": "1"}),
        True,
    ),
    "created, and the old one not deleted yet": (Change(address="replaced", actions=("delete",)), True),
    "not changed yet": (Change(address="changed", actions=("update",), after={"x": "2"}), True),
    "changed otherwise": (Change(address="changed", actions=("update",), after={"x": "3"}), False),
    "not deleted yet": (Change(address="deleted", actions=("delete",)), True),
    "never shown": (Change(address="other", actions=("create",), after={}), False),
}


@pytest.mark.parametrize(("remaining", "fits"), REMAINDERS.values(), ids=REMAINDERS)
def test_the_remainder_of_a_plan_is_distinguished_from_another_plan(remaining: Change, fits: bool) -> None:
    exceeding = Changes(resources=(remaining,)).exceeding(Changes(resources=tuple(SHOWN.values())))
    assert exceeding == ([] if fits else [remaining.address])


def test_changed_infrastructure_is_detected_by_actions_and_not_by_values() -> None:
    shown = Changes(resources=tuple(SHOWN.values()))
    values = replace(SHOWN["created"], after={"x": "later"})
    assert Changes(resources=(values, *list(SHOWN.values())[1:])).differing_from(shown) == []
    applied = Changes(resources=tuple(list(SHOWN.values())[1:]))
    assert applied.differing_from(shown) == ["created"]
    deleted = replace(SHOWN["changed"], actions=("create",))
    assert Changes(resources=(*SHOWN.values(), deleted)).differing_from(shown) == ["changed"]


def test_values_agree_wherever_the_shown_value_was_known() -> None:
    shown, unknown = {"a": [{"b": 1}, None], "c": "x"}, {"a": [{}, True], "d": True}
    assert agrees(shown, unknown, {"a": [{"b": 1}, "now"], "c": "x", "d": "now"})
    assert not agrees(shown, unknown, {"a": [{"b": 1}], "c": "x"})
    assert not agrees(shown, unknown, {"a": [{"b": 2}, "now"], "c": "x"})
    assert not agrees(shown, unknown, {"a": [{"b": 1}, "now"], "c": "x", "e": "more"})


def test_flags_that_affect_the_plan_go_only_to_plan() -> None:
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


def test_values_that_may_be_secrets_are_redacted() -> None:
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
OUTPUTS: dict[str, tuple[str, str, type[PipecdError], str]] = {
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
    "no error message": ("apply", "Killed\n", Refused, "terraform apply: exited with code 1"),
    "a lock": ("plan", LOCKED, Refused, "the state is locked by ada@laptop since 2026-11-23 09:00:00 UTC"),
    "a stale plan": (
        "apply",
        "Error: Saved plan is stale\n",
        StalePlan,
        "the state changed after the plan was created",
    ),
    "an outage while downloading": (
        "init",
        "Error: Failed to query available provider packages\n\nGet: dial tcp: i/o timeout\n",
        Temporary,
        "terraform init could not download providers or modules: i/o timeout",
    ),
    "an outage while planning is reported, not retried": (
        "plan",
        "Error: reading instance\n\ndial tcp: i/o timeout\n",
        Refused,
        "terraform plan: reading instance",
    ),
}


@pytest.mark.parametrize(("command", "output", "kind", "message"), OUTPUTS.values(), ids=OUTPUTS)
def test_terraform_output_becomes_an_error(
    command: str, output: str, kind: type[PipecdError], message: str
) -> None:
    errors = ErrorOutput()
    for line in output.splitlines():
        errors.add_line(line)
    error = errors.to_error(command, 1)
    assert type(error) is kind
    assert str(error).startswith(message)
    assert "SECRET" not in str(error)


def test_the_remedy_of_a_lock_contains_its_id() -> None:
    errors = ErrorOutput()
    for line in LOCKED.splitlines():
        errors.add_line(line)
    error = errors.to_error("plan", 1)
    assert isinstance(error, Refused)
    assert "`terraform force-unlock 7c1a`" in error.remedy
