"""Keeps one agent running: that of the desired target, or of a fallback if the desired target does not work.

`check_targets` fetches the desired target periodically and installs its version while the old agent still
runs; `run_agents` runs one agent process after another. They share only the next target to run.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from pipecd.clock import set_within
from pipecd.errors import PipecdError, Temporary
from pipecd.launcher.agent import reserve_port, run_agent
from pipecd.launcher.desired import OWN_VERSION, Target, TargetSource
from pipecd.launcher.fallback import AgentRun, History, choose_target, plan_restart
from pipecd.launcher.health import CHECKS_FAILED, FAILURES, STARTS, UP, AdminHandler
from pipecd.launcher.known_good import KnownGoodVersions
from pipecd.launcher.options import Options
from pipecd.launcher.versions import Command, Versions

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class PreparedTarget:
    """A target whose version is installed, and the command that starts it."""

    target: Target
    command: Command


class Supervisor:
    """Setting the event `check_now` triggers an immediate check of the desired target."""

    def __init__(
        self,
        options: Options,
        targets: TargetSource,
        versions: Versions,
        known_good: KnownGoodVersions,
        admin: AdminHandler,
    ) -> None:
        self._options, self._clock = options, options.clock
        self._targets, self._versions = targets, versions
        self._known_good, self._admin = known_good, admin
        self._history = History()
        self._next: PreparedTarget | None = None
        self._next_changed = asyncio.Event()
        self.check_now = asyncio.Event()

    async def prepare_first(self, desired: Target) -> None:
        """Install the desired version, or a fallback if it is unavailable. Raises its error if both are."""
        installed = [version for version in self._known_good.versions if self._versions.is_installed(version)]
        self._history = History(
            good=[Target(version=version, config=desired.config) for version in installed]
        )
        timeouts = self._options.timeouts
        self._admin.activity = f"installing {desired.version}"
        self._admin.extend_downtime(timeouts.install)
        await self._prepare(desired)
        self._admin.limit_downtime(timeouts.startup)

    async def check_targets(self) -> None:
        """Check the desired target at each interval. Runs until cancelled.

        An error changes nothing and is logged once, until it changes or disappears.
        """
        last_error = ""
        while True:
            await set_within(self._clock, self.check_now, self._options.check_interval)
            self.check_now.clear()
            try:
                await self._prepare(await self._targets.fetch())
                last_error = ""
            except PipecdError as error:
                CHECKS_FAILED.inc()
                if str(error) != last_error:
                    last_error = str(error)
                    log.error("keeping_current_version", error=last_error)

    async def run_agents(self) -> None:
        """Run one agent after another. Runs until cancelled."""
        failures = 0
        while True:
            prepared = self._next
            assert prepared is not None
            self._next_changed.clear()
            with reserve_port() as port:
                agent_run = await self._run_agent(prepared, port)
            failures = await self._handle_exit(prepared.target, agent_run, failures) if agent_run else 0
            if agent_run is None or agent_run.restart_requested:
                self._admin.extend_downtime(self._options.timeouts.startup)

    async def _prepare(self, desired: Target) -> None:
        """Set the next target: the desired one or its fallback. Raises if their versions are unavailable."""
        while True:
            target = choose_target(desired, self._history, self._clock.monotonic(), own_version=OWN_VERSION)
            if self._next and self._next.target == target:
                return
            try:
                command = await self._versions.command(target.version)
                break
            except PipecdError as error:
                log.error("version_unavailable", version=target.version, error=str(error))
                self._reject(target, error)
                alternative = choose_target(
                    desired, self._history, self._clock.monotonic(), own_version=OWN_VERSION
                )
                if alternative == target:
                    raise
        log.info("next_target", target=target.name, instead_of=desired.name if target != desired else None)
        self._next = PreparedTarget(target=target, command=command)
        self._next_changed.set()

    async def _run_agent(self, prepared: PreparedTarget, port: int) -> AgentRun | None:
        """Run an agent whose admin port is `port`. None if it was stopped because the next target changed."""
        options, target = self._options, prepared.target
        config_file = _write_config(options.home / "piped.yaml", target.config)

        async def on_stable() -> None:
            self._history = self._history.add_good(target)
            await self._known_good.add(target.version)
            self._versions.remove_old(
                self._known_good.versions, upcoming=self._next.target.version if self._next else ""
            )
            log.info("agent_stable", target=target.name)

        log.info("starting_agent", target=target.name)
        STARTS.inc()
        self._admin.agent_port, self._admin.agent_version = port, target.version
        self._admin.activity = f"starting {target.version}"
        agent = asyncio.create_task(
            run_agent(
                prepared.command,
                config_file,
                port,
                forwarded=options.forwarded,
                grace=options.grace_period,
                timeouts=options.timeouts,
                clock=self._clock,
                on_stable=on_stable,
            ),
            name="run agent",
        )
        changed = asyncio.create_task(self._next_changed.wait(), name="next target changed")
        try:
            with UP.track_inprogress():
                await asyncio.wait({agent, changed}, return_when=asyncio.FIRST_COMPLETED)
                return agent.result() if agent.done() else None
        finally:
            changed.cancel()
            agent.cancel()
            self._admin.activity = f"stopping {target.version}"
            await asyncio.wait({agent})
            self._admin.agent_port = 0

    async def _handle_exit(self, target: Target, agent_run: AgentRun, failures: int) -> int:
        """Wait before the next run. Returns the consecutive failures of the target that runs next."""
        options = self._options
        plan = plan_restart(agent_run, failures, options.timeouts, max_failures=options.max_failures)
        if agent_run.restart_requested:
            log.info("agent_restart_requested", target=target.name)
        else:
            FAILURES.inc()
            reason = (
                "not healthy in time" if agent_run.exit_code is None else f"exit code {agent_run.exit_code}"
            )
            log.error(
                "agent_failed", target=target.name, reason=reason, failures=plan.failures, retry_in=plan.delay
            )
        # Without the control plane, agents fail for reasons that have nothing to do with the target.
        if plan.reject and self._targets.control_plane_answered:
            self._reject(target, None)
            self.check_now.set()
        self._admin.activity = f"waiting {plan.delay:g} s after {target.version} ended"
        changed = await set_within(self._clock, self._next_changed, plan.delay)
        return 0 if changed else plan.failures

    def _reject(self, target: Target, error: PipecdError | None) -> None:
        """Reject the target; after a temporary error only until the next check."""
        transient = isinstance(error, Temporary)
        seconds = self._options.check_interval / 2 if transient else self._options.timeouts.rejection
        self._history = self._history.reject(target, self._clock.monotonic(), seconds=seconds)


def _write_config(file: Path, config: str) -> Path:
    """Write the agent's configuration atomically, readable only by the current user."""
    new_file = file.with_suffix(".new")
    new_file.unlink(missing_ok=True)
    with os.fdopen(os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(config)
    return new_file.rename(file)
