"""The agent: watches Git and the control plane, and brings applications to the commits that Git names.

`run` is the table of contents: every loop by its name, under one owner. Called by `cli` and the quickstart.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog

from pipecd import __version__
from pipecd.client import Client
from pipecd.config.piped import PipedSpec, piped_key
from pipecd.git.credentials import User
from pipecd.git.foreign import Foreign
from pipecd.git.mirror import Mirrors
from pipecd.piped.admin import health, served
from pipecd.piped.credentials import git_credentials, secrets_in
from pipecd.piped.deploy.sealed_objects import Kept
from pipecd.piped.deploy.stage_logs import Logs
from pipecd.piped.deploy.workers import Workers
from pipecd.piped.home_directory import own_folder
from pipecd.piped.key_pair import load_key_pair
from pipecd.piped.loop import Wake, keep
from pipecd.piped.notify.log import log_notification
from pipecd.piped.options import Options
from pipecd.piped.session import stats
from pipecd.piped.session.connect import acquainted
from pipecd.piped.session.polling import SAFETY_NET, Wakes, poll
from pipecd.piped.session.watch import Hints, watch
from pipecd.piped.source.rendering import Rendering
from pipecd.piped.unsupported_config import unserved
from pipecd.piped.wiring import Parts, assembled
from pipecd.platforms.connections import connections
from pipecd.telemetry import redactor

log = structlog.get_logger()

Loop = Coroutine[Any, Any, None]

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
    pair = load_key_pair(spec)
    for secret in (key, *credentials.secrets, *secrets_in(spec), pair.private if pair else ""):
        redactor.add(secret)
    for what, meaning in unserved(spec):
        log.warning("part of the configuration is not served", key=what, meaning=meaning)
    user = User(name=spec.git.username, email=spec.git.email)
    async with AsyncExitStack() as held:
        await held.enter_async_context(connections())
        home = held.enter_context(own_folder(options.home, spec.piped_id))
        mirrors = await held.enter_async_context(Mirrors(home, credentials, user))
        client, instance, identity = await held.enter_async_context(
            acquainted(spec, key, options, pair.public if pair else "")
        )
        foreign = Foreign(
            # Emptied when the agent starts: what a killed one left is gone then.
            home=home / "worktrees",
            credentials=credentials,
            user=user,
            trusted=[one.remote for one in spec.repositories],
        )
        rendering = Rendering(pair.opener if pair else None, redactor.add)
        parts = assembled(spec, client, mirrors, foreign, Kept(client, key, home / "kept"), rendering)
        well = health(client, parts.desk.at_work)
        port = await held.enter_async_context(served(well, options.admin_host, options.admin_port))
        held.push_async_callback(_farewell, parts.desk.works.logs)
        log.info("agent started", name=identity.name, version=__version__, admin_port=port)
        who = {"piped": identity.name or spec.piped_id, "version": __version__}
        log_notification("PIPED_STARTED", who)
        held.callback(log_notification, "PIPED_STOPPED", who)
        await _work(_loops(spec, client, instance, parts), until=parts.restart)


def _loops(spec: PipedSpec, client: Client, instance: str, parts: Parts) -> Mapping[str, Loop]:
    """What the agent does, for ever."""
    view, leadership = parts.desk.view, parts.desk.leadership
    wakes, to_discover = Wakes(view.look_again), Wake()

    def look_at(remote: str) -> None:
        parts.triggering.hint(remote)
        to_discover()

    hints = Hints(
        applications=wakes.applications,
        deployments=wakes.deployments,
        commands=wakes.commands,
        events=_nobody_listens,
        repository=look_at,
    )
    return {
        "view": poll(view, leadership, wakes),
        "watch": watch(client, instance, hints, leadership),
        "trigger": parts.triggering.follow(),
        "workers": Workers(parts.desk).dispatch(),
        "commands": keep(
            "commands",
            parts.answering.answer,
            interval=SAFETY_NET,
            wake=Wake(),
            feeds=(view.commands_feed, leadership.feed),
        ),
        "plan previews": parts.previewing.follow(),
        "live state": parts.living.follow(),
        "drift": parts.drifting.follow(),
        "discovery": keep(
            "discovery",
            parts.discovery.look,
            interval=spec.app_config_sync_interval.total_seconds(),
            wake=to_discover,
            feeds=(leadership.feed,),
        ),
        "stats": keep("stats", lambda: stats.report_stat(client), interval=stats.INTERVAL, wake=Wake()),
        "logs": parts.desk.works.logs.ship(),
    }


async def _work(loops: Mapping[str, Loop], until: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(loop, name=name) for name, loop in loops.items()]
        await until.wait()
        for task in started:
            task.cancel()


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
