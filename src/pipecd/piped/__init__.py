"""The agent: watches Git and the control plane, and brings applications to the commits that Git names.

`run` is the table of contents: every loop by its name, under one owner. Called by `cli` and the quickstart.
"""

import asyncio
from contextlib import AsyncExitStack

import structlog

from pipecd import __version__
from pipecd.config.piped import PipedSpec, piped_key
from pipecd.git.credentials import User
from pipecd.git.foreign import Foreign
from pipecd.git.mirror import Mirrors
from pipecd.piped import stats
from pipecd.piped.acquaintance import acquainted
from pipecd.piped.admin import health, served
from pipecd.piped.commands import Commands
from pipecd.piped.create import Creator
from pipecd.piped.credentials import git_credentials, secrets_in
from pipecd.piped.discovery import Discovery
from pipecd.piped.heads import Heads
from pipecd.piped.home import own_folder
from pipecd.piped.kept import Kept
from pipecd.piped.lease import Leadership
from pipecd.piped.logs import Logs
from pipecd.piped.loop import Wake, keep
from pipecd.piped.notify import notify
from pipecd.piped.options import Options
from pipecd.piped.perform import Stageworks
from pipecd.piped.planner import Planner
from pipecd.piped.polling import SAFETY_NET, Wakes, poll
from pipecd.piped.providers import Providers
from pipecd.piped.report import Reports
from pipecd.piped.repositories import Repository
from pipecd.piped.rollout import Desk
from pipecd.piped.source import Sources
from pipecd.piped.trigger import Triggering
from pipecd.piped.view import View
from pipecd.piped.watch import Hints, watch
from pipecd.piped.workers import Workers
from pipecd.telemetry import redactor

log = structlog.get_logger()

#: How long the last words may take at the end (seconds).
FAREWELL = 10.0


async def run(spec: PipedSpec, options: Options | None = None) -> None:
    """Work until cancelled, which is a shutdown and no failure: the next process takes up what was begun.

    Returns when a person asked for a restart. Raises ConfigError for what its operator can mend, and
    Temporary when the control plane cannot be reached at the start.
    """
    options = options or Options()
    key = piped_key(spec)
    credentials = git_credentials(spec)
    for secret in (key, *credentials.secrets, *secrets_in(spec)):
        redactor.add(secret)
    async with AsyncExitStack() as held:
        home = held.enter_context(own_folder(options.home, spec.piped_id))
        user = User(name=spec.git.username, email=spec.git.email)
        mirrors = await held.enter_async_context(Mirrors(home, credentials, user))
        client, instance, identity = await held.enter_async_context(acquainted(spec, key, options))
        port = await held.enter_async_context(served(health(client), options.admin_host, options.admin_port))
        logs, reports, view, leadership = (
            Logs(client, redactor),
            Reports(client, redactor),
            View(client),
            Leadership(),
        )
        held.push_async_callback(_farewell, logs)
        repositories = {
            one.repo_id: Repository(id=one.repo_id, remote=one.remote, branch=one.branch)
            for one in spec.repositories
        }
        heads, sources, providers = (
            Heads(mirrors, repositories),
            Sources(mirrors, repositories),
            Providers(spec),
        )
        creator = Creator(reports, view)
        triggering = Triggering(view, leadership, reports, heads, creator, spec.sync_interval.total_seconds())
        desk = Desk(
            view=view,
            leadership=leadership,
            reports=reports,
            planner=Planner(sources, reports, providers),
            works=Stageworks(
                sources=sources,
                foreign=Foreign(
                    home=home,
                    credentials=credentials,
                    user=user,
                    trusted=[one.remote for one in spec.repositories],
                ),
                logs=logs,
                providers=providers,
                kept=Kept(client, key),
            ),
        )
        discovery = Discovery(client, spec, view, leadership, heads)
        restart = asyncio.Event()
        answering = Commands(view, leadership, reports, restart)
        wakes, to_answer, to_discover = Wakes(view.look_again), Wake(), Wake()
        held.enter_context(view.commands_feed.heard_by(to_answer))
        held.enter_context(leadership.feed.heard_by(to_answer))
        held.enter_context(leadership.feed.heard_by(to_discover))

        def looked_at(remote: str) -> None:
            triggering.hint(remote)
            to_discover()

        hints = Hints(
            applications=wakes.applications,
            deployments=wakes.deployments,
            commands=wakes.commands,
            events=_nobody_listens,
            repository=looked_at,
        )
        config_interval = spec.app_config_sync_interval.total_seconds()
        log.info("agent started", name=identity.name, version=__version__, admin_port=port)
        notify("PIPED_STARTED", {"piped": identity.name or spec.piped_id, "version": __version__})
        loops = {
            "view": poll(view, leadership, wakes),
            "watch": watch(client, instance, hints, leadership),
            "trigger": triggering.follow(),
            "workers": Workers(desk).dispatch(),
            "commands": keep("commands", answering.answer, interval=SAFETY_NET, wake=to_answer),
            "discovery": keep("discovery", discovery.look, interval=config_interval, wake=to_discover),
            "stats": keep("stats", lambda: stats.report_stat(client), interval=stats.INTERVAL, wake=Wake()),
            "logs": logs.ship(),
        }
        try:
            async with asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(loop, name=name) for name, loop in loops.items()]
                await restart.wait()
                for task in started:
                    task.cancel()
        finally:
            notify("PIPED_STOPPED", {"piped": identity.name or spec.piped_id, "version": __version__})


async def _farewell(logs: Logs) -> None:
    """Lines that are written but not stored yet go out; nothing is reported as failed."""
    try:
        async with asyncio.timeout(FAREWELL):
            await logs.flush()
    except TimeoutError:
        log.warning("stage logs are left behind", why=f"they did not go out within {FAREWELL:g} s")
    log.info("agent stopped")


def _nobody_listens() -> None:
    """Events are not watched yet."""
