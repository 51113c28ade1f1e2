"""Runs the agent in the version the control plane specifies, with the current configuration.

`run` starts all parts. Called by `cli`. The agent runs as a separate process in its own virtual environment;
when it is replaced, the new agent continues its deployments.
"""

import asyncio
import signal
from contextlib import AsyncExitStack

import structlog

from pipecd import retry
from pipecd.admin_port import serve
from pipecd.config.sources import Source
from pipecd.launcher.desired import OWN_VERSION, TargetSource
from pipecd.launcher.health import AdminHandler
from pipecd.launcher.known_good import KnownGoodVersions, lock_home_directory
from pipecd.launcher.options import Options
from pipecd.launcher.release import open_releases
from pipecd.launcher.supervisor import Supervisor
from pipecd.launcher.versions import Versions
from pipecd.stop_signals import call_at_signal

log = structlog.get_logger()


async def run(source: Source, options: Options) -> None:
    """Run until cancelled; by the time this returns, the agent has ended too.

    Raises ConfigError if there is no valid configuration at startup or the control plane rejects the agent,
    and Temporary if the configuration source stays unavailable.
    """
    timeouts, clock = options.timeouts, options.clock
    async with AsyncExitStack() as stack:
        home = stack.enter_context(lock_home_directory(options.home))
        known_good = KnownGoodVersions(home)
        releases = open_releases(options.releases, options.release_key_file)
        versions = Versions(home, releases, timeout=timeouts.install, clock=clock)
        usable = (
            version
            for version in known_good.versions
            if version == OWN_VERSION or versions.is_installed(version)
        )
        targets = TargetSource(
            source,
            options.transport,
            clock,
            default=options.default_version,
            last_version=next(usable, ""),
            last_stable=lambda: next(iter(known_good.versions), OWN_VERSION),
            allow_downgrade=options.allow_downgrade,
        )
        stack.push_async_callback(targets.close)
        target = await retry.call(
            targets.fetch, options.start_retry, sleep=clock.sleep, before_retry=_log_retry
        )
        admin = AdminHandler(unresponsive_timeout=timeouts.unresponsive, clock=clock)
        port = await stack.enter_async_context(serve(admin, options.admin_host, options.admin_port))
        if options.launcher_admin_port:
            await stack.enter_async_context(serve(admin, options.admin_host, options.launcher_admin_port))
        log.info("launcher_started", version=OWN_VERSION, target=target.name, admin_port=port)
        supervisor = Supervisor(options, targets, versions, known_good, admin)
        call_at_signal(signal.SIGHUP, supervisor.check_now.set)
        await supervisor.prepare_first(target)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.check_targets(), name="check targets")
            tasks.create_task(supervisor.run_agents(), name="run agents")


def _log_retry(error: Exception, delay: float) -> None:
    log.warning("config_source_unavailable", error=str(error), retry_in=round(delay, 1))
