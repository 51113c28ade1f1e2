"""Choice of the target to run and restart rules, as tables of cases."""

import pytest

from pipecd.errors import ConfigError
from pipecd.launcher.desired import Target, normalize_version
from pipecd.launcher.fallback import (
    MAX_GOOD_TARGETS,
    AgentRun,
    History,
    RestartPlan,
    choose_target,
)
from pipecd.launcher.fallback import plan_restart as plan_with
from pipecd.launcher.options import Timeouts

NOW = 1000.0
NEW, OLD, OWN = (Target(version=version, config="a") for version in ("v3.0", "v2.0", "v1.0"))
OTHER = Target(version="v2.0", config="b")
TIMEOUTS = Timeouts()

CHOICES = [
    pytest.param(History(), NEW, id="the desired target, without a history"),
    pytest.param(History(good=[OLD]), NEW, id="the desired target, although another one works"),
    pytest.param(
        History(good=[OLD], rejected={NEW: NOW + 1}), OLD, id="the last good target, if the desired failed"
    ),
    pytest.param(History(good=[OLD], rejected={NEW: NOW - 1}), NEW, id="the desired target again, later"),
    pytest.param(History(rejected={NEW: NOW + 1}), OWN, id="the launcher's own version, without a history"),
    pytest.param(
        History(good=[OTHER], rejected={NEW: NOW + 1}),
        OWN,
        id="the new configuration rather than an old version",
    ),
    pytest.param(
        History(good=[OTHER], rejected={NEW: NOW + 1, OWN: NOW + 1}), OTHER, id="the old configuration last"
    ),
    pytest.param(
        History(rejected={NEW: NOW + 1, OWN: NOW + 1}), NEW, id="the desired target, without an alternative"
    ),
]


@pytest.mark.parametrize(("history", "expected"), CHOICES)
def test_choice_of_target(history: History, expected: Target) -> None:
    assert choose_target(NEW, history, NOW, own_version=OWN.version) == expected


def test_a_target_that_works_is_no_longer_rejected() -> None:
    history = History(good=[OLD]).reject(NEW, NOW, seconds=600.0).add_good(NEW)
    assert list(history.good) == [NEW, OLD]
    assert choose_target(NEW, history, NOW, own_version=OWN.version) == NEW


def test_only_recent_targets_are_remembered() -> None:
    """Each holds a configuration, and a launcher runs for months."""
    history = History()
    targets = [Target(version="v1.0", config=str(number)) for number in range(50)]
    for number, target in enumerate(targets):
        history = history.reject(target, NOW + 1000.0 * number, seconds=600.0)
    assert list(history.rejected) == targets[-1:]
    for target in targets:
        history = history.add_good(target)
    assert list(history.good) == targets[::-1][:MAX_GOOD_TARGETS]


def plan_restart(run: AgentRun, failures: int) -> RestartPlan:
    return plan_with(run, failures, TIMEOUTS, max_failures=3)


def test_a_requested_restart_has_no_delay() -> None:
    plan = plan_restart(AgentRun(exit_code=0, healthy=True), 5)
    assert (plan.delay, plan.failures, plan.reject) == (0.0, 0, False)


def test_an_exit_with_0_before_the_agent_is_healthy_is_a_failure() -> None:
    assert plan_restart(AgentRun(exit_code=0), 0).delay == 1.0


def test_restart_delays_double_up_to_a_minute() -> None:
    delays = [plan_restart(AgentRun(exit_code=1), failures).delay for failures in range(8)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_delay_is_limited_however_often_an_agent_failed() -> None:
    assert plan_restart(AgentRun(exit_code=1), 100_000).delay == 60


@pytest.mark.parametrize(
    "run", [AgentRun(exit_code=1), AgentRun(exit_code=-9, healthy=True), AgentRun(exit_code=None)]
)
def test_a_target_is_rejected_after_three_unstable_runs(run: AgentRun) -> None:
    rejected = [plan_restart(run, failures).reject for failures in range(4)]
    assert rejected == [False, False, True, True]


def test_a_target_whose_agent_was_stable_is_never_rejected() -> None:
    plan = plan_restart(AgentRun(exit_code=-9, healthy=True, stable=True), 10)
    assert (plan.reject, plan.failures, plan.delay) == (False, 1, 1.0)


@pytest.mark.parametrize(
    ("written", "normalized"),
    [("v0.2.0", "v0.2.0"), ("0.2", "v0.2"), ("V1.0-rc1", "v1.0rc1"), ("v0.47.0", "v0.47.0")],
)
def test_versions_are_normalized(written: str, normalized: str) -> None:
    assert normalize_version(written) == normalized


@pytest.mark.parametrize("text", ["", "latest", "../../etc", "v1.0; rm -rf /", "--index-url=http://x"])
def test_text_that_is_not_a_version_raises_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a version; write it like v0.2.0"):
        normalize_version(text)
