"""When a deployment is triggered, as tables."""

from dataclasses import replace

import pytest

from pipecd.config.application import OnChain, OnCommand, OnCommit, OnOutOfSync
from pipecd.model.application import Pin
from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus
from pipecd.model.trigger import (
    ROLLBACK_TARGET,
    Decision,
    displaced_by,
    hold,
    on_chain,
    on_command,
    on_commit,
    on_out_of_sync,
)
from tests.model.samples import deployment

COMMITS = {
    "disabled": (OnCommit(disabled=True), "a", "b", ["app/x"], False),
    "never deployed": (OnCommit(), "", "b", [], True),
    "the same commit": (OnCommit(), "b", "b", [], False),
    "a file of the application": (OnCommit(), "a", "b", ["app/x"], True),
    "another application's file": (OnCommit(), "a", "b", ["other/x"], False),
    "a watched file": (OnCommit.model_validate({"paths": ["lib"]}), "a", "b", ["lib/x"], True),
    "an ignored file": (OnCommit.model_validate({"ignores": ["app/x"]}), "a", "b", ["app/x"], False),
    "history was rewritten": (OnCommit(), "a", "b", None, True),
}


@pytest.mark.parametrize("case", COMMITS.values(), ids=COMMITS.keys())
def test_on_commit(case: tuple[OnCommit, str, str, list[str] | None, bool]) -> None:
    rule, last, head, changed, expected = case
    decision = on_commit(rule, directory="app", last=last, head=head, changed=changed)
    assert decision.triggered is expected
    assert decision.reason


def ended(seconds_ago: int) -> Deployment:
    return replace(deployment(), status=DeploymentStatus.FAILURE, completed_at=10_000 - seconds_ago)


ENABLED = OnOutOfSync.model_validate({"disabled": False, "minWindow": "5m"})
DRIFTS = {
    "disabled by default": (OnOutOfSync(), ended(9000), False),
    "never deployed": (ENABLED, None, True),
    "deployment running": (ENABLED, deployment(), False),
    "ended within the window": (ENABLED, ended(299), False),
    "ended before the window": (ENABLED, ended(300), True),
}


@pytest.mark.parametrize("case", DRIFTS.values(), ids=DRIFTS.keys())
def test_on_out_of_sync(case: tuple[OnOutOfSync, Deployment | None, bool]) -> None:
    rule, last, expected = case
    assert on_out_of_sync(rule, last=last, now=10_000).triggered is expected


def test_commands_trigger_unless_disabled_and_chains_only_if_enabled() -> None:
    assert on_command(OnCommand()).triggered
    assert not on_command(OnCommand(disabled=True)).triggered
    assert not on_chain(OnChain()).triggered
    assert on_chain(OnChain(disabled=False)).triggered


PIN = Pin(commit="a" * 40, deployment_id="d", by="ada")
HELD = {
    "not pinned": (None, True, True, False),
    "pinned until removed": (PIN, True, False, True),
    "pinned, nothing to deploy": (PIN, False, False, False),
    "a second before its end": (replace(PIN, until=10_001), True, False, True),
    "at its end": (replace(PIN, until=10_000), True, True, False),
}


@pytest.mark.parametrize("case", HELD.values(), ids=HELD.keys())
def test_a_pin_holds_automatic_deployments(case: tuple[Pin | None, bool, bool, bool]) -> None:
    pin, triggered, expected, held = case
    decision = hold(Decision(triggered=triggered, reason="x changed"), pin, now=10_000)
    assert (decision.triggered, decision.held) == (expected, held)
    if held:
        assert decision.reason == "The application is pinned to commit aaaaaaa by ada: x changed"


DISPLACED = {
    "not pinned": (None, {}, False),
    "pinned": (PIN, {}, True),
    "the pin's own rollback": (PIN, {ROLLBACK_TARGET: "d"}, False),
    "an earlier rollback": (PIN, {ROLLBACK_TARGET: "c"}, True),
    "the pin has ended": (replace(PIN, until=10_000), {}, False),
}


@pytest.mark.parametrize("case", DISPLACED.values(), ids=DISPLACED.keys())
def test_a_pin_ends_what_waits_to_be_deployed(case: tuple[Pin | None, dict[str, str], bool]) -> None:
    pin, shared, expected = case
    reason = displaced_by(pin, replace(deployment(), shared=shared), now=10_000)
    pinned = "The application was pinned to commit aaaaaaa by ada before this deployment began"
    assert reason == (pinned if expected else "")
