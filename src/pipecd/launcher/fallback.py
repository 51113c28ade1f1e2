"""Which target to run, when to reject one, and how long to wait before a restart: rules without a clock.

Called by `supervisor`. A target whose agent repeatedly fails is rejected for a while. Then the last target
that worked runs instead, or without one the launcher's own version with the current configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipecd.launcher.desired import Target
from pipecd.launcher.options import Timeouts

#: How many targets that worked are remembered.
MAX_GOOD_TARGETS = 10


@dataclass(frozen=True, kw_only=True)
class History:
    """The targets that worked, most recent first, and until when (monotonic seconds) others are rejected."""

    good: Sequence[Target] = ()
    rejected: Mapping[Target, float] = field(default_factory=dict)

    def add_good(self, target: Target) -> "History":
        rejected = {other: until for other, until in self.rejected.items() if other != target}
        good = (target, *(other for other in self.good if other != target))
        return History(good=good[:MAX_GOOD_TARGETS], rejected=rejected)

    def reject(self, target: Target, now: float, *, seconds: float) -> "History":
        """Rejects the target for `seconds`, and forgets rejections that are over."""
        rejected = {other: until for other, until in self.rejected.items() if until > now}
        return replace(self, rejected={**rejected, target: now + seconds})


def choose_target(desired: Target, history: History, now: float, *, own_version: str) -> Target:
    """The desired target, unless it is currently rejected and there is an alternative."""
    same_config = [target for target in history.good if target.config == desired.config]
    others = [target for target in history.good if target.config != desired.config]
    for candidate in (desired, *same_config, Target(version=own_version, config=desired.config), *others):
        if history.rejected.get(candidate, now) <= now:
            return candidate
    return desired


@dataclass(frozen=True, kw_only=True)
class AgentRun:
    """How one run of the agent process ended.

    `exit_code` is negative for a signal, and None if the launcher stopped the agent because it never became
    healthy. `healthy` means that one health check succeeded, `stable` that it then kept running long enough.
    """

    exit_code: int | None
    healthy: bool = False
    stable: bool = False

    @property
    def restart_requested(self) -> bool:
        """A user requested a restart: the agent was healthy and exited with 0."""
        return self.exit_code == 0 and self.healthy


@dataclass(frozen=True, kw_only=True)
class RestartPlan:
    """Whether to reject the target, the delay until the next run (seconds), and the consecutive failures."""

    reject: bool
    delay: float
    failures: int


def plan_restart(run: AgentRun, failures: int, timeouts: Timeouts, *, max_failures: int) -> RestartPlan:
    """What to do after `run`, preceded by `failures` consecutive failures."""
    if run.restart_requested:
        return RestartPlan(reject=False, delay=0.0, failures=0)
    count = 1 if run.stable else failures + 1
    # The exponent is limited, because the number of failures is not.
    delay = min(timeouts.max_restart_delay, timeouts.min_restart_delay * 2 ** min(count - 1, 30))
    return RestartPlan(reject=not run.stable and count >= max_failures, delay=delay, failures=count)
